"""The one table of options: it has every option and no other, and docs/options.md is made of it."""

import copy
import importlib.util
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.errors import UnknownOption, invalid
from recbole_hlr.host import recbole as compat
from recbole_hlr.options import page
from recbole_hlr.options.command_line import PATH_ENDINGS, TEXT_ENDINGS
from recbole_hlr.options.kinds import is_finite, is_integer
from recbole_hlr.options.table import ENTRIES, HOST, OF_RUNS, SPLIT_KEYS, TABLE, UNREAD
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.search import options as search_options
from recbole_hlr.search import space
from recbole_hlr.search.plan import make_plan

ROOT = Path(__file__).parents[1]
FILES = [file for file in (ROOT / "properties").rglob("*.yaml") if file.parent.name != "search"]


def test_no_option_stands_twice():
    assert len(TABLE) == len(ENTRIES)


def test_every_key_of_the_files_is_in_the_table_and_the_other_way_round():
    keys = {key for file in FILES for key in load_yaml(file)}
    assert keys <= TABLE.keys()
    assert {e.name for e in ENTRIES if e.belongs in OF_RUNS and e.source != HOST} <= keys


def test_every_option_that_a_run_takes_is_in_the_table():
    config = HLRConfig("HLR", "ml-100k")
    taken = {*config.internal_config_dict, *(key for keys in config.parameters.values() for key in keys)}
    taken |= compat.KEYS_WITHOUT_DEFAULT
    ours = {e.name for e in ENTRIES if e.belongs in (*OF_RUNS, UNREAD)}
    assert taken - {"MODEL_TYPE"} - compat.UNREAD_KEYS <= ours | {"model", "dataset"}
    assert {name for name in ours if TABLE[name].source == HOST} <= taken


def test_every_option_has_a_meaning():
    files = page.model_files()
    assert [e.name for e in ENTRIES if not (e.meaning or page.comment(e.name, files)[1])] == []


def test_names_that_end_like_texts_and_paths_are_those():
    for entry in ENTRIES:
        assert entry.text or not entry.name.endswith(TEXT_ENDINGS), entry.name
        assert entry.path == (
            entry.name.endswith(PATH_ENDINGS)
            or entry.name in ("resume", "pretrained_embeddings", "test_file")
        )


def test_data_follow_from_what_recbole_reads_them_by():
    spec = importlib.util.find_spec("recbole.utils.argument_list")
    fresh = importlib.util.module_from_spec(spec)  # RecBole's own Config appends to the lists of the other
    spec.loader.exec_module(fresh)
    ours = {"train_on", "folds", "fold", "fold_in_share"}
    assert {"dataset", "encoding", "seed", *ours, *fresh.dataset_arguments} == SPLIT_KEYS


def test_a_search_has_the_options_of_the_table():
    ours = {e.name for e in ENTRIES if e.belongs == "search"}
    assert ours == {*search_options.NAMES, "space", "params_file"}


def test_the_page_is_as_the_table_makes_it():
    written = (ROOT / "docs" / "options.md").read_text(encoding="utf-8")
    assert written == page.page(), "run python -m recbole_hlr.options.page > docs/options.md"


def test_defaults_are_what_their_options_may_be():
    for entry in ENTRIES:
        for model, default in page.defaults_of(entry.name, page.model_files()).items():
            assert entry.option is None or entry.option.check(default), (entry.name, model)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from([e.option for e in ENTRIES if e.option]), st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
))  # fmt: skip
def test_any_value_is_allowed_or_not(option, value):
    assert option.check(value) in (True, False)


def test_numbers():
    assert [is_finite(v) for v in (0, -1.5, True, "1", float("nan"), float("inf"), 10**400)] == [
        True,
        True,
    ] + 5 * [False]
    assert [is_integer(v, 1, 3) for v in (0, 1, 3, 4, True, 2.0, 10**400)] == [False, True, True] + 4 * [
        False
    ]


# --- errors ----------------------------------------------------------------------------------------------

ERRORS = {
    "margin=-1 (a.yaml): must be > 0": invalid("margin", -1, "a.yaml", "> 0"),
    "x: is gone": InputError("x: is gone"),
    "name=x (here)": InputError("name=x", place="here"),
    "margn (here): is no option of HLR (did you mean margin?)": UnknownOption.of(
        "margn", "here", "HLR", ["margin"]
    ),
}


@pytest.mark.parametrize("sentence", ERRORS)
def test_an_error_is_a_sentence_and_comes_whole_through_a_pickle(sentence):
    for error in (
        ERRORS[sentence],
        pickle.loads(pickle.dumps(ERRORS[sentence])),
        copy.deepcopy(ERRORS[sentence]),
    ):
        assert str(error) == sentence
        assert vars(error) == vars(ERRORS[sentence])


def test_an_error_says_what_it_is_of():
    with pytest.raises(InputError) as caught:
        HLRConfig("HLR", "ml-100k", options={"scale": -1})
    error = caught.value
    assert (error.option, error.value, error.place, error.allowed) == (
        "scale",
        -1,
        "keyword argument",
        "a number > 0",
    )
    assert str(error.at("a.yaml")) == "scale=-1 (a.yaml): must be a number > 0"
    assert str(error.at("").within("a.yaml")) == "a.yaml: scale=-1: must be a number > 0"
    assert str(error) == "scale=-1 (keyword argument): must be a number > 0"


def test_an_option_of_a_search_is_the_nearest_to_a_misspelt_one():
    for key, hint in (("num_sample", "num_samples"), ("scal", "scale")):
        with pytest.raises(
            UnknownOption,
            match=rf"^{key} \(keyword argument\): is no option of HLR \(did you mean {hint}\?\)$",
        ):
            make_plan("HLR", "ml-100k", (), {key: 1}, {}, None, {}, "here")


# --- a search's space ------------------------------------------------------------------------------------

PROBES = (
    0,
    1,
    -1,
    0.5,
    None,
    True,
    "foo",
    [1],
    {},
    {"name": "exponential"},
    {"sample_num": 0},
    {"dynamic": True},
    1e38,
)
PROBES += (
    {"dynamic": True, "candidate_num": 2},
    {"name": "OneCycle", "max_lr": 1, "total_steps": 3},
    {"max_norm": 1},
)
KEYS = {
    "HLR++": ("scale", "learner", "max_norm", "train_neg_sample_args", "train_neg_sample_args.sample_num", "lr_scheduler"),
    "HLR": ("direct_memory", "freeze_embeddings", "lazy_adam", "clip_grad_norm", "weight_decay"),
    "MF-ALS": ("regularization", "train_neg_sample_args", "lr_scheduler"),
    "ItemKNN": ("k", "shrink", "train_neg_sample_args"),
    "BPR": ("embedding_size", "train_neg_sample_args"),
    "DMF": ("inter_matrix_type", "user_hidden_size_list"),
}  # fmt: skip


@pytest.mark.parametrize("model", KEYS)
def test_a_trial_s_options_are_refused_as_its_own_configuration_would(model):
    """The plan makes no configuration for a value; the sentence is that of one."""
    config = HLRConfig(model, "ml-100k")

    def why(call, *arguments, **more):
        try:
            call(*arguments, **more)
        except InputError as error:
            return str(error)
        return ""

    for key in KEYS[model]:
        for value in PROBES:
            options = space.put(config.requested, {key: value})
            made = why(HLRConfig, config.model_class, config.dataset, options=options)
            assert why(config.check, options) == made, (key, value)


def test_a_plan_makes_one_configuration(monkeypatch):
    made, init = [], HLRConfig.__init__
    monkeypatch.setattr(HLRConfig, "__init__", lambda self, *a, **k: (made.append(1), init(self, *a, **k))[1])
    make_plan("HLR", "ml-100k", (), {}, {}, None, {}, "here")
    assert made == [1]
