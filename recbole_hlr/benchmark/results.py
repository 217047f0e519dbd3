"""From the cells on disk to the figures of a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from recbole.evaluator.register import smaller_metrics

from recbole_hlr.benchmark import statistics
from recbole_hlr.benchmark.cells import Cell, is_finished, stored_cells
from recbole_hlr.errors import InputError
from recbole_hlr.protocol import one_protocol

DESCRIPTIVE = ("averagepopularity", "medianpopularity")  # neither more nor less of it is better


@dataclass
class Finished:
    """A finished cell: its `result.json`, its `metrics.jsonl` and, once they are wanted, its users."""

    cell: Cell
    result: Any
    epochs: list[dict[str, Any]]

    @classmethod
    def read(cls, cell: Cell) -> Finished:
        """Read the files of a finished cell."""
        run_dir = cell.run_dir()
        assert run_dir is not None
        lines = run_dir.metrics.read_text(encoding="utf-8").splitlines()
        return cls(
            cell,
            SimpleNamespace(**json.loads(run_dir.result.read_text(encoding="utf-8"))),
            [json.loads(line) for line in lines],
        )

    @cached_property
    def users(self) -> pd.DataFrame:
        """One row per test user."""
        run_dir = self.cell.run_dir()
        assert run_dir is not None
        return pd.read_parquet(run_dir.users)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of training, validation left out, and of ranking the test part."""
        training = sum(epoch["train_seconds"] for epoch in self.epochs)
        return {"train_seconds": training, "evaluate_seconds": self.result.seconds["evaluate"]}


@dataclass
class Report:
    """Everything that the tables and the page show; the frames have one row per figure.

    `main` is {data set: the metric that the figures show}. `accuracy`: mean and deviation over seeds,
    95 % interval over users (`low`, `high`), `rank` 1 or 2 among the models that have all seeds.
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


def summarise(dataset: str, finished: list[Finished], baseline: str) -> dict[str, Any]:
    """Return the frames of one data set."""
    rows: dict[str, list[Finished]] = {}
    for one in finished:
        rows.setdefault(one.cell.model, []).append(one)
    users = pd.Index(sorted(set().union(*(one.users["user"] for one in finished))))
    metrics = [
        name
        for name in finished[0].users.columns.drop(["user", "history"])
        if all(name in one.users for one in finished)
    ]
    if not metrics:
        raise InputError(f"{dataset}: its cells have no metric with a value per user in common")
    tables = {model: [one.users for one in ones] for model, ones in rows.items()}
    cubes = {model: statistics.cube_of(part, users, metrics) for model, part in tables.items()}
    main = main_metric(finished, metrics)
    found: dict[str, Any] = {
        "dataset": dataset,
        "main": main,
        "accuracy": accuracy(rows, cubes, metrics),
        "significance": significance(rows, cubes, metrics, baseline),
        "cost": cost(rows),
        "groups": activity(rows, cubes, users, metrics.index(main)),
        "curves": curves(finished, main),
    }
    for frame in found.values():
        if isinstance(frame, pd.DataFrame):
            frame.insert(0, "dataset", dataset)
    return found


def main_metric(finished: list[Finished], metrics: list[str]) -> str:
    """Return the metric that the figures show: that of validation, else an NDCG, else the first."""
    wanted = [one.result.valid_metric for one in finished]
    ndcg = [name for name in metrics if name.startswith("ndcg")]
    return next(name for name in [*wanted, *ndcg, *metrics] if name in metrics)


def accuracy(
    rows: dict[str, list[Finished]], cubes: dict[str, np.ndarray], metrics: list[str]
) -> pd.DataFrame:
    """Return one row per model and metric; metrics without a value per user have no interval."""
    bounds = dict(zip(cubes, statistics.intervals(list(cubes.values())), strict=True))
    found = []
    for model, ones in rows.items():
        low, high = (dict(zip(metrics, bound, strict=True)) for bound in bounds[model])
        for metric in ones[0].result.test:
            values = np.array([one.result.test.get(metric, np.nan) for one in ones])
            spread = values.std(ddof=1) if len(values) > 1 else np.nan
            found.append(
                {
                    "model": model,
                    "metric": metric,
                    "mean": values.mean(),
                    "std": spread,
                    "low": low.get(metric, np.nan),
                    "high": high.get(metric, np.nan),
                    "seeds": len(values),
                }
            )
    table = pd.DataFrame(found)
    table["rank"] = ranks(table)
    return table


def ranks(table: pd.DataFrame) -> pd.Series:
    """Return 1 for the best and 2 for the second of each metric, of models with all seeds, else NaN."""
    whole = table["seeds"] == table["seeds"].max()
    name = table["metric"].str.split("@").str[0]
    sign = np.where(name.isin(smaller_metrics), -1, 1)
    values = (table["mean"] * sign).where(whole & ~name.isin(DESCRIPTIVE))
    rank = values.groupby(table["metric"]).rank(method="dense", ascending=False)
    several = values.groupby(table["metric"]).transform("count") > 1
    return rank.where((rank <= 2) & several)


def significance(
    rows: dict[str, list[Finished]], cubes: dict[str, np.ndarray], metrics: list[str], baseline: str
) -> pd.DataFrame:
    """Return every model's comparison with the baseline, over the seeds that both have."""
    columns = ["model", "metric", "seeds", "users", "difference", "d_z", "rank_biserial"]
    columns += ["t_p", "wilcoxon_p", "t_holm", "wilcoxon_holm", "verdict"]
    seeds = {model: [one.cell.seed for one in ones] for model, ones in rows.items()}
    found = []
    for model in rows if baseline in rows else ():
        common = sorted(set(seeds[model]) & set(seeds[baseline]))
        if model == baseline or not common:
            continue
        means = [
            statistics.user_means(cubes[name][:, [seeds[name].index(seed) for seed in common]])
            for name in (model, baseline)
        ]  # two of (U, M)
        for column, metric in enumerate(metrics):
            ours, theirs = means[0][:, column], means[1][:, column]
            tested = ~np.isnan(ours)
            row = statistics.compare(ours[tested], theirs[tested])
            found.append({"model": model, "metric": metric, "seeds": len(common), **row})
    table = pd.DataFrame(found, columns=columns[:-3])
    for test in ("t", "wilcoxon"):
        table[f"{test}_holm"] = table.groupby("metric")[f"{test}_p"].transform(statistics.holm)
    table["verdict"] = [statistics.verdict(row) for _, row in table.iterrows()]
    return table


def cost(rows: dict[str, list[Finished]]) -> pd.DataFrame:
    """Return what each model costs, as means over its seeds."""
    found = [
        {
            "model": one.cell.model,
            "parameters": one.result.parameters,
            "epochs": one.result.epochs,
            **one.seconds,
        }
        for ones in rows.values()
        for one in ones
    ]
    return pd.DataFrame(found).groupby("model", sort=False).mean().reset_index()


def activity(
    rows: dict[str, list[Finished]], cubes: dict[str, np.ndarray], users: pd.Index, column: int
) -> pd.DataFrame:
    """Return each model's accuracy by groups of users with short and long training histories."""
    found = []
    for model, ones in rows.items():
        history = statistics.user_means(statistics.cube_of([one.users for one in ones], users, ["history"]))
        values = statistics.user_means(cubes[model])[:, column]
        found.append(statistics.groups(history[:, 0], values).assign(model=model))
    return pd.concat(found, ignore_index=True)


def curves(finished: list[Finished], main: str) -> pd.DataFrame:
    """Return the validation of every epoch, by the main metric, or by what was validated instead."""
    found = []
    for one in finished:
        for epoch in one.epochs:
            if "valid_score" in epoch:
                name = main if main in epoch["valid"] else one.result.valid_metric
                value = epoch["valid"].get(name, epoch["valid_score"])
                row = {"model": one.cell.model, "seed": one.cell.seed, "epoch": epoch["epoch"]}
                found.append({**row, "metric": name, "value": value})
    return pd.DataFrame(found, columns=["model", "seed", "epoch", "metric", "value"])


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
