"""A small data set on disk, and options that make a run take a second."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_hlr import run
from recbole_hlr.host import recbole as compat
from recbole_hlr.host.ray import RAY_ENVIRONMENT, environment, ray_cluster, ray_local

# A search refuses a Ray that listens to all.
with environment({**RAY_ENVIRONMENT, **ray_local()}):
    import ray  # noqa: F401
compat.quiet_host()
# A shell starts `command &` with Ctrl-C ignored, and the processes that the tests stop would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def write_atomic(folder: Path, name: str, users: int = 23, items: int = 17, seed: int = 0) -> Path:
    """Write `folder/name/name.inter`: random interactions, 4 to 8 per user, tokens u1.. and i1.. ."""
    rng = np.random.default_rng(seed)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(1, users + 1):
        for item in rng.choice(items, size=rng.integers(4, 9), replace=False):
            lines.append(f"u{user}\ti{item + 1}\t{rng.integers(1, 6)}\t{rng.integers(1000)}")
    path = folder / name / f"{name}.inter"
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def short_runs(folder: Path, items: str) -> Callable[..., str]:
    """Return a function that gives the run of a model, made once, on one data set whose .item file is `items`."""
    write_atomic(folder / "data", "toy").with_suffix(".item").write_text(items)
    options = {"data_path": folder / "data", "checkpoint_dir": folder / "runs", "embedding_size": 6}
    made: dict[tuple, str] = {}

    def run_of(name: str, **more) -> str:
        key = (name, *more.items())
        if key not in made:
            made[key] = run(name, "toy", **options, **more, epochs=2, show_progress=False).run_dir
        return made[key]

    return run_of


@pytest.fixture
def toy(tmp_path: Path) -> dict:
    """Options of a run on a small data set; everything is written below `tmp_path`."""
    write_atomic(tmp_path / "data", "toy")
    return {
        "dataset": "toy",
        "data_path": str(tmp_path / "data"),
        "checkpoint_dir": str(tmp_path / "runs"),
        "embedding_size": 6,
        "epochs": 3,
        "train_batch_size": 16,
        "show_progress": False,
    }


@pytest.fixture
def arguments(toy: dict) -> list[str]:
    """Return the same options as a command line, without the model."""
    return [f"--{key}={value}" for key, value in toy.items()]


@pytest.fixture(scope="session")
def ray_up() -> Iterator[None]:
    """Keep one Ray for all tests of a process that need one."""
    with ray_cluster():
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Keep the small tensors of the tests on one thread."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules whose tests take longest, so that no worker is left with them in the end."""
    slow = ["test_tune", "test_package", "test_search", "test_benchmark"]
    items.sort(key=lambda item: slow.index(item.path.stem) if item.path.stem in slow else len(slow))
