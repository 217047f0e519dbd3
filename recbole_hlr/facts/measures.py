"""Counts of interactions, how they are spread over users and items, and who is new to a part.

Letters: n interactions, U users, I items, those without an interaction not counted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

TOPS = (0.01, 0.1, 0.2)  # shares of the items, the most frequent ones
QUANTILES = {"least": 0.0, "10 %": 0.1, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "90 %": 0.9, "most": 1.0}


class Measured(NamedTuple):
    """Interactions of every user `of_users (U,)` and item `of_items (I,)`, and how many repeat a pair."""

    of_users: np.ndarray
    of_items: np.ndarray
    repeated: int

    @property
    def interactions(self) -> int:
        """All of them, repeated ones included."""
        return int(self.of_users.sum())

    @property
    def density(self) -> float:
        """Pairs that there are among all pairs of a user and an item."""
        pairs = len(self.of_users) * len(self.of_items)
        return (self.interactions - self.repeated) / pairs


def measured(users: np.ndarray, items: np.ndarray) -> Measured:
    """Return the counts of n > 0 interactions of `users (n,)` and `items (n,)`, whole numbers >= 0."""
    of_users, of_items = np.bincount(users), np.bincount(items)
    pairs = users.astype(np.int64) * len(of_items) + items
    return Measured(of_users[of_users > 0], of_items[of_items > 0], len(pairs) - len(pd.unique(pairs)))


def sizes(found: Measured) -> dict[str, float]:
    """Return how many there are of what, and the density."""
    return {
        "users": len(found.of_users),
        "items": len(found.of_items),
        "interactions": found.interactions,
        "repeated pairs": found.repeated,
        "density": found.density,
    }


def tail(found: Measured) -> dict[str, float]:
    """Return the shares of the interactions that the most frequent items have, and the Gini coefficient."""
    shares = {f"top {share:.0%} of items".replace("%", " %"): top(found.of_items, share) for share in TOPS}
    return {**shares, "Gini of items": gini(found.of_items), "Gini of users": gini(found.of_users)}


def top(counts: np.ndarray, share: float) -> float:
    """Return what part of the sum the largest of `counts (I,)` have: a `share` of them, at least one."""
    largest = np.sort(counts)[::-1][: max(1, round(share * len(counts)))]
    return float(largest.sum() / counts.sum())


def gini(counts: np.ndarray) -> float:
    """Return the Gini coefficient of `counts (I,)`: 0 where all are alike, towards 1 where one has all."""
    ranks = np.arange(1, len(counts) + 1)
    return float(2 * (ranks * np.sort(counts)).sum() / (len(counts) * counts.sum()) - 1 - 1 / len(counts))


def lengths(counts: np.ndarray) -> dict[str, float]:
    """Return quantiles of `counts (U,)`: each is a count that occurs."""
    found = np.quantile(counts, list(QUANTILES.values()), method="lower")
    return dict(zip(QUANTILES, map(int, found), strict=True))


def new_ones(ids: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Say which of `ids (n,)` are not among the `known (m,)`, which may repeat."""
    seen = np.zeros(max(ids.max(initial=-1), known.max(initial=-1)) + 1, dtype=bool)
    seen[known] = True
    return ~seen[ids]
