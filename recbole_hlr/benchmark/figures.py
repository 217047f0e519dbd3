"""The figures of a report's page."""

from __future__ import annotations

import html
from collections.abc import Iterator

import pandas as pd
import plotly.graph_objects as go
from plotly.colors import qualitative
from plotly.subplots import make_subplots

from recbole_hlr.benchmark.results import BenchmarkReport

COLOURS = qualitative.D3 + qualitative.Set2 + qualitative.Dark2


def figures(report: BenchmarkReport, dataset: str) -> Iterator[tuple[str, go.Figure]]:
    """Yield the headings and figures of a data set; names of models and data sets are escaped."""
    main = report.main[dataset]
    frames = {
        name: shown[shown["dataset"] == dataset].assign(model=shown["model"].map(html.escape))
        for name in ("accuracy", "cost", "groups", "curves")
        for shown in [getattr(report, name)]
    }
    models = frames["accuracy"]["model"].unique()
    colour = {model: COLOURS[number % len(COLOURS)] for number, model in enumerate(models)}
    yield "Metric by model, with 95 % intervals over users", by_model(frames["accuracy"], main, colour)
    yield f"What {main} costs", against(frames["accuracy"], frames["cost"], main, colour)
    if len(frames["curves"]):
        yield "Validation by epoch", by_epoch(frames["curves"], colour)
    yield f"{main} by length of the user's training history", by_activity(frames["groups"], main, colour)


def by_model(accuracy: pd.DataFrame, main: str, colour: dict[str, str]) -> go.Figure:
    """Return every model's mean with its interval; a menu chooses the metric."""
    figure, metrics = go.Figure(), list(accuracy["metric"].unique())
    for metric in metrics:
        rows = accuracy[accuracy["metric"] == metric]
        whiskers = {"array": rows["high"] - rows["mean"], "arrayminus": rows["mean"] - rows["low"]}
        figure.add_scatter(
            x=rows["mean"], y=rows["model"], mode="markers", visible=metric == main,
            error_x={"type": "data", "symmetric": False, **whiskers},
            marker={"color": [colour[model] for model in rows["model"]], "size": 10},
        )  # fmt: skip
    buttons = [
        {
            "label": metric,
            "method": "update",
            "args": [{"visible": [other == metric for other in metrics]}, {"xaxis.title.text": metric}],
        }
        for metric in metrics
    ]
    menu = {"buttons": buttons, "active": metrics.index(main), "x": 1, "y": 1.2, "xanchor": "right"}
    figure.update_layout(updatemenus=[menu], showlegend=False, height=160 + 32 * len(colour))
    figure.update_xaxes(title=main).update_yaxes(autorange="reversed", automargin=True)
    return figure


def against(accuracy: pd.DataFrame, cost: pd.DataFrame, main: str, colour: dict[str, str]) -> go.Figure:
    """Return accuracy against the times of training and evaluation, and the popularity of what is shown."""
    table = accuracy.pivot(index="model", columns="metric", values="mean").join(cost.set_index("model"))
    popular = [name for name in table if name.startswith("averagepopularity")][:1]
    axes = {
        "train_seconds": "seconds of training",
        "evaluate_seconds": "seconds to rank the test part",
        **{name: f"{name}: interactions of a recommended item" for name in popular},
    }
    figure = make_subplots(rows=1, cols=len(axes), shared_yaxes=True, horizontal_spacing=0.04)
    for column, (key, title) in enumerate(axes.items(), start=1):
        for model, row in table.iterrows():
            figure.add_scatter(
                x=[row[key]], y=[row[main]], name=model, mode="markers+text", text=[model], row=1, col=column,
                textposition="top center", marker={"color": colour[model], "size": 10}, showlegend=False,
            )  # fmt: skip
        figure.update_xaxes(title=title, type="linear" if key in popular else "log", row=1, col=column)
    return figure.update_yaxes(title=main, row=1, col=1)


def by_epoch(curves: pd.DataFrame, colour: dict[str, str]) -> go.Figure:
    """Return one line per run, side by side where runs are validated by different metrics."""
    metrics = list(curves["metric"].unique())
    figure = make_subplots(rows=1, cols=len(metrics))
    named = set()
    for (metric, model, seed, fold), rows in curves.groupby(["metric", "model", "seed", "fold"], sort=False):
        which = f"seed {seed}, fold {fold}" if fold else f"seed {seed}"
        figure.add_scatter(
            x=rows["epoch"], y=rows["value"], name=model, legendgroup=model, showlegend=model not in named,
            mode="lines+markers" if len(rows) == 1 else "lines", line={"color": colour[model], "width": 1},
            hovertemplate=f"{which}, epoch %{{x}}: %{{y:.4f}}", row=1, col=metrics.index(metric) + 1,
        )  # fmt: skip
        named.add(model)
    for column, metric in enumerate(metrics, start=1):
        figure.update_xaxes(title="epoch", row=1, col=column)
        figure.update_yaxes(title=f"validation {metric}", row=1, col=column)
    return figure


def by_activity(groups: pd.DataFrame, main: str, colour: dict[str, str]) -> go.Figure:
    """Return one bar per model in every group of users."""
    figure = go.Figure()
    for model, rows in groups.groupby("model", sort=False):
        users = [f"{count} users" for count in rows["users"]]
        figure.add_bar(
            x=rows["group"], y=rows["value"], name=model, marker={"color": colour[model]}, hovertext=users
        )
    figure.update_xaxes(title="training interactions of a user", type="category")
    return figure.update_layout(barmode="group").update_yaxes(title=main)
