"""`recbole-hlr convert FORMAT SOURCE`: one command for each format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from recbole_hlr.cli.verbs import HELP, begin

SOURCES = {
    "movielens": "ratings.csv (20M and later), ratings.dat (1M, 10M) or u.data (100K), its folder or .zip",
    "echonest": "train_triplets.txt of the Taste Profile subset, or its .zip",
    "yelp": "yelp_academic_dataset_review.json",
    "amazon": "reviews (JSON) or ratings (CSV) of a category, such as reviews_Books.json.gz",
    "table": "a table or any list of interactions: text, JSON, parquet, feather, Excel",
}
COLUMN = "its name or, from 1, its number"
OF_TABLES = [
    click.Option(["--user"], metavar="COLUMN", help=f"of user ids: {COLUMN}"),
    click.Option(["--item"], metavar="COLUMN", help="of item ids"),
    click.Option(["--rating"], metavar="COLUMN", help="of ratings"),
    click.Option(["--count"], metavar="COLUMN", help="of play counts and the like"),
    click.Option(["--time"], metavar="COLUMN", help="of times: numbers, or dates"),
    click.Option(["--preview"], is_flag=True, help="show the first rows as they are read; write nothing"),
    click.Option(
        ["--form"],
        metavar="FORM",
        help="values, json, python (dicts), adjacency (u i1 i2 ...), blocks (i: then u,rating,date), "
        "matrix (users x items) or lists (of items in a column), if it is not recognised",
    ),
    click.Option(
        ["--separator"], metavar="TEXT", help="between values: tab, blanks, comma, semicolon, bar or any text"
    ),
    click.Option(["--header/--no-header"], default=None, help="whether the first line names the columns"),
    click.Option(["--skip-lines"], type=int, metavar="N", help="that come before it, such as sizes"),
    click.Option(
        ["--quotes"],
        metavar="WAY",
        help='doubled or escaped (\\") within values; kept as text; or off, those around values',
    ),
    click.Option(["--decimal"], metavar=". or ,", help="before decimals; the other is between thousands"),
    click.Option(["--dates"], metavar="ORDER", help="day-first or month-first, where they do not tell"),
    click.Option(
        ["--where"], metavar="CONDITION", help="rows to take, as \"behavior == 'buy' and price > 10\""
    ),
    click.Option(["--sample-users"], type=float, metavar="SHARE", help="take this share of the users alone"),
    click.Option(["--seed"], type=int, metavar="N", help="of which users these are"),
    click.Option(
        ["--aggregate"], metavar="WAY", help="make repeated pairs one: sum, max or last value, or their count"
    ),
    click.Option(
        ["--keep"], metavar="COLUMNS", help="more columns, as price,category or price:float,tag:token"
    ),
    click.Option(["--items"], metavar="FILE", help="a table of items, for NAME.item"),
    click.Option(["--item-id"], metavar="COLUMN", help="of its ids"),
    click.Option(["--users"], metavar="FILE", help="a table of users, for NAME.user"),
    click.Option(["--user-id"], metavar="COLUMN", help="of its ids"),
]


@click.group(
    no_args_is_help=False,
    epilog="Example: recbole-hlr convert movielens ml-1m.zip --out=dataset",
    context_settings=HELP,
)
def convert() -> None:
    """Write RecBole's atomic files from a download or a table."""


def convert_one(kind: str) -> Callable[..., None]:
    """Return what converts files of one format."""

    def convert(**given: Any) -> None:
        begin()
        from recbole_hlr.convert.command import run

        run(kind, **given)

    return convert


for kind, what in SOURCES.items():
    of_table = kind == "table"
    parameters: list[click.Parameter] = [
        click.Argument(["source"], metavar="SOURCE"),
        click.Option(
            ["--out"], required=not of_table, metavar="FOLDER", help="FOLDER/NAME/NAME.inter is written"
        ),
        click.Option(["--name"], help="of the data set" + ("" if of_table else ", else as the source says")),
        click.Option(["--encoding"], help="of the text, if it is not UTF-8"),
        click.Option(["--strict"], is_flag=True, help="stop at the first malformed line"),
        click.Option(["--overwrite"], is_flag=True, help="replace FOLDER/NAME"),
        *(OF_TABLES if of_table else ()),
    ]
    convert.add_command(
        click.Command(
            kind,
            callback=convert_one(kind),
            params=parameters,
            help=f"SOURCE: {what}. It may be packed as .gz, .bz2, .xz, .zst or .zip.",
            short_help=what,
            context_settings=HELP,
        )
    )
