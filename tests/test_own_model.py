"""docs/own-model.md, word by word; and models of others that are wrong."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from recbole_hlr import InputError, evaluate, load, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.model.cml import CML
from recbole_hlr.testing import ModelContract, scores_of
from tests.processes import Process

PAGE = (Path(__file__).parents[1] / "docs" / "own-model.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Return a working directory with the page's files; what is imported from it is forgotten."""
    model, test = blocks("python")
    (tmp_path / "pull.py").write_text(model)
    (tmp_path / "test_pull.py").write_text(test)
    (tmp_path / "pull.yaml").write_text(blocks("yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("pull", None)


def test_a_model_of_ones_own_is_trained_resumed_evaluated_and_loaded(folder, toy):
    result = run("pull:PulledCML", **toy, pull=0.05)
    stored = (Path(result.run_dir) / "config.yaml").read_text()
    assert "model: pull:PulledCML" in stored
    assert "pull: 0.05" in stored
    assert "PulledCML-toy" in result.run_dir
    assert evaluate(result.run_dir).test == result.test
    assert len(load(result.run_dir).recommend("u1", k=3)) == 3
    resumed = run(resume=result.run_dir, epochs=4)
    assert resumed.epochs == 4
    again = run(resume=resumed.run_dir, model="pull:PulledCML")
    assert again.test == resumed.test
    with pytest.raises(InputError, match="model=CML: cannot change in a resumed run; it is pull:PulledCML"):
        run(resume=result.run_dir, model="CML")


def test_options_of_ones_own_are_known_and_checked(folder, toy, capsys):
    words = [f"--{key}={value}" for key, value in toy.items()]
    assert main(["train", "--model=pull:PulledCML", *words, "--pull=-1"]) == 2
    assert "error: pull=-1 (command line): must be a number >= 0" in capsys.readouterr().err
    assert main(["train", "--model=pull:PulledCML", *words, "--pul=1"]) == 2
    assert "is no option of PulledCML (did you mean pull?)" in capsys.readouterr().err
    assert main(["train", "--model=pull:PulledCML", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--pull=0.1 (a number >= 0)" in text
    assert "--margin=" in text
    (folder / "PulledCML.yaml").write_text("pull: 0.3  # (float >= 0) what it does\n")
    assert main(["train", "--model=pull:PulledCML", "--help"]) == 0
    assert "what it does" not in capsys.readouterr().out  # the class itself says otherwise


def test_options_in_a_file_beside_the_module(folder, toy, capsys):
    text = (folder / "pull.py").read_text()
    (folder / "pull.py").write_text(re.sub(r"    (default_options|option_limits).*\n", "", text))
    (folder / "PulledCML.yaml").write_text("pull: 0.3  # (float >= 0) what it does\n")
    assert prepare("pull:PulledCML", **toy).model.pull == 0.3
    assert main(["train", "--model=pull:PulledCML", "--help"]) == 0
    assert "what it does" in capsys.readouterr().out


@pytest.mark.slow
def test_the_commands_of_the_page(folder):
    for line in blocks("sh")[0].splitlines():
        program, *words = shlex.split(line)
        assert program == "recbole-hlr"
        if words[0] == "tune":
            words.append("--max-concurrent=1")  # a process for trials takes seconds to import torch
        process = Process(words, cwd=folder)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, f"{line}: {errors}"
    cells = [json.loads(file.read_text()) for file in folder.glob("bench/ml-100k/*/1/cell.json")]
    assert {cell["model"] for cell in cells} == {"CML", "pull:PulledCML"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_pull.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_what_a_module_lacks_is_not_taken_for_the_module(folder, toy):
    (folder / "lacking.py").write_text("import lack\n")
    with pytest.raises(ModuleNotFoundError, match="No module named 'lack'"):
        prepare("lacking:Mine", **toy)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere:Mine", "there is no module nowhere; must be package.module:Class"),
        ("pull:Puled", r"pull has no model Puled \(did you mean PulledCML\?\)"),
        ("pull:torch", "pull has no model torch"),
        (":Mine", "must be package.module:Class"),
        ("pull:", "pull has no model"),
        ("json:JSONDecoder", "json has no model JSONDecoder"),
    ],
)
def test_a_name_that_is_none(folder, toy, name, sentence):
    with pytest.raises(InputError, match=sentence):
        prepare(name, **toy)


def test_a_range_that_is_none(toy):
    class Wrong(CML):
        default_options = {"pull": 1.0}  # noqa: RUF012
        option_limits = {"pull": "< 3"}  # noqa: RUF012

    with pytest.raises(InputError, match=r"pull=< 3 .*Wrong.option_limits.*must be one of > 0, "):
        prepare(Wrong, **toy)


class Beside(CML):
    """Scores that depend on the users beside."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction).view(len(interaction), -1)
        return scores + torch_range(scores)


def torch_range(scores):
    return scores.new_tensor(range(len(scores))).unsqueeze(1)


class Uneven(CML):
    """Pair scores that are not those of all items."""

    def predict(self, interaction):
        return 2 * super().predict(interaction)


class ByNumber(CML):
    """Scores that depend on an item's number."""

    def full_sort_predict(self, interaction):
        scores = super().full_sort_predict(interaction).view(len(interaction), -1)
        return scores + scores.new_tensor(range(scores.shape[1]))


@pytest.mark.parametrize(
    ("model", "test"),
    [
        (Beside, "test_scores_do_not_depend_on_users_beside_or_on_memory"),
        (Uneven, "test_scores_of_pairs_are_those_of_all_items_and_of_loops"),
        (ByNumber, "test_a_permutation_of_ids_permutes_the_scores"),
    ],
)
def test_the_contract_finds_faults(model, test, tmp_path):
    contract = type("Contract", (ModelContract,), {"model": model})()
    given = contract.options_of(tmp_path)
    more = (tmp_path,) if "permutation" in test else ()
    with pytest.raises(AssertionError):
        getattr(contract, test)(given, *more)
    assert scores_of(contract.prepared(given), [1]).isfinite().all()
