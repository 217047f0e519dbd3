"""docs/architecture.md: every file that it names is there, and every room is in it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/.]+\.py|properties/[\w/.]+\.yaml)`", TEXT)))


@pytest.mark.parametrize("name", NAMED)
def test_a_file_that_is_named_is_there(name):
    name = name.replace("NAME", "hlr" if name.endswith(".py") else "HLR")
    places = [ROOT, ROOT / "recbole_hlr", *(ROOT / "recbole_hlr").glob("*/"), ROOT / "tests"]
    assert any((place / name).is_file() for place in places)


def test_every_room_is_in_the_picture():
    picture = TEXT.partition("```")[2].partition("```")[0]
    rooms = {path.parent.name for path in (ROOT / "recbole_hlr").glob("*/__init__.py")}
    assert {room for room in rooms if f"{room}/" not in picture} == set()
