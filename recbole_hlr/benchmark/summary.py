"""The figures of one data set, from its finished cells: one row per figure."""

from __future__ import annotations

import numpy as np
import pandas as pd

from recbole_hlr.benchmark import statistics
from recbole_hlr.benchmark.finished import Finished
from recbole_hlr.errors import InputError

DESCRIPTIVE = ("averagepopularity", "medianpopularity")  # neither more nor less of it is better
# Of which less is better, as the host's register has it, which a report does not wait for.
SMALLER = ("averagepopularity", "giniindex", "logloss", "mae", "medianpopularity", "rmse")


def summarise(dataset: str, finished: list[Finished], baseline: str) -> dict[str, str | pd.DataFrame]:
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
    measured = [name for name in metrics if all(name in one.result.test for one in finished)]
    if not measured:
        raise InputError(f"{dataset}: its cells have no metric with a value per user in common")
    tables = {model: [one.users for one in ones] for model, ones in rows.items()}
    cubes = {model: statistics.cube_of(part, users, metrics) for model, part in tables.items()}
    main = main_metric(finished, measured)
    found: dict[str, str | pd.DataFrame] = {
        "dataset": dataset,
        "main": main,
        "accuracy": accuracy(rows, cubes, metrics),
        "significance": significance(rows, cubes, metrics, baseline),
        "cost": cost(rows),
        "groups": activity(finished, cubes, users, metrics.index(main)),
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
    all_seeds = {one.cell.repeat for ones in rows.values() for one in ones}
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
                    "all_seeds": len(all_seeds),
                }
            )
    table = pd.DataFrame(found)
    table["rank"] = ranks(table)
    return table


def ranks(table: pd.DataFrame) -> pd.Series:
    """Return 1 for the best and 2 for the second of each metric, of models with all seeds, else NaN."""
    whole = table["seeds"] == table["all_seeds"]
    name = table["metric"].str.split("@").str[0]
    sign = np.where(name.isin(SMALLER), -1, 1)
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
    seeds = {model: [one.cell.repeat for one in ones] for model, ones in rows.items()}
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
    finished: list[Finished], cubes: dict[str, np.ndarray], users: pd.Index, column: int
) -> pd.DataFrame:
    """Return each model's accuracy by groups of users with short and long training histories.

    The groups are the same users for all models: those whom every model has ranked, by their mean length
    over all seeds that there are, for all models of a seed have its split.
    """
    of_seed = {one.cell.repeat: one.users for one in finished}
    history = statistics.user_means(statistics.cube_of(list(of_seed.values()), users, ["history"]))[:, 0]
    values = {model: statistics.user_means(cube)[:, column] for model, cube in cubes.items()}  # (U,) each
    common = ~np.isnan(list(values.values())).any(axis=0)  # (U,)
    found = [
        statistics.groups(history[common], of[common]).assign(model=model) for model, of in values.items()
    ]
    return pd.concat(found, ignore_index=True)


def curves(finished: list[Finished], main: str) -> pd.DataFrame:
    """Return the validation of every epoch, by the main metric, or by what was validated instead."""
    found = []
    for one in finished:
        for epoch in one.epochs:
            if "valid_score" in epoch:
                name = main if main in epoch["valid"] else one.result.valid_metric
                value = epoch["valid"].get(name, epoch["valid_score"])
                row = {
                    "model": one.cell.model,
                    "seed": one.cell.seed,
                    "fold": one.cell.fold,
                    "epoch": epoch["epoch"],
                }
                found.append({**row, "metric": name, "value": value})
    return pd.DataFrame(found, columns=["model", "seed", "fold", "epoch", "metric", "value"])
