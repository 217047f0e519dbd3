"""What a benchmark shows while it runs: cells done, failed and running, and how each of these stands."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from recbole_hlr.benchmark.cells import Cell, Task
from recbole_hlr.console import Display, Row, clock, shortened

if TYPE_CHECKING:
    from recbole_hlr.train.progress import Standing

log = logging.getLogger("recbole_hlr")


class CellProgress:
    """A display of all cells, and a line for each that ended; `waiting` are those that are to run."""

    def __init__(self, total: int, waiting: Iterable[Cell]) -> None:
        self.total, self.waiting = total, list(waiting)
        self.failed = 0
        self.running: dict[Cell, float] = {}  # when each began
        self.standings: dict[Cell, Standing] = {}
        self.seconds: dict[tuple[str, str], list[float]] = {}  # that the ended cells of a kind took
        self.at_most: dict[Cell, float] = {}  # seconds that a running one takes if no patience ends it
        self.display = Display(self.rows)

    def __enter__(self) -> CellProgress:
        there = self.total - len(self.waiting)
        if there:
            log.info("%d of %d cells are there already", there, self.total)
        self.display.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.display.stop()

    def started(self, task: Task) -> None:
        """Note that a cell is being run."""
        self.waiting.remove(task.cell)
        self.running[task.cell] = time.monotonic()

    def told(self, task: Task, standing: Standing) -> None:
        """Note how a cell stands after an epoch."""
        cell = task.cell
        self.standings[cell] = standing
        if standing.left is not None:
            self.at_most[cell] = time.monotonic() - self.running[cell] + standing.left

    def ended(self, task: Task, failure: str | None) -> None:
        """Say how a cell ended."""
        cell = task.cell
        if cell in self.waiting:  # it could not be begun
            self.waiting.remove(cell)
        began = self.running.pop(cell, None)
        self.standings.pop(cell, None)
        if failure:
            self.failed += 1
            log.error("failed: %s: %s", cell, failure)
        elif began is not None:
            seconds = time.monotonic() - began
            self.seconds.setdefault(kind(cell), []).append(seconds)
            log.info("done: %s, %s (%d of %d)", cell, clock(seconds), self._done(), self.total)

    def rows(self) -> list[Row]:
        """Return the benchmark in a row, and each running cell in one."""
        running = list(self.running.items())
        parts = [f"{self._done()} of {self.total} cells done"]
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{len(running)} running", *self._time(running)]
        rows = [Row(parts, done=self._done() / max(self.total, 1))]
        return [*rows, *shortened([self._row(cell, began) for cell, began in running])]

    def _row(self, cell: Cell, began: float) -> Row:
        standing = self.standings.get(cell)
        first, *rest = standing.parts if standing else ["no epoch done yet"]
        return Row([str(cell), first], [*rest, clock(time.monotonic() - began)])

    def _done(self) -> int:
        return self.total - len(self.waiting) - len(self.running) - self.failed

    def _time(self, running: Sequence[tuple[Cell, float]]) -> list[str]:
        """Return the time left, where cells take as long as others of their data set and model."""
        at_most: dict[tuple[str, str], list[float]] = {}
        for cell, _ in running:
            if cell in self.at_most:
                at_most.setdefault(kind(cell), []).append(self.at_most[cell])
        each = {of: sum(all_) / len(all_) for of, all_ in {**at_most, **self.seconds}.items()}
        if not each or not running:
            return []
        mean, now = sum(each.values()) / len(each), time.monotonic()
        work = sum(each.get(kind(cell), mean) for cell in self.waiting)
        work += sum(max(each.get(kind(cell), mean) - (now - began), 0.0) for cell, began in running)
        return [f"ends in {'about' if self.seconds else 'at most'} {clock(work / len(running))}"]


def kind(cell: Cell) -> tuple[str, str]:
    """Return what cells that take about as long have in common."""
    return cell.dataset, cell.model
