"""A description of a data set as one HTML page that needs no network, with plotly figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from recbole_hlr.console.page import drawn, page_of
from recbole_hlr.facts.figures import figures
from recbole_hlr.facts.text import NOTHING, cell

if TYPE_CHECKING:
    from recbole_hlr.facts.description import Description


def page(found: Description) -> str:
    """Return the page; every text in it is escaped."""
    return page_of(
        "facts",
        "page.html",
        found=found,
        tables=[
            ("Sizes", found.sizes),
            ("Long tail", found.tail),
            ("Interactions of a user and of an item", found.lengths),
            ("Parts of the split", found.parts.T),
            ("Time", found.times),
        ],
        figures=[(heading, drawn(figure, height=420)) for heading, figure in figures(found)],
        cell=cell,
        nothing=NOTHING,
    )
