"""What a run and a search end with on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from recbole_hlr.experiment.result import RunResult
    from recbole_hlr.search.search import SearchResult


def describe(result: RunResult) -> str:
    """Return the table that a run ends with."""
    from tabulate import tabulate

    test = {
        name: f"{spread['mean']:.4f} ± {spread['std']:.4f}" for name, spread in result.cohorts.items()
    } or result.test
    rows = [
        [name, result.valid.get(name), test.get(name)]
        for name in dict.fromkeys([*result.valid, *result.test])
    ]
    if result.best_valid_score is None:
        epoch, chosen = f"last epoch     {result.best_epoch}", "; nothing was validated"
    else:
        epoch, chosen = f"best epoch     {result.best_epoch}", f", by {result.valid_metric}"
    headers = [result.model, "validation", "test (cohorts)" if result.cohorts else "test"]
    table = tabulate(rows, headers=headers, floatfmt=".4f")
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in result.seconds.items())
    return (
        f"\n{table}\n\n"
        f"protocol       {result.protocol}: {result.split}\n"
        f"{epoch} of 0 to {result.epochs - 1}{chosen}\n"
        + described_translation(result.translation)
        + f"seconds        {seconds}\n"
        f"device         {result.device}\n"
        f"run directory  {result.run_dir}"
    )


def describe_search(result: SearchResult) -> str:
    """Return what a search ends with: the winner's table and how to repeat it."""
    from recbole_hlr.search.report import counts, show

    values = ", ".join(f"{key}={show(value)}" for key, value in result.best.values.items())
    return (
        f"{describe(result.run)}\n\n"
        f"trials         {counts(result.trials)}\n"
        f"winner         trial {result.best.number}, by validation {result.metric} "
        f"{result.best.score:.4f}: {values}\n"
        f"to repeat it   {result.command}\n"
        f"search         {result.run_dir} (trials.csv, best.yaml, report.html)"
    )


def described_translation(translation: dict[str, float]) -> str:
    """Return the line about r over pairs; nothing for a model without it."""
    if not translation:
        return ""
    length, deviation = translation["length"], translation["deviation"]
    return (
        f"translation    length {length:.4f}, deviation {deviation:.4f} over pairs, "
        f"in {translation['directions']:.1f} directions\n"
    )
