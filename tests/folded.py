"""Strong generalisation on MovieLens-100K: what users who are folded in find, and what they find where trained on.

    python -m tests.folded CML --epochs=20     # and any other options of a run

Every tenth user is held out of one of two runs. 80 % of its history, the training part of the other run, is
given, and the rest is to be found. Prints NDCG@10 of both, their ratio, and the milliseconds of a user's vector.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import recbole
import torch

from recbole_hlr import load, run
from recbole_hlr.options.command_line import parse_arguments
from recbole_hlr.recommend.histories import histories_of
from recbole_hlr.train.folding import fold_in


class Found(NamedTuple):
    """NDCG@10 of the held out users: trained on, folded in, told what is popular; a vector's milliseconds."""

    trained: float
    folded: float
    popular: float
    wall: float
    cpu: float


def strong_generalisation(name: str, folder: Path, **options: Any) -> Found:
    """Train both runs below `folder`, and ask both."""
    file = Path(recbole.__file__).parent / "dataset_example" / "ml-100k" / "ml-100k.inter"
    table = pd.read_csv(file, sep="\t", dtype=str)
    users = table["user_id:token"]
    held = sorted(users.unique(), key=int)[::10]
    options = {"show_progress": False, **options, "data_path": folder, "checkpoint_dir": folder / "runs"}
    fitted = {}
    for part, rows in (("all", table), ("rest", table[~users.isin(held)])):
        (folder / part).mkdir()
        rows.to_csv(folder / part / f"{part}.inter", sep="\t", index=False)
        fitted[part] = load(run(name, part, **options).run_dir)
    data, rest = fitted["all"].data, fitted["rest"]
    lists = {user: data.history.flat(torch.tensor([data.user_tokens.index(user)]))[0] for user in held}
    given = {user: [data.item_tokens[item] for item in items] for user, items in lists.items()}
    every = table.groupby("user_id:token")["item_id:token"].agg(set)
    wanted = {user: every[user] - set(given[user]) for user in held}
    _, _, history = histories_of(given, rest._users, rest._items, "ignore")
    wall, cpu = time.perf_counter(), time.process_time()
    fold_in(rest.model, history, name)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Found(
        ndcg(fitted["all"].recommend(held), wanted),
        ndcg(rest.recommend_for(given), wanted),
        ndcg(rest.recommend_for(dict.fromkeys(held, ())), wanted),
        1000 * wall / len(held),
        1000 * cpu / len(held),
    )


def ndcg(table: pd.DataFrame, wanted: dict[str, set[str]]) -> float:
    """Return the mean NDCG@10 of a table of ten items for every user."""
    found = []
    for user, items in table.groupby("user")["item"]:
        gain = sum(1 / math.log2(rank + 2) for rank, item in enumerate(items) if item in wanted[user])
        found.append(gain / sum(1 / math.log2(n + 2) for n in range(min(10, len(wanted[user])))))
    assert len(found) == len(wanted)
    return sum(found) / len(found)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        found = strong_generalisation(sys.argv[1], Path(folder), **parse_arguments(sys.argv[2:]))
    print(f"NDCG@10 trained {found.trained:.4f}, folded in {found.folded:.4f}, popular {found.popular:.4f}")
    print(
        f"ratio {found.folded / found.trained:.3f}, {found.wall:.1f} ms a user, {found.cpu:.1f} ms of a CPU"
    )
