"""From the cells on disk to the figures of a report."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recbole_hlr.benchmark.cells import Cell, Damaged, stored_cells
from recbole_hlr.benchmark.finished import Finished
from recbole_hlr.benchmark.summary import summarise
from recbole_hlr.errors import InputError
from recbole_hlr.options.protocol import one_protocol
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.split import describe_split
from recbole_hlr.options.table import FILTERS
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.protocols import Values

# What defines the split, and what is ranked.
SHARED = ("eval_args", "folds", "fold_in_share", "benchmark_filename", *FILTERS)


@dataclass
class BenchmarkReport:
    """Everything that the tables and the page show; the frames have one row per figure.

    `main` is {data set: the metric that the figures show}. `accuracy`: mean and deviation over seeds,
    95 % interval over users (`low`, `high`), `rank` 1 or 2 among the models that have all seeds, of which
    any model has one. A run of a fold counts as one of a seed. `splits` is {data set: its split in words}.
    """

    protocol: str
    baseline: str
    main: dict[str, str]
    splits: dict[str, str]
    accuracy: pd.DataFrame
    significance: pd.DataFrame
    cost: pd.DataFrame
    groups: pd.DataFrame
    curves: pd.DataFrame
    cells: pd.DataFrame

    @property
    def over(self) -> str:
        """What a mean and a deviation are over."""
        return "folds" if self.cells["fold"].any() else "seeds"


def make_report(out: Path, models: list[str], datasets: list[str], baseline: str | None) -> BenchmarkReport:
    """Return the report on all cells below `out`; models and data sets come in the order given, then others.

    Raises `InputError` where no cell is finished, and for cells that cannot stand in one table.
    """
    rows, done = read_cells(out)
    if not done:
        damaged = [f"; {row['reason']}" for row in rows if row["status"] == "damaged"]
        raise InputError(f"{out}: holds no finished cell of a benchmark{''.join(damaged[:1])}")
    models = [*models, *sorted({one.cell.model for one in done} - set(models))]
    datasets = [*datasets, *sorted({one.cell.dataset for one in done} - set(datasets))]
    present = [model for model in models if any(one.cell.model == model for one in done)]
    if baseline is not None and baseline not in models:
        raise InputError(f"baseline={baseline}: must be one of {', '.join(present)}")
    baseline = baseline or present[0]
    place = {name: number for number, name in enumerate(models)}
    parts, protocols, splits = [], [], {}
    for dataset in datasets:
        finished = [one for one in done if one.cell.dataset == dataset]
        finished.sort(key=lambda one: (place[one.cell.model], one.cell.repeat))
        if finished:
            protocols += [one.result for one in finished]
            one_protocol(protocols)
            refuse_mixed_data((one.cell, one.options) for one in finished)
            refuse_two_splits(finished)
            splits[dataset] = describe_split(finished[0].options)
            parts.append(summarise(dataset, finished, baseline))
    frames = {
        name: pd.concat([part[name] for part in parts], ignore_index=True)
        for name in ("accuracy", "significance", "cost", "groups", "curves")
    }
    last = len(rows)
    sets = {name: number for number, name in enumerate(datasets)}
    rows.sort(key=lambda r: (sets.get(r["dataset"], last), place.get(r["model"], last), r["seed"], r["fold"]))
    main = {part["dataset"]: part["main"] for part in parts}
    return BenchmarkReport(
        one_protocol(protocols), baseline, main, splits, **frames, cells=pd.DataFrame(rows)
    )


def refuse_mixed_data(cells: Iterable[tuple[Cell, Values]]) -> None:
    """Raise `InputError` where two cells, with all their options, have different parts of a data set.

    An option that the version which made a cell did not know is at its default.
    """
    defaults = load_yaml(shipped("properties", "overall.yaml"))
    first: dict[str, tuple[Cell, Values]] = {}
    for cell, options in cells:
        other, others = first.setdefault(cell.dataset, (cell, options))
        for key in SHARED:
            mine, theirs = (of.get(key, defaults.get(key)) for of in (options, others))
            if mine != theirs:
                raise InputError(
                    f"{key}={mine} ({cell.model}): must be the same for all models of a data set that stand "
                    f"in one table, and is {theirs} for {other.model}"
                )


def refuse_two_splits(finished: list[Finished]) -> None:
    """Raise `InputError` where two cells of one data set, seed and fold do not have the same split."""
    seen: dict[tuple[int, int], Finished] = {}
    for one in finished:
        first = seen.setdefault(one.cell.repeat, one)
        if first.users.attrs.get("split") != one.users.attrs.get("split"):
            raise InputError(
                f"{first.cell.folder} and {one.cell.folder}: have different splits and cannot stand in one "
                "table; their data or their options of data and split differ"
            )


def read_cells(out: Path) -> tuple[list[Values], list[Finished]]:
    """Return a row on every cell below `out`, and those that are finished and whole."""
    rows, done = [], []
    for cell in stored_cells(out):
        row: Values = {"dataset": cell.dataset, "model": cell.model, "seed": cell.seed}
        row["fold"] = cell.fold
        row |= {"status": "damaged", "reason": "", "command": "", "run": "", "test": {}}
        rows.append(row)
        try:
            record, run_dir, one = cell.record(), cell.run_dir(), Finished.read(cell)
        except Damaged as damage:
            row["reason"] = str(damage)
            continue
        failure = record.get("failure") or ""
        row.update(status="failed" if failure else "unfinished", reason=failure)
        row["command"] = record.get("command") or ""
        row["run"] = str(run_dir.path.relative_to(out)) if run_dir else ""
        if one:
            done.append(one)
            row.update(status="finished", reason="", test=one.result.test, **one.seconds)
            row.update(best_epoch=one.result.best_epoch, epochs=one.result.epochs, version=one.result.version)
    return rows, done
