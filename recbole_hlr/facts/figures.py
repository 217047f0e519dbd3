"""The figures of a data set's page, each of some hundred points, however large the data set."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from recbole_hlr.facts.measures import Measured
from recbole_hlr.facts.times import UNITS, unit_of

if TYPE_CHECKING:
    from recbole_hlr.facts.description import Description

POINTS = 300  # of a curve, at most
BARS = 50  # of values, and of stretches of time


def figures(found: Description) -> Iterator[tuple[str, go.Figure]]:
    """Yield headings and figures."""
    curves = found.curves
    both = {name: curves[name] for name in ("read", "kept")}
    yield "Items by how often they occur", by_rank(both)
    yield "What part of the interactions the most frequent items have", shares(both)
    yield "Users with at least so many interactions", histories(both)
    if curves["times"]:
        yield "Interactions over time", over_time(curves["times"])
    for name, counts in curves["values"].items():
        if len(counts):
            yield f"Values of {name}", values(name, counts)


def places(count: int) -> np.ndarray:
    """Return at most `POINTS` places of `count`, closer to each other at the beginning."""
    return np.unique(np.geomspace(1, count, min(POINTS, count)).round().astype(int)) - 1


def by_rank(found: dict[str, Measured]) -> go.Figure:
    """Return the interactions of items, the most frequent first."""
    figure = go.Figure()
    for name, one in found.items():
        at = places(len(one.of_items))
        figure.add_scatter(x=at + 1, y=np.sort(one.of_items)[::-1][at], name=name, mode="lines")
    return titled(figure, "rank of the item", "its interactions", log=True)


def shares(found: dict[str, Measured]) -> go.Figure:
    """Return what share of the interactions a share of the items has, the most frequent first."""
    figure = go.Figure()
    for name, one in found.items():
        at = places(len(one.of_items))
        sums = np.sort(one.of_items)[::-1].cumsum()
        x, y = (at + 1) / len(sums), sums[at] / sums[-1]
        figure.add_scatter(x=[0, *x], y=[0, *y], name=name, mode="lines")
    figure.add_scatter(
        x=[0, 1], y=[0, 1], name="all alike", mode="lines", line={"dash": "dot", "color": "#999"}
    )
    return titled(figure, "share of the items", "share of the interactions")


def histories(found: dict[str, Measured]) -> go.Figure:
    """Return how many users have at least so many interactions."""
    figure = go.Figure()
    for name, one in found.items():
        counts, users = np.unique(one.of_users, return_counts=True)
        at = places(len(counts))
        figure.add_scatter(x=counts[at], y=users[::-1].cumsum()[::-1][at], name=name, mode="lines")
    return titled(figure, "interactions", "users with at least so many", log=True)


def over_time(stamps: dict[str, np.ndarray]) -> go.Figure:
    """Return how many interactions there are in stretches of time, of what is read or of every part."""
    unit, figure = unit_of(stamps["read"]), go.Figure()
    shown = {name: times for name, times in stamps.items() if name != "read"} or stamps
    known = {name: times[np.isfinite(times)] for name, times in shown.items()}
    edges = np.histogram_bin_edges(np.concatenate(list(known.values())), BARS)
    middles = (edges[1:] + edges[:-1]) / 2
    x = middles if unit is None else (middles / UNITS[unit]).astype("datetime64[s]")
    for name, times in known.items():
        figure.add_bar(x=x, y=np.histogram(times, edges)[0], name=name)
    return titled(figure.update_layout(barmode="stack"), "time", "interactions")


def values(name: str, counts: object) -> go.Figure:
    """Return how often the values of a column occur, `counts` by value."""
    x, y = counts.index.to_numpy(), counts.to_numpy()  # type: ignore[attr-defined]
    if len(x) > BARS:
        finite = np.isfinite(x)
        y, edges = np.histogram(x[finite], BARS, weights=y[finite])
        x = (edges[1:] + edges[:-1]) / 2
    return titled(go.Figure(go.Bar(x=x, y=y)), html.escape(name), "interactions")


def titled(figure: go.Figure, x: str, y: str, log: bool = False) -> go.Figure:
    """Return a figure with names of its axes."""
    kind = "log" if log else None
    return figure.update_xaxes(title=x, type=kind).update_yaxes(title=y, type=kind)
