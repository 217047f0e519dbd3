"""Forms in which a line is more than one interaction, or less: taken apart by pyarrow, block by block."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recbole_hlr.convert.check import ITEM, LABEL, RATING, TIME, USER, numbers, with_point
from recbole_hlr.convert.delimited import Delimited
from recbole_hlr.convert.rows import Layout, Malformed, Parsed
from recbole_hlr.convert.source import Block
from recbole_hlr.data.typed import as_text

BETWEEN = r"[\s,;|\[\]()'\"]+"  # what stands between the items of a list, and around it
NEIGHBOURS = r"^(?P<user>[^\s,;|]+?):?(?P<items>$|[\s,;|].*$)"
JUDGED = r"-[01]$"  # item-1: shown and clicked, item-0: not clicked


def lines_of(block: Block) -> tuple[pa.Array, np.ndarray]:
    """Return the lines of a block that are not empty, without blanks at their ends, and their numbers."""
    lines = pc.utf8_trim_whitespace(pa.array(block.data.decode().split("\n"), pa.string()))
    there = pc.not_equal(lines, "")
    places = np.arange(block.first_line, block.first_line + len(lines))
    return lines.filter(there), places[there.to_numpy(zero_copy_only=False)]


def after(block: Block, skipped: int) -> Block:
    """Return a block without those of a file's first `skipped` lines that are in it."""
    gone = max(skipped + 1 - block.first_line, 0)
    rest = block.data.split(b"\n", gone)[gone:]
    return Block(b"".join(rest), block.first_line + gone) if gone else block


def exploded(parsed: Parsed, labelled: bool) -> Parsed:
    """Return a row for each item of lists such as `7 9` or, `labelled`, `7-1 9-0`."""
    split = pc.split_pattern_regex(parsed.columns[ITEM], BETWEEN)
    items, rows = pc.list_flatten(split), pc.list_parent_indices(split)
    some = pc.not_equal(items, "")
    items, rows = items.filter(some), rows.filter(some)
    columns = {field: column.take(rows) for field, column in parsed.columns.items()}
    columns[ITEM] = items
    if labelled:
        judged = pc.match_substring_regex(items, JUDGED)
        columns[ITEM] = pc.if_else(judged, pc.utf8_slice_codeunits(items, 0, -2), items)
        columns[LABEL] = pc.if_else(judged, pc.utf8_slice_codeunits(items, -1), "")
    return Parsed(columns, parsed.lines[rows.to_numpy()], parsed.malformed)


class Lists(NamedTuple):
    """Rows of another layout, with several items in the column of items."""

    base: Layout
    labelled: bool
    quoted: bool

    def parse(self, block: Block) -> Parsed:
        """Return a row for each item."""
        return exploded(self.base.parse(block), self.labelled)


class Adjacency(NamedTuple):
    """A user and all of their items on each line: `u i1 i2 ...`, of which there may be none."""

    skipped: int = 0
    quoted: bool = False

    def parse(self, block: Block) -> Parsed:
        """Return a row for each item; a line that begins with a delimiter is malformed."""
        lines, places = lines_of(after(block, self.skipped))
        parts = pc.extract_regex(lines, NEIGHBOURS)
        good = parts.is_valid().to_numpy(zero_copy_only=False)
        malformed = [Malformed(int(line), "must be a user and items") for line in places[~good]]
        parts = parts.filter(pa.array(good))
        columns = {USER: parts.field("user"), ITEM: parts.field("items")}
        return exploded(Parsed(columns, places[good], malformed), labelled=False)


class Blocks:
    """Lines `user,rating,date` below a line `item:`, as of the Netflix Prize."""

    quoted = False
    FIELDS = (USER, RATING, TIME)

    def __init__(self, skipped: int, width: int) -> None:
        self.skipped, self.width = skipped, width
        self.item: str | None = None  # of the block before; blocks come in their order

    def parse(self, block: Block) -> Parsed:
        """Return the rows of a block; those before the first item are malformed."""
        lines, places = lines_of(after(block, self.skipped))
        begins = pc.match_substring_regex(lines, r"^[^,]*:$").to_numpy(zero_copy_only=False)  # (n,)
        items = pa.concat_arrays(
            [pa.array([self.item or ""]), pc.utf8_rtrim(lines.filter(pa.array(begins)), ":")]
        )
        self.item = items[-1].as_py()
        of_item = items.take(pa.array(np.cumsum(begins)))
        values = pc.split_pattern(lines, ",")
        widths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
        good = ~begins & (widths == self.width)
        malformed = [
            Malformed(int(places[row]), f"has {widths[row]} columns; must have {self.width}")
            for row in (~begins & ~good).nonzero()[0]
        ]
        keep = pa.array(good)
        values = values.filter(keep)
        columns = {field: pc.list_element(values, at) for at, field in enumerate(self.FIELDS[: self.width])}
        return Parsed({**columns, ITEM: of_item.filter(keep)}, places[good], malformed)


class Matrix(NamedTuple):
    """Users in rows, items in columns, and in each cell a rating, or nothing or 0 for none.

    `base` has every column as a field; `items` are the names of all but the first.
    """

    base: Delimited
    items: list[str]
    decimal: str | None = None

    @property
    def quoted(self) -> bool:
        """Whether a value between double quotes may hold line breaks."""
        return self.base.quoted

    def parse(self, block: Block) -> Parsed:
        """Return a row for each cell that holds something; a line with one that is no number is malformed."""
        parsed = self.base.parse(block)
        users, *cells = parsed.columns.values()
        filled = [pc.if_else(pc.equal(pc.utf8_trim_whitespace(cell), ""), "0", cell) for cell in cells]
        values = np.stack([numbers(with_point(cell, self.decimal)) for cell in filled], axis=1)  # (n, I)
        good = np.isfinite(values).all(axis=1)
        malformed = [Malformed(int(line), "holds a cell that is no number") for line in parsed.lines[~good]]
        rows, columns = np.nonzero(np.where(good[:, None], values, 0))
        return Parsed(
            {
                USER: users.take(pa.array(rows)),
                ITEM: pa.array(self.items, pa.string()).take(pa.array(columns)),
                RATING: as_text(pa.array(values[rows, columns])),
            },
            parsed.lines[rows],
            sorted([*parsed.malformed, *malformed]),
        )
