"""Trials on Ray Tune: what is suggested, what is reported, what is stopped, and who failed."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from recbole_hlr.search.journal import CUT, DONE, FAILED, LOST, OPEN, STOPPED, Journal, Trial
from recbole_hlr.search.options import SearchOptions
from recbole_hlr.search.progress import Progress
from recbole_hlr.search.suggest import Suggestions

Report = Callable[[int, float], None]  # (epoch, best validation score up to it)
Objective = Callable[[int, dict[str, Any], Report], None]  # (trial's number, its values, report)
SCORE, STEP = "score", "step"
RETRIES = 3  # of a trial whose process or machine dies


def run_trials(
    objective: Objective,
    suggestions: Suggestions,
    journal: Journal,
    options: SearchOptions,
    larger_is_better: bool,
    longest: int,
    progress: Progress,
    ended: Callable[[Trial], None] = lambda trial: None,
) -> None:
    """Run trials until there are no more suggestions, or the time budget ends.

    `longest` is the most reports that a trial may make, `ended` is called with every ended trial.
    Ray must be up. Ray's own notes are kept beside the journal, and deleted; the journal has it all.
    """
    conductor = Conductor(suggestions, journal, longest, progress, ended)
    storage = journal.path.parent / ".ray"
    left = None if options.time_budget is None else options.time_budget - journal.seconds
    if left is not None and left <= 0:
        return
    shutil.rmtree(storage, ignore_errors=True)  # of a search that was killed
    resources = {"cpu": options.cpus_per_trial, "gpu": options.gpus_per_trial or 0}
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(trainable, objective=objective), resources),
        tune_config=tune.TuneConfig(
            search_alg=Source(conductor),
            scheduler=make_scheduler(options, larger_is_better, longest, journal),
            num_samples=-1,
            max_concurrent_trials=options.max_concurrent,
            time_budget_s=left,
            reuse_actors=True,  # a process takes seconds to import torch
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(storage),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            callbacks=[conductor],
        ),
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # Ray's own account of a lost process: pages of it
            tuner.fit()
        conductor.cut()
    finally:
        progress.close()
        shutil.rmtree(storage, ignore_errors=True)


def trainable(config: dict[str, Any], objective: Objective) -> None:
    """Run one trial in a process of Ray; an error of its own ends it at once, with the reason."""
    steps = 0

    def report(epoch: int, score: float) -> None:
        nonlocal steps
        steps += 1
        tune.report({SCORE: score, STEP: steps, "epoch": epoch})

    end: dict[str, Any] = {SCORE: math.nan, STEP: 0}
    try:
        objective(config["number"], config["values"], report)
    except Exception as error:
        tune.report({**end, "failure": f"{type(error).__name__}: {' '.join(str(error).split())}"})
    else:
        tune.report({**end, "complete": True})


def make_scheduler(
    options: SearchOptions, larger_is_better: bool, longest: int, journal: Journal
) -> TrialScheduler:
    """Return what stops trials; ASHA is told of the trials that ended before a resume."""
    if options.scheduler == "none":
        return FIFOScheduler()
    scheduler = ASHAScheduler(
        time_attr=STEP,
        metric=SCORE,
        mode="max" if larger_is_better else "min",
        max_t=longest + 1,  # it would stop a trial that reaches max_t
        grace_period=min(options.grace_period, longest),
        reduction_factor=options.reduction_factor,
    )
    nobody: Any = None  # it asks its controller nothing, and of a trial only the id
    for trial in journal.ended:
        past: Any = SimpleNamespace(trial_id=f"past-{trial.number}")
        scheduler.on_trial_add(nobody, past)
        for step, score in enumerate(trial.curve, start=1):
            scheduler.on_trial_result(nobody, past, {STEP: step, SCORE: score})
        scheduler.on_trial_remove(nobody, past)
    return scheduler


class Conductor(tune.Callback):
    """Hears of every report and every end from Ray, and writes them down."""

    def __init__(
        self,
        suggestions: Suggestions,
        journal: Journal,
        longest: int,
        progress: Progress,
        ended: Callable[[Trial], None],
    ) -> None:
        self.suggestions, self.journal, self.longest = suggestions, journal, longest
        self.progress, self.ended = progress, ended
        self.started = time.monotonic()
        self.running: dict[int, float] = {}  # trial's number → when it began
        for trial in journal.trials:
            suggestions.suggested(trial.values)
        for trial in journal.ended:
            suggestions.tell(trial)
        self.waiting = [trial for trial in journal.trials if trial.status == OPEN]  # from before a resume
        progress.start(journal.trials, suggestions.total)

    def __deepcopy__(self, memo: dict[int, Any]) -> Conductor:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return (tune.Callback, ())  # Ray stores its callbacks for a resume of its own, which is not used

    @property
    def elapsed(self) -> float:
        """Seconds of search, those before a resume included."""
        return self.journal.seconds + time.monotonic() - self.started

    def next(self) -> Trial | None:
        """Return the next trial to run, or None where the search has no more."""
        if self.waiting:
            return self.waiting.pop(0)
        number = len(self.journal.trials) + 1
        values = self.suggestions.ask(number)
        return None if values is None else self.journal.asked(number, values, self.elapsed)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Note that a trial began, or began again on another machine."""
        self.running.setdefault(trial.config["number"], time.monotonic())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Add a reported epoch, or the trial's own end."""
        record = self.journal.trial(trial.config["number"])
        if "failure" in result:
            record.status, record.reason = FAILED, result["failure"]
        elif "complete" in result:
            record.status = DONE
        else:
            record.report(result["epoch"], result[SCORE])
            self.progress.update(self.journal.trials, len(self.running))

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End a trial that came to its end or was stopped by the scheduler."""
        record = self.journal.trial(trial.config["number"])
        if record.status == OPEN:
            record.status = STOPPED if len(record.curve) < self.longest else DONE
        self.end(record)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """End a trial whose process died once too often."""
        record = self.journal.trial(trial.config["number"])
        record.status, record.reason = LOST, reason_of_loss(trial.error_file)
        self.end(record)

    def end(self, trial: Trial) -> None:
        """Write down how a trial ended, and let the algorithm know."""
        trial.seconds += time.monotonic() - self.running.pop(trial.number, time.monotonic())
        self.journal.end(trial, self.elapsed)
        self.suggestions.tell(trial)
        self.ended(trial)
        self.progress.ended(trial, self.journal.trials, len(self.running))

    def cut(self) -> None:
        """End the trials that the time budget cut off, if they have come to a score."""
        for trial in self.journal.trials:
            if trial.status == OPEN and trial.curve:
                trial.status, trial.reason = CUT, "the time budget ended"
                self.end(trial)


class Source(Searcher):
    """Gives Ray the next trial; what is suggested is the conductor's affair."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self.conductor = conductor

    def __deepcopy__(self, memo: dict[int, Any]) -> Source:
        return self

    def set_search_properties(self, *args: Any, **kwargs: Any) -> bool:
        """Accept Ray's settings, none of which matter here."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return number and values of the next trial."""
        trial = self.conductor.next()
        return Searcher.FINISHED if trial is None else {"number": trial.number, "values": trial.values}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
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
