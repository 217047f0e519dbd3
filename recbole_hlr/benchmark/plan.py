"""What a benchmark has to run: a task for every cell, checked before the first one starts."""

from __future__ import annotations

import logging
import os
import shlex
import shutil
from collections.abc import Iterator
from itertools import product

import yaml

from recbole_hlr.benchmark.cells import Cell, Damaged, Task
from recbole_hlr.benchmark.finished import Finished
from recbole_hlr.benchmark.request import Request
from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.errors import InputError, invalid
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.options.command_line import config_files_word, is_path, is_text
from recbole_hlr.options.table import RESUME_KEYS
from recbole_hlr.options.yaml_values import (
    ConfigLoader,
    as_list,
    dump_yaml,
    load_yaml,
    one_line,
    parse_scalar,
)
from recbole_hlr.protocols import Values

log = logging.getLogger("recbole_hlr")
# What may differ between a stored run and the same cell asked for anew: where it runs, not what it does.
FREE = (RESUME_KEYS - {"epochs", "stopping_step"}) | {"checkpoint_dir"}
START = "pretrained_embeddings"
POPULARITY = "AveragePopularity"  # reported for every cell, to hold accuracy against it


def plan(request: Request) -> list[Task]:
    """Return a task for every cell, in the order in which they run: a seed, and a fold, of everything first.

    Raises `InputError` where a stored cell has other options, and where no cell can be run.
    """
    tasks = [
        task
        for dataset in request.datasets
        for model in request.models
        for task in plan_runs(request, dataset, model)
    ]
    if all(task.failure for task in tasks):
        raise InputError(str(tasks[0].failure))
    order = {repeat: number for number, repeat in enumerate(product(request.seeds, request.folds))}
    return sorted(
        tasks, key=lambda task: (request.datasets.index(task.cell.dataset), order[task.cell.repeat])
    )


def plan_runs(request: Request, dataset: str, label: str) -> Iterator[Task]:
    """Yield the tasks of one model on one data set, one for each seed and fold."""
    model = request.settings.model(label)
    options = {**request.settings.of(label, dataset), **request.options}
    options |= {"fold": 1} if request.folds[0] else {}  # stands for all of them in what is checked
    failure: str | None = None
    effective: Values = {}
    try:
        options["metrics"] = reported_metrics(HLRConfig(model, dataset, request.config_files, options))
        config = HLRConfig(model, dataset, request.config_files, {**options, "user_metrics": True})
        effective = as_written(config)
        if not config["benchmark_filename"] and not has_test_part(config["eval_args"]["split"]):
            raise invalid("eval_args", config["eval_args"], config.sources["eval_args"], "with a test part")
    except InputError as error:
        given = "command line or options file" if request.settings.path else "command line"
        failure = str(error.at(given) if error.place == KEYWORDS else error)
    for seed, fold in product(request.seeds, request.folds):
        cell = Cell(dataset, label, seed, request.out, fold)
        own = of_cell(options, cell)
        task = Task(
            cell,
            model,
            {**own, "seed": seed, "user_metrics": True, "show_progress": False},
            request.config_files,
            command_of(model, dataset, seed, request.config_files, own),
            os.getcwd(),
            effective and {**of_cell(effective, cell), "seed": seed},
            failure=failure,
        )
        if not failure:
            look_at_stored(task)
        yield task


def look_at_stored(task: Task) -> None:
    """Say of a task whether its cell is finished; one that is damaged is run again, if its options are there.

    Raises `InputError` where the stored run has other options.
    """
    try:
        run_dir = task.cell.run_dir()
    except Damaged as damage:
        task.failure = f"{damage}; delete {task.cell.folder} to run it anew"
        return
    if run_dir:
        refuse_other_options(run_dir, task.effective)
    try:
        task.finished = Finished.read(task.cell) is not None
    except Damaged as damage:
        log.warning("%s; the cell is run again, from its checkpoint where it has one", damage)


def as_written(config: HLRConfig) -> Values:
    """Return the effective options as they are read back from a run's config.yaml."""
    options: Values = yaml.load(str(config), Loader=ConfigLoader)
    return options


def has_test_part(split: Values) -> bool:
    """Say whether a split leaves something to be tested on."""
    ((way, how),) = split.items()
    return bool(how != "valid_only" if way == "LS" else how[2] > 0)


def of_cell(options: Values, cell: Cell) -> Values:
    """Return options with a cell's fold, and its folder's name where `pretrained_embeddings` says {seed}."""
    own = {**options, "fold": cell.fold} if cell.fold else dict(options)
    if isinstance(own.get(START), str):
        own[START] = own[START].replace("{seed}", cell.folder.name)
    return own


def reported_metrics(config: HLRConfig) -> list[str]:
    """Return a run's metrics with the popularity of what is recommended among them."""
    metrics = as_list(config["metrics"])
    return [*metrics, *([] if POPULARITY.lower() in map(str.lower, metrics) else [POPULARITY])]


def refuse_other_options(run_dir: RunDir, effective: Values) -> None:
    """Raise `InputError` where a stored run differs from what is asked for now.

    An option that the version which made it did not know is at its default.
    """
    stored = load_yaml(run_dir.config)
    if stored.keys() != effective.keys():
        stored = as_written(HLRConfig(config_files=[run_dir.config]))
    differing = [
        key
        for key in sorted(stored.keys() | effective.keys(), key=lambda key: (key != "objective", key))
        if key not in FREE and stored.get(key) != effective.get(key)
    ]
    if differing:
        key, more = differing[0], f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise InputError(
            f"{run_dir.path}: was run with {key}={stored.get(key)}{more}, and {key}={effective.get(key)} is "
            f"asked for; give another --out, or delete {run_dir.path.parents[1]} to run it anew"
        )


def command_of(model: str, dataset: str, seed: int, files: list[str], options: Values) -> str:
    """Return the command that repeats a cell."""
    words = [f"--model={model}", f"--dataset={dataset}", f"--seed={seed}"]
    words += [config_files_word(files)] if files else []
    words += [f"--{key}={as_word(key, value)}" for key, value in options.items()]
    return shlex.join(["recbole-hlr", "train", *words])


def as_word(key: str, value: object) -> str:
    """Return a value such that a command line reads it back."""
    if is_text(key) and isinstance(value, bool):  # YAML 1.1 reads on and off as booleans
        return "on" if value else "off"
    if isinstance(value, str):
        if is_path(key) and (value.startswith("~") or parse_scalar(value) is None):
            return os.path.join(".", value)  # it has been read, and is no home directory and not null
        if is_text(key) or parse_scalar(value) == value:
            return value
        return dump_yaml(value, default_style='"', width=2**30).strip()
    return one_line(value)


def begin(task: Task) -> None:
    """Write the cell's record, without the failure of an earlier time, and clear what a kill left."""
    cell = task.cell
    cell.write(dataset=cell.dataset, model=cell.model, seed=cell.seed, fold=cell.fold, command=task.command)
    for half in cell.folder.glob(".new-*"):
        shutil.rmtree(half, ignore_errors=True)
