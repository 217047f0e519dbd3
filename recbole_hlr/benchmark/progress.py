"""What a terminal shows of a benchmark while it runs."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm import tqdm

from recbole_hlr.benchmark.cells import Cell


class Progress:
    """A bar over all cells, and a line for each that ended; off a terminal, only what failed."""

    def __init__(self, total: int, finished: int) -> None:
        self.terminal = sys.stderr is not None and sys.stderr.isatty()
        self.bar = tqdm(
            total=total, initial=finished, unit="cell", disable=not self.terminal, dynamic_ncols=True
        )
        self.running: dict[Cell, float] = {}

    def __enter__(self) -> Progress:
        if self.terminal and self.bar.n:
            say(f"{self.bar.n} of {self.bar.total} cells are there already")
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()

    def started(self, cell: Cell) -> None:
        """Show that a cell is being run."""
        self.running[cell] = time.monotonic()
        self._show()

    def ended(self, cell: Cell, failure: str | None) -> None:
        """Show how a cell ended."""
        seconds = time.monotonic() - self.running.pop(cell, time.monotonic())
        if failure:
            say(f"failed: {cell}: {failure}")
        elif self.terminal:
            say(f"done: {cell}, {seconds:.0f} s")
        self.bar.update()
        self._show()

    def _show(self) -> None:
        self.bar.set_description_str("; ".join(f"{cell.model} {cell.seed}" for cell in self.running))


def say(line: str) -> None:
    """Print a line above the bar, where there is a standard error to print to."""
    if sys.stderr is not None:
        tqdm.write(line, file=sys.stderr)
