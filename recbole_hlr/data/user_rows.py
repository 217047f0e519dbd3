"""Batches of users with all their training items, cut out of compressed sparse rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from recbole.data.interaction import Interaction

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.protocols import NamedData, Options

HELD_OUT = "held_out"  # a column: which of a user's interactions are validated on


class UserLoader:
    """Yields host `Interaction`s with user `(n,)` and item `(n,)`: all pairs of some users, user by user.

    Every user who has an item is drawn once an epoch, in an order that depends on seed and epoch alone.
    With `held_out` interactions, which are among all, only users who have some; a column tells them apart.
    """

    def __init__(
        self,
        config: Options,
        dataset: NamedData,
        trained: InteractionMatrix,
        batch_size: int,
        shuffle: bool = True,
        held_out: InteractionMatrix | None = None,
    ) -> None:
        self.config = config
        self._dataset = self.dataset = dataset
        self.user_field, self.item_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.device = config["device"]
        self.matrix = trained.to(self.device)
        self.held_out = None if held_out is None else held_out.to(self.device)
        self.users = (self.held_out or self.matrix).lengths.nonzero().squeeze(dim=1)  # (users,)
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, config["seed"]
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.users) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of `epoch`."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Interaction]:
        order = torch.arange(len(self.users), device=self.device)
        if self.shuffle:
            generator = generator_for(self.seed, Stream.ORDER, self.epoch, device=self.device)
            order = torch.randperm(len(self.users), generator=generator, device=self.device)
        self.epoch += 1
        for batch in order.split(self.batch_size):
            users = self.users[batch]
            items, _ = self.matrix.flat(users)
            rows = torch.repeat_interleave(users, self.matrix.lengths[users])
            columns = {self.user_field: rows, self.item_field: items}
            if self.held_out is not None:
                keys = rows * self.matrix.num_items + items
                columns[HELD_OUT] = torch.isin(keys, self.held_out.keys(), assume_unique=True)
            yield Interaction(columns)
