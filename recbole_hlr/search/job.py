"""One trial: a run without a test, in a folder of its own, that goes on where it was interrupted."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from recbole_hlr.data.atomic import AtomicDataset
from recbole_hlr.data.loaders import SplitData
from recbole_hlr.errors import InputError
from recbole_hlr.experiment.assemble import Experiment, assemble
from recbole_hlr.experiment.result import RunResult
from recbole_hlr.experiment.resume import take_up
from recbole_hlr.experiment.run import finish, saver
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.files import write_text
from recbole_hlr.host import recbole as compat
from recbole_hlr.protocols import Values
from recbole_hlr.search.space import put, take, text_of
from recbole_hlr.train import checkpoint
from recbole_hlr.train.trainer import RunTrainer

log = logging.getLogger("recbole_hlr")


@dataclass
class Job:
    """What all trials of a search share; Ray keeps one copy of it on every machine.

    The test part of `data` is empty: no trial can look at it.
    `options` are complete, model and data set included; `folder` holds a run directory per trial.
    """

    model: str | type
    options: Values
    data: SplitData
    folder: str
    threads: int
    uses_gpu: bool
    directory: str  # relative paths in options start here

    def prepared(
        self, number: int, values: Values, data: SplitData, as_it_is: bool = False, **options: Any
    ) -> tuple[Experiment, RunDir]:
        """Return trial `number` as it was left, with its folder.

        It begins again where its checkpoint is damaged, unless it is to be taken `as_it_is`.
        """
        given = {**put(self.options, values), "checkpoint_dir": self.folder, **options}
        names = {key: given.pop(key) for key in ("model", "dataset")}
        experiment = assemble(self.model, names["dataset"], (), (), given, data)
        run_dir = RunDir(Path(self.folder) / f"{number:04d}")
        if not as_it_is and run_dir.checkpoint.exists():
            discard_unless_own(run_dir.checkpoint, experiment.config.requested, list(values))
        stored = take_up(experiment, run_dir)
        if not run_dir.checkpoint.exists():
            run_dir.path.mkdir(parents=True, exist_ok=True)
            write_text(run_dir.config, str(experiment.config))
        experiment.trainer.on_epoch_end = saver(run_dir, stored)
        return experiment, run_dir

    def train(self, number: int, values: Values, report: Callable[[int, float], None]) -> None:
        """Train a trial and report every validated epoch with the best score so far.

        An epoch is reported once its checkpoint is written, those of before an interruption first.
        """
        compat.quiet_host()
        torch.set_num_threads(self.threads)
        with contextlib.suppress(OSError):
            os.chdir(self.directory)
        experiment, run_dir = self.prepared(number, values, self.data, use_gpu=self.uses_gpu, gpu_id=0)
        trainer = experiment.trainer
        better = max if trainer.valid_metric_bigger else min
        best: float | None = None

        def tell(record: Values) -> None:
            nonlocal best
            if "valid_score" in record:
                score = float(record["valid_score"])
                best = score if best is None else better(best, score)
                report(record["epoch"], best)

        save = trainer.on_epoch_end
        assert save is not None

        def save_and_tell(trainer: RunTrainer) -> None:
            save(trainer)
            tell(trainer.epoch_records[-1])

        trainer.on_epoch_end = save_and_tell
        with run_dir.logging():
            log.info("%s: %s", experiment.config["data_path"], experiment.dataset.account)
            if trainer.epoch_records:
                log.info("resumed after epoch %d", trainer.epoch_records[-1]["epoch"])
            for record in trainer.epoch_records:
                tell(record)
            trainer.fit(experiment.train_data, experiment.valid_data)

    def evaluate(self, number: int, values: Values, test: AtomicDataset) -> RunResult:
        """Restore a trial's best state and evaluate it on `test`, the test part that trials do without."""
        started = time.perf_counter()
        data = self.data._replace(parts=[*self.data.parts[:2], test])
        here = {} if torch.cuda.is_available() else {"use_gpu": False}  # the trial's machine had its own
        experiment, run_dir = self.prepared(number, values, data, as_it_is=True, **here)
        if not experiment.trainer.epoch_records:
            raise InputError(f"{run_dir.checkpoint}: is missing; the winner cannot be tested without it")
        experiment.trainer.stopped = True  # its training does not go on
        with run_dir.logging():
            return finish(experiment, run_dir, time.perf_counter() - started)

    def forget(self, number: int) -> None:
        """Delete a trial's checkpoint; its metrics, options and log stay."""
        RunDir(Path(self.folder) / f"{number:04d}").checkpoint.unlink(missing_ok=True)


def discard_unless_own(file: Path, options: Values, tried: list[str]) -> None:
    """Delete a checkpoint that is damaged, or of other values of the options `tried`.

    Those of another trial are there where lines of the record were lost.
    """
    try:
        stored = checkpoint.load(file)["config"]
    except InputError as error:
        log.warning("%s; the trial begins again", error)
    else:
        if all(text_of(take(stored, key)) == text_of(take(options, key)) for key in tried):
            return
        log.warning("%s: is of a trial with other values, and is left out", file)
    file.unlink()
