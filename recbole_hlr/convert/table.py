"""What may be said of a table: its columns, its form where that is not recognised, which rows and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from recbole_hlr.convert.check import ITEM, PLAYS, RATING, TIME, USER
from recbole_hlr.convert.dates import ORDERS
from recbole_hlr.errors import InputError, invalid, nearest

FIELDS = {"user": USER, "item": ITEM, "rating": RATING, "count": PLAYS, "time": TIME}
SEPARATORS = {"tab": "\t", "blanks": " ", "comma": ",", "semicolon": ";", "bar": "|", r"\t": "\t"}
FORMS = ("values", "json", "python", "adjacency", "blocks", "matrix", "lists")
QUOTES = ("doubled", "escaped", "kept", "off")
DECIMALS = (".", ",")
CHOICES = {"form": FORMS, "quotes": QUOTES, "decimal": DECIMALS, "dates": ORDERS}


@dataclass(frozen=True)
class Table:
    """What is said of a table; None is left to be recognised.

    `columns` names by field (user_id, item_id, rating or play_count, timestamp) a column, by its name or,
    from 1, its number. `header`: whether the first line names the columns. `skip_lines`: how many come
    before it. `separator`: what stands between values, or a word of `SEPARATORS`.
    """

    columns: Mapping[str, str]
    form: str | None = None
    separator: str | None = None
    header: bool | None = None
    skip_lines: int | None = None
    quotes: str | None = None
    decimal: str | None = None
    dates: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Table:
        """Return the options of a command line, or of Python; `InputError` for what they may not be."""
        said = {key: value for key, value in given.items() if value is not None}
        known = {*FIELDS, *(field.name for field in fields(cls))}
        for key, value in said.items():
            if key not in known:
                raise InputError(f"{key}={value}: is no option of a table{nearest(key, known)}")
            if key in CHOICES and value not in CHOICES[key]:
                raise invalid(key, value, "", f"one of {', '.join(CHOICES[key])}")
        columns = dict(said.pop("columns", {}))
        columns |= {field: str(said.pop(key)) for key, field in FIELDS.items() if key in said}
        if not set(columns) <= set(FIELDS.values()):
            raise InputError(f"columns={columns}: must name no other than {list(FIELDS.values())}")
        if RATING in columns and PLAYS in columns:
            raise InputError("count", "cannot be given with rating", option="count")
        if said.get("skip_lines", 0) < 0:
            raise invalid("skip_lines", said["skip_lines"], "", "0 or more")
        separator = said.get("separator")
        if separator is not None:
            said["separator"] = SEPARATORS.get(separator, separator)
            if not said["separator"] or set(said["separator"]) & set('"\n\r'):
                raise invalid("separator", separator, "", "a text without quote or line break")
        return cls(columns, **said)
