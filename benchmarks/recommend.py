"""Time the export of recommendations for a generated catalogue, and its peak memory beside `eval_memory`.

    python benchmarks/recommend.py --model=CML --users=129757 --items=11508 --k=100

Random weights, d = 100, and 50 random items per user as the training part. With --implicit the same table of
users by items is ranked by `implicit`'s `recommend`, as the users in batches of 1,000, for comparison.
"""

import argparse
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.stored import StoredData
from recbole_hlr.recommend.fitted import FittedRecommender

HISTORY = 50  # items of a user


def fitted(model: str, users: int, items: int, **options: Any) -> FittedRecommender:
    """Return a recommender with random weights."""
    config = HLRConfig(model, "generated", options={"embedding_size": 100, "use_gpu": False, **options})
    generator = torch.Generator().manual_seed(1)
    start = torch.randint(1, items - HISTORY, (users, 1), generator=generator)  # (users, 1)
    lists = (start + torch.arange(HISTORY)).flatten()
    data = StoredData(
        {
            "user_field": "user_id",
            "item_field": "item_id",
            "user_tokens": ["[PAD]", *(f"u{n}" for n in range(users))],
            "item_tokens": ["[PAD]", *(f"i{n}" for n in range(items))],
            "indptr": torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(users + 1) * HISTORY]),
            "items": lists,
        }
    )
    return FittedRecommender(config.model_class(config, data).eval(), config, data)


class Memory:
    """The most resident memory above that at the start, in MiB, looked at while this lasts."""

    def __enter__(self) -> "Memory":
        self.start = self.most = resident()
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()
        return self

    def _watch(self) -> None:
        while not self.over.wait(0.01):
            self.most = max(self.most, resident())

    def __exit__(self, *error: object) -> None:
        self.over.set()
        self.thread.join()

    @property
    def grown(self) -> float:
        """The MiB that were added."""
        return self.most - self.start


def resident() -> float:
    """Return the resident memory of this process in MiB."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0]) / 2**10


def rank_by_implicit(one: FittedRecommender, k: int) -> float:
    """Return the seconds that `implicit` takes to rank all items for all users, by inner products."""
    import numpy as np
    from implicit.cpu.matrix_factorization_base import MatrixFactorizationBase
    from scipy.sparse import csr_matrix

    class Plain(MatrixFactorizationBase):
        def fit(self, user_items: object, show_progress: bool = True) -> None:
            """Do nothing: the factors are given."""

        def save(self, file: object) -> None:
            """Do nothing."""

    history = one.data.history
    shape = one.data.user_num, one.data.item_num
    seen = csr_matrix(
        (np.ones(len(history.items), np.float32), history.items.numpy(), history.indptr.numpy()), shape
    )
    plain = Plain()
    plain.user_factors, plain.item_factors = (
        table.weight.detach().numpy() for table in (one.model.user_embedding, one.model.item_embedding)
    )
    began = time.perf_counter()
    for first in range(1, shape[0], 1000):
        users = np.arange(first, min(first + 1000, shape[0]))
        plain.recommend(users, seen[users], N=k)
    return time.perf_counter() - began


def main() -> None:
    """Print one line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="CML")
    for name, default in (("users", 129_757), ("items", 11_508), ("k", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--eval-memory", type=float, default=0.5, help="GiB")
    parser.add_argument("--suffix", default=".parquet")
    parser.add_argument("--implicit", action="store_true")
    given = parser.parse_args()
    one = fitted(given.model, given.users, given.items, eval_memory=given.eval_memory)
    with tempfile.TemporaryDirectory() as folder, Memory() as memory:
        began = time.perf_counter()
        rows = one.write_recommendations(Path(folder, f"recs{given.suffix}"), k=given.k)
        seconds = time.perf_counter() - began
    print(
        f"{given.model}, {torch.get_num_threads()} threads: {rows:,} rows in {seconds:.1f} s, "
        f"{given.users / seconds:,.0f} users a second; {memory.grown:.0f} MiB above the start, "
        f"eval_memory {given.eval_memory * 1024:.0f} MiB"
    )
    if given.implicit:
        seconds = rank_by_implicit(one, given.k)
        print(f"implicit: {seconds:.1f} s, {given.users / seconds:,.0f} users a second")


if __name__ == "__main__":
    main()
