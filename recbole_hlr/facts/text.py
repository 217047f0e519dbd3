"""A description of a data set as a terminal shows it, in 80 columns."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from recbole_hlr.facts.description import Description

WIDTH = 80
NOTHING = "Nothing of what usually goes wrong was found."
SHARES = ("density", "top")  # begin the names of rows of shares


def as_text(found: Description) -> str:
    """Return tables and warnings."""
    blocks = [table(found.sizes, found.dataset), table(found.tail, "long tail")]
    if len(found.left_out):
        blocks.append(reasons(found.left_out))
    blocks += [table(found.lengths, "interactions of a"), table(found.parts.T, "part")]
    if len(found.times):
        blocks.append(table(found.times, "time"))
    blocks.append("\n".join(["Look at", *map(bullet, found.warnings)]) if found.warnings else NOTHING)
    return "\n\n".join(blocks)


def table(shown: pd.DataFrame, corner: str) -> str:
    """Return a table with its row names below `corner`."""
    from tabulate import tabulate

    cells = [
        [name, *(cell(value, name) for value in row)]
        for name, row in zip(shown.index, shown.to_numpy(), strict=True)
    ]
    align = ["left", *["right"] * len(shown.columns)]
    return tabulate(cells, [shortened(corner), *shown.columns], disable_numparse=True, colalign=align)


def reasons(left_out: pd.DataFrame) -> str:
    """Return what is left out and why."""
    lines = [f"{row.interactions:,} {row.why}" for row in left_out.itertuples()]
    return "\n".join(["Left out", *map(bullet, lines)])


def cell(value: object, name: str) -> str:
    """Return a value of the row `name`: a share in per cent, a Gini coefficient, or a count."""
    if isinstance(value, str):
        return value
    number = float(value)  # type: ignore[arg-type]
    if name.startswith("Gini"):
        return f"{number:.3f}"
    return f"{100 * number:.3f} %" if name.startswith(SHARES) else f"{number:,.0f}"


def bullet(sentence: str) -> str:
    """Return a sentence in lines of at most `WIDTH`, words that are longer included."""
    return textwrap.fill(sentence, WIDTH, initial_indent="  - ", subsequent_indent="    ")


def shortened(name: str, most: int = 30) -> str:
    """Return a name that is no wider than `most`."""
    return name if len(name) <= most else f"{name[: most - 3]}..."
