"""How the cost of HLR grows with items I, history H, memory slots N, users U and negatives K, and its floor.

    python benchmarks/growth.py

Times ranking per user and a training step on random weights, one size varied at a time, not compiled (the
growth is the algorithm's), and fits time = size^exponent. The floor is the operations that the fast form
needs, at the rate that one large matrix product reaches on this machine.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from performance import large_catalogue, medians
from recbole.data.interaction import Interaction
from tabulate import tabulate

from recbole_hlr.host.memory import keep_freed_memory

D, BATCH = 100, 1000
RANKING = {"U": 1000, "I": 4000, "H": 20, "N": 10}
STEP = {"U": 2000, "I": 4000, "H": 20, "N": 10, "K": 4}
FACTORS = (0.5, 1, 2, 4)


def flops_of_ranking(size: dict[str, int]) -> float:
    """Operations of ranking I items for U users: the table of item pairs, attention, distances."""
    users, items, history, slots = size.values()
    pairs, table = users * items, 2 * items**2 * slots * D
    return table + pairs * (4 * history * slots + 2 * D + 2 * slots**2)


def flops_of_step(size: dict[str, int]) -> float:
    """Operations of a training step: slot logits and attention, forward once and backward twice."""
    return 3 * BATCH * (1 + size["K"]) * size["H"] * size["N"] * (2 * D + 4)


def model_of(size: dict[str, int]) -> Any:
    """Return an untrained HLR of a size."""
    return large_catalogue("HLR", size["I"], users=size["U"], max_history=size["H"], num_memories=size["N"])


def ranking(size: dict[str, int]) -> Callable[[], Any]:
    """Return what ranks all items for all users."""
    model, users = model_of(size), torch.arange(1, size["U"] + 1)
    return lambda: model.score_all(users)


def step(size: dict[str, int]) -> Callable[[], Any]:
    """Return a training step without the optimizer."""
    model = model_of(size).train()
    draw = torch.Generator().manual_seed(1)
    users = torch.randint(1, size["U"] + 1, (BATCH,), generator=draw)
    items = torch.randint(1, size["I"], (BATCH, 1 + size["K"]), generator=draw)
    batch = Interaction({"user_id": users, "item_id": items[:, 0], "neg_item_id": items[:, 1:]})
    return lambda: model.calculate_loss(batch).backward()


def peak() -> float:
    """Return operations per second of a large matrix product."""
    a = torch.randn(2000, 2000)
    seconds = []
    for _ in range(5):
        started = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - started)
    return 2 * 2000**3 / min(seconds)


def main() -> None:
    """Measure and print the table."""
    keep_freed_memory()  # as every run on a CPU does
    rate, rows = peak(), []
    for name, base, build, flops in (
        ("ranking", RANKING, ranking, flops_of_ranking),
        ("training step", STEP, step, flops_of_step),
    ):
        for letter in base:
            sizes = [{**base, letter: int(base[letter] * factor)} for factor in FACTORS]
            seconds = [medians([build(size)], 3)[0] for size in sizes]
            floors = [flops(size) / rate for size in sizes]
            logs = np.log([size[letter] for size in sizes])
            slopes = [np.polyfit(logs, np.log(values), 1)[0] for values in (seconds, floors)]
            found = ", ".join(
                f"{size[letter]}: {1e3 * s:.0f} ms" for size, s in zip(sizes, seconds, strict=True)
            )
            rows.append(
                [name, letter, found, f"{slopes[0]:.2f}", f"{slopes[1]:.2f}", f"{1e3 * floors[1]:.0f} ms"]
            )
    headers = ["what", "varied", "time", "exponent", "of the operations", "floor at the base"]
    print(f"matrix products: {rate / 1e9:.0f} GFLOP/s; base: ranking {RANKING}, step {STEP}, B={BATCH}\n")
    print(tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    main()
