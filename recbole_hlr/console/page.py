"""HTML pages that need no network: one head for all of them, plotly in it once, every text escaped."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.io import to_html
from plotly.offline import get_plotlyjs

from recbole_hlr.version import __version__

BASE = "page.html"  # what a template extends
CONFIG = {"displaylogo": False, "responsive": True, "showSendToCloud": False}  # plotly 7 offers an upload


def text_in(room: str, name: str) -> str:
    """Return a file that lies beside the modules of a room."""
    return files(f"recbole_hlr.{room}").joinpath(name).read_text(encoding="utf-8")


def page_of(room: str, name: str, **given: Any) -> str:
    """Return the page of the template `name` of a room; every text that is `given` to it is escaped."""
    texts = {BASE: text_in("console", BASE), f"{room}/{name}": text_in(room, name)}
    environment = Environment(loader=DictLoader(texts), autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = environment.get_template(f"{room}/{name}")
    return template.render(version=__version__, plotly=Markup(get_plotlyjs()), **given)


def drawn(figure: Figure, height: int, top: int = 20) -> Markup:
    """Return a figure as HTML, so many pixels high, of which `top` are for its title."""
    figure.update_layout(template="plotly_white", margin={"t": top, "r": 20})
    return Markup(
        to_html(figure, include_plotlyjs=False, full_html=False, config=CONFIG, default_height=height)
    )
