"""What a relation memory has learned as one HTML page that needs no network, with plotly figures."""

from __future__ import annotations

import html
from collections.abc import Iterator

import plotly.graph_objects as go
from plotly.colors import qualitative

from recbole_hlr.console.page import drawn, page_of
from recbole_hlr.recommend.relations import Relations

SHOWN = 30  # rows of the table of metadata, and every one that is significant
COLOURED = 9  # values of the map that have a colour of their own, the most frequent ones
LEVEL = 0.05


def page(found: Relations) -> str:
    """Return the page; every text in it is escaped."""
    significant = int((found.enrichment["adjusted"] < LEVEL).sum())
    return page_of(
        "recommend",
        "relations.html",
        found=found,
        enriched=found.enrichment[: max(SHOWN, significant)],
        significant=significant,
        figures=[(heading, drawn(figure, height=560)) for heading, figure in figures(found)],
        cell=cell,
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
