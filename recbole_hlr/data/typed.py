"""Atomic files as .parquet: their columns are `name:type`, or have a type that says it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from pandas._libs.parsers import STR_NA_VALUES
from pyarrow import parquet

from recbole_hlr.errors import InputError

MISSING = sorted(STR_NA_VALUES)  # what RecBole takes for a missing value
NAMED = re.compile(r"[^:]+:[a-z_]+")


def holds_texts(kind: pa.DataType) -> bool:
    """Say whether a type is one of texts."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def as_text(column: pa.Array) -> pa.Array:
    """Return a column as texts; whole numbers without a point, instants as seconds since 1970."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()).cast(pa.float64())
        column = pc.divide(column, 1e6)
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        whole = pc.floor(column)
        big = pc.less(pc.abs(column), 2.0**53)
        same = pc.and_(pc.equal(whole, column), big)
        integers = pc.if_else(same, whole, None).cast(pa.int64()).cast(pa.string())
        column = pc.coalesce(integers, column.cast(pa.string()))
    return pc.fill_null(column.cast(pa.string()), "")


def header(path: Path, ids: Collection[str]) -> tuple[list[str], bool]:
    """Return the columns, as name:type, and whether there is a row; those called as `ids` are tokens."""
    with _readable(path):
        file = parquet.ParquetFile(pa.OSFile(os.fsencode(path)))
        return [_typed(field, ids) for field in file.schema_arrow], file.metadata.num_rows > 0


def table(path: Path, columns: Sequence[str], ids: Collection[str], between: str = " ") -> pa.Table:
    """Return columns `name:type`: floats as numbers, lists as texts with `between`, others as texts."""
    with _readable(path):
        names = {_typed(f, ids): f.name for f in parquet.read_schema(pa.OSFile(os.fsencode(path)))}
        file = pa.OSFile(os.fsencode(path))
        found = parquet.read_table(file, columns=[names[column] for column in columns])
        return pa.table({typed: _values(found.column(names[typed]), typed, between) for typed in columns})


def as_file(
    path: Path, copy: Path, separator: str, between: str, encoding: str, ids: Collection[str]
) -> None:
    """Write all of a file as a text, of which the host takes each value as it is."""
    if len(separator) != 1:
        raise InputError(f"{path}: needs a field_separator of one character, not {separator!r}")
    columns, _ = header(path, ids)
    frame = table(path, columns, ids, between).to_pandas()
    frame.to_csv(copy, sep=separator, index=False, encoding=encoding, lineterminator="\n")


def _typed(field: pa.Field, ids: Collection[str]) -> str:
    """Return a column's name:type, its own or, where its name has none, by its values."""
    if NAMED.fullmatch(field.name):
        return str(field.name)
    kind = field.type
    many = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    kind = kind.value_type if many else kind
    token = field.name in ids or holds_texts(kind) or pa.types.is_dictionary(kind)
    return f"{field.name}:{'token' if token else 'float'}{'_seq' if many else ''}"


def _values(column: pa.ChunkedArray, typed: str, between: str) -> pa.ChunkedArray:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return pc.binary_join(column.cast(pa.list_(pa.string())), between)
    if typed.endswith(":float") and not pa.types.is_temporal(column.type):
        return column.cast(pa.float64())
    texts = as_text(column)
    texts = pc.if_else(pc.is_in(texts, pa.array(MISSING)), None, texts)
    return texts.cast(pa.float64()) if typed.endswith(":float") else texts


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Raise `InputError` for what is no parquet file, or has a column that cannot be one of its type."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or ["is damaged"])[0]
        raise InputError(f"{path}: cannot be read as parquet ({reason})") from None
