"""Atomic files as text: read in compiled code; what is wrong with one is said with its name and line."""

from __future__ import annotations

import contextlib
import csv as text_csv
import io
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, cast

import pandas as pd
import pyarrow as pa
from pyarrow import csv

from recbole_hlr.data import typed
from recbole_hlr.data.packed import PARQUET, opened
from recbole_hlr.data.typed import MISSING
from recbole_hlr.errors import InputError


def read_header(
    filepath: str, encoding: str, separator: str = "\t", ids: Collection[str] = ()
) -> tuple[str, bool]:
    """Return a file's first line, and whether any other holds something; `InputError` if it is no text.

    Of a .parquet file it is what the line would be; `ids` are the names of columns of ids.
    """
    if filepath.endswith(PARQUET):
        columns, has_rows = typed.header(Path(filepath), ids)
        return separator.join(columns), has_rows
    with text_of(filepath, encoding) as file:
        return file.readline().rstrip("\n"), any(line.strip() for line in file)


@contextlib.contextmanager
def text_of(filepath: str, encoding: str, newline: str | None = None) -> Iterator[IO[str]]:
    """Yield the text of a file, packed or plain; `InputError` where it cannot be read, or is no such text."""
    try:
        with opened(Path(filepath)) as file:
            yield io.TextIOWrapper(io.BufferedReader(cast(io.RawIOBase, file)), encoding, newline=newline)
    except UnicodeError as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{filepath}: is not {encoding} text ({reason}); set --encoding") from None


def read_columns(
    filepath: str, columns: list[str], separator: str, encoding: str, ids: Collection[str] = ()
) -> pd.DataFrame:
    """Return columns of a delimited file without quoting: `:float` as numbers, others as categories.

    Raises `InputError` for a line with too many or too few values and for text that is not `encoding`,
    `ValueError` for a value that is no number.
    """
    wrong: list[csv.InvalidRow] = []

    def bad_row(row: csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    text = pa.dictionary(pa.int32(), pa.string())
    kinds = {name: pa.float64() if name.endswith(":float") else text for name in columns}
    if filepath.endswith(PARQUET):
        table = typed.table(Path(filepath), columns, ids)
        return table.cast(pa.schema(kinds)).unify_dictionaries().to_pandas()
    try:
        with opened(Path(filepath)) as file:
            table = csv.read_csv(
                file,
                csv.ReadOptions(use_threads=False, encoding=encoding),  # one thread: it counts the lines
                csv.ParseOptions(delimiter=separator, quote_char=False, invalid_row_handler=bad_row),
                csv.ConvertOptions(
                    include_columns=columns,
                    column_types=kinds,
                    null_values=MISSING,
                    strings_can_be_null=True,
                ),
            )
    except UnicodeError as error:
        reason = getattr(error, "reason", error)
        raise InputError(f"{filepath}: is not {encoding} text ({reason}); set --encoding") from None
    except pa.ArrowInvalid as error:
        if wrong:
            raise InputError(
                f"{filepath}, line {wrong[0].number}: has {wrong[0].actual_columns} columns; "
                f"must have {wrong[0].expected_columns} as the header has"
            ) from None
        if "UTF8" in str(error):
            raise InputError(f"{filepath}: is not {encoding} text; set --encoding") from None
        raise
    return table.unify_dictionaries().to_pandas()


def refuse_long_rows(filepath: str, separator: str, encoding: str, columns: int) -> None:
    """Raise `InputError` for a row with more values than the header, which pandas would shift or cut."""
    if filepath.endswith(PARQUET):
        return
    try:
        for line, row in _rows(filepath, separator, encoding):
            if len(row) > columns:
                raise InputError(
                    f"{filepath}, line {line}: has {len(row)} columns; must have {columns} as the header has"
                )
    except text_csv.Error as error:
        raise InputError(f"{filepath}: cannot be read ({error})") from None


def _rows(filepath: str, separator: str, encoding: str) -> Iterator[tuple[int, list[str]]]:
    """Yield rows with their line, taken apart as by pandas' Python engine."""
    with text_of(filepath, encoding, "" if len(separator) == 1 else None) as file:
        if len(separator) == 1:
            reader = text_csv.reader(file, delimiter=separator)
            yield from ((reader.line_num, row) for row in reader)
        else:
            pattern = re.compile(separator)
            yield from ((n, pattern.split(line.strip())) for n, line in enumerate(file, start=1))


def wrong_number(filepath: str, separator: str, encoding: str) -> str | None:
    """Return where in an atomic file the first float column holds something that is no number."""
    if filepath.endswith(PARQUET):
        return None
    with text_of(filepath, encoding, "") as file:
        table = pd.read_csv(file, sep=separator, dtype=str, engine="python")
    for column in table.columns[table.columns.str.endswith(":float")]:
        wrong = pd.to_numeric(table[column], errors="coerce").isna() & table[column].notna()
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            return f"line {row + 2}: {column.split(':')[0]}={table[column].iloc[row]} must be a number"
    return None
