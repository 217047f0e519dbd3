"""What may be said of a table: its columns, its form where that is not recognised, which rows and columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from recbole_hlr.convert.check import ITEM, KINDS, PLAYS, RATING, TIME, USER
from recbole_hlr.convert.dates import ORDERS
from recbole_hlr.errors import InputError, invalid, nearest

FIELDS = {"user": USER, "item": ITEM, "rating": RATING, "count": PLAYS, "time": TIME}
SEPARATORS = {"tab": "\t", "blanks": " ", "comma": ",", "semicolon": ";", "bar": "|", r"\t": "\t"}
FORMS = ("values", "json", "python", "adjacency", "blocks", "matrix", "lists")
QUOTES = ("doubled", "escaped", "kept", "off")
DECIMALS = (".", ",")
AGGREGATES = ("sum", "max", "count", "last")
CHOICES = {"form": FORMS, "quotes": QUOTES, "decimal": DECIMALS, "dates": ORDERS, "aggregate": AGGREGATES}
TYPES = ("token", "float", "token_seq")
OF_WHERE = "where:"  # before the names of columns that a condition alone asks for


@dataclass(frozen=True)
class Table:
    """What is said of a table; None is left to be recognised.

    `columns` names by field (user_id, item_id, rating or play_count, timestamp) a column, by its name or,
    from 1, its number. `header`: whether the first line names the columns. `skip_lines`: how many come
    before it. `separator`: what stands between values, or a word of `SEPARATORS`. `keep`: more columns, and
    their types. `items`, `users`: files of what is known of them, `item_id` and `user_id` their columns.
    `side`: item_id or user_id where this is such a file itself.
    """

    columns: Mapping[str, str]
    form: str | None = None
    separator: str | None = None
    header: bool | None = None
    skip_lines: int | None = None
    quotes: str | None = None
    decimal: str | None = None
    dates: str | None = None
    where: str | None = None
    aggregate: str | None = None
    keep: Mapping[str, str | None] = field(default_factory=dict)
    items: str | None = None
    item_id: str | None = None
    users: str | None = None
    user_id: str | None = None
    sample_users: float | None = None
    seed: int = 0
    side: str | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Table:
        """Return the options of a command line, or of Python; `InputError` for what they may not be."""
        said = {key: value for key, value in given.items() if value is not None}
        known = {*FIELDS, *(one.name for one in fields(cls))} - {"side"}
        for key, value in said.items():
            if key not in known:
                raise InputError(f"{key}={value}: is no option of a table{nearest(key, known)}")
            if key in CHOICES and value not in CHOICES[key]:
                raise invalid(key, value, "", f"one of {', '.join(CHOICES[key])}")
        columns = dict(said.pop("columns", {}))
        columns |= {named: str(said.pop(key)) for key, named in FIELDS.items() if key in said}
        said["keep"] = kept(said.get("keep", ""))
        if "separator" in said:
            said["separator"] = SEPARATORS.get(said["separator"], said["separator"])
        table = cls(columns, **said)
        table.refuse()
        return table

    def refuse(self) -> None:
        """Raise `InputError` for what may not be, and for what cannot go together."""
        columns = self.columns
        if not set(columns) <= set(FIELDS.values()):
            raise InputError(f"columns={columns}: must name no other than {list(FIELDS.values())}")
        if RATING in columns and PLAYS in columns:
            raise InputError("count", "cannot be given with rating", option="count")
        if (self.skip_lines or 0) < 0:
            raise invalid("skip_lines", self.skip_lines, "", "0 or more")
        if self.separator is not None and (not self.separator or set(self.separator) & set('"\n\r')):
            raise invalid("separator", self.separator, "", "a text without quote or line break")
        if self.sample_users is not None and not 0 < self.sample_users <= 1:
            raise invalid("sample_users", self.sample_users, "", "above 0 and at most 1")
        if self.aggregate == "count" and {RATING, PLAYS} & set(columns):
            raise invalid("aggregate", "count", "", "sum, max or last where there is a rating or count")
        for key, file in (("item_id", "items"), ("user_id", "users")):
            if getattr(self, key) is not None and getattr(self, file) is None:
                raise InputError(key, f"needs {file}, the table whose column it is", option=key)

    def beside(self, side: str) -> Table:
        """Return what is said of the table of items, or of users: its column of ids."""
        given = self.item_id if side == ITEM else self.user_id
        return Table({side: given} if given else {}, decimal=self.decimal, side=side)


def kept(said: str | Iterable[str]) -> dict[str, str | None]:
    """Return columns `price,category:token` with their types, None where that is to be told by the values."""
    found: dict[str, str | None] = {}
    for one in said.split(",") if isinstance(said, str) else said:
        name, _, kind = one.rpartition(":")
        name, kind = (name, kind) if kind in TYPES else (one, "")
        if name.strip():
            found[name.strip()] = kind or None
        if set(name) & set(":\t\n") or name.strip() in KINDS:
            raise invalid(
                "keep", one, "", f"a column without colon or tab, called other than {', '.join(KINDS)}"
            )
    return found
