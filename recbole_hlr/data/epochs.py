"""What loaders of epochs share: batches in an order that depends on seed and epoch alone."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.protocols import NamedData, Options


class EpochLoader:
    """A loader of `count` rows in batches, whose next iteration is that of `epoch`."""

    def __init__(
        self, config: Options, dataset: NamedData, count: int, batch_size: int, shuffle: bool
    ) -> None:
        self.config = config
        self._dataset = self.dataset = dataset
        self.user_field, self.item_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.device = config["device"]
        self.count, self.batch_size, self.shuffle, self.seed = count, batch_size, shuffle, config["seed"]
        self.epoch = 0

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of `epoch`."""
        self.epoch = epoch

    def batches(self) -> tuple[Tensor, ...]:
        """Return the places `(B,)` of the rows of every batch of the epoch."""
        order = torch.arange(self.count, device=self.device)
        if self.shuffle:
            generator = generator_for(self.seed, Stream.ORDER, self.epoch, device=self.device)
            order = torch.randperm(self.count, generator=generator, device=self.device)
        return order.split(self.batch_size)
