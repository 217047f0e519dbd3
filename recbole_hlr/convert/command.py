"""`recbole-hlr convert`: its arguments, and what it prints."""

from __future__ import annotations

import argparse
import codecs
import math
from typing import NoReturn

from recbole_hlr.convert.check import ITEM, PLAYS, RATING, TIME, USER
from recbole_hlr.convert.conversion import Conversion, convert
from recbole_hlr.convert.summary import Counts
from recbole_hlr.errors import InputError
from recbole_hlr.options.command_line import (
    COMMAND_LINE,
)

SOURCES = {
    "movielens": "ratings.csv (20M and later), ratings.dat (1M, 10M) or u.data (100K), its folder or .zip",
    "echonest": "train_triplets.txt of the Taste Profile subset, or its .zip",
    "yelp": "yelp_academic_dataset_review.json",
    "amazon": "reviews (JSON) or ratings (CSV) of a category, such as reviews_Books.json.gz",
    "table": "a table with a header (comma, tab, semicolon or bar) or a .parquet file",
}


class Parser(argparse.ArgumentParser):
    """Wrong arguments are an `InputError`."""

    def error(self, message: str) -> NoReturn:
        """Raise the sentence that argparse would exit with."""
        raise InputError(f"{message} ({COMMAND_LINE}); see `{self.prog} --help`")


def arguments_parser() -> Parser:
    """Return the parser of the verb: one sub-command for each format."""
    parser = Parser(
        prog="recbole-hlr convert",
        description="Write RecBole's atomic files from a download or a table.",
        allow_abbrev=False,
    )
    formats = parser.add_subparsers(dest="kind", metavar="FORMAT", required=True)
    for kind, what in SOURCES.items():
        sub = formats.add_parser(kind, help=what, description=f"SOURCE: {what}.", allow_abbrev=False)
        sub.add_argument("source", metavar="SOURCE", help="may be packed as .gz, .xz or .zip")
        sub.add_argument("--out", required=True, metavar="FOLDER", help="FOLDER/NAME/NAME.inter is written")
        sub.add_argument("--name", required=kind == "table", help="of the data set, else as the source says")
        sub.add_argument("--encoding", help="of the text, if it is not UTF-8")
        sub.add_argument("--strict", action="store_true", help="stop at the first malformed line")
        sub.add_argument("--overwrite", action="store_true", help="replace FOLDER/NAME")
    sub.add_argument("--user", dest=USER, required=True, metavar="COLUMN", help="of user ids")
    sub.add_argument("--item", dest=ITEM, required=True, metavar="COLUMN", help="of item ids")
    value = sub.add_mutually_exclusive_group()
    value.add_argument("--rating", dest=RATING, metavar="COLUMN", help="of ratings")
    value.add_argument("--count", dest=PLAYS, metavar="COLUMN", help="of play counts and the like")
    sub.add_argument("--time", dest=TIME, metavar="COLUMN", help="of times: numbers, or dates as 2026-01-31")
    return parser


def run(words: list[str]) -> None:
    """Convert as a command line says, and print the report."""
    try:
        given = vars(arguments_parser().parse_args(words))
    except SystemExit:  # --help has been printed
        return
    fields = (USER, ITEM, RATING, PLAYS, TIME)
    columns = {field: given[field] for field in fields if given.get(field) is not None}
    options = {key: given[key] for key in ("kind", "source", "out", "name", "strict", "overwrite")}
    print(describe(convert(**options, columns=columns, encoding=checked_encoding(given["encoding"]))))


def checked_encoding(name: str | None) -> str | None:
    """Return an encoding's usual name; `InputError` where it is none whose lines end as in ASCII."""
    try:
        usual = codecs.lookup(name).name if name else None
        if usual is None or "\n".encode(usual) == b"\n":
            return usual
    except (LookupError, TypeError):
        pass
    raise InputError(f"--encoding={name} ({COMMAND_LINE}): must be a text encoding such as utf-8 or latin-1")


def describe(report: Conversion) -> str:
    """Return what a conversion ends with: files, lines left out, sizes."""
    from tabulate import tabulate

    lines = [f"{report.folder / report.name}.inter: {', '.join(report.columns)}"]
    lines += [report.titles] if report.titles else []
    if report.malformed:
        lines.append(f"malformed lines, left out: {report.malformed:,}")
        lines += [f"  {line}" for line in report.first_malformed]
        lines += ["  ..."] if report.malformed > len(report.first_malformed) else []
    if report.repeated:
        given = f" in datasets/{report.name}.yaml" if report.config.get("rm_dup_inter") else ""
        lines.append(f"lines that repeat a user and an item: {report.repeated:,}, kept")
        lines.append(f"  rm_dup_inter{given} drops them when the data set is loaded")
    rows, header = sizes(report)
    align = ["left", *["right"] * (len(header) - 1)]
    size_table = tabulate(rows, header, disable_numparse=True, colalign=align)
    return "\n".join([*lines, "", size_table, *thresholds(report)])


def sizes(report: Conversion) -> tuple[list[list[str]], list[str]]:
    """Return rows and header of the table of sizes."""
    columns = {"as converted": figures(report.before)}
    if report.config:
        columns["after filtering"] = figures(report.after)
    if published := report.config.get("source", {}).get("table_1"):
        columns["paper, Table 1"] = figures(Counts._make([*published, float("nan")]))
    names = ("users", "items", "interactions", "density", "median interactions per user")
    return [list(row) for row in zip(names, *columns.values(), strict=True)], ["", *columns]


def figures(counts: Counts) -> list[str]:
    """Return counts as they are shown."""
    median = "" if math.isnan(counts.median) else f"{counts.median:g}"
    sizes = [f"{count:,}" for count in (counts.users, counts.items, counts.interactions)]
    return [*sizes, f"{100 * counts.density:.3f} %", median]


def thresholds(report: Conversion) -> list[str]:
    """Return the filters behind the table, if there are any."""
    keys = ("rm_dup_inter", "val_interval", "user_inter_num_interval", "item_inter_num_interval")
    given = [f"{key}: {report.config[key]}" for key in keys if report.config.get(key)]
    return [f"\nfiltering as datasets/{report.name}.yaml says: {', '.join(given)}"] if given else []
