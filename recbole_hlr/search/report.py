"""What a search leaves to read: `trials.csv` and `report.html`, which needs no network."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from recbole_hlr.files import write_text
from recbole_hlr.options.kinds import is_number
from recbole_hlr.search.space import Space
from recbole_hlr.search.trials import CUT, DONE, FAILED, LOST, STOPPED, Trial

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font-family: sans-serif; max-width: 75em; margin: 2em auto; }}
pre {{ background: #eee; padding: 1em; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .2em .7em; border-bottom: 1px solid #ccc; text-align: right; }}
</style>
</head><body><h1>{title}</h1>
<p>The winner again:</p><pre>{command}</pre>
{figures}
<h2>Trials, the best first</h2>
{table}
</body></html>
"""


def show(value: object) -> str:
    """Return a value as people read it: numbers with four digits, lists and mappings as options."""
    if isinstance(value, dict | list):
        return json.dumps(value)
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def counts(trials: list[Trial]) -> str:
    """Return how many trials ended in which way."""
    names = {DONE: "done", STOPPED: "stopped early", FAILED: "failed", LOST: "lost", CUT: "cut off"}
    found = {name: sum(trial.status == status for trial in trials) for status, name in names.items()}
    return ", ".join(f"{count} {name}" for name, count in found.items() if count)


def table_of(trials: list[Trial]) -> pd.DataFrame:
    """Return one row per trial: its number, state, best score and epoch, cost, values."""
    rows = [
        {
            "trial": trial.number,
            "status": trial.status,
            "score": trial.score,
            "best_epoch": trial.best_epoch,
            "last_epoch": trial.epochs[-1] if trial.epochs else None,
            "seconds": round(trial.seconds, 1),
            "reason": trial.reason,
            **{key: json.dumps(v) if isinstance(v, dict | list) else v for key, v in trial.values.items()},
        }
        for trial in trials
    ]
    table = pd.DataFrame(rows)
    return table.astype({key: "Int64" for key in ("best_epoch", "last_epoch") if key in table})


def study_of(space: Space, trials: list[Trial], larger_is_better: bool) -> optuna.Study:
    """Return the trials as an Optuna study of complete ones, for its figures leave out all others.

    Its distributions are as wide as the values tried: the defaults may lie outside of the space, or lack
    an option that the others have.
    """
    tried = [trial for trial in trials if trial.curve and trial.status != FAILED]
    kinds: dict[str, BaseDistribution] = {}
    for key, kind in ((dimension.key, dimension.kind) for dimension in space):
        found = [trial.values[key] for trial in tried if key in trial.values]
        numbers = [value for value in found if is_number(value)]
        if len(set(map(show, found))) < 2:
            continue
        if len(numbers) == len(found):
            log = kind == "loguniform" and min(numbers) > 0
            kinds[key] = FloatDistribution(min(numbers), max(numbers), log=log)
        else:
            kinds[key] = CategoricalDistribution(tuple(dict.fromkeys(map(show, found))))
    study = optuna.create_study(direction="maximize" if larger_is_better else "minimize")
    for trial in tried:
        own = {key: kind for key, kind in kinds.items() if key in trial.values}
        numeric = {key for key, kind in own.items() if isinstance(kind, FloatDistribution)}
        study.add_trial(
            create_trial(
                value=trial.score,
                params={key: trial.values[key] if key in numeric else show(trial.values[key]) for key in own},
                distributions=own,
                intermediate_values=dict(zip(trial.epochs, trial.curve, strict=True)),
            )
        )
    return study


def figures(space: Space, trials: list[Trial], metric: str, larger_is_better: bool) -> dict[str, Figure]:
    """Return the plotly figures by their headings; those that these trials allow."""
    from optuna import importance, visualization

    study = study_of(space, trials, larger_is_better)
    found = {"Best validation score by epoch": visualization.plot_intermediate_values(study)}
    complete = [trial for trial in study.trials if trial.params]
    if complete:
        found["Values and scores"] = visualization.plot_parallel_coordinate(study, target_name=metric)
    if len(complete) > 2 and len({trial.value for trial in complete}) > 1:
        evaluator = importance.FanovaImportanceEvaluator(seed=0)
        found["What mattered"] = visualization.plot_param_importances(
            study, evaluator=evaluator, target_name=metric
        )
    return found


def write_report(
    path: Path, space: Space, trials: list[Trial], metric: str, larger_is_better: bool, command: str
) -> None:
    """Write `report.html`: figures and table in one file."""
    parts: list[str] = []
    for heading, figure in figures(space, trials, metric, larger_is_better).items():
        figure.update_layout(title=None)
        body = figure.to_html(
            full_html=False,
            include_plotlyjs=not parts,
            include_mathjax=False,
            config={"showSendToCloud": False},
        )
        parts.append(f"<h2>{heading}</h2>\n{body}")
    table = table_of(trials).sort_values("score", ascending=not larger_is_better, na_position="last")
    done = sum(trial.status == DONE for trial in trials)
    text = PAGE.format(
        title=html.escape(f"{metric} of {len(trials)} trials, {done} of them to their end"),
        command=html.escape(command),
        figures="\n".join(parts),
        table=table.to_html(index=False, na_rep="", float_format="%.4g"),
    )
    write_text(path, text)
