"""What a person gives as ids of users or items: as texts of the data set's files, and as numbers."""

from __future__ import annotations

import logging
import operator
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from recbole_hlr.data.tables import chosen, column_of, read_table, shortly, table_of
from recbole_hlr.errors import InputError

log = logging.getLogger("recbole_hlr")

NAMED = 5  # unknown ids that a message names


class Ids:
    """The ids of a run's users, or of its items: `what` they are, and their `tokens`, from the first on.

    `columns` are the names by which a table's column of them is known.
    """

    def __init__(self, what: str, field: str, tokens: Sequence[str]) -> None:
        self.what, self.columns = what, (field, what)
        self.tokens = np.array(tokens, dtype=object)  # padding, 0, included
        self.numbers = {token: i for i, token in enumerate(tokens) if i}

    def find(
        self, given: object, unknown: str = "raise", become: str = "are left out"
    ) -> tuple[np.ndarray, Tensor]:
        """Return ids `(n,)`, as `tokens_of` takes them, as tokens and as numbers, 0 for one that is unknown.

        Where there are such, raises `InputError`, if `unknown` is "raise"; if it is not "ignore", a message
        says what they `become`.
        """
        names = self.tokens_of(given)
        others = [name for name in dict.fromkeys(names) if name not in self.numbers]
        if others and unknown == "raise":
            raise InputError(
                f"{self.what} {others[0]}: is not among the {len(self.numbers)} {self.what}s of the run"
            )
        if others and unknown != "ignore":
            log.warning("%d unknown %s(s) %s: %s", len(others), self.what, become, told(others))
        numbers = torch.tensor([self.numbers.get(name, 0) for name in names], dtype=torch.int64)
        return np.array(names, dtype=object), numbers

    def tokens_of(self, given: object) -> list[str]:
        """Return ids as the data set's tokens: a text as it is, an integer by its digits.

        They are one, an iterable of them, a column or a table of pandas or of a library with the Arrow
        interface, or the `Path` of a file that `read_table` reads. Of a table that column is taken which
        has one of the names in `columns`, or the only one. Raises `InputError`.
        """
        if isinstance(given, Path):
            given = self._of_file(given)
        elif isinstance(given, pd.DataFrame):
            given = given[chosen(given.columns, self.columns, f"{self.what}s")]
        elif hasattr(given, "__arrow_c_stream__") and not isinstance(given, pd.Series):
            given = self._of_arrow(given)
        given = given.tolist() if hasattr(given, "tolist") else given
        if isinstance(given, Iterable) and not isinstance(given, str | bytes):
            return [token_of(one, f"{self.what}s") for one in given]
        return [token_of(given, f"{self.what}s")]

    def _of_file(self, path: Path) -> list[Any]:
        table = read_table(path)
        name = chosen(table.column_names, self.columns, path)
        if name in self.numbers:
            raise InputError(
                f"{path}: must begin with a line of its columns' names, such as {self.columns[0]}; {name} is "
                f"a {self.what} of the run"
            )
        return column_of(table, self.columns, path)

    def _of_arrow(self, given: Any) -> list[Any]:
        try:
            values = pa.chunked_array(given)
            if not pa.types.is_struct(values.type):
                return values.to_pylist()
            table = pa.table(given)
        except (pa.ArrowException, TypeError) as error:
            what = f"{self.what}s: cannot be read as a column or a table"
            raise InputError(f"{what} ({shortly(error)})") from None
        return column_of(table, self.columns, f"{self.what}s")


def flattened(
    given: object, users: Ids, items: Ids, what: object = "histories"
) -> tuple[list[str], list[str], list[str]]:
    """Return the users and the items of all interactions, and the names of all users, each once.

    `what` a table is called in a message, unless it is a file. Raises `InputError`.
    """
    if isinstance(given, Mapping):
        names = users.tokens_of(list(given))
        lists = [items.tokens_of(one) for one in given.values()]
        owners = [name for name, one in zip(names, lists, strict=True) for _ in one]
        return owners, [item for one in lists for item in one], list(dict.fromkeys(names))
    what = given if isinstance(given, Path) else what
    table = table_of(given)
    if len(table.column_names) < 2:
        raise InputError(f"{what}: must have the columns {users.columns[0]} and {items.columns[0]}")
    owners = users.tokens_of(column_of(table, users.columns, what))
    return owners, items.tokens_of(column_of(table, items.columns, what)), list(dict.fromkeys(owners))


def told(names: Sequence[str]) -> str:
    """Return the first of some ids, for a message."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")


def token_of(one: object, what: str) -> str:
    """Return an id as the data set's token; `InputError`, which begins with `what`, for what is no id."""
    token = one if isinstance(one, str) else whole_number(one)
    if token is None:
        raise InputError(
            f"{what}: {reprlib.repr(one)} is no id; must be a text or an integer, as in the data set's files"
        )
    return str(token)


def whole_number(value: object) -> int | None:
    """Return an integer of any type, numpy's and torch's included, as Python's; None for all else."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    return operator.index(value)
