"""Generate interactions of a given size with a long tail, as arrays or as an atomic file.

    python benchmarks/generate.py L --out dataset        # dataset/L/L.inter

M is of the size of MovieLens-1M, L of MovieLens-20M as Tran et al., RecSys 2021, filter it (Table 1).
User activity and item popularity are log-normal; the pairs are distinct and otherwise random.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd


class Size(NamedTuple):
    """Users, items and interactions of a data set."""

    users: int
    items: int
    interactions: int


SIZES = {
    "S": Size(1_000, 900, 50_000),
    "M": Size(6_000, 3_500, 570_000),
    "L": Size(130_000, 11_500, 9_900_000),
}
LEAST = 10  # interactions of every user


def interactions(size: Size, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return distinct pairs, `users (nnz,)` and `items (nnz,)`, ids from 0; nnz is met within 1 %."""
    rng = np.random.default_rng(seed)
    activity = rng.lognormal(sigma=1.1, size=size.users)
    spare = size.interactions - LEAST * size.users
    counts = LEAST + (activity * spare / activity.sum()).astype(np.int64)
    counts = np.minimum(counts, size.items // 3)
    popularity = rng.lognormal(sigma=1.6, size=size.items).cumsum()
    popularity /= popularity[-1]
    pairs = np.empty(0, dtype=np.int64)
    missing = counts
    for _ in range(30):  # draw, drop what is drawn twice, draw again
        users = np.repeat(np.arange(size.users), missing)
        items = np.searchsorted(popularity, rng.random(len(users)))
        pairs = np.unique(np.concatenate([pairs, users * size.items + items]))
        missing = np.maximum(counts - np.bincount(pairs // size.items, minlength=size.users), 0)
        if missing.sum() < 0.01 * size.interactions:
            break
    rng.shuffle(pairs)
    return pairs // size.items, pairs % size.items


def write(name: str, folder: Path, seed: int = 0) -> Path:
    """Write `folder/name/name.inter`; return its path."""
    users, items = interactions(SIZES[name], seed)
    path = folder / name / f"{name}.inter"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame({"user_id:token": users + 1, "item_id:token": items + 1})
    table.to_csv(path, sep="\t", index=False)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--out", type=Path, default=Path("dataset"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(write(given.size, given.out, given.seed))
