"""What a search shows while it runs: how far it is, the best so far, and how each running trial stands."""

from __future__ import annotations

import logging
import time

from recbole_hlr.console import Display, Row, clock, shortened
from recbole_hlr.search.report import show
from recbole_hlr.search.trials import ENDED, FAILED, LOST, OPEN, Trial, best_of

log = logging.getLogger("recbole_hlr")


class TrialProgress:
    """Trials done, failed and running, the best so far, and the time left; a line for every ended trial.

    `epochs` is the most that a trial may have, `budget` the seconds that the search may still take.
    """

    def __init__(
        self,
        metric: str,
        larger_is_better: bool,
        show: bool = True,
        epochs: int | None = None,
        budget: float | None = None,
    ) -> None:
        self.metric, self.larger_is_better = metric, larger_is_better
        self.epochs, self.budget = epochs, budget
        self.total = self.running = 0
        self.trials: list[Trial] = []
        self.began = time.monotonic()
        self.began_trial: dict[int, float] = {}  # of those that run
        self.display = Display(self.rows, show)

    def start(self, trials: list[Trial], total: int) -> None:
        """Begin; `trials` are those of before a resume."""
        self.trials, self.total, self.began = trials, total, time.monotonic()
        done = sum(trial.status in ENDED for trial in trials)
        if done:
            log.info("resumed after %d of %d trials", done, total)
        self.display.start()

    def update(self, trials: list[Trial], running: int) -> None:
        """Take in how things stand."""
        self.trials, self.running = trials, running

    def ended(self, trial: Trial, trials: list[Trial], running: int) -> None:
        """Say how a trial ended."""
        self.began_trial.pop(trial.number, None)
        self.update(trials, running)
        best = best_of(trials, self.larger_is_better)
        score = "" if trial.score is None else f"  {self._best(trial)}"
        why = f": {trial.reason}" if trial.reason else ""
        mark = "" if best is None or best.number != trial.number else "  best so far"
        values = ", ".join(values_of(trial))
        log.info(
            "trial %d of %d %s%s%s%s  (%s)", trial.number, self.total, trial.status, why, score, mark, values
        )

    def close(self) -> None:
        """Take away what is shown."""
        self.display.stop()

    def rows(self) -> list[Row]:
        """Return the search in a row, the best trial in one, and each running trial in one."""
        trials = list(self.trials)
        done = sum(trial.status in ENDED for trial in trials)
        failed = sum(trial.status in (FAILED, LOST) for trial in trials)
        running = self._running()
        parts = [f"{done} of {self.total} trials done"]
        parts += [f"{failed} failed"] if failed else []
        parts += [f"{self.running} running" if self.running else "starting", *self._times(done, running)]
        rows = [Row(parts, done=done / max(self.total, 1))]
        best = best_of(trials, self.larger_is_better)
        if best is not None:
            rows.append(Row([f"best: trial {best.number}", self._best(best)], values_of(best)))
        return [*rows, *shortened([self._row(trial) for trial in running])]

    def _row(self, trial: Trial) -> Row:
        at = "starting"
        if trial.epochs:
            last = "" if self.epochs is None else f" of 0 to {self.epochs - 1}"
            at = f"epoch {trial.epochs[-1]}{last}"
        best = [] if trial.score is None else [f"best {trial.score:.4f} at epoch {trial.best_epoch}"]
        return Row([f"trial {trial.number}", at, *best], [clock(self._seconds(trial)), *values_of(trial)])

    def _best(self, trial: Trial) -> str:
        return f"{self.metric} {trial.score:.4f} at epoch {trial.best_epoch}"

    def _running(self) -> list[Trial]:
        """Return the trials that run: of those that did not end the first, for in turn they are begun."""
        return [trial for trial in self.trials if trial.status == OPEN][: self.running or None]

    def _seconds(self, trial: Trial) -> float:
        """Return how long a trial has run, also before a resume."""
        now = time.monotonic()
        return trial.seconds + now - self.began_trial.setdefault(trial.number, now)

    def _times(self, done: int, running: list[Trial]) -> list[str]:
        """Return the time left: of the budget, and until all trials have run, if like those so far."""
        parts = []
        each, known = self._seconds_each(running)
        if each:
            work = (self.total - done - len(running)) * each
            work += sum(max(each - self._seconds(trial), 0.0) for trial in running)
            parts.append(f"ends in {known} {clock(work / max(self.running, 1))}")
        if self.budget is not None:
            left = self.began + self.budget - time.monotonic()
            parts.append(f"budget {clock(max(left, 0.0))} left")
        return parts

    def _seconds_each(self, running: list[Trial]) -> tuple[float, str]:
        """Return the seconds of a trial, 0 if unknown, and whether they are about so many or the most."""
        ended = [trial.seconds for trial in self.trials if trial.status in ENDED]
        if ended:
            return sum(ended) / len(ended), "about"
        rates = [self._seconds(trial) / (trial.epochs[-1] + 1) for trial in running if trial.epochs]
        return (sum(rates) / len(rates) * self.epochs if rates and self.epochs else 0.0), "at most"


def values_of(trial: Trial) -> list[str]:
    """Return the values of a trial, a text for each."""
    return [f"{key}={show(value)}" for key, value in trial.values.items()]
