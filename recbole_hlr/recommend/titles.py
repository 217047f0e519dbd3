"""The titles of items: of an atomic `.item` file, or of any table with a column of ids and one of titles."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from recbole_hlr.data.ids import token_of
from recbole_hlr.data.packed import lying
from recbole_hlr.data.tables import read_table
from recbole_hlr.errors import InputError
from recbole_hlr.protocols import RunConfig


def titles_in(path: Path, item_field: str, encoding: str = "utf-8") -> dict[str, str]:
    """Return the titles of a file by the items' ids, those that are empty left out.

    The ids are the column `item_field`, or else the first whose name ends in "id" or is "item"; the titles
    are the first with "title" in its name, or else with "name". Raises `InputError` where one is missing.
    """
    table = read_table(path, encoding)
    names = table.column_names
    by_id = item_field if item_field in names else _first(names, lambda n: n == "item" or n.endswith("id"))
    title = _first(names, lambda n: "title" in n) or _first(names, lambda n: "name" in n)
    for found, needed in ((by_id, f"ids, such as {item_field}"), (title, "titles, such as title")):
        if found is None or names.count(found) > 1:
            raise InputError(f"{path}: must have one column of {needed}; it has {', '.join(names)}")
    ids, titles = (table.column(name).to_pylist() for name in (by_id, title))
    return {
        token_of(one, f"{path}, column {by_id}"): str(text).strip()
        for one, text in zip(ids, titles, strict=True)
        if text
    }


def item_file(config: RunConfig) -> Path | None:
    """Return the `.item` file beside the interactions of a run's data set, None where there is none."""
    return lying(Path(config["data_path"], f"{config.dataset}.item"))


def _first(names: Iterable[str], fits: Callable[[str], bool]) -> str | None:
    return next((name for name in names if fits(name.casefold())), None)
