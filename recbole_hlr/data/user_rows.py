"""Batches of users with all their training items, cut out of compressed sparse rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from recbole.data.interaction import Interaction

from recbole_hlr.data.epochs import EpochLoader
from recbole_hlr.data.interactions import DISLIKED, HELD_OUT, InteractionMatrix
from recbole_hlr.protocols import NamedData, Options


class UserLoader(EpochLoader):
    """Yields host `Interaction`s with user `(n,)` and item `(n,)`: all pairs of some users, user by user.

    Every user who has an item is drawn once an epoch, in an order that depends on seed and epoch alone.
    With `held_out` interactions, which are among all, only users who have some; a column tells them apart.
    With `disliked` items, none of which is among them, each user's own stand there too, told by a column.
    """

    def __init__(
        self,
        config: Options,
        dataset: NamedData,
        trained: InteractionMatrix,
        batch_size: int,
        shuffle: bool = True,
        held_out: InteractionMatrix | None = None,
        disliked: InteractionMatrix | None = None,
    ) -> None:
        self.matrix = trained.to(config["device"])
        self.held_out = None if held_out is None else held_out.to(config["device"])
        self.users = (self.held_out or self.matrix).lengths.nonzero().squeeze(dim=1)  # (users,)
        self.disliked = None if disliked is None else disliked.to(config["device"])
        if self.disliked is not None:
            self.matrix = self.matrix.joined(self.disliked)
        super().__init__(config, dataset, len(self.users), batch_size, shuffle)

    def __iter__(self) -> Iterator[Interaction]:
        batches = self.batches()
        self.epoch += 1
        for batch in batches:
            users = self.users[batch]
            items, _ = self.matrix.flat(users)
            rows = torch.repeat_interleave(users, self.matrix.lengths[users])
            columns = {self.user_field: rows, self.item_field: items}
            for name, some in ((HELD_OUT, self.held_out), (DISLIKED, self.disliked)):
                if some is not None:
                    keys = rows * self.matrix.num_items + items
                    columns[name] = torch.isin(keys, some.keys(), assume_unique=True)
            yield Interaction(columns)
