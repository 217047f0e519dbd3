"""Objects, JSON's or Python's, one on a line; pyarrow parses JSON, and what it refuses is read by line."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.json

from recbole_hlr.convert.check import KINDS
from recbole_hlr.convert.rows import Malformed, Parsed
from recbole_hlr.convert.source import Block
from recbole_hlr.data.typed import as_text

BROKEN = (ValueError, SyntaxError, RecursionError, MemoryError)  # what a literal that is none may raise


class Json(NamedTuple):
    """A JSON object on each line; `fields` names its keys, of which those in `numbers` hold numbers."""

    fields: dict[str, str]
    numbers: frozenset[str]
    quoted: bool = False

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block; a line that is no object with these keys is malformed."""
        kinds = {self.fields[f]: pa.float64() if f in self.numbers else pa.string() for f in self.fields}
        try:
            return fast(block, self.fields, kinds, missing=False)
        except pa.ArrowInvalid:
            return by_line(block, self.fields, self._row)

    def _row(self, text: bytes) -> dict[str, Any]:
        record = loaded(text)
        for field, key in self.fields.items():
            value, number = record.get(key), field in self.numbers
            if not isinstance(value, int | float if number else str) or isinstance(value, bool):
                kind = "a number" if number else "a text"
                raise ValueError(f"{key}={json.dumps(value)[:60]} must be {kind}")
            try:
                record[key] = float(value) if number else value
            except OverflowError as error:
                raise ValueError(f"{key} cannot be written ({error})") from None
        return record


class Records(NamedTuple):
    """Objects of any keys and values; `kinds` are the values' types as far as a sample of them goes.

    `python`: they are dicts as Python writes them. `array`: all in one array, or each on several lines.
    """

    fields: dict[str, str]
    kinds: dict[str, pa.DataType]
    python: bool = False
    array: bool = False
    quoted: bool = False

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block; a key that is missing is an empty value."""
        if self.python:
            return by_line(block, self.fields, literal)
        try:
            return fast(block, self.fields, self.kinds, missing=True)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return by_line(block, self.fields, loaded)


def kind_of(values: Iterable[Any]) -> pa.DataType:
    """Return the type of a key's values, texts where they are of several."""
    types = {type(value) for value in values} - {type(None)}
    if types and types <= {int, float}:
        return pa.int64() if types == {int} else pa.float64()
    return pa.bool_() if types == {bool} else pa.string()


def fast(block: Block, fields: dict[str, str], kinds: dict[str, pa.DataType], missing: bool) -> Parsed:
    """Return the rows of a block by pyarrow, which raises where one of them is not as it must be."""
    data, first = block
    options = pa.json.ParseOptions(explicit_schema=pa.schema(kinds), unexpected_field_behavior="ignore")
    size = pa.json.ReadOptions(block_size=max(len(data), 1))
    count = data.count(b"\n") + (not data.endswith(b"\n"))
    table = pa.json.read_json(pa.BufferReader(data), size, options)
    if len(table) != count or (not missing and any(column.null_count for column in table.columns)):
        raise pa.ArrowInvalid("blank lines, or values that are missing")
    columns = {field: as_text(table.column(key).combine_chunks()) for field, key in fields.items()}
    return Parsed(columns, np.arange(first, first + count), [])


def by_line(block: Block, fields: dict[str, str], read: Callable[[bytes], dict[str, Any]]) -> Parsed:
    """Return the rows of a block, each line of which `read` makes a record or raises `ValueError`."""
    rows: list[list[str]] = []
    lines, malformed = [], []
    for line, text in enumerate(block.data.split(b"\n"), start=block.first_line):
        if not text.strip():
            continue
        try:
            record = read(text)
            rows.append([as_value(key, record.get(key), field) for field, key in fields.items()])
            lines.append(line)
        except ValueError as error:
            malformed.append(Malformed(line, str(error)))
    values = zip(*rows, strict=True) if rows else [[] for _ in fields]
    columns = {field: pa.array(column, pa.string()) for field, column in zip(fields, values, strict=True)}
    return Parsed(columns, np.array(lines, dtype=np.int64), malformed)


def loaded(text: bytes) -> dict[str, Any]:
    """Return a JSON object; `ValueError` where a text is none."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON ({getattr(error, 'msg', error)})") from None
    if not isinstance(record, dict):
        raise ValueError("is no JSON object")
    return record


def literal(text: bytes) -> dict[str, Any]:
    """Return a dict of literals as Python writes it; `ValueError` where a text is none. Nothing is run."""
    try:
        record = ast.literal_eval(text.decode().strip())
    except BROKEN as error:
        raise ValueError(f"is no Python dict ({getattr(error, 'msg', error)})"[:120]) from None
    if not isinstance(record, dict):
        raise ValueError("is no Python dict")
    return record


def as_value(key: str, value: Any, field: str) -> str:
    """Return a value of a record as a text, a list as words; `ValueError` for what is none of an id."""
    if value is None:
        return ""
    if field not in KINDS and isinstance(value, list | dict):
        words = [
            as_value(key, one, field).replace(" ", "_") for one in value if not isinstance(one, list | dict)
        ]
        return " ".join(words) if isinstance(value, list) else ""
    if isinstance(value, bool):
        return str(value).lower()
    try:
        if isinstance(value, float):
            return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
        if isinstance(value, str | int):
            return str(value).encode().decode()
    except (ValueError, UnicodeEncodeError) as error:  # too many digits, half of a surrogate pair
        raise ValueError(f"{key} cannot be written ({error})") from None
    raise ValueError(f"{key}={str(value)[:60]} must be a text or a number")
