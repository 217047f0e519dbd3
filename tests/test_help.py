"""What `--help` of every verb says, word by word; `python -m tests.test_help` writes it anew after a change."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from recbole_hlr.cli import main
from recbole_hlr.cli.commands import group

FOLDER = Path(__file__).parent / "data" / "help"
VERBS = [[], *([verb] for verb in sorted(group.commands))]
VERBS += [["convert", form] for form in sorted(group.commands["convert"].commands)]  # type: ignore[attr-defined]
VERBS += [["train", "--model=HLR"], ["train", "--model=MF-ALS"], ["train", "--model=BPR"]]


def name_of(words: list[str]) -> str:
    return "-".join(word.removeprefix("--model=") for word in words) or "recbole-hlr"


def help_of(words: list[str]) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*words, "--help"]) == 0
    return out.getvalue()


@pytest.mark.parametrize("words", VERBS, ids=name_of)
def test_help_is_as_it_was_written(words, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")
    assert help_of(words) == (FOLDER / f"{name_of(words)}.txt").read_text(encoding="utf-8")


def test_no_other_help_is_kept():
    assert {file.stem for file in FOLDER.glob("*.txt")} == set(map(name_of, VERBS))


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for file in FOLDER.glob("*.txt"):
        file.unlink()
    for words in VERBS:
        (FOLDER / f"{name_of(words)}.txt").write_text(help_of(words), encoding="utf-8")
