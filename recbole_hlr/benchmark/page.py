"""A report as one HTML page that needs no network: tables that sort by a click, and plotly figures."""

from __future__ import annotations

import pandas as pd
from markupsafe import Markup

from recbole_hlr.benchmark import tables
from recbole_hlr.benchmark.figures import figures
from recbole_hlr.benchmark.results import BenchmarkReport
from recbole_hlr.console.page import drawn, page_of, text_in

PARTS = ("page.css", "page.js")
NOT_MEASURED: dict[str, object] = {"text": "", "value": "", "rank": None}


def page(report: BenchmarkReport) -> str:
    """Return the page; every text in it is escaped."""
    css, script = (Markup(text_in("benchmark", name)) for name in PARTS)
    return page_of(
        "benchmark",
        "page.html",
        report=report,
        caption=tables.CAPTION.format(over=report.over),
        css=css,
        script=script,
        sections=[section(report, dataset) for dataset in report.main],
        cells=report.cells.to_dict("records"),
        number=tables.number,
    )


def section(report: BenchmarkReport, dataset: str) -> dict[str, object]:
    """Return what the page shows of one data set."""
    rows = report.accuracy[report.accuracy["dataset"] == dataset]
    metrics = list(rows["metric"].unique())
    drawings = figures(report, dataset)
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
        "figures": [(heading, drawn(figure, height=420, top=60)) for heading, figure in drawings],
    }


def shown_cells(of_model: pd.DataFrame, metrics: list[str]) -> list[dict[str, object]]:
    """Return a model's row of the table, a cell for each of `metrics`, empty where it was not measured."""
    there = {row.metric: row for row in of_model.itertuples()}
    return [
        {"text": tables.cell(row), "value": row.mean, "rank": row.rank} if row else NOT_MEASURED
        for row in map(there.get, metrics)
    ]
