"""Rows of tables that have types: parquet, feather, Excel, and tables of pandas, polars and pyarrow."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet

from recbole_hlr.convert.check import ITEM
from recbole_hlr.convert.rows import Parsed
from recbole_hlr.convert.source import ZIPPED, Bytes, Entry, first_bytes, opened
from recbole_hlr.data.typed import as_text
from recbole_hlr.errors import InputError

BATCH = 2**18  # rows that are read at a time
BEGINNINGS = {b"PAR1": "parquet", b"ARROW1": "feather", b"\xff\xff\xff\xff": "arrow", ZIPPED[0]: "excel"}


def kind_of(entry: Entry) -> str | None:
    """Return which typed table a file is, by its first bytes; None where it is none."""
    begin = first_bytes(entry)
    return next((kind for magic, kind in BEGINNINGS.items() if begin.startswith(magic)), None)


def names_of(entry: Entry, kind: str) -> list[str]:
    """Return the names of the columns of a file; `InputError` where it cannot be read."""
    with readable(entry, kind), opened(entry) as (stream, _, _):
        if kind == "parquet":
            return list(pa.parquet.ParquetFile(stream).schema_arrow.names)
        return list(next(iter(batches(stream, kind))).schema.names)


def parsed_table(entry: Entry, kind: str, fields: Mapping[str, str]) -> Iterator[Parsed]:
    """Yield the rows of a file, of the columns `fields`; row numbers, from 1, are those of their lines."""
    with readable(entry, kind), opened(entry) as (stream, total, position), Bytes(entry, total) as bar:
        for parsed in parsed_batches(batches(stream, kind, list(dict.fromkeys(fields.values()))), fields):
            yield parsed
            bar.done = min(position(), total)


def batches(stream: IO[bytes], kind: str, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a file with, at least, some columns; `InputError` where a library is missing."""
    if kind == "parquet":
        yield from pa.parquet.ParquetFile(stream).iter_batches(BATCH, columns=columns)
    elif kind == "feather":
        reader = pa.ipc.open_file(stream)
        if not reader.num_record_batches:
            yield pa.RecordBatch.from_pylist([], reader.schema)
        yield from (reader.get_batch(at) for at in range(reader.num_record_batches))
    elif kind == "arrow":
        yield from pa.ipc.open_stream(stream)
    else:
        try:
            sheet = pd.read_excel(stream, dtype=str, na_filter=False, engine="openpyxl")
        except ImportError:
            raise InputError(
                "is an Excel workbook, which needs openpyxl; run `pip install openpyxl`, or save it as CSV"
            ) from None
        yield from batches_of(sheet)


def batches_of(table: Any) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in memory: of pandas, or any with the stream of Arrow's C interface.

    Raises `InputError` for anything else, and for a column whose values are of several types.
    """
    try:
        if isinstance(table, pd.DataFrame):
            table = pa.Table.from_pandas(table.rename(columns=str), preserve_index=False)
        if not hasattr(table, "__arrow_c_stream__"):
            raise InputError(
                f"{type(table).__name__}: must be a table of pandas, polars or pyarrow, or a file"
            )
        reader = pa.RecordBatchReader.from_stream(table)
        empty = True
        for batch in reader:
            empty = False
            yield from (batch.slice(at, BATCH) for at in range(0, len(batch), BATCH))
        if empty:
            yield pa.RecordBatch.from_pylist([], reader.schema)
    except pa.ArrowException as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{type(table).__name__}: has a column that cannot be read ({reason})") from None


def parsed_batches(found: Iterable[pa.RecordBatch], fields: Mapping[str, str]) -> Iterator[Parsed]:
    """Yield rows as columns of texts; a row whose items are a list is one for each of them."""
    row = 1
    for batch in found:
        columns = {field: batch.column(name) for field, name in fields.items()}
        lines = np.arange(row, row + len(batch))
        row += len(batch)
        items = columns.get(ITEM)
        if items is not None and (pa.types.is_list(items.type) or pa.types.is_large_list(items.type)):
            rows = pc.list_parent_indices(items)
            columns = {field: column.take(rows) for field, column in columns.items() if field != ITEM} | {
                ITEM: pc.list_flatten(items)
            }
            columns, lines = {field: columns[field] for field in fields}, lines[rows.to_numpy()]
        yield Parsed({field: as_text(column) for field, column in columns.items()}, lines, [])


@contextlib.contextmanager
def readable(entry: object, kind: str) -> Iterator[None]:
    """Raise `InputError`, with the file's name, for what pyarrow or openpyxl cannot read."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        if isinstance(error, InputError):
            raise error if str(entry) in str(error) else error.within(str(entry)) from None
        reason = (str(error).splitlines() or ["is damaged"])[0]
        raise InputError(f"{entry}: cannot be read as {kind} ({reason})") from None
