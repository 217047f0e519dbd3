"""What is known of items and of users: tables beside the interactions, written as .item and .user."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recbole_hlr.convert.check import as_words, with_point
from recbole_hlr.convert.reading import read_file
from recbole_hlr.convert.selection import kind_of
from recbole_hlr.convert.source import choose
from recbole_hlr.convert.table import Table
from recbole_hlr.errors import InputError

ODD = re.compile(r"[:\s]+")  # what the name of an atomic file's column may not hold


def write_side(path: Path, source: str, side: Table, ids: Iterable[str], encoding: str) -> str:
    """Write what a table says of `ids`, each of which gets a row, to `path`; return that in words.

    The columns are numbers, words or, where one has a blank, texts, by all of their values. A catalogue is
    small beside its interactions: it is in memory as a whole.
    """
    reading = read_file(choose(Path(source), ("*",)), side, encoding)
    parts = [parsed.columns for parsed in reading.parts]
    columns = {name: pa.concat_arrays([part[name] for part in parts]) for name in parts[0]}
    field = str(side.side)
    known = columns.pop(field)
    wanted = pa.array(list(ids), pa.string())
    rows = pc.index_in(wanted, known)  # the first row of each id, null where there is none
    found = len(rows) - rows.null_count
    if not found:
        raise InputError(f"{reading.where}: has no row of any {field}; name its column of ids")
    header, values = [f"{field}:token"], [wanted]
    for name, column in columns.items():
        column = as_words(pc.fill_null(with_point(column.take(rows), side.decimal), ""))
        header.append(f"{ODD.sub('_', name)}:{kind_of(column)}")
        values.append(column)
    with path.open("wb") as file:
        file.write("\t".join(header).encode() + b"\n")
        lines = pc.binary_join_element_wise(*values, "\t")
        file.writelines(f"{line}\n".encode() for line in lines.to_pylist())
    return f"{path.name}: {', '.join(header[1:])}, of {found:,} of {len(wanted):,}"
