"""Time recommendations by an index against the exact ranking, and say how many of the best ten it finds.

    python benchmarks/retrieval.py --model=CML --items=100000

Items and users are drawn around 200 centres on the unit sphere; memories are as at the start of training.
Recall is that of the exact ranking's best 10, of unseen items. The index is built once, before the clock.
"""

import argparse
import time
from typing import Any

import torch
from recommend import fitted as with_random_weights

from recbole_hlr.recommend.fitted import FittedRecommender

CENTRES, SPREAD = 200, 0.6  # of a vector around its centre, whose entries are normal


def generated(model: str, users: int, items: int, d: int, **options: Any) -> FittedRecommender:
    """Return a recommender of users and items around centres that they share."""
    one = with_random_weights(model, users, items, embedding_size=d, compile="off", **options)
    draw = torch.Generator().manual_seed(3)
    centres = torch.randn(CENTRES, d, generator=draw)
    for table in (one.model.user_embedding, one.model.item_embedding):
        near = centres[torch.randint(CENTRES, (len(table.weight),), generator=draw)]  # (T, d)
        vectors = near + SPREAD * torch.randn(near.shape, generator=draw)
        table.weight.data.copy_(torch.nn.functional.normalize(vectors, dim=1))
    if hasattr(one.model, "clip_weights"):
        one.model.clip_weights()
    return one


def timed(one: FittedRecommender, users: list[str], **how: Any) -> tuple[float, set[tuple[str, str]]]:
    """Return the milliseconds for a user, and the pairs that are recommended."""
    began = time.perf_counter()
    table = one.recommend(users, k=10, **how)
    seconds = time.perf_counter() - began
    return seconds / len(users) * 1000, set(zip(table["user"], table["item"], strict=True))


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="CML")
    for name, default in (("items", 100_000), ("users", 1000), ("d", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    one = generated(given.model, given.users, given.items, given.d)
    began = time.perf_counter()
    one.index  # noqa: B018
    built = time.perf_counter() - began
    near, found = timed(one, one.users, approximate=True)
    exact, best = timed(one, one.users)
    print(
        f"{given.model}, {given.items:,} items, d = {given.d}, {torch.get_num_threads()} threads: index "
        f"built in {built:.1f} s; recall@10 {len(found & best) / len(best):.4f}; {near:.2f} ms a user, exact "
        f"{exact:.2f} ms, {exact / near:.1f} times as fast"
    )


if __name__ == "__main__":
    main()
