"""One run: its parts assembled or taken up where they were left, fitted, evaluated, and written down."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recbole_hlr.config.config import HLRConfig
from recbole_hlr.console import interactive_logging
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.errors import RunInterrupted
from recbole_hlr.experiment.assemble import Experiment, assemble, describe_data, missing_package, prepare
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.result import RunResult
from recbole_hlr.experiment.resume import kept_to_this_process, open_run, refuse_changes, take_up
from recbole_hlr.experiment.rundir import Collector, RunDir, attached
from recbole_hlr.experiment.table import again, on_disk
from recbole_hlr.files import uninterrupted, write_text
from recbole_hlr.host import recbole as compat
from recbole_hlr.host.device import describe_device
from recbole_hlr.host.shortage import shortage_told
from recbole_hlr.metrics.definitions import LOSS
from recbole_hlr.metrics.evaluator import Evaluation
from recbole_hlr.metrics.per_user import describe_users
from recbole_hlr.options.command_line import parse_arguments
from recbole_hlr.options.protocol import BOTH, PAPER, describe_settings, said
from recbole_hlr.options.table import RESUME_KEYS
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.protocols import Given, Values
from recbole_hlr.train import checkpoint
from recbole_hlr.train.state import state_of
from recbole_hlr.train.trainer import RunTrainer

__all__ = ["Experiment", "prepare", "run"]

log = logging.getLogger("recbole_hlr")


@alone("run()")
def run(
    model: str | type | None = None,
    dataset: str | Any | None = None,
    *,
    config_files: Sequence[str | Path] = (),
    arguments: Sequence[str] = (),
    resume: str | Path | None = None,
    **options: Any,
) -> RunResult:
    """Prepare, fit, evaluate, and write the run directory; `resume` continues one that was interrupted.

    A resumed run takes its options from the run directory; of others, only `RESUME_KEYS` may be given.
    `dataset` may be a table, as for `prepare`; a resumed run needs it where its file is no longer there.
    """
    command = parse_arguments(arguments)
    resume = resume or command.pop("resume", None)
    if resume is None:
        dataset, options = on_disk(model, dataset, config_files, command, options)
        return _run(None, model, dataset, config_files, command, options)
    run_dir = open_run(resume, config_files or command.get("config_files"))
    with kept_to_this_process(run_dir):
        stored = said(load_yaml(run_dir.config))
        dataset = again(dataset, stored, run_dir.path)
        names = {"model": command.pop("model", model), "dataset": command.pop("dataset", dataset)}
        given = HLRConfig(None, None, [run_dir.config], options, command)
        refuse_changes(stored, names, given, RESUME_KEYS, "a resumed run")
        return _run(run_dir, stored["model"], stored["dataset"], [run_dir.config], command, options)


@compat.quietly()
def _run(
    run_dir: RunDir | None,
    model: str | type | None,
    dataset: str | None,
    config_files: Sequence[str | Path],
    arguments: Given,
    options: Values,
) -> RunResult:
    started = time.perf_counter()
    interactive_logging()  # before the collector below, which is a handler too
    early = Collector()
    with attached(early):
        experiment = assemble(model, dataset, config_files, arguments, options, taken_up=run_dir is not None)
        data = take_up(experiment, run_dir)
    config = experiment.config
    if run_dir is not None:
        write_text(run_dir.config, str(config))  # with what may change in a resumed run
        return perform(experiment, run_dir, data, early.records, started)
    try:
        with uninterrupted():
            run_dir = RunDir.create(config["checkpoint_dir"], f"{config.model}-{config.dataset}", str(config))
        with kept_to_this_process(run_dir):
            return perform(experiment, run_dir, data, early.records, started)
    except KeyboardInterrupt:
        if run_dir is None:
            raise
        raise RunInterrupted(str(run_dir.path)) from None


def perform(
    experiment: Experiment,
    run_dir: RunDir,
    data: Values,
    early: Sequence[logging.LogRecord],
    started: float,
) -> RunResult:
    """Do the work of a run in its directory; `data` is of `stored_data`, `early` what was logged before."""
    config, trainer = experiment.config, experiment.trainer
    with shortage_told(config, experiment.dataset), run_dir.logging(early):
        if config["tensorboard"]:
            from torch.utils.tensorboard import SummaryWriter

            trainer.tensorboard = SummaryWriter(str(run_dir.path / "tensorboard"))
        trainer.on_epoch_end = saver(run_dir, data)
        log.info("run directory: %s", run_dir.path)
        log.info("device: %s", describe_device(config["device"]))
        log.info("%s", describe_data(experiment))
        if config["protocol"] == PAPER:
            log.info("%s", describe_settings(config.model, config.dataset))
        if trainer.epoch_records:
            run_dir.write_metrics(trainer.epoch_records)
            log.info("resumed after epoch %d", trainer.epoch_records[-1]["epoch"])
        try:
            return finish(experiment, run_dir, time.perf_counter() - started)
        except ImportError as error:  # some of the host's models import at their first step
            raise missing_package(config.model, error) from error
        finally:
            trainer.tensorboard.close()


def saver(run_dir: RunDir, data: Values) -> Callable[[RunTrainer], None]:
    """Return what writes a run's checkpoint and metrics after an epoch; `data` is of `stored_data`."""

    def save(trainer: RunTrainer) -> None:
        checkpoint.save(run_dir.checkpoint, state_of(trainer, data))
        run_dir.write_metrics(trainer.epoch_records)

    return save


def finish(experiment: Experiment, run_dir: RunDir, prepared: float) -> RunResult:
    """Fit, evaluate and write `result.json`."""
    config, trainer = experiment.config, experiment.trainer
    progress = config["show_progress"]
    fitting = time.perf_counter()
    _, valid = trainer.fit(experiment.train_data, experiment.valid_data, show_progress=progress)
    evaluating = time.perf_counter()
    found = evaluate_test(experiment, progress)
    if config["user_metrics"] and found is not None:
        train, valid_data, test = experiment.train_data, experiment.valid_data, found.loader
        run_dir.write_users(describe_users(found.per_user(), train, valid_data, test))
    if valid is None or set(valid) == {LOSS}:
        more = trainer.evaluate(experiment.valid_data, load_best_model=False)
        valid = {**(valid or {}), **(more or {})}
    seconds = {
        "prepare": prepared,
        "fit": evaluating - fitting,
        "evaluate": time.perf_counter() - evaluating,
    }
    result = RunResult.of(
        trainer, run_dir.path, valid=dict(valid), **measured_test(found, config), seconds=seconds,
        **details(experiment),
    )  # fmt: skip
    run_dir.write_result(asdict(result))
    return result


def evaluate_test(experiment: Experiment, show_progress: bool = False) -> Evaluation | None:
    """Return what the model, as it is, comes to on the test part; None where that is empty."""
    with attending_for_test(experiment):
        return experiment.trainer.evaluation(experiment.test_data, show_progress)


def measured_test(found: Evaluation | None, config: HLRConfig) -> Values:
    """Return `test` and `cohorts` of a `RunResult`, {} for what there is not."""
    wanted = config["cohorts"] if found is not None else 0
    return {
        "test": found.metrics if found is not None else {},
        "cohorts": found.cohorts(wanted, config["seed"]) if found is not None and wanted else {},
    }


def details(experiment: Experiment) -> Values:
    """Return `translation`, `device` and `interactions` of a `RunResult`, for the model as it is."""
    return {
        "translation": experiment.model.describe_translation() if experiment.config.metric else {},
        "device": describe_device(experiment.config["device"]),
        "interactions": experiment.dataset.account.as_dict(),
    }


@contextlib.contextmanager
def attending_for_test(experiment: Experiment) -> Iterator[None]:
    """Let a model with a history attend, while this lasts, to what `test_history` says."""
    model, train, valid = experiment.model, experiment.train_data, experiment.valid_data
    wider = experiment.config["test_history"] == BOTH
    if not wider or valid is None or not getattr(model, "attends_to_history", False):
        yield
        return
    model.attend_when_scoring(InteractionMatrix.of(train.dataset, valid.dataset).to(model.device))
    try:
        yield
    finally:
        model.attend_when_scoring(model.history)
