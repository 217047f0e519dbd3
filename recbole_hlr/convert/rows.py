"""Rows as columns of texts with their line numbers, from text files and from parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet

from recbole_hlr.convert.source import Block, Bytes, Entry, blocks, opened
from recbole_hlr.errors import InputError

BATCH = 2**18  # rows of a parquet file that are read at a time


class Malformed(NamedTuple):
    """A line that is left out, and why."""

    line: int
    reason: str


class Parsed(NamedTuple):
    """Rows of a block: by field a column of texts, their line numbers `(n,)`, and the lines left out."""

    columns: dict[str, pa.Array]
    lines: np.ndarray
    malformed: list[Malformed]


class Layout(Protocol):
    """How the lines of a text file are to be read."""

    @property
    def quoted(self) -> bool:
        """Whether a value between double quotes may hold line breaks."""

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block."""


def as_text(column: pa.Array) -> pa.Array:
    """Return a column as texts; whole numbers without a point, instants as seconds since 1970."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).cast(pa.float64())
        column = pa.compute.divide(column, 1e6)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        whole = pa.compute.floor(column)
        big = pa.compute.less(pa.compute.abs(column), 2.0**53)
        same = pa.compute.and_(pa.compute.equal(whole, column), big)
        integers = pa.compute.if_else(same, whole, None).cast(pa.int64()).cast(pa.string())
        column = pa.compute.coalesce(integers, column.cast(pa.string()))
    return pa.compute.fill_null(column.cast(pa.string()), "")


def parsed_lines(entry: Entry, encoding: str, layout: Layout) -> Iterator[Parsed]:
    """Yield the rows of a text file."""
    for block in blocks(entry, encoding, layout.quoted):
        try:
            yield layout.parse(block)
        except pa.ArrowInvalid as error:
            where = f"{entry}, from line {block.first_line} on"
            raise InputError(f"{where}: cannot be parsed ({str(error).splitlines()[0]})") from None


def parsed_parquet(entry: Entry, fields: Callable[[list[str]], dict[str, str]]) -> Iterator[Parsed]:
    """Yield the rows of a parquet file; their line numbers are row numbers, from 1.

    `fields` chooses among the names of the columns.
    """
    try:
        with opened(entry) as (stream, total, _), Bytes(entry, total) as bar:
            file = pa.parquet.ParquetFile(stream)
            chosen = fields(file.schema_arrow.names)
            row, rows = 1, max(file.metadata.num_rows, 1)
            for batch in file.iter_batches(BATCH, columns=list(chosen.values())):
                columns = {field: as_text(batch.column(name)) for field, name in chosen.items()}
                yield Parsed(columns, np.arange(row, row + len(batch)), [])
                row += len(batch)
                bar.done = total * (row - 1) // rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{entry}: cannot be read as parquet ({reason})") from None
