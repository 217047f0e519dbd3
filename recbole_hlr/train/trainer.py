"""RecBole's trainers, made resumable, exact and quiet."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType
from torch import Tensor

from recbole_hlr.console import Display
from recbole_hlr.data.loaders import EvaluationLoader
from recbole_hlr.errors import InputError
from recbole_hlr.host import recbole as compat
from recbole_hlr.host.shortage import extremes
from recbole_hlr.metrics.evaluator import Evaluation, Unranked, UserEvaluator, refuse_not_finite
from recbole_hlr.protocols import Loader, RunConfig, Values
from recbole_hlr.train import checkpoint
from recbole_hlr.train.folding import fold_in
from recbole_hlr.train.progress import FitProgress
from recbole_hlr.train.schedule import build_schedule, step_schedule
from recbole_hlr.train.snapshot import load_model_state, model_state

log = logging.getLogger("recbole_hlr")
FIRST_TOLD = 10  # epochs of which each has its line on a console; later ones where they take seconds


class RunTrainer(Trainer):
    """A RecBole trainer whose runs can be killed at any moment and resumed to the same result.

    Keeps the best state in memory, compares unrounded scores, steps the learning-rate schedule, and
    after every epoch calls `on_epoch_end(trainer)`. Joined to the host's special trainers as a mixin.
    """

    model: Any  # the host's

    def __init__(self, config: RunConfig, model: torch.nn.Module) -> None:
        with compat.no_folders(config) as here:
            super().__init__(here, model)
        self.config = config
        self.checkpoint_dir = config["checkpoint_dir"]
        self.saved_model_file: str = os.path.join(
            self.checkpoint_dir, os.path.basename(self.saved_model_file)
        )
        self.evaluator = UserEvaluator(config)
        schedule = config["lr_scheduler"]
        self.schedule = (
            build_schedule(schedule, self.optimizer, self.valid_metric_bigger) if schedule else None
        )
        self.epoch_records: list[Values] = []
        self.best_state: Values | None = None
        self.best_epoch: int | None = None
        self.stopped = False  # early; with more epochs it would not go on
        self.on_epoch_end: Callable[[RunTrainer], None] | None = None
        self._record: Values = {}
        self.train_loader: Loader | None = None
        self.progress = FitProgress(self)

    # --- host hooks (RecBole 1.2.0 and 1.2.1) ---------------------------------------------------------

    @compat.quietly()
    def fit(
        self,
        train_data: Loader,
        valid_data: Loader | None = None,
        verbose: bool = True,
        saved: bool = True,
        show_progress: bool = False,
        callback_fn: Callable[[int, float], None] | None = None,
    ) -> tuple[float, dict[str, float] | None]:
        """Train to the end and load the best state; return the best validation score and result.

        `saved` decides only whether `on_epoch_end` is called; the best state is kept either way.
        """
        self.train_loader, self._verbose, self._saved = train_data, verbose, saved
        if not self.stopped:
            self.progress.validates = valid_data is not None and self.eval_step > 0
            with Display(self.progress.rows, show_progress):
                super().fit(train_data, valid_data, False, False, False, callback_fn)
            self._end_epoch(last=True)
        self.restore_best()
        return self.best_valid_score, self.best_valid_result

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: object = None, show_progress: bool = False
    ) -> Any:
        self._end_epoch()  # of the epoch before: only here is it complete, its validation included
        for part in (train_data, self.model):
            for method in ("set_epoch", "start_epoch"):
                if hasattr(part, method):
                    getattr(part, method)(epoch_idx)
        self._record = {"epoch": epoch_idx}
        self.progress.begin_epoch(epoch_idx, len(train_data))
        started = time.perf_counter()
        loss = super()._train_epoch(train_data, epoch_idx, loss_func, False)
        total = sum(loss) if isinstance(loss, tuple) else loss
        self._record.update(
            train_loss=float(total),
            learning_rate=float(self.optimizer.param_groups[0]["lr"]),
            train_seconds=time.perf_counter() - started,
        )
        return loss

    def _valid_epoch(self, valid_data: Loader, show_progress: bool = False) -> tuple[float, dict[str, float]]:
        self._check_weights()
        started = time.perf_counter()
        score, result = self.validate(valid_data)
        self._record.update(valid_score=score, valid=result, valid_seconds=time.perf_counter() - started)
        if not np.isfinite(score):
            raise InputError(f"epoch {self._record['epoch']}: {self.valid_metric} is {score}")
        better = score > self.best_valid_score if self.valid_metric_bigger else score < self.best_valid_score
        if better:
            self.best_state = model_state(self.model)
            self.best_epoch = self._record["epoch"]
        elif score == self.best_valid_score:  # no improvement, but the host compares with >=
            score = float(np.nextafter(score, -np.inf if self.valid_metric_bigger else np.inf))
        return score, result

    def validate(self, valid_data: Loader) -> tuple[float, dict[str, float]]:
        """Return the validation score and all validation metrics, unrounded."""
        found = self.evaluation(valid_data)
        assert found is not None, "no epoch is validated on a part without interactions"
        return found.metrics[self.valid_metric], found.metrics

    @compat.quietly()
    def evaluate(
        self,
        eval_data: EvaluationLoader | None,
        load_best_model: bool = True,
        model_file: Path | None = None,
        show_progress: bool = False,
    ) -> dict[str, float] | None:
        """Return the metrics of `eval_data`, unrounded; the best state is the one in memory."""
        if load_best_model and model_file is not None:
            load_model_state(self.model, checkpoint.load(model_file)["best"], False)
        elif load_best_model:
            self.restore_best()
        found = self.evaluation(eval_data, show_progress)
        return None if found is None else found.metrics

    @compat.quietly()
    def evaluation(
        self, eval_data: EvaluationLoader | None, show_progress: bool = False
    ) -> Evaluation | None:
        """Return what the model, as it is, comes to on `eval_data`; None for a part without interactions."""
        if not eval_data:
            return None
        self.progress.begin("evaluating", len(eval_data))
        with Display(self.progress.batch_row, show_progress), self._folded_in(eval_data):
            found = super().evaluate(eval_data, load_best_model=False, show_progress=False)
        return Evaluation(self.evaluator, found, eval_data)

    @contextlib.contextmanager
    def _folded_in(self, eval_data: EvaluationLoader) -> Iterator[None]:
        """Rank, while this lasts, with a model of held-out users, where `eval_data` is of such."""
        known = getattr(eval_data, "known", None)
        if known is None:
            yield
            return
        trained = self.model
        self.model = fold_in(trained.eval(), known, self.config.model)
        try:
            yield
        finally:
            self.model = trained

    def _full_sort_batch_eval(self, batched_data: tuple[Any, ...]) -> tuple[Any, ...]:
        self.progress.step()
        interaction, scores, *positives = super()._full_sort_batch_eval(batched_data)
        self._check_scores(scores, [(slice(None), 0), batched_data[1]])  # padding, and what was seen
        return interaction, scores, *positives

    def _neg_sample_batch_eval(self, batched_data: tuple[Any, ...]) -> tuple[Any, ...]:
        self.progress.step()
        interaction, scores, *positives = super()._neg_sample_batch_eval(batched_data)
        pairs = batched_data[1], interaction[self.config["ITEM_ID_FIELD"]]
        ranks = self.config["eval_type"] == EvaluatorType.RANKING
        self._check_scores(scores[pairs] if ranks else scores)
        return interaction, scores, *positives

    def _check_scores(self, scores: Tensor, unranked: Iterable[Unranked] = ()) -> None:
        epoch = self._record.get("epoch", self.best_epoch)
        when = "" if epoch is None else f" after epoch {epoch}"
        refuse_not_finite(scores, self.config["model"], when, unranked)

    def _check_weights(self) -> None:
        wrong = [name for name, weight in self.model.named_parameters() if not weight.isfinite().all()]
        if wrong:
            raise InputError(
                f"epoch {self._record['epoch']}: not all numbers of {', '.join(wrong)} are finite with "
                f"learning_rate={self.learning_rate}; must be: lower learning_rate or set "
                "clip_grad_norm={max_norm: 1}"
            )

    def per_user(self, eval_data: EvaluationLoader | None) -> pd.DataFrame:
        """Return the metrics of every user of `eval_data`, unrounded, for the model as it is.

        Columns: `user`, the data set's own id, then those metrics that are means over users ("ndcg@10"),
        whose means are what `evaluate` returns. `InputError` where none is, or `eval_data` is None.
        """
        found = self.evaluation(eval_data)
        if found is None:
            raise InputError("per_user: this part of the data has no interactions")
        return found.per_user()

    def _check_nan(self, loss: Tensor) -> None:
        self.progress.step()  # the host looks at the loss of every batch
        if not torch.isfinite(loss):
            large = extremes(self.config.final_config_dict)
            values = large or f"learning_rate={self.learning_rate}"
            lower = "them" if large else "learning_rate or set clip_grad_norm={max_norm: 1}"
            raise InputError(
                f"epoch {self._record['epoch']}: the training loss is {loss.item()} with {values}; "
                f"must be finite: lower {lower}"
            )

    # --- epochs and states ------------------------------------------------------------------------------

    def _end_epoch(self, last: bool = False) -> None:
        if not self._record:
            return
        if "valid" not in self._record:
            self._check_weights()
        if self.schedule is not None:
            step_schedule(self.schedule, self._record.get("valid_score"))
        self.epoch_records.append(self._record)
        self.stopped = last and self._record["epoch"] < self.epochs - 1
        if self._verbose:
            passing = not last and self._record["epoch"] >= FIRST_TOLD
            log.info(
                self._describe(self._record), extra={"passing": passing, "standing": self.progress.standing()}
            )
        self._record = {}
        if self.on_epoch_end is not None and self._saved:
            self.on_epoch_end(self)

    def _describe(self, record: Values) -> str:
        text = f"epoch {record['epoch']:>3}  loss {record['train_loss']:.4f}  {record['train_seconds']:.1f} s"
        if "valid_score" in record:
            text += f"  {self.valid_metric} {record['valid_score']:.4f}  {record['valid_seconds']:.1f} s"
            text += "  best" if record["epoch"] == self.best_epoch else f"  (best: epoch {self.best_epoch})"
        return text

    def restore_best(self) -> None:
        """Give the model the state of its best validated epoch; the last one where none was validated."""
        if self.best_state is not None:
            load_model_state(self.model, self.best_state, counters=False)
