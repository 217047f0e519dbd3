"""What a terminal shows of a benchmark while it runs."""

from __future__ import annotations

import time

from recbole_hlr.benchmark.cells import Cell
from recbole_hlr.console import progress_bar, say, shows_progress


class CellProgress:
    """A bar over all cells, and a line for each that ended; off a terminal, only what failed."""

    def __init__(self, total: int, finished: int) -> None:
        self.terminal = shows_progress()
        self.bar = progress_bar(
            total=total, initial=finished, unit="cell", leave=True, disable=not self.terminal
        )
        self.running: dict[Cell, float] = {}

    def __enter__(self) -> CellProgress:
        if self.terminal and self.bar.n:
            say(f"{self.bar.n} of {self.bar.total} cells are there already")
        return self

    def __exit__(self, *error: object) -> None:
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
