"""One trial of a search, as people are shown it, and which of them is the best."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path

OPEN, DONE, STOPPED, FAILED, LOST, CUT = "unfinished", "done", "stopped", "failed", "lost", "cut"
# stopped: early, having fallen behind. lost: its process or machine died, more than once, or its disk was
# full. cut: by the end of the time budget. Lost, cut and unfinished trials go on when the search is resumed.
ENDED = (DONE, STOPPED, FAILED)


@dataclass
class Trial:
    """One trial: its number, from 1, its values, its state, and the running best of its validation score.

    `curve[i]` is the best score up to the i-th validated epoch, which is `epochs[i]`.
    """

    number: int
    values: dict[str, object]
    status: str = OPEN
    curve: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0

    @property
    def score(self) -> float | None:
        """The best validation score, or None before the first."""
        return self.curve[-1] if self.curve else None

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best score, the first of equals."""
        return self.epochs[self.curve.index(self.curve[-1])] if self.curve else None


def best_of(trials: list[Trial], larger_is_better: bool) -> Trial | None:
    """Return the trial with the best validation score, the first of equals; failed ones never win."""
    candidates = [trial for trial in trials if trial.curve and trial.status != FAILED]
    sign = 1 if larger_is_better else -1
    return max(candidates, key=lambda trial: (sign * trial.curve[-1], -trial.number), default=None)


def resume_of(folder: Path) -> str:
    """Return the command that goes on with the search of a run directory."""
    return f"recbole-hlr tune --resume={shlex.quote(str(folder))}"
