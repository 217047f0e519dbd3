"""What `recbole-hlr convert` does, and what it prints."""

from __future__ import annotations

import codecs
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recbole_hlr.convert.check import KINDS, Rule, check
from recbole_hlr.convert.conversion import SHOWN, Conversion, convert
from recbole_hlr.convert.dates import Dates
from recbole_hlr.convert.reading import read_file
from recbole_hlr.convert.selection import Selection
from recbole_hlr.convert.source import choose
from recbole_hlr.convert.summary import Counts
from recbole_hlr.convert.table import Table
from recbole_hlr.errors import InputError
from recbole_hlr.options.command_line import COMMAND_LINE

PREVIEWED = 10  # rows
OF_OUTPUT = ("name", "out", "strict", "overwrite")


def run(kind: str, source: str, encoding: str | None = None, preview: bool = False, **given: Any) -> None:
    """Convert as a command line says, and print the report; or print a `preview` alone."""
    encoding = checked_encoding(encoding)
    try:
        if preview:
            print(first_rows(source, encoding, {k: v for k, v in given.items() if k not in OF_OUTPUT}))
        else:
            print(describe(convert(kind, source, encoding=encoding, **given)))
    except InputError as error:
        if error.option is None:
            raise
        value = "" if error.value is None else f"={error.value}"
        given_as = f"--{error.option.replace('_', '-')}{value}"
        raise InputError(given_as, error.rule, place=COMMAND_LINE) from None


def first_rows(source: str, encoding: str | None, said: Mapping[str, Any]) -> str:
    """Return the first rows of a table as they will be written, and what was recognised."""
    from tabulate import tabulate

    table = Table.of(said)
    reading = read_file(choose(Path(source), ("*",)), table, encoding or "utf-8")
    selection = Selection(table)
    parsed = next(reading.parts, None)
    if parsed is None:
        raise InputError(f"{reading.where}: has no row")
    first = selection.of(parsed)
    rule, kinds = Rule(decimal=table.decimal), KINDS | selection.kinds
    kept, malformed = check(first, rule, Dates(table.dates), reading.where, kinds)
    columns = {field: column[:PREVIEWED].to_pylist() for field, column in kept.columns.items()}
    lines = [f"  line {line}: {reason}" for line, reason in malformed[:SHOWN]]
    lines = [f"malformed among the first lines: {len(malformed):,}", *lines] if lines else []
    rows = tabulate(columns, headers="keys", disable_numparse=True)
    return "\n".join([f"read as {reading.says}", *lines, "", rows, "\nnothing was written"])


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

    lines = [f"read as {report.recognised}"] if report.recognised else []
    lines += [f"{report.folder / report.name}.inter: {', '.join(report.columns)}"]
    lines += [report.titles] if report.titles else []
    lines += report.sides
    lines += [f"rows that are not asked for: {report.left_out:,}"] if report.left_out else []
    lines += [f"rows of repeated pairs, made one: {report.merged:,}"] if report.merged else []
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
