"""Lines of `performance.py` on the softmax: epochs, beside CML's and least squares'; memory of a step."""

import time
from pathlib import Path
from typing import Any

import torch
from performance import SEED, Line, generated, large_catalogue, measured_apart, medians, our_step, peak
from recbole.data.interaction import Interaction

from recbole_hlr.experiment.run import prepare

SIZE = 100  # d
MEMORY = """
import sys
sys.path.insert(0, "{here}")
from softmax import grown
print(grown("{name}", {items}))
"""


def experiment(model: str, size: str, folder: Path, **options: Any) -> Any:
    """Return the parts of a run with the shipped defaults on a generated data set."""
    columns = {"load_col": {"inter": ["user_id", "item_id"]}, "seed": SEED, "embedding_size": SIZE}
    return prepare(model, size, data_path=folder, use_gpu=False, **columns, **options)


def epoch_seconds(parts: Any, steps: int) -> float:
    """Return the seconds of an epoch, data included, from so many of its steps; two come first, uncounted."""
    parts.model.train()
    step, done, started = our_step(parts), -2, 0.0
    for batch in parts.train_data:
        if done == 0:
            started = time.perf_counter()
        step(batch)
        done += 1
        if done == steps:
            break
    return (time.perf_counter() - started) / done * len(parts.train_data)


def iteration_seconds(parts: Any) -> float:
    """Return the seconds of one iteration of implicit's least squares on the same interactions."""
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    matrix = parts.train_data.matrix
    values = torch.ones(len(matrix.items)).numpy()
    counts = csr_matrix(
        (values, matrix.items.numpy(), matrix.indptr.numpy()),
        shape=(parts.model.n_users, parts.model.n_items),
    )
    model = AlternatingLeastSquares(SIZE, iterations=1, num_threads=1, random_state=SEED)
    model.fit(counts, show_progress=False)
    (seconds,) = medians([lambda: model.fit(counts, show_progress=False)], 3)
    return seconds


def compared(folder: Path, small: str, large: str, steps: int) -> list[Line]:
    """HLR's epoch against CML's, and CML's on one thread against an iteration of ALS."""
    hlr, cml = (experiment(name, small, folder) for name in ("HLR", "CML"))
    turns = [[epoch_seconds(parts, steps) for parts in (hlr, cml)] for _ in range(3)]
    ours, theirs = (min(turn[n] for turn in turns) for n in (0, 1))
    lines = [Line(f"HLR, one epoch by the softmax on {small}", "CML, the same", ours, theirs, "s", 80, True)]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for size in dict.fromkeys((small, large)):
        parts = experiment("CML", size, folder)
        ours = min(epoch_seconds(parts, steps) for _ in range(3))
        theirs, bar = iteration_seconds(parts), 4 if size == small else 12  # U I outgrows the interactions
        what, against = (
            f"CML, one epoch by the softmax on {size}",
            "implicit's ALS, one iteration, one thread",
        )
        lines.append(Line(what, against, ours, theirs, "s", bar, True))
    torch.set_num_threads(threads)
    return lines


def grown(name: str, items: int, users: int = 16) -> float:
    """Return by how many GiB a process grows with a step of training on a catalogue, H 50, N 20."""
    from recbole_hlr.host.memory import keep_freed_memory

    model = large_catalogue(name, items, users, objective="softmax", candidates="all", train_memory=4.0)
    keep_freed_memory()
    lists = generated(items, users).history
    batch = Interaction({"user_id": lists.users(), "item_id": lists.items})
    held = peak()
    model.train()
    model.calculate_loss(batch).backward()
    return peak() - held


def sampled_row(folder: Path, size: str) -> list[str]:
    """Return a row on HLR's epoch against a sample of the catalogue, from 5 of its steps."""
    seconds = epoch_seconds(experiment("HLR", size, folder, candidates=1000), 5)
    what = f"HLR, one epoch by the softmax on {size}, 1,000 candidates"
    return [what, "", f"{seconds / 60:.1f} min", "15 min", "", "yes" if seconds < 900 else "NO"]


def memory_rows(items: int) -> list[list[str]]:
    """Return rows on the memory of a step, each measured in a process of its own."""
    rows = []
    for name in ("CML", "HLR"):
        (more,) = measured_apart(MEMORY.format(here=Path(__file__).parent, name=name, items=items))
        what = f"{name}, memory of a step against {items:,} items"
        rows.append([what, "", f"{more:.2f} GiB", "4 GiB", "", "yes" if more < 4 else "NO"])
    return rows
