"""Triplets (user, positive, negatives) drawn in whole batches, without a loop over users.

The host's loader draws negatives by a Python loop over the global numpy generator; this one draws
the epoch's order and its negatives on the device, from generators that depend on seed and epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from recbole.data.interaction import Interaction

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.negatives import NegativeSampler
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.protocols import NamedData, Options


class TripletLoader:
    """Yields host `Interaction`s with user `(B,)`, positive `(B,)` and negatives `(B, K)`.

    A negative is drawn uniformly from the items outside `seen`; it is drawn again as long as it is
    one that its user has seen. Every user must leave at least one item unseen.
    """

    def __init__(
        self,
        config: Options,
        dataset: NamedData,
        seen: InteractionMatrix,
        batch_size: int,
        shuffle: bool = True,
        negatives: Stream = Stream.NEGATIVES,
    ) -> None:
        self.config = config
        self._dataset = self.dataset = dataset
        self.user_field, self.item_field = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
        self.negative_field = config["NEG_PREFIX"] + self.item_field
        self.device = config["device"]
        pairs = dataset.inter_feat
        self.users = pairs[self.user_field].to(self.device)
        self.positives = pairs[self.item_field].to(self.device)
        self.num_negatives = int(config["train_neg_sample_args"]["sample_num"])
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, config["seed"]
        self.stream = negatives
        self.sampler = NegativeSampler(seen.to(self.device))
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.users) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that of `epoch`."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Interaction]:
        order = torch.arange(len(self.users), device=self.device)
        if self.shuffle:
            order_generator = generator_for(self.seed, Stream.ORDER, self.epoch, device=self.device)
            order = torch.randperm(len(self.users), generator=order_generator, device=self.device)
        generator = generator_for(self.seed, self.stream, self.epoch, device=self.device)
        self.epoch += 1
        for batch in order.split(self.batch_size):
            users = self.users[batch]
            yield Interaction(
                {
                    self.user_field: users,
                    self.item_field: self.positives[batch],
                    self.negative_field: self.sampler.draw(users, self.num_negatives, generator),
                }
            )
