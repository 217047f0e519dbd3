"""Tables that hold ids or titles: files, and tables of any library, as pyarrow's; which column is meant."""

from __future__ import annotations

import csv as text_csv
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pyarrow import csv, parquet

from recbole_hlr.data.packed import PARQUET, opened
from recbole_hlr.data.reader import read_header
from recbole_hlr.errors import InputError
from recbole_hlr.files import is_file

DELIMITERS = "\t,;|"
TYPED = re.compile(r"[^:]+:(token|float)(_seq)?")  # a column of an atomic file


def read_table(path: Path, encoding: str = "utf-8") -> pa.Table:
    """Return a `.parquet` file, an atomic file, or a text with a header; of texts every value is one.

    The types of an atomic file's columns are left off their names. Raises `InputError`.
    """
    if not is_file(path):
        raise InputError(f"{path}: there is no such file")
    try:
        if path.suffix == PARQUET:
            table = parquet.read_table(pa.OSFile(os.fsencode(path)))
            return table.rename_columns([without_type(name) for name in table.column_names])
        return _read_text(path, encoding)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (pa.ArrowInvalid, text_csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a table ({shortly(error)})") from None


def _read_text(path: Path, encoding: str) -> pa.Table:
    header, _ = read_header(str(path), encoding)
    header = header.removeprefix("\ufeff")
    delimiter = max(DELIMITERS, key=header.count)
    atomic = all(TYPED.fullmatch(name) for name in header.split("\t"))
    names = header.split("\t") if atomic else next(text_csv.reader([header], delimiter=delimiter), [])
    if not names:
        raise InputError(f"{path}: must begin with a line of its columns' names")
    with opened(path) as file:
        table = csv.read_csv(
            file,
            csv.ReadOptions(use_threads=False, encoding=encoding),
            csv.ParseOptions(
                delimiter="\t" if atomic else delimiter,
                quote_char=False if atomic else '"',
                newlines_in_values=not atomic,
            ),
            csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string())),
        )
    return table.rename_columns([without_type(name) for name in names]) if atomic else table


def without_type(name: str) -> str:
    """Return the name of an atomic file's column, `name:type`."""
    return name.partition(":")[0] if TYPED.fullmatch(name) else name


def table_of(given: Any) -> pa.Table:
    """Return a table of any library, or of a file, as pyarrow's; `InputError` for what is none."""
    if isinstance(given, Path):
        return read_table(given)
    try:
        return pa.Table.from_pandas(given) if isinstance(given, pd.DataFrame) else pa.table(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            "histories: must be lists of items by users' names, or a table with a column of users and one of "
            f"items ({shortly(error)})"
        ) from None


def column_of(table: pa.Table, columns: Sequence[str], what: object) -> list[Any]:
    """Return the values of the first of `columns` that a table has, or of its only one.

    Raises `InputError`, whose sentence begins with `what` the table is.
    """
    return table.column(chosen(table.column_names, columns, what)).to_pylist()


def chosen(names: Iterable[object], columns: Sequence[str], what: object) -> Any:
    """Return the first of `columns` among the names of a table's columns, or its only name."""
    there = list(names)
    found = [name for name in columns if there.count(name) == 1] or (there if len(there) == 1 else [])
    if not found:
        raise InputError(f"{what}: must have a column {columns[0]}; it has {', '.join(map(str, there))}")
    return found[0]


def shortly(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).splitlines() or [type(error).__name__])[0]
