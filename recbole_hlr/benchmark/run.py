"""The benchmark itself: plan, run what is missing, report."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from recbole_hlr.benchmark import tables
from recbole_hlr.benchmark.cells import Cell, Damaged, Task, stored_cells
from recbole_hlr.benchmark.page import page
from recbole_hlr.benchmark.pool import run_in_processes, run_on_ray
from recbole_hlr.benchmark.progress import CellProgress
from recbole_hlr.benchmark.request import Request
from recbole_hlr.benchmark.results import BenchmarkReport, make_report, refuse_mixed_data
from recbole_hlr.benchmark.worker import Outcome
from recbole_hlr.console import interactive_logging
from recbole_hlr.errors import InputError
from recbole_hlr.files import is_file, locked, writable
from recbole_hlr.options.protocol import one_protocol
from recbole_hlr.options.yaml_values import dump_yaml, load_yaml
from recbole_hlr.protocols import Values

log = logging.getLogger("recbole_hlr")
PLAN = "benchmark.yaml"  # what was asked for so far, so that tables keep its order


@dataclass
class Benchmark:
    """What a benchmark came to: its report, and {cell: reason} of what failed this time."""

    report: BenchmarkReport
    failures: dict[str, str]
    out: Path


def benchmark(arguments: Sequence[str] = (), **given: object) -> Benchmark:
    """Run every model on every data set with every seed, skip what is there, and write the tables.

    `given` are the options of the command line as keywords (docs/benchmark.md), those of RecBole and of
    the models included. Cells that fail are in the result and in the tables; the others go on. Raises
    `InputError` for wrong input, before anything runs, and where no cell came to a result.
    """
    interactive_logging()
    request = Request.of(arguments, given)
    if request.report:
        return Benchmark(write_report(request), {}, request.out)
    from recbole_hlr.benchmark.plan import plan  # with all that trains: tables are made without it

    for key in ("models", "datasets"):
        if not getattr(request, key):
            raise InputError(f"{key} (command line): is missing; give it as --{key}=NAME,NAME")
    if request.baseline and request.baseline not in request.models + remembered(request.out)["models"]:
        raise InputError(f"baseline={request.baseline}: must be one of {', '.join(request.models)}")
    with writable(f"out={request.out}"):
        request.out.mkdir(parents=True, exist_ok=True)
    with locked(request.out, "benchmark"):
        tasks = plan(request)
        refuse_two_tables(request, tasks)
        remember(request)
        failures = run_tasks(request, tasks)
        try:
            return Benchmark(write_report(request), failures, request.out)
        except InputError:
            if len(failures) == len(tasks):
                cell, reason = next(iter(failures.items()))
                raise InputError(f"no cell came to a result; {cell}: {reason}") from None
            raise


def run_tasks(request: Request, tasks: list[Task]) -> dict[str, str]:
    """Run what is not finished; return {cell: reason} of what failed."""
    from recbole_hlr.benchmark.plan import begin

    for section in request.settings.unused(request.models, request.datasets):
        log.warning("%s: %s concerns no cell of this benchmark", request.settings.path, section)
    open_tasks = [task for task in tasks if not task.finished]
    failures: dict[str, str] = {}
    with CellProgress(len(tasks), [task.cell for task in open_tasks]) as progress:

        def ended(task: Task, outcome: Outcome) -> None:
            if outcome.reason:
                failures[str(task.cell)] = outcome.reason
                task.cell.write(**{**task.cell.record(), "failure": outcome.reason, "trace": outcome.trace})
            progress.ended(task, outcome.reason)

        for task in tasks:
            if not task.finished or not task.cell.has_record():
                begin(task)
        for task in [task for task in open_tasks if task.failure]:
            ended(task, Outcome(task.failure))
        runnable = [task for task in open_tasks if not task.failure]
        if runnable and request.ray_address:
            run_on_ray(runnable, request.ray_address, request.jobs, progress.started, ended)
        elif runnable:
            run_in_processes(runnable, request.jobs or 1, progress.started, ended, progress.told)
    return failures


def refuse_two_tables(request: Request, tasks: list[Task]) -> None:
    """Raise `InputError` where the cells, with those that are there, cannot stand in one table."""
    there = [(cell, stored_options(cell)) for cell in stored_cells(request.out)]
    cells = [
        *((cell, options) for cell, options in there if options),
        *((task.cell, task.effective) for task in tasks if not task.failure),
    ]
    one_protocol(SimpleNamespace(**options) for _, options in cells)
    refuse_mixed_data(cells)


def stored_options(cell: Cell) -> Values:
    """Return all options of a cell's run, {} where there is none, or none that can be read."""
    try:
        run_dir = cell.run_dir()
    except Damaged:
        return {}
    return load_yaml(run_dir.config) if run_dir else {}


def remembered(out: Path) -> Values:
    """Return the models, data sets and baseline that earlier calls with the same folder asked for.

    Raises `InputError` where the file of it is damaged.
    """
    file = out / PLAN
    empty: Values = {"models": [], "datasets": [], "baseline": None}
    advice = "delete it, and the tables begin with what is asked for next"
    try:
        found = {**empty, **(load_yaml(file) if is_file(file) else {})}
    except InputError as error:
        raise InputError(f"{error}; {advice}") from None
    lists = [found["models"], found["datasets"]]
    if (
        found.keys() != empty.keys()
        or not all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in lists)
        or not isinstance(found["baseline"], str | None)
    ):
        raise InputError(f"{file}: must hold lists of models and datasets, and a baseline; {advice}")
    return found


def remember(request: Request) -> None:
    """Add what is asked for to what was asked for before."""
    content = remembered(request.out)
    for key, asked in (("models", request.models), ("datasets", request.datasets)):
        content[key] = list(dict.fromkeys([*content[key], *asked]))
    content["baseline"] = request.baseline or content["baseline"]
    tables.write(request.out, {PLAN: dump_yaml(content, sort_keys=False)})


def write_report(request: Request) -> BenchmarkReport:
    """Write the tables and the page of everything that is below the benchmark's folder."""
    out, there = request.out, remembered(request.out)
    models, datasets = there["models"], there["datasets"]
    if request.report:  # these first
        models, datasets = request.models or models, request.datasets or datasets
    report = make_report(out, models, datasets, request.baseline or there["baseline"])
    texts = {
        "results.md": tables.as_text(report),
        "results.tex": tables.latex(report),
        "results.csv": report.accuracy.to_csv(index=False),
        "significance.csv": report.significance.to_csv(index=False),
        "cost.csv": report.cost.to_csv(index=False),
        "results.json": tables.as_json(report),
        "results.html": page(report),
    }
    tables.write(out, texts)
    return report
