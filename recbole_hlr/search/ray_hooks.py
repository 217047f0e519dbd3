"""Stands between Ray and the journal: what is suggested next, and how every trial ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ray import tune
from ray.tune.experiment import Trial as RayTrial
from ray.tune.search import Searcher

from recbole_hlr.protocols import Values
from recbole_hlr.search.journal import CUT, DONE, ENDED, LOST, OPEN, STOPPED, Journal, Trial
from recbole_hlr.search.progress import TrialProgress
from recbole_hlr.search.suggest import Suggestions
from recbole_hlr.search.watch import Watch

SCORE = "score"  # of a report: the running best of the validation score
RETRIES = 3  # of a trial whose process or machine dies


class TrialCallback(tune.Callback):
    """Hears of every report and every end from Ray, and writes them down."""

    def __init__(
        self,
        suggestions: Suggestions,
        journal: Journal,
        longest: int,
        progress: TrialProgress,
        ended: Callable[[Trial], None],
        watch: Watch,
    ) -> None:
        self.suggestions, self.journal, self.longest = suggestions, journal, longest
        self.progress, self.ended, self.watch = progress, ended, watch
        self.started = time.monotonic()
        self.broken: Exception | None = None  # what ends the search
        self.running: dict[int, float] = {}  # trial's number → when it began
        for trial in journal.trials:
            suggestions.suggested(trial.values)
        for trial in journal.ended:
            suggestions.tell(trial)
        self.waiting = [trial for trial in journal.trials if trial.status not in ENDED]  # before a resume
        progress.start(journal.trials, suggestions.total)

    def __deepcopy__(self, memo: dict[int, object]) -> TrialCallback:
        return self

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        return (tune.Callback, ())  # Ray stores its callbacks for a resume of its own, which is not used

    @property
    def elapsed(self) -> float:
        """Seconds of search, those before a resume included."""
        return self.journal.seconds + time.monotonic() - self.started

    def next(self) -> Trial | None:
        """Return the next trial to run, or None where the search has no more."""
        if self.waiting:
            trial = self.waiting.pop(0)
            trial.status, trial.reason = OPEN, ""
            return trial
        number = len(self.journal.trials) + 1
        values = self.suggestions.ask(number)
        return None if values is None else self.journal.asked(number, values, self.elapsed)

    def on_step_begin(self, iteration: int, trials: list[RayTrial], **info: object) -> None:
        """Look after Ray, here and at the end of a step: within one it may ask its processes, and wait."""
        self.watch.look(any(trial.status == "RUNNING" for trial in trials))

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object) -> None:
        """Note that a trial began, or began again on another machine."""
        self.running.setdefault(trial.config["number"], time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: Values, **info: object
    ) -> None:
        """Add a reported epoch, or the trial's own end."""
        record = self.journal.trial(trial.config["number"])
        if "end" in result:
            record.status, record.reason = result["end"], result["reason"]
        else:
            record.report(result["epoch"], result[SCORE])
            self.progress.update(self.journal.trials, len(self.running))

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object
    ) -> None:
        """End a trial that came to its end or was stopped by the scheduler."""
        record = self.journal.trial(trial.config["number"])
        if record.status == OPEN:
            record.status = STOPPED if len(record.curve) < self.longest else DONE
        self.end(record)

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object) -> None:
        """End a trial whose process died once too often."""
        record = self.journal.trial(trial.config["number"])
        record.status, record.reason = LOST, reason_of_loss(trial.error_file)
        self.end(record)

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: object) -> None:
        """Raise what could not be raised while Ray was at work on a result."""
        if self.broken is not None:
            raise self.broken
        self.on_step_begin(iteration, trials)

    def end(self, trial: Trial) -> None:
        """Write down how a trial ended, and let the algorithm know."""
        trial.seconds += time.monotonic() - self.running.pop(trial.number, time.monotonic())
        try:
            self.journal.end(trial, self.elapsed)
            self.suggestions.tell(trial)
            self.ended(trial)
        except Exception as error:  # Ray would take it for the trial's
            self.broken = self.broken or error
        self.progress.ended(trial, self.journal.trials, len(self.running))

    def cut(self) -> None:
        """End the trials that the time budget cut off, if they have come to a score."""
        for trial in self.journal.trials:
            if trial.status == OPEN and trial.curve:
                trial.status, trial.reason = CUT, "the time budget ended"
                self.end(trial)


class TrialSearcher(Searcher):
    """Gives Ray the next trial; what is suggested is the conductor's affair."""

    def __init__(self, conductor: TrialCallback) -> None:
        super().__init__()
        self.conductor = conductor

    def __deepcopy__(self, memo: dict[int, object]) -> TrialSearcher:
        return self

    def set_search_properties(self, *args: object, **kwargs: object) -> bool:
        """Accept Ray's settings, none of which matter here."""
        return True

    def suggest(self, trial_id: str) -> Values | None:
        """Return number and values of the next trial."""
        trial = self.conductor.next()
        if trial is None:
            return Searcher.FINISHED  # type: ignore[return-value]  # a text, which Ray's type leaves out
        return {"number": trial.number, "values": trial.values}

    def on_trial_complete(self, trial_id: str, result: Values | None = None, error: bool = False) -> None:
        """Leave it to the conductor, which hears of it too."""

    def save(self, checkpoint_path: str) -> None:
        """Leave it to the journal."""

    def restore(self, checkpoint_path: str) -> None:
        """Leave it to the journal."""


def reason_of_loss(error_file: str | None) -> str:
    """Return in a few words why a trial's process died, from the file that Ray wrote of it."""
    text = Path(error_file).read_text(encoding="utf-8", errors="replace") if error_file else ""
    if "OutOfMemory" in text or "low on memory" in text:
        return "its machine ran out of memory"
    if "node has died" in text or "node was dead" in text or "NodeDied" in text:
        return "its machine died"
    return f"its process died {RETRIES + 1} times (killed, out of memory, or crashed)"
