"""How many users, items and interactions there are, before and after a data set configuration's filters.

Memory grows with users and items, not with interactions: these go to a scratch file as numbers, 24
bytes each, and are read back in parts. By hand, for polars, which counts the same in a fifth of the lines,
holds the interactions to drop repeated ones: 1.2 GB for 20 million, where this takes 0.5.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from recbole_hlr.convert.check import Rows
from recbole_hlr.protocols import Given

ROW = np.dtype([("user", "<i4"), ("item", "<i4"), ("value", "<f8"), ("time", "<f8")])
NUMBERED = np.dtype([("row", "<i8"), ("of", ROW)])
PART = 2**21  # interactions that are in memory at a time


class Counts(NamedTuple):
    """The size of a data set."""

    users: int
    items: int
    interactions: int
    median: float  # interactions of a user

    @property
    def density(self) -> float:
        """Interactions among all pairs of a user and an item."""
        return self.interactions / (self.users * self.items) if self.interactions else 0.0


class Tally:
    """Counts rows as they are written."""

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.users: dict[str, int] = {}
        self.items: dict[str, int] = {}
        self.interactions = 0
        self._file = scratch.open("wb")

    def add(self, rows: Rows) -> None:
        """Count the rows of a block."""
        coded = np.zeros(len(rows.users), dtype=ROW)
        coded["user"] = codes(rows.users, self.users)
        coded["item"] = codes(rows.items, self.items)
        coded["value"] = 0 if rows.value is None else rows.value
        coded["time"] = 0 if rows.time is None else rows.time
        coded.tofile(self._file)
        self.interactions += len(coded)

    def close(self) -> None:
        """End the scratch file, so that it can be read."""
        self._file.close()

    def parts(self) -> Iterator[np.ndarray]:
        """Yield all interactions in parts, in the order of the file."""
        with self.scratch.open("rb") as file:
            while len(part := np.fromfile(file, dtype=ROW, count=PART)):
                yield part

    def parts_by_user(self) -> Iterator[pd.DataFrame]:
        """Yield all interactions by row, in parts of whole users, for which they are sorted into files."""
        of_user = np.zeros(len(self.users), dtype=np.int64)  # (U,)
        for part in self.parts():
            of_user += np.bincount(part["user"], minlength=len(of_user))
        last = np.searchsorted(np.cumsum(of_user), np.arange(PART, self.interactions + PART, PART))
        ends = np.unique(np.minimum(last + 1, len(of_user)))  # of the users of each part
        files = [self.scratch.with_suffix(f".{number}") for number in range(len(ends))]
        with contextlib.ExitStack() as stack:
            opened, row = [stack.enter_context(file.open("wb")) for file in files], 0
            for part in self.parts():
                numbered = np.empty(len(part), dtype=NUMBERED)
                numbered["row"], numbered["of"] = np.arange(row, row + len(part)), part
                row += len(part)
                place = np.searchsorted(ends, part["user"], side="right")  # (n,)
                for number in np.unique(place):
                    numbered[place == number].tofile(opened[number])
        for file in files:
            part = np.fromfile(file, dtype=NUMBERED)
            file.unlink()
            yield pd.DataFrame(part["of"], index=part["row"])


def codes(column: pa.DictionaryArray, known: dict[str, int]) -> np.ndarray:
    """Return the number `(n,)` of each text, new texts getting the next ones in `known`."""
    texts = column.dictionary.to_pylist()
    numbers = np.fromiter((known.setdefault(text, len(known)) for text in texts), np.int32, len(texts))
    return numbers[column.indices.to_numpy()]


def summarize(tally: Tally, config: Given, value_field: str) -> tuple[Counts, Counts, int]:
    """Return the counts before and after the filters of `config`, and how many lines repeat a pair.

    The filters are RecBole's, in its order: `rm_dup_inter`, `val_interval`, then repeatedly
    `user_inter_num_interval` and `item_inter_num_interval`.
    """
    repeated, scratch = 0, tally.scratch.with_suffix(".kept")
    sizes = len(tally.users), len(tally.items)
    with scratch.open("wb") as file:
        for part in tally.parts_by_user():
            pairs = part["user"].to_numpy(np.int64) * sizes[1] + part["item"].to_numpy()  # (n,)
            repeated += int((np.diff(np.sort(pairs)) == 0).sum())
            if config:
                kept = filtered(part, config, value_field)
                kept[["user", "item"]].to_numpy(dtype=np.int32).tofile(file)
    before = size(*degrees(((part["user"], part["item"]) for part in tally.parts()), sizes))
    return before, core(scratch, sizes, config) if config else before, repeated


def filtered(part: pd.DataFrame, config: Given, value_field: str) -> pd.DataFrame:
    """Return the interactions of whole users that the filters by pair and by value leave."""
    if config.get("rm_dup_inter"):
        if "timestamp" in config["load_col"]["inter"]:
            part = part.sort_values("time", kind="stable")
        part = part.drop_duplicates(["user", "item"], keep=config["rm_dup_inter"])
    for field, interval in (config.get("val_interval") or {}).items():
        column = {value_field: "value", "timestamp": "time"}[field]
        part = part[within(part[column].to_numpy(), interval)]
    return part


def core(scratch: Path, sizes: tuple[int, int], config: Given) -> Counts:
    """Return the counts when users and items with too few interactions are dropped until none is left."""
    intervals = [config.get(f"{side}_inter_num_interval", "[0,inf)") for side in ("user", "item")]
    alive = [np.ones(size, dtype=bool) for size in sizes]  # (U,), (I,)
    while True:
        counts = degrees(pairs_of(scratch, alive), sizes)
        wrong = [(n > 0) & ~within(n, interval) for n, interval in zip(counts, intervals, strict=True)]
        if not any(side.any() for side in wrong):
            return size(*counts)
        alive = [was & ~now for was, now in zip(alive, wrong, strict=True)]


def pairs_of(scratch: Path, alive: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pairs (user, item) of a file whose user and item are alive, in parts."""
    with scratch.open("rb") as file:
        while len(part := np.fromfile(file, dtype=np.int32, count=2 * PART)):
            users, items = part.reshape(-1, 2).T
            keep = alive[0][users] & alive[1][items]
            yield users[keep], items[keep]


def degrees(
    parts: Iterator[tuple[np.ndarray, np.ndarray]], sizes: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of interactions of each user `(U,)` and of each item `(I,)`."""
    users, items = (np.zeros(size, dtype=np.int64) for size in sizes)
    for of_users, of_items in parts:
        users += np.bincount(of_users, minlength=len(users))
        items += np.bincount(of_items, minlength=len(items))
    return users, items


def size(users: np.ndarray, items: np.ndarray) -> Counts:
    """Return the counts from the interactions of each user and each item."""
    some = users[users > 0]
    return Counts(
        len(some), int((items > 0).sum()), int(some.sum()), float(np.median(some)) if len(some) else 0.0
    )


def within(numbers: np.ndarray, intervals: str) -> np.ndarray:
    """Say which numbers are in RecBole's intervals, such as `[10,inf)` or `[1,2];(5,9]`."""
    inside = np.zeros(len(numbers), dtype=bool)
    for left, low, high, right in re.findall(r"([\[(])([^,;]+),([^,;]+)([\])])", intervals):
        above = numbers >= float(low) if left == "[" else numbers > float(low)
        below = numbers <= float(high) if right == "]" else numbers < float(high)
        inside |= above & below
    return inside
