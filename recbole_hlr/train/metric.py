"""The trainer of the metric models."""

from __future__ import annotations

import torch

from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.data.user_rows import UserLoader
from recbole_hlr.metrics.definitions import LOSS
from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.protocols import Loader, RunConfig
from recbole_hlr.train.lazy_adam import LazyAdam
from recbole_hlr.train.schedule import has_plain_adam
from recbole_hlr.train.trainer import RunTrainer

_PAYS = 30_000  # rows that a batch does not read: from so many on, LazyAdam is faster on two CPU cores


class MetricTrainer(RunTrainer):
    """Trains the metric models: norm ball after each step, validation by a ranking metric or the loss."""

    model: MetricRecommender
    config: RunConfig
    loss_data: TripletLoader | UserLoader | None = None  # where valid_metric is the loss

    def _build_optimizer(self, **kwargs: object) -> torch.optim.Optimizer:
        tables, clip = self._lazy_tables(), self.model.clip_weights
        if tables:
            weights, rate = self.model.parameters(), self.learning_rate
            sphere = self.model.geometry == "sphere"
            return LazyAdam(weights, tables, rate, self.model.max_norm, sphere, clip, fused=True)
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
            for group in optimizer.param_groups:
                group["fused"] = True  # one pass over each table; the same update
        optimizer.register_step_post_hook(lambda *_: clip())
        return optimizer

    def _lazy_tables(self) -> list[torch.nn.Embedding]:
        """Return the tables of which a batch reads so few rows that `LazyAdam` pays."""
        wanted, reads = self.config["lazy_adam"], self.model.rows_read
        if wanted == "off" or not has_plain_adam(self.config):
            return []
        tables = []
        for table, rows in zip((self.model.user_embedding, self.model.item_embedding), reads, strict=True):
            if rows is None:
                continue
            read = self.config["train_batch_size"] * rows
            pays = self.device.type == "cpu" and len(table.weight) - read >= _PAYS
            if table.weight.requires_grad and (wanted == "on" or pays):
                tables.append(table)
        return tables

    def _train_epoch(
        self, train_data: Loader, epoch_idx: int, loss_func: object = None, show_progress: bool = False
    ) -> float | tuple[float, ...]:
        loss = super()._train_epoch(train_data, epoch_idx, loss_func, show_progress)
        if isinstance(self.optimizer, LazyAdam):
            self.optimizer.catch_up()
        return loss

    def validate(self, valid_data: Loader) -> tuple[float, dict[str, float]]:
        """Return the score and all validation metrics; the loss alone where it is the score."""
        if self.valid_metric != LOSS:
            return super().validate(valid_data)
        assert self.loss_data is not None
        self.loss_data.set_epoch(0)  # the same negatives in every epoch
        self.model.eval()
        with torch.no_grad():
            total = sum(self.model.validation_loss(batch).item() for batch in self.loss_data)
        loss = total / len(self.loss_data.users)
        return loss, {LOSS: loss}
