"""How far a fit is, what is best, and when it will end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from recbole_hlr.console import Row, clock

if TYPE_CHECKING:
    from recbole_hlr.train.trainer import RunTrainer

RECENT = 10  # epochs whose mean time is taken for that of an epoch
LONG = 2.0  # seconds of an epoch from which on its batches are shown


class Standing(NamedTuple):
    """How a fit stands after an epoch: in words, and the seconds until its end at the latest."""

    parts: list[str]
    left: float | None


class FitProgress:
    """What there is to show of a trainer's fit; it counts batches, and reads all else off the trainer."""

    def __init__(self, trainer: RunTrainer) -> None:
        self.trainer = trainer
        self.validates = False
        self.epoch = 0
        self.began = self.epoch_began = time.monotonic()
        self.what, self.unit, self.total, self.count = "", "batch", 0, 0

    def begin_epoch(self, epoch: int, batches: int) -> None:
        """Note that the training of an epoch begins."""
        self.epoch, self.epoch_began = epoch, time.monotonic()
        self.begin("training", batches)

    def begin(self, what: str, batches: int) -> None:
        """Note that something of so many batches begins."""
        self.what, self.unit, self.total, self.count = what, "batch", batches, 0

    def step(self) -> None:
        """Count a batch."""
        self.count += 1

    def batch_row(self) -> list[Row]:
        """Return how far the batches are."""
        return [Row([self._batch()], done=self.count / self.total if self.total else None)]

    def rows(self) -> list[Row]:
        """Return the epoch, its batch where it takes long, and the time left; below, the scores."""
        first = [self._epoch()]
        if (self._epoch_seconds() or time.monotonic() - self.epoch_began) >= LONG:
            first.append(self._batch())
        rows = [Row([*first, *self._times()], done=self.epoch / self.trainer.epochs)]
        last, best, patience = self._scores()
        scores = [f"{self.trainer.valid_metric} {last:.4f}"] if last is not None else []
        return [*rows, Row([*scores, *best, *patience])] if scores else rows

    def standing(self) -> Standing:
        """Return how the fit stands when an epoch has ended."""
        _, best, patience = self._scores()
        name = self.trainer.valid_metric
        best = [part.replace("best", f"best {name}", 1) for part in best]
        return Standing([self._epoch(), *best, *self._times(), *patience], self._left(self.trainer.epochs))

    def _epoch(self) -> str:
        last = self.trainer.epochs - 1
        return f"epoch {self.epoch:>{len(str(last))}} of 0 to {last}"

    def _batch(self) -> str:
        if not self.count or not self.total:
            return self.what
        number = (self.count - 1) % self.total + 1  # a trainer may go through them several times
        return f"{self.what}, {self.unit} {number:>{len(str(self.total))}} of {self.total}"

    def _scores(self) -> tuple[float | None, list[str], list[str]]:
        """Return the last score, the best in words, and how many validations without a better end the fit."""
        trainer, records = self.trainer, list(self.trainer.epoch_records)
        scores = {record["epoch"]: record["valid_score"] for record in records if "valid_score" in record}
        if not scores:
            return None, [], []
        pick = max if trainer.valid_metric_bigger else min  # of equals the first, as in the trainer
        epoch = pick(scores, key=scores.__getitem__)  # its best_epoch may be one that has not ended yet
        best = [f"best {scores[epoch]:.4f} at epoch {epoch}"]
        patience = trainer.stopping_step + 1
        left = [f"patience {patience - trainer.cur_step} of {patience}"] if self.validates else []
        return [*scores.values()][-1], best, left

    def _times(self) -> list[str]:
        """Return the time left: from the end of the patience, if nothing is better, to that of all epochs."""
        soonest, latest = map(self._left, (self._epochs_at_least(), self.trainer.epochs))
        if soonest is None or latest is None:
            return []
        return [
            f"ends in {clock(soonest)} to {clock(latest)}" if soonest < latest else f"ends in {clock(latest)}"
        ]

    def _epochs_at_least(self) -> int:
        """Return how many epochs there are in the end if none is better any more."""
        trainer, step = self.trainer, self.trainer.eval_step
        if not self.validates:
            return trainer.epochs
        done = len(trainer.epoch_records)
        more = trainer.stopping_step + 1 - trainer.cur_step
        return min((done // step + more) * step, trainer.epochs)

    def _left(self, epochs: int) -> float | None:
        """Return the seconds until so many epochs are done, None before the first is."""
        seconds = self._epoch_seconds()
        if seconds is None:
            return None
        done = len(self.trainer.epoch_records)
        under_way = time.monotonic() - self.epoch_began if self.epoch == done else 0.0
        return max((epochs - done) * seconds - under_way, 0.0)

    def _epoch_seconds(self) -> float | None:
        recent = self.trainer.epoch_records[-RECENT:]
        spent = [record["train_seconds"] + record.get("valid_seconds", 0.0) for record in recent]
        return sum(spent) / len(spent) if spent else None
