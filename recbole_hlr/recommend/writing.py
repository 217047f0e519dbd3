"""Tables written one after the other into one file, `.parquet`, `.csv` or `.jsonl`, whole or not at all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from recbole_hlr.errors import InputError
from recbole_hlr.files import whole

Tables = Iterable[pd.DataFrame]
KINDS = {"object": pa.string(), "int64": pa.int64(), "float64": pa.float64()}  # of a column of a table


def write_tables(path: Path, tables: Tables) -> None:
    """Write tables of the same columns, each before the next is made; Ctrl-C leaves what was there before.

    Raises `InputError` for another suffix, and where the file cannot be written.
    """
    write = writer_of(path)
    with whole(path) as file:
        write(file, tables)


def writer_of(path: Path) -> Callable[[BinaryIO, Tables], None]:
    """Return what writes a file of that suffix; `InputError` where nothing does."""
    if path.suffix not in WRITERS:
        raise InputError(f"{path}: must end in one of {', '.join(WRITERS)}")
    return WRITERS[path.suffix]


def _parquet(file: BinaryIO, tables: Tables) -> None:
    with contextlib.ExitStack() as stack:
        writer = None
        for table in tables:
            kinds = {name: KINDS[str(kind)] for name, kind in table.dtypes.items()}
            writer = writer or stack.enter_context(parquet.ParquetWriter(file, pa.schema(kinds)))
            writer.write_table(pa.Table.from_pandas(table, writer.schema, preserve_index=False))


def _csv(file: BinaryIO, tables: Tables) -> None:
    for number, table in enumerate(tables):
        file.write(table.to_csv(index=False, header=number == 0, lineterminator="\n").encode())


def _jsonl(file: BinaryIO, tables: Tables) -> None:
    for table in tables:
        if len(table):
            lines = table.to_json(orient="records", lines=True, force_ascii=False, double_precision=15)
            file.write(lines.encode())


WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
