"""The conversion: rows in, atomic files out, all of them or none."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from recbole_hlr.convert.check import ITEM, KINDS, PLAYS, RATING, USER, Rows, Rule, check
from recbole_hlr.convert.dates import Dates
from recbole_hlr.convert.formats import FORMATS, data_set_name, read_published
from recbole_hlr.convert.reading import read_file, read_memory
from recbole_hlr.convert.repeated import merged
from recbole_hlr.convert.rows import Malformed, Reading
from recbole_hlr.convert.selection import Selection
from recbole_hlr.convert.sides import write_side
from recbole_hlr.convert.source import Entry, beside, choose
from recbole_hlr.convert.summary import Counts, Tally, summarize
from recbole_hlr.convert.table import Table
from recbole_hlr.convert.titles import read_movies, write_movies
from recbole_hlr.errors import InputError, invalid
from recbole_hlr.files import exists, is_file
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.protocols import Values

NOTHING = Counts(0, 0, 0, 0.0)
SHOWN = 5  # malformed lines that are kept to be shown


@dataclass
class Conversion:
    """What a conversion did: where the files are, what was left out, and the sizes."""

    folder: Path
    name: str
    recognised: str = ""
    columns: list[str] = field(default_factory=list)
    malformed: int = 0
    first_malformed: list[str] = field(default_factory=list)
    left_out: int = 0
    titles: str = ""
    sides: list[str] = field(default_factory=list)
    repeated: int = 0
    merged: int = 0
    before: Counts = NOTHING
    after: Counts = NOTHING
    config: Values = field(default_factory=dict)

    def leave_out(self, where: object, lines: list[Malformed], strict: bool) -> None:
        """Count malformed lines and keep the first; with `strict` the first is an `InputError`."""
        if lines and strict:
            raise InputError(f"{where}, line {lines[0].line}: {lines[0].reason}")
        self.malformed += len(lines)
        more = lines[: SHOWN - len(self.first_malformed)]
        self.first_malformed += [f"{where}, line {line}: {reason}" for line, reason in more]


def convert(
    kind: Any,
    source: str | Path | None = None,
    out: str | Path = "",
    *,
    name: str | None = None,
    encoding: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
    **said: Any,
) -> Conversion:
    """Write `out/name/name.inter` (MovieLens: and `.item`) from a download, a file or a table in memory.

    `kind` is one of movielens, echonest, yelp, amazon, table, or itself a table of pandas, polars or
    pyarrow. What is `said` of a table are the options of `recbole-hlr convert table`, as `user="uid"`, or
    `columns` by field (user_id, item_id and, if any, rating or play_count, timestamp). A malformed line
    is left out and counted or, with `strict`, an `InputError`, as is input that cannot be read. Nothing is
    written then.
    """
    table, entry = Table.of(said), found(kind, source)
    if entry is not None and kind != "table":
        if said:
            raise InputError(f"{next(iter(said))}: is an option of tables alone, not of {kind}")
        name = name or data_set_name(kind, Path(str(source)), entry)
    name, out = needed("name", name, "the data set's name"), needed("out", out, "the folder to make it in")
    with new_folder(Path(out), name, overwrite) as folder:
        reading = read(kind, entry, table, encoding)
        shipped_config = shipped("datasets", f"{name}.yaml")
        report = Conversion(Path(out) / name, name, reading.says)
        report.config = load_yaml(shipped_config) if is_file(shipped_config) else {}
        selection, file = Selection(table), folder / f"{name}.inter"
        tally = write_interactions(file, reading, rule_of(kind, table), selection, report, strict)
        if not tally.interactions:
            raise nothing_left(reading, selection, report)
        if table.aggregate:
            tally = merge(file, tally, selection, report, table.aggregate)
        if entry is not None and reading.movies:
            titles(folder / f"{name}.item", entry, reading.movies, encoding, tally, report, strict)
        write_sides(folder, table, tally, report, encoding or "utf-8")
        value = PLAYS if PLAYS in report.columns else RATING
        report.before, report.after, report.repeated = summarize(tally, report.config, value)
        for file_of_rows in folder.glob(".rows*"):
            file_of_rows.unlink()
    return report


def needed(option: str, given: str | Path | None, what: str) -> str:
    """Return what must be given; `InputError` where it is not."""
    if not given:
        raise InputError(option, f"must be given, {what}", option=option)
    return str(given)


def write_sides(folder: Path, table: Table, tally: Tally, report: Conversion, encoding: str) -> None:
    """Write the `.item` and the `.user` file from the tables that are named for them."""
    for side, source, ids in ((ITEM, table.items, tally.items), (USER, table.users, tally.users)):
        if source:
            path = folder / f"{report.name}.{side.removesuffix('_id')}"
            report.sides.append(write_side(path, source, table.beside(side), ids, encoding))


def found(kind: Any, source: str | Path | None) -> Entry | None:
    """Return the file of a `source`, None where `kind` is itself a table; `InputError` without either."""
    if not isinstance(kind, str):
        if source is not None:
            raise InputError(f"{source}: cannot be given with a table; must be left out")
        return None
    if kind not in FORMATS:
        raise InputError(f"format {kind}: must be one of {', '.join(FORMATS)}")
    if source is None:
        raise InputError(f"{kind}: needs a file")
    return choose(Path(source), FORMATS[kind].patterns)


def read(kind: Any, entry: Entry | None, table: Table, encoding: str | None) -> Reading:
    """Return the rows of a source."""
    if entry is None:
        return read_memory(kind, table)
    if kind == "table":
        return read_file(entry, table, encoding or "utf-8")
    return read_published(kind, entry, encoding or "utf-8")


def rule_of(kind: Any, table: Table) -> Rule:
    """Return what the values of a source may be."""
    return FORMATS[kind if isinstance(kind, str) else "table"].rule._replace(decimal=table.decimal)


def nothing_left(reading: Reading, selection: Selection, report: Conversion) -> InputError:
    """Return the error of a source of which no row is written."""
    if selection.left_out:
        asked = " and ".join(f"{key}={value}" for key, value in selection.asked().items())
        return InputError(f"{reading.where}: none of its rows is left by {asked}")
    return InputError(
        "; ".join([f"{reading.where}: no line of it could be read", *report.first_malformed[:1]])
    )


def write_interactions(
    path: Path, reading: Reading, rule: Rule, selection: Selection, report: Conversion, strict: bool
) -> Tally:
    """Write the `.inter` file, block by block; return what was counted."""
    dates = Dates(selection.table.dates)
    report.columns = []
    scratch = path.with_name(f".rows{len(list(path.parent.glob('.rows*')))}")
    with path.open("wb") as file, contextlib.closing(Tally(scratch)) as tally:
        for parsed in reading.parts:
            chosen = selection.of(parsed)
            kinds = KINDS | selection.kinds
            kept, malformed = check(chosen, rule, dates, reading.where, kinds)
            report.leave_out(reading.where, malformed, strict)
            if len(kept.users) and not report.columns:
                report.columns = list(kept.columns)
                refuse_missing_columns(report)
                file.write(("\t".join(f"{name}:{kinds[name]}" for name in kept.columns) + "\n").encode())
            write_rows(file, kept)
            tally.add(kept)
    report.left_out += selection.left_out
    return tally


def merge(path: Path, tally: Tally, selection: Selection, report: Conversion, how: str) -> Tally:
    """Write the `.inter` file anew with one interaction for each pair; return what was counted."""
    if how in ("sum", "max") and not {RATING, PLAYS} & set(report.columns):
        raise invalid("aggregate", how, "", "last or count where there is no rating or count")
    all_rows = path.rename(path.with_name(".all"))
    parts = merged(tally, all_rows, report.columns, how)
    every = Selection(Table({}), selection.kinds)
    once = write_interactions(path, Reading(parts, "", path.name), Rule(), every, report, strict=True)
    all_rows.unlink()
    report.merged = tally.interactions - once.interactions
    return once


def write_rows(file: BinaryIO, kept: Rows) -> None:
    """Append rows to an atomic file, each a line of values between tabs."""
    if len(kept.users):
        lines = pc.binary_join_element_wise(*kept.columns.values(), "\t")
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines), "\n")
        file.write(joined[0].as_buffer())
        file.write(b"\n")


def refuse_missing_columns(report: Conversion) -> None:
    """Raise `InputError` where the configuration shipped for a name reads a column that there is not."""
    for wanted in report.config.get("load_col", {}).get("inter", []):
        if wanted not in report.columns:
            raise InputError(
                f"--name={report.name}: datasets/{report.name}.yaml reads a column {wanted}, "
                f"and the input gives {', '.join(report.columns)}; give that column or another --name"
            )


def titles(
    path: Path,
    entry: Entry,
    movies_name: str,
    encoding: str | None,
    tally: Tally,
    report: Conversion,
    strict: bool,
) -> None:
    """Write the `.item` file from the file of movies beside the ratings, if it is there."""
    movie_file = beside(entry, movies_name)
    if movie_file is None:
        report.titles = f"no {movies_name} beside the ratings, so no titles"
        return
    movies, malformed = read_movies(movie_file, encoding)
    report.leave_out(movie_file, malformed, strict)
    missing = write_movies(path, movies, list(tally.items))
    report.titles = f"titles and genres of {len(tally.items) - missing:,} of {len(tally.items):,} movies"


@contextlib.contextmanager
def new_folder(out: Path, name: str, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden folder in `out` that becomes `out/name` when all is well, and else vanishes."""
    target = out / name
    if not name or name.startswith(".") or set(name) & set("/\\\t\n"):
        raise InputError(f"--name={name}: must be the name of a folder, not hidden and without slash")
    if exists(target):
        refuse_existing(target, overwrite)
    hidden = out / f".{name}.{uuid.uuid4().hex[:8]}"
    try:
        hidden.mkdir(parents=True)
        yield hidden
        if target.exists():
            refuse_existing(target, overwrite)
            replace(target, hidden)
        else:
            hidden.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror or error})") from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def replace(target: Path, new: Path) -> None:
    """Put the folder `new` in the place of `target`, which is only then removed."""
    old = new.with_name(new.name + ".old")
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old)


def refuse_existing(target: Path, overwrite: bool) -> None:
    """Raise `InputError` where there is a target that is not to be, or must not be, replaced."""
    if not overwrite:
        raise InputError(f"{target}: exists already; give --overwrite to replace it, or another --name")
    listed = target.iterdir() if target.is_dir() else ()
    strange = [path.name for path in listed if not path.name.startswith(f"{target.name}.")]
    if strange or not target.is_dir():
        what = f"holds {strange[0]}" if strange else "is no folder"
        raise InputError(f"{target}: {what}, and is not replaced; move it away or give another --name")
