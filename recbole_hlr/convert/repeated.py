"""One interaction for each pair of a user and an item: the last, with a value made of all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from recbole_hlr.convert.check import ITEM, PLAYS, RATING, TIME, USER
from recbole_hlr.convert.delimited import Delimited
from recbole_hlr.convert.rows import Parsed
from recbole_hlr.convert.source import Entry, blocks
from recbole_hlr.convert.summary import Tally
from recbole_hlr.data.typed import as_text


def merged(tally: Tally, file: Path, columns: list[str], how: str) -> Iterator[Parsed]:
    """Yield the rows of an atomic `file` that are the last of their pair, by time where there is one.

    Their rating or play count becomes `how`, the sum, max or count of all of the pair's; `last` is its own.
    Nine bytes for each row of the file are in two scratch files meanwhile, beside the rows themselves.
    """
    stays = np.memmap(file.with_name(".rows.stays"), dtype=bool, mode="w+", shape=tally.interactions)
    value = np.memmap(file.with_name(".rows.value"), dtype=np.float64, mode="w+", shape=tally.interactions)
    for part in tally.parts_by_user():
        last, values = of_pairs(part, TIME in columns, how)
        stays[last], value[last] = True, values
    field = PLAYS if how == "count" or PLAYS in columns else RATING
    layout = Delimited("\t", len(columns), {name: at for at, name in enumerate(columns)}, header=1)
    row = 0
    for block in blocks(Entry(file), "utf-8"):
        found = layout.parse(block).columns
        rows = slice(row, row + len(found[USER]))
        row = rows.stop
        keep = np.array(stays[rows])  # (n,)
        kept = {name: column.filter(pa.array(keep)) for name, column in found.items()}
        if how != "last":
            made = {field: as_text(pa.array(value[rows][keep]))}
            kept = {USER: kept.pop(USER), ITEM: kept.pop(ITEM)} | made | {**kept, **made}
        yield Parsed(kept, np.arange(int(keep.sum())), [])


def of_pairs(part: pd.DataFrame, timed: bool, how: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows `(p,)` that are the last of each pair among those of whole users, and their values."""
    pair = ["user", "item"]
    last = (part.sort_values("time", kind="stable") if timed else part).drop_duplicates(pair, keep="last")
    if how == "last":
        return last.index.to_numpy(), last["value"].to_numpy()
    values = part.groupby(pair, sort=False)["value"].transform("size" if how == "count" else how)
    return last.index.to_numpy(), values[last.index].to_numpy(dtype=np.float64)
