"""What a relation memory has learned as one HTML page that needs no network, with plotly figures."""

from __future__ import annotations

import html
from collections.abc import Iterator
from importlib.resources import files

import plotly.graph_objects as go
from jinja2 import Environment
from markupsafe import Markup
from plotly.colors import qualitative
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from recbole_hlr.recommend.relations import Relations
from recbole_hlr.version import __version__

SHOWN = 30  # rows of the table of metadata, and every one that is significant
COLOURED = 9  # values of the map that have a colour of their own, the most frequent ones
LEVEL = 0.05
CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}


def page(found: Relations) -> str:
    """Return the page; every text in it is escaped."""
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        files("recbole_hlr.recommend").joinpath("relations.html").read_text(encoding="utf-8")
    )
    significant = int((found.enrichment["adjusted"] < LEVEL).sum())
    return template.render(
        found=found,
        enriched=found.enrichment[: max(SHOWN, significant)],
        significant=significant,
        figures=[(heading, drawn(figure)) for heading, figure in figures(found)],
        cell=cell,
        version=__version__,
        plotly=Markup(get_plotlyjs()),
    )


def cell(value: object) -> str:
    """Return a value of a table: a number that is not whole with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def figures(found: Relations) -> Iterator[tuple[str, go.Figure]]:
    """Yield the map by slots and, where there are, by values, with their headings."""
    points = found.points
    yield "By the slot that a pair leans to", on_a_map(found, points["slot"].map("slot {}".format).tolist())
    if found.metadata:
        frequent = points["value"][points["value"] != ""].value_counts().index[:COLOURED]
        values = [one if one in frequent else "other" if one else "none" for one in points["value"]]
        yield f"By {found.metadata}, of each item the first", on_a_map(found, values)


def on_a_map(found: Relations, groups: list[str]) -> go.Figure:
    """Return the map with points in the colours of their groups, whose names are escaped."""
    figure, points = go.Figure(), found.points.assign(group=groups)
    names = points["title" if "title" in points else "item"].map(html.escape)
    told = "user " + points["user"].map(html.escape) + "<br>" + names
    for number, (group, rows) in enumerate(points.groupby("group")):
        figure.add_scatter(
            x=rows["x"], y=rows["y"], name=html.escape(str(group)), mode="markers", text=told[rows.index],
            hovertemplate="%{text}", marker={"color": qualitative.D3[number % 10], "size": 5, "opacity": 0.7},
        )  # fmt: skip
    for axis, part in zip((figure.update_xaxes, figure.update_yaxes), found.axes, strict=True):
        axis(title=f"{part:.0%} of the variance of r")
    return figure.update_yaxes(scaleanchor="x")


def drawn(figure: go.Figure) -> Markup:
    """Return a figure as HTML; plotly itself stands in the page once."""
    figure.update_layout(template="plotly_white", margin={"t": 20, "r": 20})
    return Markup(to_html(figure, include_plotlyjs=False, full_html=False, config=CONFIG, default_height=560))
