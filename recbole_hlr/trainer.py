"""The trainer of the metric models."""

from __future__ import annotations

from typing import Any

import torch
from tqdm import tqdm

from recbole_hlr.config import LOSS
from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.resumable import RunTrainer


class MetricTrainer(RunTrainer):
    """Trains the metric models: norm ball after each step, validation by a ranking metric or the loss."""

    valid_triplets: TripletLoader | None = None  # set where valid_metric is the loss

    def _build_optimizer(self, **kwargs: Any) -> torch.optim.Optimizer:
        optimizer = super()._build_optimizer(**kwargs)
        if isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW):
            for group in optimizer.param_groups:
                group["fused"] = True  # one pass over each table; the same update
        optimizer.register_step_post_hook(lambda *_: self.model.clip_weights())
        return optimizer

    def _train_epoch(
        self, train_data: Any, epoch_idx: int, loss_func: Any = None, show_progress: bool = False
    ) -> Any:
        if not show_progress:
            return super()._train_epoch(train_data, epoch_idx, loss_func, False)
        bar = EpochBar(train_data, f"epoch {epoch_idx}")
        return super()._train_epoch(bar, epoch_idx, loss_func, False)

    def validate(self, valid_data: Any) -> tuple[float, dict[str, float]]:
        """Return the score and all validation metrics; the loss alone where it is the score."""
        if self.valid_metric != LOSS:
            return super().validate(valid_data)
        assert self.valid_triplets is not None
        self.valid_triplets.set_epoch(0)  # the same negatives in every epoch
        self.model.eval()
        with torch.no_grad():
            total = sum(self.model.validation_loss(batch).item() for batch in self.valid_triplets)
        loss = total / len(self.valid_triplets.users)
        return loss, {LOSS: loss}


class EpochBar:
    """A loader with a progress bar that vanishes at the end of the epoch."""

    def __init__(self, loader: Any, name: str) -> None:
        self.loader, self.name = loader, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Any:
        return iter(tqdm(self.loader, desc=self.name, leave=False, ncols=80, unit="batch"))
