"""The cells of a benchmark: OUT/<data set>/<model>/<seed>/ with `cell.json` and one run directory each."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from recbole_hlr import checkpoint
from recbole_hlr.benchmark.request import Request
from recbole_hlr.config import KEYWORDS, HLRConfig
from recbole_hlr.errors import InputError
from recbole_hlr.experiment import RESUME_KEYS
from recbole_hlr.rundir import RunDir
from recbole_hlr.values import ConfigLoader, as_list, is_text, load_yaml, parse_scalar

# What may differ between a stored run and the same cell asked for anew: where it runs, not what it does.
FREE = (RESUME_KEYS - {"epochs", "stopping_step"}) | {"checkpoint_dir"}
POPULARITY = "AveragePopularity"  # reported for every cell, to hold accuracy against it


@dataclass(frozen=True)
class Cell:
    """One model (by its label) on one data set with one seed, and its folder."""

    dataset: str
    model: str
    seed: int
    out: Path = field(compare=False)

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self.out / self.dataset / self.model / str(self.seed)

    def __str__(self) -> str:
        return f"{self.dataset}, {self.model}, seed {self.seed}"

    def run_dir(self) -> RunDir | None:
        """Return the cell's run, finished or not; `InputError` where there are several."""
        found = sorted(file.parent for file in self.folder.glob("[!.]*/config.yaml"))
        if len(found) > 1:
            raise InputError(f"{self.folder}: holds {len(found)} runs; must hold one, delete the others")
        return RunDir.open(found[0]) if found else None

    def record(self) -> dict[str, Any]:
        """Return what `write` wrote."""
        try:
            return json.loads((self.folder / "cell.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def write(self, **record: Any) -> None:
        """Write what is known of the cell beside its run: its command, why it failed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        checkpoint.write_whole(self.folder / "cell.json", lambda file: file.write(text), "w")


@dataclass
class Task:
    """A cell and everything that a process needs to run it; `failure` says why it cannot be run."""

    cell: Cell
    model: str
    options: dict[str, Any]
    config_files: list[str]
    command: str
    directory: str  # the working directory, to which file names are relative
    uses_gpu: bool = False  # where there is one
    protocol: str = ""
    finished: bool = False
    failure: str | None = None


def is_finished(run_dir: RunDir | None) -> bool:
    """Say whether a run ended and left what a table needs."""
    return run_dir is not None and run_dir.result.is_file() and run_dir.users.is_file()


def plan(request: Request) -> list[Task]:
    """Return a task for every cell, in the order in which they run: a seed of everything, then the next.

    Raises `InputError` where a stored cell has other options, and where no cell can be run.
    """
    tasks = [
        task
        for dataset in request.datasets
        for model in request.models
        for task in plan_seeds(request, dataset, model)
    ]
    if all(task.failure for task in tasks):
        raise InputError(str(tasks[0].failure))
    order = {seed: number for number, seed in enumerate(request.seeds)}
    return sorted(tasks, key=lambda task: (request.datasets.index(task.cell.dataset), order[task.cell.seed]))


def plan_seeds(request: Request, dataset: str, label: str) -> Iterator[Task]:
    """Yield the tasks of one model on one data set."""
    model = request.settings.model(label)
    options = {**request.settings.of(label, dataset), **request.options}
    failure, uses_gpu = None, False
    effective: dict[str, Any] = {}
    try:
        options["metrics"] = reported_metrics(HLRConfig(model, dataset, request.config_files, options))
        config = HLRConfig(model, dataset, request.config_files, {**options, "user_metrics": True})
        effective = yaml.load(str(config), Loader=ConfigLoader)
        uses_gpu = bool(config["use_gpu"])
    except InputError as error:
        given = "command line or options file" if request.settings.path else "command line"
        failure = str(error).replace(f"({KEYWORDS})", f"({given})")
    for seed in request.seeds:
        cell = Cell(dataset, label, seed, request.out)
        task = Task(
            cell,
            model,
            {**options, "seed": seed, "user_metrics": True, "show_progress": False},
            request.config_files,
            command_of(model, dataset, seed, request.config_files, options),
            os.getcwd(),
            uses_gpu,
            effective.get("protocol", ""),
            failure=failure,
        )
        run_dir = cell.run_dir()
        if not failure and run_dir:
            refuse_other_options(run_dir, {**effective, "seed": seed})
            task.finished = is_finished(run_dir)
        yield task


def reported_metrics(config: HLRConfig) -> list[str]:
    """Return a run's metrics with the popularity of what is recommended among them."""
    metrics = as_list(config["metrics"])
    return [*metrics, *([] if POPULARITY.lower() in map(str.lower, metrics) else [POPULARITY])]


def refuse_other_options(run_dir: RunDir, effective: dict[str, Any]) -> None:
    """Raise `InputError` where a stored run differs from what is asked for now."""
    stored = load_yaml(run_dir.config)
    differing = [
        key
        for key in sorted(stored.keys() | effective.keys())
        if key not in FREE and stored.get(key) != effective.get(key)
    ]
    if differing:
        key, more = differing[0], f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise InputError(
            f"{run_dir.path}: was run with {key}={stored.get(key)}{more}, and {key}={effective.get(key)} is "
            f"asked for; give another --out, or delete {run_dir.path.parents[1]} to run it anew"
        )


def command_of(model: str, dataset: str, seed: int, files: list[str], options: dict[str, Any]) -> str:
    """Return the command that repeats a cell."""
    words = [f"--model={model}", f"--dataset={dataset}", f"--seed={seed}"]
    words += [f"--config_files={' '.join(files)}"] if files else []
    words += [f"--{key}={as_word(key, value)}" for key, value in options.items()]
    return shlex.join(["recbole-hlr", "train", *words])


def as_word(key: str, value: Any) -> str:
    """Return a value such that a command line reads it back."""
    if isinstance(value, str) and (is_text(key) or parse_scalar(value) == value):
        return value
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=2**30)
    return text.strip().removesuffix("...").strip()


def begin(task: Task) -> None:
    """Write the cell's record, without the failure of an earlier time, and clear what a kill left."""
    cell = task.cell
    cell.write(dataset=cell.dataset, model=cell.model, seed=cell.seed, command=task.command)
    for half in cell.folder.glob(".new-*"):
        shutil.rmtree(half, ignore_errors=True)


def stored_cells(out: Path) -> list[Cell]:
    """Return all cells below a benchmark's folder."""
    return [
        Cell(file.parents[2].name, file.parents[1].name, int(file.parent.name), out)
        for file in sorted(out.glob("*/*/*/cell.json"))
        if file.parent.name.isdigit()
    ]
