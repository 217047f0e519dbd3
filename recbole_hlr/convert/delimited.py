"""Lines of values between delimiters, parsed by pyarrow; a line with too few or too many is set aside.

By hand is only what pyarrow does not tell: the number of a row's line, and a quote that is not closed.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from recbole_hlr.convert.rows import Malformed, Parsed
from recbole_hlr.convert.source import BLOCK, Block

UNIT = "\x1f"  # ASCII's unit separator


class Delimited(NamedTuple):
    r"""Lines of values between delimiters; `fields` says which column holds what.

    `delimiter`: a text or, for any number of blanks, one blank. `header`: the number of lines up to the end
    of the header, 0 where there is none. `quoted`: a value may stand between double quotes, and then hold
    delimiters and line breaks. `quotes`: what else there is to quotes: `escaped` ones within values, as
    \", or those around values are to be taken `off`.
    """

    delimiter: str
    width: int
    fields: dict[str, int]
    header: int = 0
    quoted: bool = False
    quotes: str = ""

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block.

        A line with more or fewer columns is malformed, and one that opens a quote and does not close it.
        """
        data, first = block
        if first <= self.header:
            gone = self.header + 1 - first
            data = b"".join(data.split(b"\n", gone)[gone:])
            first = self.header + 1
        if self.quotes == "escaped":
            data = data.replace(b'\\"', b'""')
        delimiter = self.delimiter
        if delimiter == " ":
            data = squeezed(data)
        elif len(delimiter) > 1 or not delimiter.isascii():  # pyarrow takes one byte
            data, delimiter = data.replace(delimiter.encode(), UNIT.encode()), UNIT
        malformed = []
        table, refused = self._read(data, delimiter)
        count = line_count(data)
        if self.quoted and (len(table) + len(refused) < count or ends_open(data)):
            data, opened = without_open_quotes(data, delimiter)
            malformed = [Malformed(first + line, "opens a quote that is not closed") for line in opened]
            if opened:
                table, refused, count = *self._read(data, delimiter), line_count(data)
        lines = record_lines(data, first, (len(table) + len(refused), count), delimiter)
        columns = {field: table.column(str(at)).combine_chunks() for field, at in self.fields.items()}
        if self.quotes == "off":
            columns = {field: pa.compute.utf8_trim(column, '"') for field, column in columns.items()}
        rows = [row for row, _ in refused]
        there = np.delete(lines, rows)  # (n,)
        blank = blank_lines(data, first, [*lines[rows], *there[without_value(columns)]], delimiter)
        malformed += [
            Malformed(int(lines[row]), f"has {found} columns; must have {self.width}")
            for row, found in refused
            if lines[row] not in blank
        ]
        if blank:
            keep = ~np.isin(there, list(blank))
            there = there[keep]
            columns = {field: column.filter(pa.array(keep)) for field, column in columns.items()}
        return Parsed(columns, there, sorted(malformed))

    def _read(self, data: bytes, delimiter: str) -> tuple[pa.Table, list[tuple[int, int]]]:
        refused: list[tuple[int, int]] = []

        def set_aside(row: pa.csv.InvalidRow) -> str:
            refused.append((row.number - 1, row.actual_columns))
            return "skip"

        names = [str(at) for at in range(self.width)]
        wanted = [str(at) for at in dict.fromkeys(self.fields.values())]
        if not data:
            return pa.table({name: pa.array([], pa.string()) for name in wanted}), []
        table = pa.csv.read_csv(
            pa.BufferReader(data),
            pa.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            pa.csv.ParseOptions(
                delimiter=delimiter,
                quote_char='"' if self.quoted else False,
                newlines_in_values=self.quoted,
                ignore_empty_lines=False,
                invalid_row_handler=set_aside,
            ),
            pa.csv.ConvertOptions(
                check_utf8=False, column_types=dict.fromkeys(names, pa.string()), include_columns=wanted
            ),
        )
        return table, refused


def squeezed(data: bytes) -> bytes:
    """Return lines with one blank for any number of blanks and tabs, and none at their ends."""
    data = data.replace(b"\t", b" ")
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    return data.replace(b" \n", b"\n").replace(b"\n ", b"\n").strip(b" ")


def line_count(data: bytes) -> int:
    """Return the number of lines, the last of which need not end."""
    return data.count(b"\n") + (not data.endswith(b"\n"))


def ends_open(data: bytes) -> bool:
    """Say whether the last line may open a quote that is not closed."""
    return data.count(b'"', data.rfind(b"\n", 0, -1) + 1) % 2 == 1


@contextlib.contextmanager
def long_values() -> Iterator[None]:
    """Let the standard library read values longer than its 128 KiB, while this lasts."""
    limit = csv.field_size_limit(2 * BLOCK)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def without_open_quotes(data: bytes, delimiter: str) -> tuple[bytes, list[int]]:
    """Return `data` with those lines emptied that open a quote and do not close it, and which they are.

    Such a quote takes in whole lines, up to the end or to the quote that opens another value, after
    which that value's text follows instead of a delimiter.
    """
    lines = io.StringIO(data.decode(), newline="").readlines()
    opened: list[int] = []
    place = 0  # where the reader began
    with long_values():
        while place < len(lines):
            reader = csv.reader(itertools.islice(lines, place, None), delimiter=delimiter)
            begin = place
            for _ in reader:
                end = place + reader.line_num
                if end - begin + (end == len(lines)) > 1 and not is_record(lines[begin:end], delimiter):
                    opened.append(begin)
                    lines[begin] = "\n"
                    end = begin + 1
                    break
                begin = end
            place = end
    return "".join(lines).encode(), opened


def is_record(lines: list[str], delimiter: str) -> bool:
    """Say whether lines are one record whose quotes close, each at the end of its value."""
    try:
        return len(list(csv.reader(lines, delimiter=delimiter, strict=True))) == 1
    except csv.Error:
        return False


def record_lines(data: bytes, first: int, counts: tuple[int, int], delimiter: str) -> np.ndarray:
    """Return the line `(count,)` on which each record begins; `counts` are those of records and lines.

    Where it cannot be told, for a quote within a value, records are counted instead.
    """
    count, lines = counts
    if lines != count:
        reader = csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter)
        with contextlib.suppress(csv.Error), long_values():
            ends = [reader.line_num for _ in reader]
            if len(ends) == count:
                return first + np.array([0, *ends][:count], dtype=np.int64)
    return first + np.minimum(np.arange(count), max(lines - 1, 0))


def without_value(columns: dict[str, pa.Array]) -> np.ndarray:
    """Say `(n,)` which rows have no value in any of the columns."""
    empty = [pa.compute.equal(c, "").to_numpy(zero_copy_only=False) for c in columns.values()]
    return np.logical_and.reduce(empty)


def blank_lines(data: bytes, first: int, lines: list[int], delimiter: str) -> set[int]:
    """Return which of `lines` hold nothing but blanks: they are no rows and not malformed."""
    if not lines:
        return set()
    texts, blanks = data.split(b"\n"), b" \t\f\v".replace(delimiter.encode(), b"")
    return {line for line in lines if not texts[line - first].strip(blanks)}
