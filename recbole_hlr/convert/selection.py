"""The rows and columns of a table that are taken: a condition, a sample of users, columns that are kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_hlr.convert.check import KINDS, USER, numbers, with_point
from recbole_hlr.convert.rows import Parsed
from recbole_hlr.convert.table import OF_WHERE, Table
from recbole_hlr.convert.where import Where
from recbole_hlr.errors import InputError


class Selection:
    """What is taken of each block; `kinds` are the types of the columns that are kept, once one was seen.

    `left_out` counts rows that are not asked for.
    """

    def __init__(self, table: Table, kinds: Mapping[str, str] | None = None) -> None:
        self.table, self.left_out = table, 0
        self.where = Where(table.where, table.decimal) if table.where else None
        self.kinds, self.settled = dict(kinds or {}), kinds is not None

    def of(self, parsed: Parsed) -> Parsed:
        """Return the rows and columns of a block that are taken; `InputError` where a column is not there."""
        taken = np.ones(len(parsed.lines), dtype=bool)  # (n,)
        columns = {name: column for name, column in parsed.columns.items() if not name.startswith(OF_WHERE)}
        if self.where:
            named = {name: self._column(parsed, name) for name in self.where.columns}
            taken &= self.where.of(named).to_numpy(zero_copy_only=False)
        if self.table.sample_users is not None:
            taken &= sampled(columns[USER], self.table.sample_users, self.table.seed)
        if not taken.all():
            self.left_out += int((~taken).sum())
            keep = pa.array(taken)
            columns = {name: column.filter(keep) for name, column in columns.items()}
            parsed = Parsed(columns, parsed.lines[taken], parsed.malformed)
        if not self.settled:
            self.settled = len(parsed.lines) > 0
            for name in columns.keys() - KINDS.keys():
                said = self.table.keep.get(name)
                self.kinds[name] = said or kind_of(with_point(columns[name], self.table.decimal))
        return parsed._replace(columns=columns)

    def asked(self) -> dict[str, object]:
        """Return the options that leave rows out."""
        said = {"where": self.table.where, "sample_users": self.table.sample_users}
        return {key: value for key, value in said.items() if value is not None}

    def _column(self, parsed: Parsed, name: str) -> pa.Array:
        found = parsed.columns.get(OF_WHERE + name, parsed.columns.get(name))
        if found is None:
            there = ", ".join(parsed.columns)
            raise InputError(f"where={self.table.where}: there is no column {name}; there are {there}")
        return found


def sampled(users: pa.Array, share: float, seed: int) -> np.ndarray:
    """Say `(n,)` which rows are of a user among a share of them, who are the same in every block."""
    coded = users.dictionary_encode()
    names = coded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    if not len(names):
        return np.zeros(len(users), dtype=bool)
    hashes = pd.util.hash_array(names, hash_key=f"{seed:016d}"[:16], categorize=False)
    return (hashes < share * 2.0**64)[coded.indices.to_numpy()]


def kind_of(column: pa.Array) -> str:
    """Return the type of a column of texts: numbers, single words or several, where not all are empty."""
    there = column.filter(pc.not_equal(column, ""))
    if not len(there):
        return "token"
    if np.isfinite(numbers(there)).all():
        return "float"
    return "token_seq" if pc.any(pc.match_substring(there, " ")).as_py() else "token"
