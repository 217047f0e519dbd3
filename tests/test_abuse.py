"""The script that abuses everything at random: some of its cases, and that its judge catches a fault."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from recbole_hlr.cli import commands
from recbole_hlr.data.account import Account
from recbole_hlr.metrics.evaluator import UserEvaluator
from tests import abuse


def outcomes(kind: str, numbers: range, shared: Path, seed: int = 1) -> list[tuple[str, bool]]:
    """What cases of a kind came to, run in this process: what was said, and whether it was right."""
    return [abuse.run_case(seed, number, shared, [kind])[1:] for number in numbers]


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """Return the folder in which the cases of this module keep their good runs."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize(
    ("kind", "count"), [("options", 12), ("evaluate", 6), ("data", 8), ("damaged run", 8), ("benchmark", 3)]
)
def test_cases_of_the_quick_kinds_end_right(shared, kind, count):
    found = outcomes(kind, range(1, count + 1), shared)
    assert [said for said, right in found if not right] == []


def test_the_script_counts_its_cases(capfd):
    assert abuse.main(["--cases", "3", "--kinds", "data", "--seed", "4"]) == 0
    assert capfd.readouterr().out.endswith("3 cases, 0 failures (seed 4)\n")


def test_a_case_is_the_same_at_every_call(shared):
    assert outcomes("data", range(1, 4), shared) == outcomes("data", range(1, 4), shared)


def test_a_failure_makes_the_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(abuse, "cases", lambda *_: iter([(1, "data", "no good", False)]))
    assert abuse.main(["--cases", "1"]) == 1
    assert "case 1 (data) FAILED: no good" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "errors"),
    [
        (1, ""),
        (1, "error: a: must be b\n"),
        (-2, "error: a: must be b\n"),
        (2, "a: must be b\n"),
        (2, "error: a: must be b\nerror: c: must be d\n"),
        (2, "error: a: must\nbe b\n"),
        (0, "Traceback (most recent call last):\n"),
        (2, "Exception ignored in: Traceback\nerror: a: must be b\n"),
    ],
)
def test_the_judge_lets_no_other_end_pass(code, errors):
    with pytest.raises(abuse.Wrong):
        abuse.judge(code, errors)


def test_the_judge_knows_the_two_right_ends():
    assert abuse.judge(0, "epoch 0\n") is True
    assert abuse.judge(2, "epoch 0\nerror: a: must be b\n") is False


def test_figures_that_are_no_numbers_are_caught(tmp_path):
    (tmp_path / "result.json").write_text(json.dumps({"valid": {}, "test": {"ndcg@3": float("nan")}}))
    with pytest.raises(abuse.Wrong, match="no numbers"):
        abuse.figures(tmp_path)


def test_a_verb_that_raises_is_caught(monkeypatch, shared):
    def fault(arguments):
        raise RuntimeError("planted")

    monkeypatch.setattr(commands.group.commands["train"], "action", fault)
    for said, right in outcomes("data", range(1, 4), shared):
        assert not right
        assert "planted" in said


def test_a_verb_that_prints_a_traceback_is_caught(monkeypatch, shared):
    told = lambda _: print("Traceback (most recent call last):", file=sys.stderr)  # noqa: E731
    monkeypatch.setattr(commands.group.commands["train"], "action", told)
    assert not any(right for _, right in outcomes("data", range(1, 4), shared))


def test_damage_that_changes_figures_is_caught(monkeypatch, shared):
    for model in ("CML", "HLR", "MF-ALS", "BPR"):
        abuse.good_run(shared, model)
    before = UserEvaluator.evaluate

    def other(self, part):
        found = before(self, part)
        found.update({name: value / 2 for name, value in found.items()})
        return found

    monkeypatch.setattr(UserEvaluator, "evaluate", other)
    found = outcomes("damaged run", range(1, 16), shared)
    assert any("came to" in said for said, right in found if not right)


def test_rows_that_vanish_are_caught(monkeypatch, shared):
    before = Account.as_dict
    monkeypatch.setattr(Account, "as_dict", lambda self: {**before(self), "read": self.read - 1})
    assert any(not right and "the account" in said for said, right in outcomes("data", range(1, 9), shared))


def test_a_resumed_run_with_other_figures_is_caught(monkeypatch, shared, tmp_path):
    shutil.copytree(abuse.good_run(shared, "CML"), tmp_path / "runs" / "run")
    monkeypatch.setattr(abuse, "long_run", lambda *_: {"valid": {}, "test": {}})
    with pytest.raises(abuse.Wrong, match="other figures"):
        abuse.go_on(tmp_path, shared, "CML", "SIGKILL")
