"""Time training and ranking against the equations as they stand, against CML and against RecBole's BPR.

    python benchmarks/performance.py                  # small: minutes
    python benchmarks/performance.py --full --out docs/performance-table.md

Each line is a ratio of two medians taken in one process, in turn, on random weights and generated
interactions (`benchmarks/generate.py`); d = 100, H = 50, N = 20, float32. M: 6,000 users, 3,500 items;
L: 130,000 users, 11,500 items, 9.9 M interactions. "Plain" is `benchmarks/plain.py`.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import plain
import torch
from generate import SIZES, Size, interactions
from recbole.data.interaction import Interaction
from tabulate import tabulate
from torch import Tensor

from recbole_hlr.experiment.run import prepare
from recbole_hlr.host import recbole as compat

H, N, BATCH, SEED = 50, 20, 1000, 1
PAPER = {
    "objective": "triplet",
    "max_history": H,
    "num_memories": N,
    "train_batch_size": BATCH,
    "train_neg_sample_args": {"sample_num": 1},
    "embedding_size": 100,
    "negative_reduction": "mean",
}


class Line(NamedTuple):
    """One measured ratio: `ratio` must be at least, or at most, `bar`."""

    what: str
    against: str
    ours: float
    theirs: float
    unit: str
    bar: float
    at_most: bool = False

    @property
    def ratio(self) -> float:
        """How many times faster; where `at_most`, how many times slower."""
        return self.ours / self.theirs if self.at_most else self.theirs / self.ours

    def _times(self) -> list[str]:
        return [f"{self.ours:.3g} {self.unit}", f"{self.theirs:.3g} {self.unit}"]

    def row(self) -> list[str]:
        """Return the line's cells."""
        met = self.ratio <= self.bar if self.at_most else self.ratio >= self.bar
        kind = "slower, at most" if self.at_most else "faster, at least"
        if not self.bar:  # for orientation
            return [*self[:2], *self._times(), f"{self.ratio:.1f} x faster", ""]
        return [
            self.what,
            self.against,
            *self._times(),
            f"{self.ratio:.1f} x {kind} {self.bar:g}",
            "yes" if met else "NO",
        ]


def medians(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Return the median seconds of each call; the calls take turns, the first turn is not counted."""
    seconds: list[list[float]] = [[] for _ in calls]
    for turn in range(repeats + 1):
        for n, call in enumerate(calls):
            started = time.perf_counter()
            call()
            if turn:
                seconds[n].append(time.perf_counter() - started)
    return [statistics.median(values) for values in seconds]


def write_data(size: str, folder: Path) -> None:
    """Write a generated data set, if it is not there yet."""
    if not (folder / size / f"{size}.inter").exists():
        import generate

        generate.write(size, folder)


def experiment(model: str, size: str, folder: Path, **options: Any) -> Any:
    """Return the parts of a run on a generated data set."""
    known = {**PAPER, **options}
    if model in ("CML", "BPR"):
        known = {k: v for k, v in known.items() if k not in ("max_history", "num_memories", "compile")}
    if model == "BPR":
        del known["negative_reduction"], known["objective"]
    return prepare(
        model, size, data_path=folder, load_col={"inter": ["user_id", "item_id"]}, seed=SEED, **known
    )


@torch.no_grad()
def rank_plainly(model: Any, users: Tensor, plus: bool, chunk: int = 1_000_000) -> Tensor:
    """Return `(B, I)` scores user by user, (chunk, H, d) relations at a time: by default (I, H, d)."""
    rows = []
    for user in users.split(1):
        history = model.evaluation_history(user)
        known = (model.user_embedding(user), model.item_embedding(history.items), history.mask, model.memory)
        user_e, history_e, mask, memory = known
        parts = [
            plain.distances(user_e, item_e.unsqueeze(0), history_e, mask, memory, plus)
            for item_e in model.item_embedding.weight.split(chunk)
        ]
        rows.append(-torch.cat(parts, dim=1))
    return torch.cat(rows)


def ranking_lines(folder: Path, size: str, repeats: int) -> list[Line]:
    """Ranking of all users: HLR and HLR++ against the plain equations, HLR against CML."""
    lines, models = [], {}
    for name in ("HLR", "HLR++", "CML"):
        parts = experiment(name, size, folder, compile="on", use_gpu=False)
        models[name] = parts
        parts.model.eval()
    everyone = torch.arange(1, SIZES[size].users)
    some = everyone[torch.linspace(0, len(everyone) - 1, 6).long()]
    for name in ("HLR", "HLR++"):
        model = models[name].model
        difference = (model.score_all(some) - rank_plainly(model, some, name == "HLR++")).abs().max()
        assert difference < 1e-4, f"{name}: off by {difference}"

        def plainly(m: Any = model, plus: bool = name == "HLR++") -> None:
            rank_plainly(m, some, plus)

        ours, *theirs = medians(
            [
                lambda m=model: m.score_all(everyone),
                plainly,
                lambda m=model, plus=name == "HLR++": rank_plainly(m, some, plus, 500),
            ],
            repeats,
        )
        apart = measured_apart(PLAIN.format(here=Path(__file__).parent, name=name, items=SIZES[size].items))
        against = (
            "plain, (I, H, d)",
            "plain, (500, H, d)",
            "plain, in a process without recbole_hlr's memory",
        )
        for text, seconds, bar in zip(against, (*theirs, *apart), (40, 0, 100), strict=True):
            per_user = 1e3 * ours / len(everyone), 1e3 * seconds / len(some)
            lines.append(Line(f"{name}, all users ranked on {size}", text, *per_user, "ms/user", bar))
    calls = [
        lambda p=models[name]: p.trainer.evaluate(p.test_data, load_best_model=False)
        for name in ("HLR", "CML")
    ]
    ours, theirs = medians(calls, repeats)
    lines.append(
        Line(f"HLR, evaluation of all users on {size}", "CML, same evaluator", ours, theirs, "s", 40, True)
    )
    return lines


def plain_step(parts: Any) -> Callable[[Interaction], None]:
    """Return a training step of the plain equations with RecBole's default Adam."""
    model = parts.model
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def step(batch: Interaction) -> None:
        users, positives = batch["user_id"], batch["item_id"]
        history = model.training_history(users, positives)
        items = torch.cat([positives.unsqueeze(1), batch["neg_item_id"]], dim=1)
        vectors = (
            model.user_embedding(users),
            model.item_embedding(items),
            model.item_embedding(history.items),
        )
        found = plain.distances(*vectors, history.mask, model.memory, plus=False)  # (B, 2)
        loss = (model.objective.margin + found[:, 0] - found[:, 1]).relu().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for table in (model.user_embedding.weight, model.item_embedding.weight):
            with torch.no_grad():
                table.mul_(1 / table.norm(dim=1, keepdim=True).clamp(min=1))

    return step


def our_step(parts: Any) -> Callable[[Interaction], None]:
    """Return a training step as `MetricTrainer` takes it."""
    model, optimizer = parts.model, parts.trainer.optimizer

    def step(batch: Interaction) -> None:
        optimizer.zero_grad()
        model.calculate_loss(batch).backward()
        optimizer.step()

    return step


def step_line(folder: Path, size: str, repeats: int) -> Line:
    """One training step of HLR against the plain equations."""
    parts, others = (
        experiment("HLR", size, folder, compile="on", use_gpu=False, lazy_adam=lazy)
        for lazy in ("auto", "off")
    )
    parts.model.train()
    batch = next(iter(parts.train_data))
    ours, theirs = our_step(parts), plain_step(others)
    for _ in range(3):  # compiles
        ours(batch)
    times = medians([lambda: ours(batch), lambda: theirs(batch)], repeats)
    milliseconds = [1e3 * value for value in times]
    return Line(f"HLR, one step by triplets on {size}", "plain, default Adam", *milliseconds, "ms", 4)


def epoch_line(folder: Path, model: str, size: str, steps: int, bar: float) -> Line:
    """Training by triplets with its loader, against RecBole's BPR with its own, scaled to one equal epoch."""
    seconds = []
    for name in (model, "BPR"):
        parts = experiment(name, size, folder, compile="on", use_gpu=False)
        parts.model.train()
        step = our_step(parts)
        for n, batch in enumerate(parts.train_data):  # compiles
            step(batch)
            if n == 3:
                break
        turns = []
        for _ in range(2):
            done, started = 0, time.perf_counter()
            for batch in parts.train_data:
                step(batch)
                done += 1
                if done == steps:
                    break
            turns.append((time.perf_counter() - started) / done * -(-SIZES[size].interactions // BATCH))
        seconds.append(min(turns))
        del parts
    return Line(f"{model}, one epoch by triplets on {size}", "RecBole's BPR", *seconds, "s", bar)


SETUP = """
import sys, time
sys.path.insert(0, "{here}")
from performance import peak
from recbole_hlr.host import recbole as compat; compat.quiet_host()
import torch
started = time.perf_counter()
import recbole_hlr
imported = time.perf_counter() - started
from recbole_hlr import prepare
started = time.perf_counter()
parts = prepare("HLR", "{size}", data_path="{folder}", load_col={{"inter": ["user_id", "item_id"]}})
next(iter(parts.train_data))
seconds = time.perf_counter() - started
print(imported, seconds, peak())
"""

PLAIN = """
import sys, torch
sys.path.insert(0, "{here}")
from performance import large_catalogue, medians, rank_plainly
model, users = large_catalogue("{name}", {items}), torch.arange(1, 7)
print(medians([lambda: rank_plainly(model, users, "{name}" == "HLR++")], 3)[0])
"""

MEMORY = """
import os, sys, torch
sys.path.insert(0, "{here}")
from performance import large_catalogue, peak
from recbole_hlr.host.memory import keep_freed_memory
model = large_catalogue("{name}", {items})
keep_freed_memory()
users = torch.arange(1, 65)
held = int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
model.score_all(users)
print(peak() - held / 2**30)
"""


def peak() -> float:
    """Return the most memory that this process has had, in GiB (Linux)."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 2**20


def generated(items: int, users: int) -> Any:
    """Return interactions of `users` with 100 of the `items` each, on average, as a checkpoint has them."""
    from recbole_hlr.data.stored import StoredData

    rows, found = interactions(Size(users, items, 100 * users))
    pairs = torch.unique(torch.stack([torch.from_numpy(rows) + 1, torch.from_numpy(found) + 1]), dim=1)
    counts = torch.bincount(pairs[0], minlength=users + 1)
    return StoredData(
        {
            "user_field": "user_id",
            "item_field": "item_id",
            "user_tokens": [str(n) for n in range(users + 1)],
            "item_tokens": [str(n) for n in range(items + 1)],
            "indptr": torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(dim=0)]),
            "items": pairs[1],
        }
    )


def large_catalogue(
    name: str, items: int, users: int = 300, max_history: int = H, num_memories: int = N, **more: Any
) -> Any:
    """Return a model of `name` for a catalogue of a size, untrained."""
    from recbole_hlr.config.config import HLRConfig

    options = {"embedding_size": 100, "compile": "off", "use_gpu": False, **more}
    if name != "CML":
        options |= {"max_history": max_history, "num_memories": num_memories}
    config = HLRConfig(name, "large", options=options)
    return config.model_class(config, generated(items, users)).eval()


def measured_apart(program: str) -> list[float]:
    """Return the numbers that a program prints, run in a process of its own."""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return [float(word) for word in found.stdout.split()]


def fixed_lines(folder: Path, size: str) -> list[list[str]]:
    """Import, set-up and the memory of ranking: rows of the table."""
    here = Path(__file__).parent
    imported, seconds, peak = measured_apart(SETUP.format(here=here, size=size, folder=folder))
    rows = [
        [
            "import recbole_hlr after torch",
            "",
            f"{imported:.2f} s",
            "1 s",
            "",
            "yes" if imported < 1 else "NO",
        ],
        [f"set-up on {size}", "", f"{seconds:.0f} s", "60 s", "", "yes" if seconds < 60 else "NO"],
        [f"peak memory of set-up on {size}", "", f"{peak:.1f} GiB", "4 GiB", "", "yes" if peak < 4 else "NO"],
    ]
    for name in ("HLR", "HLR++"):
        program = MEMORY.format(here=here, name=name, items=100_000)
        (grown,) = measured_apart(program)
        met = "yes" if grown < 2 else "NO"
        rows.append([f"{name}, memory of ranking 100,000 items", "", f"{grown:.2f} GiB", "2 GiB", "", met])
    return rows


def main() -> int:
    """Measure and print the table; return 1 where a bar is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="sizes M and L instead of S and M")
    parser.add_argument("--data", type=Path, default=Path("dataset"), help="where generated data are kept")
    parser.add_argument("--out", type=Path, help="write the table there too, as Markdown")
    given = parser.parse_args()
    compat.quiet_host()
    small, large = ("M", "L") if given.full else ("S", "M")
    repeats = 5 if given.full else 3
    for size in (small, large):
        write_data(size, given.data)
    rows: list[list[str]] = []

    def keep(found: list[list[str]]) -> None:
        rows.extend(found)
        print(tabulate(found, tablefmt="plain", disable_numparse=True), flush=True)

    import softmax  # which takes what is above

    keep([line.row() for line in softmax.compared(given.data, small, large, 20)])
    keep([softmax.sampled_row(given.data, large)])
    keep(softmax.memory_rows(100_000))
    keep([step_line(given.data, large, repeats).row()])
    keep([epoch_line(given.data, "CML", large, 200, 3).row()])
    keep([line.row() for line in ranking_lines(given.data, small, repeats)])
    keep(fixed_lines(given.data, large))
    headers = ["what", "against", "ours", "theirs", "ratio and bar", "met"]
    table = tabulate(rows, headers=headers, tablefmt="github", disable_numparse=True)
    machine = f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    text = f"{machine}, Python {platform.python_version()}\n\n{table}\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")
    return int(any(row[-1] == "NO" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
