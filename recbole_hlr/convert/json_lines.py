"""A JSON object on each line, parsed by pyarrow; a block that it refuses is looked at line by line."""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.json

from recbole_hlr.convert.rows import Malformed, Parsed, as_text
from recbole_hlr.convert.source import Block


class Json(NamedTuple):
    """A JSON object on each line; `fields` names its keys, of which those in `numbers` hold numbers."""

    fields: dict[str, str]
    numbers: frozenset[str]
    quoted: bool = False

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block; a line that is no object with these keys is malformed."""
        data, first = block
        kinds = {f: pa.float64() if f in self.numbers else pa.string() for f in self.fields}
        schema = pa.schema([(self.fields[field], kind) for field, kind in kinds.items()])
        options = pa.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
        size = pa.json.ReadOptions(block_size=max(len(data), 1))
        count = data.count(b"\n") + (not data.endswith(b"\n"))
        malformed: list[Malformed] = []
        try:
            table = pa.json.read_json(pa.BufferReader(data), size, options)
            if len(table) != count or any(column.null_count for column in table.columns):
                raise pa.ArrowInvalid("blank lines, or values that are missing")
            lines = np.arange(first, first + count)
        except pa.ArrowInvalid:
            table, lines, malformed = self._by_line(data, first, schema)
        columns = {f: table.column(key).combine_chunks() for f, key in self.fields.items()}
        return Parsed({f: as_text(column) for f, column in columns.items()}, lines, malformed)

    def _by_line(
        self, data: bytes, first: int, schema: pa.Schema
    ) -> tuple[pa.Table, np.ndarray, list[Malformed]]:
        rows, lines, malformed = [], [], []
        for line, text in enumerate(data.split(b"\n"), start=first):
            if not text.strip():
                continue
            try:
                rows.append(self._row(text))
                lines.append(line)
            except ValueError as error:
                malformed.append(Malformed(line, str(error)))
        return pa.Table.from_pylist(rows, schema), np.array(lines, dtype=np.int64), malformed

    def _row(self, text: bytes) -> dict[str, object]:
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"is no JSON ({getattr(error, 'msg', error)})") from None
        if not isinstance(record, dict):
            raise ValueError("is no JSON object")
        for field, key in self.fields.items():
            value, number = record.get(key), field in self.numbers
            if not isinstance(value, int | float if number else str) or isinstance(value, bool):
                kind = "a number" if number else "a text"
                raise ValueError(f"{key}={json.dumps(value)[:60]} must be {kind}")
            try:
                record[key] = float(value) if number else str(value).encode().decode()
            except (OverflowError, UnicodeEncodeError) as error:
                raise ValueError(f"{key} cannot be written ({error})") from None
        return {key: record[key] for key in self.fields.values()}
