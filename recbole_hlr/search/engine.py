"""Trials on Ray Tune: what it asks for, what its trials report, who is stopped, and who failed."""

from __future__ import annotations

import contextlib
import io
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ray import tune
from ray.exceptions import RayError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from recbole_hlr.errors import InputError
from recbole_hlr.host.ray import check_room, end_ray
from recbole_hlr.protocols import Values
from recbole_hlr.search.options import SearchOptions
from recbole_hlr.search.progress import TrialProgress
from recbole_hlr.search.record import Record
from recbole_hlr.search.trials import CUT, DONE, ENDED, FAILED, LOST, OPEN, STOPPED, Trial, resume_of
from recbole_hlr.search.watch import RayDied, Watch

if TYPE_CHECKING:  # the processes of trials import this module, and need no torch for it
    from recbole_hlr.search.suggest import Suggestions

ReportEpoch = Callable[[int, float], None]  # (epoch, best validation score up to it)
Objective = Callable[[int, dict[str, object], ReportEpoch], None]  # (trial's number, its values, report)
RETRIES = 3  # of a trial whose process or machine dies
STORAGE = ".ray"  # for Ray's own notes, beside the record


def run_trials(
    objective: Objective,
    suggestions: Suggestions,
    record: Record,
    options: SearchOptions,
    longest: int,
    progress: TrialProgress,
    ended: Callable[[Trial], None] = lambda trial: None,
) -> None:
    """Run trials until there are no more suggestions, or the time budget ends.

    `longest` is the most reports that a trial may make, `ended` is called with every ended trial.
    Ray must be up. Ray's own notes are kept beside the record, and deleted; the record has it all.
    """
    left = None if options.time_budget is None else options.time_budget - record.seconds
    if left is not None and left <= 0:
        return
    share = options.cpus_per_trial, options.gpus_per_trial or 0
    check_room(*share)
    folder = record.path.parent.absolute()
    shutil.rmtree(folder / STORAGE, ignore_errors=True)  # of a search that was killed

    def broken_off(reason: str) -> InputError:
        return InputError(f"{folder}: Ray broke off ({reason}); go on with {resume_of(folder)}")

    def leave(reason: str) -> None:
        """End the process, as Ray would half a minute later, but with a word of it."""
        with contextlib.suppress(Exception):
            progress.close()
        print(f"error: {broken_off(reason)}", file=sys.stderr, flush=True)
        end_ray()
        shutil.rmtree(folder / STORAGE, ignore_errors=True)
        os._exit(2)

    watch = Watch(*share, leave)
    try:
        conductor = Conductor(suggestions, record, longest, progress, ended, watch)
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trainable, objective=objective),
                dict(zip(("cpu", "gpu"), share, strict=True)),
            ),
            tune_config=tune.TuneConfig(
                search_alg=TrialSearcher(conductor),
                scheduler=EarlyStopping(conductor),
                num_samples=-1,
                max_concurrent_trials=options.max_concurrent,
                time_budget_s=left,
                reuse_actors=True,  # a process takes seconds to import torch
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(folder / STORAGE),
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=RETRIES),
                callbacks=[conductor],
            ),
        )
        with contextlib.redirect_stdout(io.StringIO()):  # Ray's own account of a lost process: pages of it
            tuner.fit()
        conductor.cut()
    except (RayDied, RayError, OSError) as error:  # OSError: Ray's own files, on a full disk
        raise broken_off(" ".join(str(error).split())) from error
    finally:
        watch.close()
        progress.close()
        shutil.rmtree(folder / STORAGE, ignore_errors=True)


def trainable(config: Values, objective: Objective) -> None:
    """Run one trial in a process of Ray; an error of its own ends it at once, with the reason."""

    def report(epoch: int, score: float) -> None:
        if not math.isfinite(score):
            raise ValueError(f"epoch {epoch}: the validation score is {score}")
        tune.report({"epoch": epoch, "score": score})

    status, reason = DONE, ""
    try:
        objective(config["number"], config["values"], report)
    except Exception as error:
        status, reason = end_of(error), f"{type(error).__name__}: {' '.join(str(error).split())}"
    tune.report({"end": status, "reason": reason})


def end_of(error: BaseException | None) -> str:
    """Return how a trial ends by an error: lost by one of the machine's, such as a full disk, else failed."""
    while error is not None:
        if isinstance(error, OSError):
            return LOST
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return FAILED


class Conductor(tune.Callback):
    """Gives Ray the trials, hears of every report and every end, and has them recorded."""

    def __init__(
        self,
        suggestions: Suggestions,
        record: Record,
        longest: int,
        progress: TrialProgress,
        ended: Callable[[Trial], None],
        watch: Watch,
    ) -> None:
        self.suggestions, self.record, self.longest = suggestions, record, longest
        self.progress, self.ended, self.watch = progress, ended, watch
        self.started = time.monotonic()
        self.broken: Exception | None = None  # what ends the search
        self.running: dict[int, float] = {}  # trial's number → when it began
        self.waiting = [trial for trial in record.trials if trial.status not in ENDED]  # before a resume
        progress.start(record.trials, suggestions.total)

    def __deepcopy__(self, memo: dict[int, object]) -> Conductor:
        return self

    def __reduce__(self) -> tuple[type[tune.Callback], tuple[()]]:
        return (tune.Callback, ())  # Ray stores its callbacks for a resume of its own, which is not used

    @property
    def elapsed(self) -> float:
        """Seconds of search, those before a resume included."""
        return self.record.seconds + time.monotonic() - self.started

    def next(self) -> Trial | None:
        """Return the next trial to run, or None where the search has no more."""
        if self.waiting:
            trial = self.waiting.pop(0)
            trial.status, trial.reason = OPEN, ""
            return trial
        values = self.suggestions.next(self.record)
        return None if values is None else self.record.add(values, self.elapsed)

    def hear(self, number: int, result: Values) -> bool:
        """Record a reported epoch or a trial's own end; say whether it is to stop."""
        trial = self.record.trials[number - 1]
        if trial.status != OPEN:
            return True
        try:
            if "end" in result:
                self.end(trial, result["end"], result["reason"])
            elif self.record.report(trial, result["epoch"], result["score"]) and (
                len(trial.curve) < self.longest
            ):
                self.end(trial, STOPPED)
            else:
                self.progress.update(self.record.trials, len(self.running))
        except Exception as error:  # Ray would take it for the trial's
            self.broken = self.broken or error
        return trial.status != OPEN

    def end(self, trial: Trial, status: str, reason: str = "") -> None:
        """Record how a trial ended."""
        trial.status, trial.reason = status, reason
        trial.seconds += time.monotonic() - self.running.pop(trial.number, time.monotonic())
        self.record.end(trial, self.elapsed)
        self.ended(trial)
        self.progress.ended(trial, self.record.trials, len(self.running))

    def cut(self) -> None:
        """End the trials that the time budget cut off, if they have come to a score."""
        for trial in self.record.trials:
            if trial.status == OPEN and trial.curve:
                self.end(trial, CUT, "the time budget ended")

    def on_step_begin(self, iteration: int, trials: list[RayTrial], **info: object) -> None:
        """Look after Ray, here and at the end of a step: within one it may ask its processes, and wait."""
        self.watch.look(any(trial.status == "RUNNING" for trial in trials))

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: object) -> None:
        """Raise what could not be raised while Ray was at work on a result."""
        if self.broken is not None:
            raise self.broken
        self.on_step_begin(iteration, trials)

    def on_trial_start(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object) -> None:
        """Note that a trial began, or began again on another machine."""
        self.running.setdefault(trial.config["number"], time.monotonic())

    def on_trial_error(self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: object) -> None:
        """End a trial whose process died once too often."""
        self.hear(trial.config["number"], {"end": LOST, "reason": reason_of_loss(trial.error_file)})


class EarlyStopping(FIFOScheduler):
    """Stops the trials that the conductor does not want to go on."""

    def __init__(self, conductor: Conductor) -> None:
        super().__init__()
        self.conductor = conductor

    def on_trial_result(self, tune_controller: TuneController, trial: RayTrial, result: Values) -> str:
        """Say whether a trial goes on."""
        stops = self.conductor.hear(trial.config["number"], result)
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE


class TrialSearcher(Searcher):
    """Gives Ray the next trial."""

    def __init__(self, conductor: Conductor) -> None:
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
        """Leave it to the conductor, which hears of it too; as the record has it all to save and restore."""

    save = restore = lambda self, checkpoint_path: None


def reason_of_loss(error_file: str | None) -> str:
    """Return in a few words why a trial's process died, from the file that Ray wrote of it."""
    text = Path(error_file).read_text(encoding="utf-8", errors="replace") if error_file else ""
    if "OutOfMemory" in text or "low on memory" in text:
        return "its machine ran out of memory"
    if "node has died" in text or "node was dead" in text or "NodeDied" in text:
        return "its machine died"
    return f"its process died {RETRIES + 1} times (killed, out of memory, or crashed)"
