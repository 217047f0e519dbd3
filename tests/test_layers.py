"""The order of the package's rooms, as setup.cfg has it; imports inside functions count."""

import logging
from pathlib import Path

import pytest
from importlinter import cli

import recbole_hlr

ROOT = Path(__file__).parents[1]


def lint(file: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.chdir(ROOT)
    status = cli.lint_imports(config_filename=str(file), no_cache=True)
    for logger in logging.root.manager.loggerDict.values():  # it disables every logger that there is
        if isinstance(logger, logging.Logger):
            logger.disabled = False
    return status


def test_a_room_imports_from_those_below_it_alone(monkeypatch):
    assert lint(ROOT / "setup.cfg", monkeypatch) == 0


@pytest.mark.parametrize(
    ("held", "broken"),
    [
        (
            "    recbole_hlr.train\n    recbole_hlr.metrics\n",
            "    recbole_hlr.metrics\n    recbole_hlr.train\n",
        ),
        ("    recbole_hlr.data.negatives\n", "    recbole_hlr.data.triplets\n"),
        ("    recbole_hlr.model.memory\n", "    recbole_hlr.model.base\n"),
    ],
    ids=["rooms", "mathematics", "models"],
)
def test_a_rule_that_is_not_kept_is_found(tmp_path, monkeypatch, held, broken):
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8")
    turned = text.replace(held, broken)
    assert turned != text
    (tmp_path / "setup.cfg").write_text(turned, encoding="utf-8")
    assert lint(tmp_path / "setup.cfg", monkeypatch) == 1


def test_every_room_and_module_has_its_place_in_the_order():
    text = (ROOT / "setup.cfg").read_text(encoding="utf-8").partition("[importlinter:contract:rooms]")[2]
    package = Path(recbole_hlr.__file__).parent
    found = {path.stem for path in package.glob("[!_]*.py")} | {
        path.parent.name for path in package.glob("*/__init__.py")
    }
    assert {name for name in found if f"recbole_hlr.{name}" not in text.split()} == set()


def test_the_root_is_short():
    assert len(list(Path(recbole_hlr.__file__).parent.glob("*.py"))) <= 9
