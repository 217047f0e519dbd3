"""A description of a data set as one HTML page that needs no network, with plotly figures."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from recbole_hlr.facts.figures import figures
from recbole_hlr.facts.text import NOTHING, cell
from recbole_hlr.version import __version__

if TYPE_CHECKING:
    from recbole_hlr.facts.description import Description

CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}


def page(found: Description) -> str:
    """Return the page; every text in it is escaped."""
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
        files("recbole_hlr.facts").joinpath("page.html").read_text(encoding="utf-8")
    )
    return template.render(
        found=found,
        tables=[
            ("Sizes", found.sizes),
            ("Long tail", found.tail),
            ("Interactions of a user and of an item", found.lengths),
            ("Parts of the split", found.parts.T),
            ("Time", found.times),
        ],
        figures=[(heading, drawn(figure)) for heading, figure in figures(found)],
        cell=cell,
        nothing=NOTHING,
        version=__version__,
        plotly=Markup(get_plotlyjs()),
    )


def drawn(figure: Figure) -> Markup:
    """Return a figure as HTML; plotly itself stands in the page once."""
    figure.update_layout(template="plotly_white", margin={"t": 20, "r": 20})
    return Markup(to_html(figure, include_plotlyjs=False, full_html=False, config=CONFIG, default_height=420))
