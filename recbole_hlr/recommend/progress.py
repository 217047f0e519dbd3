"""How many users an export has ranked, and when it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pandas as pd

from recbole_hlr.console import Row, clock


class Progress:
    """Yields the tables of blocks of users, and counts users and rows."""

    def __init__(self, total: int, blocks: Iterator[tuple[int, pd.DataFrame]]) -> None:
        self.blocks, self.total = blocks, total
        self.done = self.written = 0
        self.began = time.monotonic()

    def __iter__(self) -> Iterator[pd.DataFrame]:
        for users, table in self.blocks:
            yield table
            self.done += users
            self.written += len(table)

    def rows(self) -> list[Row]:
        """Return what there is to show."""
        parts = [f"user {self.done:,} of {self.total:,}"]
        if self.done:
            left = (time.monotonic() - self.began) * (self.total / self.done - 1)
            parts.append(f"ends in {clock(left)}")
        return [Row(parts, done=self.done / max(self.total, 1))]
