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
    "table": "a table with a header (comma, tab, semicolon or bar) or a .parquet file",
}
COLUMNS = {
    "--user": "of user ids",
    "--item": "of item ids",
    "--rating": "of ratings",
    "--count": "of play counts and the like",
    "--time": "of times: numbers, or dates as 2026-01-31",
}


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
    parameters: list[click.Parameter] = [
        click.Argument(["source"], metavar="SOURCE"),
        click.Option(["--out"], required=True, metavar="FOLDER", help="FOLDER/NAME/NAME.inter is written"),
        click.Option(["--name"], required=kind == "table", help="of the data set, else as the source says"),
        click.Option(["--encoding"], help="of the text, if it is not UTF-8"),
        click.Option(["--strict"], is_flag=True, help="stop at the first malformed line"),
        click.Option(["--overwrite"], is_flag=True, help="replace FOLDER/NAME"),
    ]
    if kind == "table":
        parameters += [
            click.Option([name], metavar="COLUMN", required=name in ("--user", "--item"), help=text)
            for name, text in COLUMNS.items()
        ]
    convert.add_command(
        click.Command(
            kind,
            callback=convert_one(kind),
            params=parameters,
            help=f"SOURCE: {what}. It may be packed as .gz, .xz or .zip.",
            short_help=what,
            context_settings=HELP,
        )
    )
