"""The conversion: rows in, atomic files out, all of them or none."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from recbole_hlr.convert.check import ITEM, PLAYS, RATING, TIME, USER, Rows, Rule, check
from recbole_hlr.convert.formats import FORMATS, MOVIE_FILES, data_set_name, rows
from recbole_hlr.convert.rows import Malformed, Parsed
from recbole_hlr.convert.source import Entry, beside, choose
from recbole_hlr.convert.summary import Counts, Tally, summarize
from recbole_hlr.convert.titles import read_movies, write_movies
from recbole_hlr.errors import InputError
from recbole_hlr.files import exists, is_file
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.protocols import Values

KINDS = {USER: "token", ITEM: "token", RATING: "float", PLAYS: "float", TIME: "float"}
NOTHING = Counts(0, 0, 0, 0.0)
SHOWN = 5  # malformed lines that are kept to be shown


@dataclass
class Conversion:
    """What a conversion did: where the files are, what was left out, and the sizes."""

    folder: Path
    name: str
    columns: list[str] = field(default_factory=list)
    malformed: int = 0
    first_malformed: list[str] = field(default_factory=list)
    titles: str = ""
    repeated: int = 0
    before: Counts = NOTHING
    after: Counts = NOTHING
    config: Values = field(default_factory=dict)

    def leave_out(self, entry: Entry, lines: list[Malformed], strict: bool) -> None:
        """Count malformed lines and keep the first; with `strict` the first is an `InputError`."""
        if lines and strict:
            raise InputError(f"{entry}, line {lines[0].line}: {lines[0].reason}")
        self.malformed += len(lines)
        more = lines[: SHOWN - len(self.first_malformed)]
        self.first_malformed += [f"{entry}, line {line}: {reason}" for line, reason in more]


def convert(
    kind: str,
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Conversion:
    """Write `out/name/name.inter` (MovieLens: and `.item`) from a download or a table.

    `kind` is one of movielens, echonest, yelp, amazon, table; `columns` names the columns of a table by
    field (user_id, item_id and, if any, rating or play_count, timestamp). A malformed line is left out and
    counted or, with `strict`, an `InputError`, as is input that cannot be read. Nothing is written then.
    """
    columns = columns or {}
    if kind not in FORMATS:
        raise InputError(f"format {kind}: must be one of {', '.join(FORMATS)}")
    if kind == "table" and not {USER, ITEM} <= set(columns) <= set(KINDS):
        raise InputError(
            f"columns={dict(columns)}: must name {USER} and {ITEM}, and no other than {list(KINDS)}"
        )
    entry = choose(Path(source), FORMATS[kind].patterns)
    name = name or data_set_name(kind, Path(source), entry)
    with new_folder(Path(out), name, overwrite) as folder:
        shipped_config = shipped("datasets", f"{name}.yaml")
        report = Conversion(Path(out) / name, name)
        report.config = load_yaml(shipped_config) if is_file(shipped_config) else {}
        delimiter, parts = rows(kind, entry, encoding or "utf-8", columns)
        tally = write_interactions(folder, parts, entry, FORMATS[kind].rule, report, strict)
        if not tally.interactions:
            raise InputError(
                "; ".join([f"{entry}: no line of it could be read", *report.first_malformed[:1]])
            )
        if kind == "movielens":
            titles(folder / f"{name}.item", entry, delimiter, encoding, tally, report, strict)
        value = PLAYS if PLAYS in report.columns else RATING
        report.before, report.after, report.repeated = summarize(tally, report.config, value)
        for file_of_rows in folder.glob(".rows*"):
            file_of_rows.unlink()
    return report


def write_interactions(
    folder: Path, parts: Iterator[Parsed], entry: Entry, rule: Rule, report: Conversion, strict: bool
) -> Tally:
    """Write the `.inter` file, block by block; return what was counted."""
    path = folder / f"{report.name}.inter"
    with path.open("wb") as file, contextlib.closing(Tally(folder / ".rows")) as tally:
        for parsed in parts:
            kept, malformed = check(parsed, rule)
            report.leave_out(entry, malformed, strict)
            if not report.columns:
                report.columns = list(kept.columns)
                refuse_missing_columns(report)
                file.write(("\t".join(f"{name}:{KINDS[name]}" for name in kept.columns) + "\n").encode())
            write_rows(file, kept)
            tally.add(kept)
    return tally


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
    delimiter: str,
    encoding: str | None,
    tally: Tally,
    report: Conversion,
    strict: bool,
) -> None:
    """Write the `.item` file from the file of movies beside the ratings, if it is there."""
    movie_file = beside(entry, MOVIE_FILES[delimiter])
    if movie_file is None:
        report.titles = f"no {MOVIE_FILES[delimiter]} beside the ratings, so no titles"
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
