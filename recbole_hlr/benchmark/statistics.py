"""Intervals and tests over users.

Users are what is sampled; seeds are repeated measurements of the same users. So a bootstrap draws users,
each with all its seeds, and a test compares every user's mean over the seeds in which the user is tested.
The tests are scipy's, which has no Holm correction and no bootstrap that draws a user with all seeds.
Letters: U users, S seeds, M metrics; a cube `(U, S, M)` holds NaN where a user is not tested.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

RESAMPLES, CONFIDENCE, LEVEL = 2000, 0.95, 0.05
_BLOCK = 2**23  # weights drawn at a time: 64 MiB


def cube_of(tables: Sequence[pd.DataFrame], users: pd.Index, metrics: Sequence[str]) -> np.ndarray:
    """Return `(U, S, M)` from one table of users per seed, with NaN where a user is not tested."""
    cube = np.full((len(users), len(tables), len(metrics)), np.nan)
    for seed, table in enumerate(tables):
        cube[users.get_indexer(table["user"]), seed] = table[list(metrics)].to_numpy()
    return cube


def user_means(cube: np.ndarray) -> np.ndarray:
    """Return every user's mean over its seeds, `(U, M)`; NaN for a user who is never tested."""
    tested = ~np.isnan(cube)  # (U, S, M)
    count = tested.sum(axis=1)  # (U, M)
    return np.where(count > 0, np.nansum(cube, axis=1) / np.maximum(count, 1), np.nan)


def intervals(
    cubes: Sequence[np.ndarray], resamples: int = RESAMPLES, seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return (low, high), each `(M,)`, for every cube: the 95 % percentile bootstrap interval over users.

    Of the mean over seeds of the mean over a seed's users. All cubes have the same users, and the same
    draws of them.
    """
    users = cubes[0].shape[0]
    rng = np.random.default_rng(seed)
    drawn: list[list[np.ndarray]] = [[] for _ in cubes]
    done = 0
    while done < resamples:
        rows = min(resamples - done, max(_BLOCK // users, 1))
        weights = np.stack(
            [np.bincount(rng.integers(users, size=users), minlength=users) for _ in range(rows)]
        ).astype(np.float64)  # (rows, U)
        for cube, means in zip(cubes, drawn, strict=True):
            means.append(weighted_means(cube, weights))
        done += rows
    tail = 100 * (1 - CONFIDENCE) / 2
    found = []
    for means in drawn:
        low, high = np.nanpercentile(np.concatenate(means), [tail, 100 - tail], axis=0)
        found.append((low, high))
    return found


def weighted_means(cube: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return `(rows, M)`: for users weighted by `(rows, U)`, the mean over seeds of the seeds' means."""
    users, seeds, metrics = cube.shape
    total = (weights @ np.nan_to_num(cube).reshape(users, -1)).reshape(-1, seeds, metrics)  # (rows, S, M)
    count = weights @ (~np.isnan(cube[:, :, 0])).astype(np.float64)  # (rows, S)
    means = np.divide(total, count[..., None], out=np.full_like(total, np.nan), where=count[..., None] > 0)
    return np.nanmean(means, axis=1)


def compare(ours: np.ndarray, baseline: np.ndarray) -> dict[str, float]:
    """Return the paired comparison of `(n,)` values of the same users; positive where `ours` are larger.

    `difference` of the means; Cohen's `d_z`, the difference in standard deviations of the users'
    differences; `rank_biserial`, from -1 to 1, of the matched pairs; two-sided `t_p` and `wilcoxon_p`
    (pairs without a difference left out of the latter, as of rank_biserial). Differences are rounded to
    twelve decimals, so that equal ones, such as .3 - .2 and .4 - .3, tie.
    """
    gaps = np.round(ours - baseline, 12)  # (n,)
    moved = gaps[gaps != 0]
    found = {"users": len(gaps), "difference": float(gaps.mean())}
    if not len(moved) or len(gaps) < 2:
        return {**found, "d_z": 0.0, "rank_biserial": 0.0, "t_p": 1.0, "wilcoxon_p": 1.0}
    ranks = stats.rankdata(np.abs(moved))
    spread = gaps.std(ddof=1)
    same = len(np.unique(gaps)) == 1  # every user gains alike
    return {
        **found,
        "d_z": float(np.copysign(np.inf, gaps[0]) if same else gaps.mean() / spread),
        "rank_biserial": float((ranks * np.sign(moved)).sum() / ranks.sum()),
        "t_p": 0.0 if same else float(stats.ttest_1samp(gaps, 0).pvalue),
        "wilcoxon_p": float(stats.wilcoxon(moved).pvalue),
    }


def holm(p: Sequence[float]) -> np.ndarray:
    """Return Holm's adjusted p-values `(m,)` (Scandinavian Journal of Statistics 6, 1979)."""
    values = np.asarray(p, dtype=np.float64)
    order = np.argsort(values)
    steps = (len(values) - np.arange(len(values))) * values[order]  # (m,) m p_(1), (m - 1) p_(2), ...
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def verdict(row: pd.Series) -> str:
    """Return better or worse where both corrected tests say so, else an empty text."""
    if max(row["t_holm"], row["wilcoxon_holm"]) >= LEVEL:
        return ""
    agree = np.sign(row["difference"]) == np.sign(row["rank_biserial"])
    return ("better" if row["difference"] > 0 else "worse") if agree else ""


def groups(history: np.ndarray, values: np.ndarray, count: int = 4) -> pd.DataFrame:
    """Return the mean of `values (n,)` by quantile group of `history (n,)`: columns group, users, value.

    A group is named by the shortest and longest history in it; equal histories stay together.
    """
    table = pd.DataFrame({"history": history, "value": values}).dropna()
    table["part"] = pd.qcut(table["history"], count, labels=False, duplicates="drop")
    table["part"] = table["part"].fillna(0)  # where all histories are equal
    found = table.groupby("part").agg(
        least=("history", "min"), most=("history", "max"), users=("value", "size"), value=("value", "mean")
    )
    names = [f"{low:.0f} to {high:.0f}" for low, high in zip(found["least"], found["most"], strict=True)]
    return found.assign(group=names)[["group", "users", "value"]].reset_index(drop=True)
