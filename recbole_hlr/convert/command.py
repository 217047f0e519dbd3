"""What `recbole-hlr convert` does, and what it prints."""

from __future__ import annotations

import codecs
import math
from typing import Any

from recbole_hlr.convert.check import ITEM, PLAYS, RATING, TIME, USER
from recbole_hlr.convert.conversion import Conversion, convert
from recbole_hlr.convert.summary import Counts
from recbole_hlr.errors import InputError
from recbole_hlr.options.command_line import COMMAND_LINE

FIELDS = {"user": USER, "item": ITEM, "rating": RATING, "count": PLAYS, "time": TIME}


def run(kind: str, encoding: str | None = None, **given: Any) -> None:
    """Convert as a command line says, and print the report."""
    if given.get("rating") is not None and given.get("count") is not None:
        raise InputError(f"--count ({COMMAND_LINE}): cannot be given with --rating")
    named = {key: given.pop(key, None) for key in FIELDS}
    columns = {FIELDS[key]: column for key, column in named.items() if column is not None}
    print(describe(convert(kind, **given, columns=columns, encoding=checked_encoding(encoding))))


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
