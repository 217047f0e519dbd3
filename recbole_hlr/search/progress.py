"""What a search shows while it runs: a line for every ended trial and, on a terminal, a bar."""

from __future__ import annotations

import logging
from typing import NoReturn

from tqdm import tqdm

from recbole_hlr.console import progress_bar, shows_progress
from recbole_hlr.search.report import show
from recbole_hlr.search.trials import ENDED, FAILED, LOST, Trial, best_of

log = logging.getLogger("recbole_hlr")


class TrialProgress:
    """Trials done, running and failed, the best so far, and the time left."""

    def __init__(self, metric: str, larger_is_better: bool, show: bool = True) -> None:
        self.metric, self.larger_is_better = metric, larger_is_better
        self.show = show and shows_progress()
        self.total: int | None = None
        self.bar: tqdm[NoReturn] | None = None

    def start(self, trials: list[Trial], total: int) -> None:
        """Begin; `trials` are those of before a resume."""
        self.total = total
        done = sum(trial.status in ENDED for trial in trials)
        if done:
            log.info("resumed after %d of %d trials", done, total)
        if self.show:
            self.bar = progress_bar(total=total, initial=done, desc="trials", unit="trial")

    def update(self, trials: list[Trial], running: int) -> None:
        """Show how things stand."""
        if self.bar is None:
            return
        failed = sum(trial.status in (FAILED, LOST) for trial in trials)
        text = f"{running} running" + (f", {failed} failed" if failed else "")
        best = best_of(trials, self.larger_is_better)
        if best is not None:
            text += f", best {self.metric} {best.score:.4f} (trial {best.number})"
        self.bar.set_postfix_str(text)

    def ended(self, trial: Trial, trials: list[Trial], running: int) -> None:
        """Say how a trial ended."""
        best = best_of(trials, self.larger_is_better)
        score = (
            "" if trial.score is None else f"  {self.metric} {trial.score:.4f} at epoch {trial.best_epoch}"
        )
        why = f": {trial.reason}" if trial.reason else ""
        mark = "" if best is None or best.number != trial.number else "  best so far"
        values = ", ".join(f"{key}={show(value)}" for key, value in trial.values.items())
        log.info(
            "trial %d of %s %s%s%s%s  (%s)",
            trial.number,
            self.total,
            trial.status,
            why,
            score,
            mark,
            values,
        )
        if self.bar is not None:
            self.bar.update(trial.status in ENDED)
        self.update(trials, running)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
