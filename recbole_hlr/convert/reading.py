"""A table's rows, from a file of any form or from memory, and what was recognised."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from recbole_hlr.convert.arrow import batches_of, kind_of, names_of, parsed_batches, parsed_table, readable
from recbole_hlr.convert.forms import chosen, recognise, told
from recbole_hlr.convert.rows import Parsed, Reading, parsed_lines
from recbole_hlr.convert.source import Entry, first_text
from recbole_hlr.convert.table import Table


def read_file(entry: Entry, table: Table, encoding: str) -> Reading:
    """Return the rows of a file; `InputError` where it cannot be read as a table, or columns are missing."""
    kind = kind_of(entry) if table.form is None else None
    if kind:
        names = names_of(entry, kind)
        says = f"a table of {len(names)} columns as {kind}"
        fields = chosen(entry, names, table, f"{says}; ")
        return Reading(parsed_table(entry, kind, fields), f"{says}; {told(fields)}", str(entry))
    form = recognise(entry, first_text(entry, encoding), table)
    return Reading(parsed_lines(entry, encoding, form.layout), form.says, str(entry))


def read_memory(given: Any, table: Table) -> Reading:
    """Return the rows of a table of pandas, polars or pyarrow; `InputError` as `read_file` raises it."""
    batches = batches_of(given)
    first = next(batches)
    says, where = f"a table of {len(first.schema.names)} columns", type(given).__name__
    fields = chosen(where, list(first.schema.names), table, f"{says}; ")

    def parts() -> Iterator[Parsed]:
        with readable(where, "a table"):
            yield from parsed_batches(itertools.chain([first], batches), fields)

    return Reading(parts(), f"{says}; {told(fields)}", where)
