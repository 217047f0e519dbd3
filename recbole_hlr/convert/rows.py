"""Rows as columns of texts with their line numbers, and those of text files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from recbole_hlr.convert.source import Block, Entry, blocks, objects
from recbole_hlr.errors import InputError


class Malformed(NamedTuple):
    """A line that is left out, and why."""

    line: int
    reason: str


class Parsed(NamedTuple):
    """Rows of a block: by field a column of texts, their line numbers `(n,)`, and the lines left out."""

    columns: dict[str, pa.Array]
    lines: np.ndarray
    malformed: list[Malformed]


class Reading(NamedTuple):
    """The rows of a source, block by block; `says` what form it was recognised to have, `where` its name.

    `movies`: the name of the file of titles that may lie beside it.
    """

    parts: Iterator[Parsed]
    says: str
    where: str
    movies: str = ""


class Layout(Protocol):
    """How the lines of a text file are to be read."""

    @property
    def quoted(self) -> bool:
        """Whether a value between double quotes may hold line breaks."""

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block."""


def parsed_lines(entry: Entry, encoding: str, layout: Layout) -> Iterator[Parsed]:
    """Yield the rows of a text file."""
    array = getattr(layout, "array", False)
    for block in objects(entry, encoding) if array else blocks(entry, encoding, layout.quoted):
        try:
            yield layout.parse(block)
        except pa.ArrowInvalid as error:
            where = f"{entry}, from line {block.first_line} on"
            raise InputError(f"{where}: cannot be parsed ({str(error).splitlines()[0]})") from None
