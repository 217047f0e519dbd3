"""`recbole-hlr explain` and `relations`: why an item has its score, and what a memory has learned."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recbole_hlr.cli.recommending import command, load_as_told, titles_of

if TYPE_CHECKING:
    import pandas as pd

WORDS = {
    "base": "minus the squared distance without r",
    "user": "the relation of the user and the item itself",
    "audience": "a user of the item",
    "target": "the relation of the user and the item itself, by the item's attention",
    "slot": "a slot of the memory",
    "relation": "r",
    "bias": "the item's bias",
    "unsolved": "what the user's vector has besides, docs/explain.md",
    "neighbour": "of the history, near the item; no cause, for the model does not ask for it",
}


def explain(run_dir: str, user: str, item: str, k: int, titles: str | None, **given: Any) -> None:
    """Print why an item has its score for a user."""
    fitted = load_as_told(run_dir, given, few=True)
    print(as_text(fitted.explain(user, item, k, titles=titles_of(fitted, titles))))


def relations(run_dir: str, out: str, metadata: str | None, k: int, titles: str | None, **given: Any) -> None:
    """Write the page of what a relation memory has learned, and print whether it has collapsed."""
    fitted = load_as_told(run_dir, given, few=True)
    found = fitted.relations(metadata, k, titles=titles_of(fitted, titles))
    found.write(Path(out).expanduser())
    print(f"{found.verdict}\n{out}")


def as_text(table: pd.DataFrame) -> str:
    """Return an explanation as it is printed: what holds for the pair, the parts, and words about these."""
    from pandas.api.types import is_float_dtype
    from tabulate import tabulate

    told = table.attrs
    seen = ", were it not seen already" if told["seen"] else ""
    lines = [
        f"user {told['user']}, item {told['item']}",
        f"score {told['score']:.4f}, rank {told['rank']:,} of {told['of']:,} items not seen{seen}",
    ]
    if "distance" in told:
        lines.append(
            f"squared distance {told['distance']:.4f} without r, {told['moved_distance']:.4f} with r"
        )
    cells = [[in_cell(value) for value in row] for row in table.itertuples(index=False)]
    align = ["right" if is_float_dtype(kind) else "left" for kind in table.dtypes]
    shown = tabulate(cells, list(table.columns), disable_numparse=True, colalign=align)
    words = [f"{part}: {WORDS[part]}" for part in dict.fromkeys(table["part"]) if part in WORDS]
    return "\n".join([*lines, "", shown, "", *words])


def in_cell(value: object) -> str:
    """Return a text as it is, a number with four digits, and none as nothing."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.4f}"
    return str(value)


explain_command = command(
    "explain",
    explain,
    "Print why an item has its score for a user: contributions that add up to it.",
    "recbole-hlr explain RUN_DIR --user=196 --item=50",
    click.Option(["--user"], metavar="ID", required=True, help="a user's id"),
    click.Option(["--item"], metavar="ID", required=True, help="an item's id"),
)
relations_command = command(
    "relations",
    relations,
    "Write a page about what the relation memory of HLR, HLR++ or LRML has learned.",
    "recbole-hlr relations RUN_DIR --out=page.html --metadata=class",
    click.Option(["--out"], metavar="FILE", required=True, help="the page, an .html file"),
    click.Option(
        ["--metadata"],
        metavar="FILE:COLUMN",
        help="values of items, such as genres, to compare the slots with; COLUMN alone: of the data set's "
        "own .item file",
    ),
)
