"""Compiled steps and rankings are those that are not compiled; without a compiler a run goes on."""

import logging

import pytest
import torch

from recbole_hlr.host import compile as module
from recbole_hlr.host.compile import Compiled, compiled
from tests.toys import (
    NAMES,
    USERS,
    assert_close,
    build,
    gradients,
    ragged,
    scores_of_all,
    triplets,
)

CPU = torch.device("cpu")
SETTINGS = [
    *((name, {}) for name in NAMES.values() if name != "HLR"),  # which the next line is, and more
    ("HLR", {"attend_user": True, "direct_memory": True}),
    ("HLR++", {"item_attention": "audience", "attend_target": True, "share_negative_relation": True}),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "options"), SETTINGS)
def test_compiled_steps_and_rankings_are_the_plain_ones(name, options) -> None:
    data, found = ragged(), []
    users, positives, negatives = triplets(data, 3)
    for mode in ("off", "on"):
        model = build(name, data, compile=mode, **options).train()
        model.start_epoch(1)
        losses = []
        for rows in (slice(None), slice(3)):  # a last batch is shorter
            history = model.training_history(users[rows], positives[rows])
            losses.append(model.loss(users[rows], positives[rows], negatives[rows], history))
        gradient = gradients(losses[0], dict(model.named_parameters()))
        scores = [scores_of_all(model.eval(), USERS), scores_of_all(model, USERS[:2])]
        found.append([*losses, *scores, *gradient.values()])
        if mode == "on":
            assert isinstance(model._loss_of, Compiled)
            assert model._loss_of._works
    for n, (plain, fast) in enumerate(zip(*found, strict=True)):
        assert_close(fast, plain, 1e-10, f"{name} {options} outcome {n}")


def test_auto_depends_on_the_work_and_the_device() -> None:
    def function() -> None: ...

    assert compiled(function, "auto", module.WORTH_FLOPS - 1, CPU) is function
    assert compiled(function, "off", 1e30, CPU) is function
    assert isinstance(compiled(function, "auto", module.WORTH_FLOPS, CPU), Compiled)
    assert isinstance(compiled(function, "auto", 0, torch.device("cuda")), Compiled)
    assert isinstance(compiled(function, "on", 0, CPU), Compiled)


def test_without_a_compiler_the_function_itself_is_called_and_said_so_once(monkeypatch, caplog) -> None:
    from torch._dynamo.exc import TorchDynamoException

    calls = []

    def broken(*arguments):
        calls.append(arguments)
        raise TorchDynamoException("no C++ compiler\nwith a long story")

    monkeypatch.setattr(torch, "compile", lambda function: broken)
    double = Compiled(lambda x: 2 * x)
    with caplog.at_level(logging.WARNING, logger="recbole_hlr"):
        assert [double(2), double(3)] == [4, 6]
    assert len(calls) == 1
    assert [record.getMessage() for record in caplog.records] == [
        "compile: not possible here, going on without (no C++ compiler)"
    ]


def test_errors_of_the_function_itself_are_not_swallowed(monkeypatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)

    def wrong(x):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Compiled(wrong)(1)
