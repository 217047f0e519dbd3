"""What usually goes wrong with a data set, each said in one sentence with its figure and what to do.

A column of texts is looked at by its distinct values alone: `codes (n,)` with -1 for a missing one, and
`names (U,)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from recbole_hlr.facts.measures import Measured
from recbole_hlr.facts.times import NAMES, UNITS, moment, unit_of

MOSTLY = 0.5  # from this share on
COLD = 0.1  # of the interactions of a part, from this share on
DAY = 86_400.0


class Ids(NamedTuple):
    """A column of ids, its distinct `names (U,)`, and what one of them is called."""

    column: str
    what: str
    names: pd.Index


def of_ids(ids: Ids) -> Iterator[str]:
    """Yield what is wrong with ids."""
    column, what, names = ids
    texts = names.to_series(index=range(len(names))).astype(str)
    stripped = texts.str.strip()
    blank = stripped != texts
    if blank.any():
        twice = int(stripped[blank].isin(texts[~blank]).sum())
        also = f", and {twice:,} of them are without these another one's" if twice else ""
        yield (
            f"{column}: {blank.sum():,} {what}s' ids have blanks around them, such as "
            f"{texts[blank].iloc[0]!r}{also}; take them away before loading"
        )
    floats = stripped.str.fullmatch(r"[-+]?\d+\.0+")
    if floats.any():
        yield (
            f"{column}: {floats.sum():,} of {len(names):,} {what}s' ids look like numbers with a point, "
            f"such as {stripped[floats].iloc[0]}, as whole numbers do after a table with missing values; "
            "write them as whole numbers, so that they are the ids of other tables"
        )
    if (texts == column).any():
        yield f"{column}: one {what} is called {column}, as the header is; a line of the file repeats it"
    if len(names) == 1:
        yield f"{column}: there is one {what} alone, {texts.iloc[0]}; nothing can be learned from one"


def of_pairs(found: Measured, whole: int, dropped: bool) -> Iterator[str]:
    """Yield what is wrong with pairs, of which `whole` lines repeat another; `dropped` by rm_dup_inter."""
    everything = found.interactions
    if not found.repeated:
        return
    share = found.repeated / everything
    begin = f"{found.repeated:,} of {everything:,} interactions ({share:.1%}) repeat a pair of user and item"
    if 2 * found.repeated >= everything:
        begin = f"as good as every pair is there twice or more: {begin}"
    told = f", {whole:,} of them with the same values in all columns" if whole else ""
    todo = "rm_dup_inter drops them" if dropped else "drop them with --rm_dup_inter=last, unless they count"
    yield f"{begin}{told}; {todo}"


def of_counts(found: Measured) -> Iterator[str]:
    """Yield what is wrong with how often users and items occur."""
    for what, counts in (("item", found.of_items), ("user", found.of_users)):
        single = int((counts == 1).sum())
        if len(counts) > 1 and single >= MOSTLY * len(counts):
            yield (
                f"{single:,} of {len(counts):,} {what}s have one interaction alone; leave out the rarest "
                f'with --{what}_inter_num_interval="[5,inf)"'
            )


def of_times(column: str, times: np.ndarray, now: float) -> Iterator[str]:
    """Yield what is wrong with a column of `times (n,)`; `now` in seconds since 1970."""
    known = times[np.isfinite(times)]
    if not len(known):
        yield f"{column}: no interaction has a time"
        return
    if len(known) < len(times):
        yield f"{column}: {len(times) - len(known):,} of {len(times):,} interactions have no time"
    if len(known) > 1 and known.min() == known.max():
        yield f"{column}: is {known[0]:.10g} everywhere, so that nothing is in an order of time"
        return
    unit = unit_of(known)
    if unit in NAMES:
        yield (
            f"{column}: counts {NAMES[unit]} since 1970, not seconds; the order is right, but divide by "
            f"{UNITS[unit]:,.0f} where dates matter"
        )
    late = 0 if unit is None else int((known / UNITS[unit] > now + DAY).sum())
    if late:
        yield (
            f"{column}: {late:,} of {len(times):,} interactions are in the future, the last on "
            f"{moment(known.max(), unit)}"
        )


def of_numbers(column: str, values: np.ndarray) -> Iterator[str]:
    """Yield what is wrong with a column of ratings, counts or the like, `values (n,)`."""
    known = values[np.isfinite(values)]
    if len(known) < len(values):
        yield f"{column}: {len(values) - len(known):,} of {len(values):,} interactions have no finite value"
    if len(known) > 1 and known.min() == known.max():
        yield f"{column}: is {known[0]:g} everywhere, so that no threshold tells anything apart"


def of_parts(parts: pd.DataFrame) -> Iterator[str]:
    """Yield what is wrong with parts, by their row each of `Description.parts`."""
    for name, row in parts.iloc[1:].iterrows():
        if row["interactions"] == 0:
            yield f"the {name} part is empty"
        for what in ("user", "item"):
            share = row[f"interactions of new {what}s"] / max(row["interactions"], 1)
            if share >= COLD:
                yield (
                    f"{share:.1%} of the {name} part is of {what}s without an interaction in the training "
                    "part, of which nothing is known"
                )
