"""A report as Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Protocol

import pandas as pd
from tabulate import tabulate

from recbole_hlr.benchmark.results import BenchmarkReport
from recbole_hlr.files import write_text
from recbole_hlr.version import __version__

LATEX = {1: r"\textbf{{{}}}".format, 2: r"\underline{{{}}}".format}
FIGURES = "mean ± standard deviation over {over}, [95 % bootstrap interval over users]"
CAPTION = f"{FIGURES}; best bold, second underlined"


def number(value: float) -> str:
    """Return a figure as people read it: four decimals below 10, one below 1,000."""
    if not math.isfinite(value):
        return "" if math.isnan(value) else str(value)
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"


def plain_text(text: str) -> str:
    """Return a text that Markdown shows as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|" else letter for letter in text)


class Row(Protocol):
    """A row of `BenchmarkReport.accuracy`."""

    mean: float
    std: float
    low: float
    high: float
    rank: int


class Style(NamedTuple):
    """How a report is set: `marks` for the best and the second mean, tabulate's name of the tables."""

    caption: str
    marks: dict[int, Callable[[str], str]]
    heading: Callable[[str, int], str]  # of a text and a level
    tables: str
    text: Callable[[str], str] = str


MARKDOWN = Style(
    CAPTION,
    {1: "**{}**".format, 2: "<u>{}</u>".format},
    lambda text, level: f"{'#' * level} {text}",
    "github",
    plain_text,
)
TERMINAL = Style(
    f"{FIGURES}; * best, + second",
    {1: "{}*".format, 2: "{}+".format},
    lambda text, level: f"{text}\n{'-='[level == 2] * len(text)}",
    "simple",
)


def probability(value: float) -> str:
    """Return a p-value."""
    return f"{value:.4f}" if value >= 0.0001 else "< 0.0001"


def cell(row: Row, plus_minus: str = "±", mark: Callable[[str], str] = str) -> str:
    """Return mean ± deviation [interval] of a row of `BenchmarkReport.accuracy`, the mean marked."""
    text = mark(number(row.mean))
    text += f" {plus_minus} {number(row.std)}" if not math.isnan(row.std) else ""
    return text + (f" [{number(row.low)}, {number(row.high)}]" if not math.isnan(row.low) else "")


def wide(report: BenchmarkReport, dataset: str, text: Callable[[Row], str]) -> pd.DataFrame:
    """Return one row per model and one column per metric, each cell what `text` makes of its row."""
    rows = report.accuracy[report.accuracy["dataset"] == dataset]
    texts = rows.assign(text=[text(row) for row in rows.itertuples()])
    table = texts.pivot(index="model", columns="metric", values="text")
    return table.loc[rows["model"].unique(), rows["metric"].unique()].fillna("")


def label(report: BenchmarkReport, dataset: str, model: str) -> str:
    """Return a model's name, with its seeds, or folds, where it has not all of them."""
    rows = report.accuracy[report.accuracy["dataset"] == dataset]
    seeds, all_seeds = rows[rows["model"] == model][["seeds", "all_seeds"]].max()
    return model if seeds == all_seeds else f"{model} ({seeds} of {all_seeds} {report.over})"


def as_text(report: BenchmarkReport, style: Style = MARKDOWN) -> str:
    """Return all tables, as Markdown unless told otherwise.

    Without times, so that the same results give the same text.
    """

    def grid(frame: pd.DataFrame) -> str:
        return tabulate(
            frame.values.tolist(), list(frame.columns), tablefmt=style.tables, disable_numparse=True
        )

    caption = style.caption.format(over=report.over)
    parts = [f"Protocol: {report.protocol}. {caption[0].upper()}{caption[1:]}.\n"]
    for dataset in report.main:
        table = wide(report, dataset, lambda row: cell(row, mark=style.marks.get(row.rank, str)))
        table.index = pd.Index([label(report, dataset, model) for model in table.index], name="model")
        split = f"Split: {report.splits[dataset]}.\n\n" if report.splits[dataset] else ""
        parts.append(f"{style.heading(style.text(dataset), 2)}\n\n{split}{grid(table.reset_index())}\n")
        tests = shown_tests(report, dataset)
        if len(tests):
            heading = f"Against {report.baseline}, {report.main[dataset]}, user by user"
            parts.append(f"{style.heading(heading, 3)}\n\n{grid(tests)}\n")
    missing = report.cells[report.cells["status"] != "finished"]
    if len(missing):
        fold = ["fold"] if report.over == "folds" else []
        shown = missing[["dataset", "model", "seed", *fold, "status", "reason"]].astype(str)
        heading = style.heading("Cells without a result", 2)
        parts.append(f"{heading}\n\n{grid(shown.map(style.text))}\n")
    return "\n".join(parts)


def shown_tests(report: BenchmarkReport, dataset: str, metric: str | None = None) -> pd.DataFrame:
    """Return the comparisons with the baseline by a metric, the main one if none is given, as texts."""
    tests = report.significance[
        (report.significance["dataset"] == dataset)
        & (report.significance["metric"] == (metric or report.main[dataset]))
    ]
    return pd.DataFrame(
        {
            "model": tests["model"],
            "users": tests["users"].astype(str),
            "difference": tests["difference"].map("{:+.4f}".format),
            "d_z": tests["d_z"].map("{:+.3f}".format),
            "rank-biserial": tests["rank_biserial"].map("{:+.3f}".format),
            "t-test, Holm": tests["t_holm"].map(probability),
            "Wilcoxon, Holm": tests["wilcoxon_holm"].map(probability),
            "verdict": tests["verdict"],
        }
    )


def latex(report: BenchmarkReport) -> str:
    """Return the table of accuracy for a paper; needs the package booktabs."""
    frames = []
    for dataset in report.main:
        table = wide(report, dataset, lambda row: cell(row, r"$\pm$", LATEX.get(row.rank, str)))
        names = [label(report, dataset, model) for model in table.index]
        table.index = pd.MultiIndex.from_product([[dataset], names], names=["data set", "model"])
        frames.append(table)
    body = pd.concat(frames).fillna("").rename_axis(columns=None)
    style = body.style.format_index(escape="latex", axis=0).format_index(escape="latex", axis=1)
    splits = "; ".join(dict.fromkeys(filter(None, report.splits.values())))
    caption = f"Protocol {report.protocol}{f' ({splits})' if splits else ''}: "
    caption = re.sub(r"[%_#&]", r"\\\g<0>", f"{caption}{CAPTION.format(over=report.over)}.")
    caption = caption.replace("±", r"$\pm$")
    return style.to_latex(
        hrules=True,
        multirow_align="naive",
        caption=caption,
        position_float="centering",
        column_format="l" * (2 + body.shape[1]),
    )


def as_json(report: BenchmarkReport) -> str:
    """Return the whole report as JSON; what is no number is null."""
    content = {
        key: value.to_dict("records") if isinstance(value, pd.DataFrame) else value
        for key, value in asdict(report).items()
    }
    return json.dumps(finite({"version": __version__, **content}), indent=1, ensure_ascii=False) + "\n"


def finite(value: object) -> object:
    """Return a value as JSON has it: plain numbers, null for those that are none."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write(out: Path, texts: dict[str, str]) -> None:
    """Write files below `out`, each whole or not at all."""
    for name, text in texts.items():
        write_text(out / name, text)
