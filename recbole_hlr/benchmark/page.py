"""A report as one HTML page that needs no network: tables that sort by a click, and plotly figures."""

from __future__ import annotations

from importlib.resources import files

import pandas as pd
from jinja2 import Environment
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from recbole_hlr.benchmark import tables
from recbole_hlr.benchmark.figures import figures
from recbole_hlr.benchmark.results import BenchmarkReport
from recbole_hlr.version import __version__

PARTS = ("page.css", "page.js")
NOT_MEASURED: dict[str, object] = {"text": "", "value": "", "rank": None}


def page(report: BenchmarkReport) -> str:
    """Return the page; every text in it is escaped."""
    here = files("recbole_hlr.benchmark")
    css, script = (Markup(here.joinpath(name).read_text(encoding="utf-8")) for name in PARTS)
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        here.joinpath("page.html").read_text(encoding="utf-8")
    )
    return template.render(
        report=report,
        caption=tables.CAPTION.format(over=report.over),
        version=__version__,
        css=css,
        script=script,
        plotly=Markup(get_plotlyjs()),
        sections=[section(report, dataset) for dataset in report.main],
        cells=report.cells.to_dict("records"),
        number=tables.number,
    )


def section(report: BenchmarkReport, dataset: str) -> dict[str, object]:
    """Return what the page shows of one data set."""
    rows = report.accuracy[report.accuracy["dataset"] == dataset]
    metrics = list(rows["metric"].unique())
    tests = [
        {"metric": metric, "table": tables.shown_tests(report, dataset, metric)}
        for metric in report.significance["metric"].unique()
    ]
    return {
        "name": dataset,
        "split": report.splits[dataset],
        "main": report.main[dataset],
        "metrics": metrics,
        "rows": [
            {
                "label": tables.label(report, dataset, model),
                "cells": shown_cells(of_model, metrics),
                "cost": report.cost[(report.cost["dataset"] == dataset) & (report.cost["model"] == model)]
                .iloc[0]
                .to_dict(),
            }
            for model, of_model in rows.groupby("model", sort=False)
        ],
        "tests": [entry for entry in tests if len(entry["table"])],
        "figures": [(heading, drawn(figure)) for heading, figure in figures(report, dataset)],
    }


def shown_cells(of_model: pd.DataFrame, metrics: list[str]) -> list[dict[str, object]]:
    """Return a model's row of the table, a cell for each of `metrics`, empty where it was not measured."""
    there = {row.metric: row for row in of_model.itertuples()}
    return [
        {"text": tables.cell(row), "value": row.mean, "rank": row.rank} if row else NOT_MEASURED
        for row in map(there.get, metrics)
    ]


def drawn(figure: Figure) -> Markup:
    """Return a figure as HTML; plotly itself stands in the page once."""
    figure.update_layout(template="plotly_white", margin={"t": 60, "r": 20})
    options = {
        "displaylogo": False,
        "responsive": True,
        "showSendToCloud": False,
    }  # plotly 7 offers an upload
    return Markup(
        to_html(figure, include_plotlyjs=False, full_html=False, config=options, default_height=420)
    )
