"""From the cells on disk to the figures of a report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recbole_hlr.benchmark.cells import Cell, is_finished, stored_cells
from recbole_hlr.benchmark.finished import Finished
from recbole_hlr.benchmark.plan import refuse_other_data
from recbole_hlr.benchmark.summary import summarise
from recbole_hlr.errors import InputError
from recbole_hlr.protocol import one_protocol


@dataclass
class Report:
    """Everything that the tables and the page show; the frames have one row per figure.

    `main` is {data set: the metric that the figures show}. `accuracy`: mean and deviation over seeds,
    95 % interval over users (`low`, `high`), `rank` 1 or 2 among the models that have all seeds, of which
    any model has one.
    """

    protocol: str
    baseline: str
    main: dict[str, str]
    accuracy: pd.DataFrame
    significance: pd.DataFrame
    cost: pd.DataFrame
    groups: pd.DataFrame
    curves: pd.DataFrame
    cells: pd.DataFrame


def make_report(out: Path, models: list[str], datasets: list[str], baseline: str | None) -> Report:
    """Return the report on all cells below `out`; models and data sets come in the order given, then others.

    Raises `InputError` where no cell is finished, and for cells that cannot stand in one table.
    """
    cells = stored_cells(out)
    done = [cell for cell in cells if is_finished(cell.run_dir())]
    if not done:
        raise InputError(f"{out}: holds no finished cell of a benchmark")
    models = [*models, *sorted({cell.model for cell in done} - set(models))]
    datasets = [*datasets, *sorted({cell.dataset for cell in done} - set(datasets))]
    present = [model for model in models if any(cell.model == model for cell in done)]
    if baseline is not None and baseline not in models:
        raise InputError(f"baseline={baseline}: must be one of {', '.join(present)}")
    baseline = baseline or present[0]
    place = {name: number for number, name in enumerate(models)}
    parts, protocols = [], []
    for dataset in datasets:
        finished = [Finished.read(cell) for cell in done if cell.dataset == dataset]
        finished.sort(key=lambda one: (place[one.cell.model], one.cell.seed))
        if finished:
            protocols += [one.result for one in finished]
            one_protocol(protocols)
            refuse_other_data((one.cell, one.options) for one in finished)
            refuse_two_splits(finished)
            parts.append(summarise(dataset, finished, baseline))
    frames = {
        name: pd.concat([part[name] for part in parts], ignore_index=True)
        for name in ("accuracy", "significance", "cost", "groups", "curves")
    }
    rows = [describe_cell(cell) for cell in cells]
    last = len(rows)
    sets = {name: number for number, name in enumerate(datasets)}
    rows.sort(key=lambda r: (sets.get(r["dataset"], last), place.get(r["model"], last), r["seed"]))
    main = {part["dataset"]: part["main"] for part in parts}
    return Report(one_protocol(protocols), baseline, main, **frames, cells=pd.DataFrame(rows))


def refuse_two_splits(finished: list[Finished]) -> None:
    """Raise `InputError` where two cells of one data set and seed do not have the same split."""
    seen: dict[int, Finished] = {}
    for one in finished:
        first = seen.setdefault(one.cell.seed, one)
        if first.users.attrs.get("split") != one.users.attrs.get("split"):
            raise InputError(
                f"{first.cell.folder} and {one.cell.folder}: have different splits and cannot stand in one "
                "table; their data or their options of data and split differ"
            )


def describe_cell(cell: Cell) -> dict[str, Any]:
    """Return one row on a cell: its state, its figures, the command that repeats it."""
    record, run_dir = cell.record(), cell.run_dir()
    row: dict[str, Any] = {"dataset": cell.dataset, "model": cell.model, "seed": cell.seed}
    row["status"] = "failed" if record.get("failure") else "unfinished"
    row["reason"] = record.get("failure") or ""
    row["command"] = record.get("command", "")
    row["run"] = str(run_dir.path.relative_to(cell.out)) if run_dir else ""
    row["test"] = {}
    if is_finished(run_dir):
        one = Finished.read(cell)
        row.update(status="finished", reason="", test=one.result.test, **one.seconds)
        row.update(best_epoch=one.result.best_epoch, epochs=one.result.epochs, version=one.result.version)
    return row
