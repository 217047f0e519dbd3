"""The kinds of options, as the type check takes them, are those of the shipped defaults."""

import itertools
import typing

import pytest
import torch

from recbole_hlr import protocols
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.model import MODELS

KINDS = {
    "_Integer": int,
    "_Number": int | float,
    "_Bound": int | float | None,
    "_Switch": bool,
    "_Text": str,
}
OF_HOST_MODELS = {"neigh_num"}  # an option of NNCF's


@pytest.fixture(scope="module")
def options():
    found = {}
    for model, objective in itertools.product(MODELS, ("triplet", "softmax")):
        config = HLRConfig(model, "ml-100k", options={"eval_batch_size": 4096, "objective": objective})
        found.update(config.final_config_dict)
    return found


@pytest.mark.parametrize("group", KINDS)
def test_an_option_is_of_the_kind_that_the_type_check_takes_it_for(group, options):
    keys = set(typing.get_args(getattr(protocols, group)))
    assert keys - options.keys() <= OF_HOST_MODELS
    wrong = {key: options[key] for key in keys & options.keys() if not isinstance(options[key], KINDS[group])}
    assert wrong == {}
    assert group == "_Switch" or not any(isinstance(options[key], bool) for key in keys & options.keys())


def test_every_group_is_looked_at():
    assert {
        name for name, value in vars(protocols).items() if typing.get_origin(value) is typing.Literal
    } == set(KINDS)
    assert isinstance(HLRConfig("CML", "ml-100k")["device"], torch.device)
