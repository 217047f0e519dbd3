"""Trials on Ray Tune: what is suggested, what is reported, what is stopped, and who failed."""

from __future__ import annotations

import contextlib
import io
import math
import shutil
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.exceptions import RayError
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from recbole_hlr.errors import InputError
from recbole_hlr.host.ray import check_room
from recbole_hlr.protocols import Values
from recbole_hlr.search.journal import DONE, FAILED, LOST, Journal, Trial, resume_of
from recbole_hlr.search.options import SearchOptions
from recbole_hlr.search.progress import TrialProgress
from recbole_hlr.search.ray_hooks import RETRIES, SCORE, TrialCallback, TrialSearcher
from recbole_hlr.search.suggest import Suggestions
from recbole_hlr.search.watch import RayDied, Watch

ReportEpoch = Callable[[int, float], None]  # (epoch, best validation score up to it)
Objective = Callable[[int, dict[str, object], ReportEpoch], None]  # (trial's number, its values, report)
STEP = "step"
STORAGE = ".ray"  # for Ray's own notes, beside the journal


def run_trials(
    objective: Objective,
    suggestions: Suggestions,
    journal: Journal,
    options: SearchOptions,
    larger_is_better: bool,
    longest: int,
    progress: TrialProgress,
    ended: Callable[[Trial], None] = lambda trial: None,
) -> None:
    """Run trials until there are no more suggestions, or the time budget ends.

    `longest` is the most reports that a trial may make, `ended` is called with every ended trial.
    Ray must be up. Ray's own notes are kept beside the journal, and deleted; the journal has it all.
    """
    left = None if options.time_budget is None else options.time_budget - journal.seconds
    if left is not None and left <= 0:
        return
    share = options.cpus_per_trial, options.gpus_per_trial or 0
    check_room(*share)
    folder = journal.path.parent.absolute()
    shutil.rmtree(folder / STORAGE, ignore_errors=True)  # of a search that was killed
    try:
        conductor = TrialCallback(suggestions, journal, longest, progress, ended, Watch(*share))
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(trainable, objective=objective),
                dict(zip(("cpu", "gpu"), share, strict=True)),
            ),
            tune_config=tune.TuneConfig(
                search_alg=TrialSearcher(conductor),
                scheduler=make_scheduler(options, larger_is_better, longest, journal),
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
        reason = " ".join(str(error).split())
        raise InputError(f"{folder}: Ray broke off ({reason}); go on with {resume_of(folder)}") from error
    finally:
        progress.close()
        shutil.rmtree(folder / STORAGE, ignore_errors=True)


def trainable(config: Values, objective: Objective) -> None:
    """Run one trial in a process of Ray; an error of its own ends it at once, with the reason."""
    steps = 0

    def report(epoch: int, score: float) -> None:
        nonlocal steps
        if not math.isfinite(score):
            raise ValueError(f"epoch {epoch}: the validation score is {score}")
        steps += 1
        tune.report({SCORE: score, STEP: steps, "epoch": epoch})

    status, reason = DONE, ""
    try:
        objective(config["number"], config["values"], report)
    except Exception as error:
        status, reason = end_of(error), f"{type(error).__name__}: {' '.join(str(error).split())}"
    tune.report({SCORE: math.nan, STEP: 0, "end": status, "reason": reason})


def end_of(error: BaseException | None) -> str:
    """Return how a trial ends by an error: lost by one of the machine's, such as a full disk, else failed."""
    while error is not None:
        if isinstance(error, OSError):
            return LOST
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return FAILED


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
