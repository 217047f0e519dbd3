"""Triplets (user, positive, negatives) drawn in whole batches, without a loop over users.

The host's loader draws negatives by a Python loop over the global numpy generator; this one draws
the epoch's order and its negatives on the device, from generators that depend on seed and epoch.
"""

from __future__ import annotations

from collections.abc import Iterator

from recbole.data.interaction import Interaction

from recbole_hlr.data.epochs import EpochLoader
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.negatives import NegativeSampler, mix_in
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.protocols import NamedData, Options


class TripletLoader(EpochLoader):
    """Yields host `Interaction`s with user `(B,)`, positive `(B,)` and negatives `(B, K)`.

    A negative is drawn uniformly from the items outside `seen`; it is drawn again as long as it is
    one that its user has seen. Every user must leave at least one item unseen. Of a user with some
    `disliked` items, each negative is one of these instead with the chance `disliked_share`.
    """

    def __init__(
        self,
        config: Options,
        dataset: NamedData,
        seen: InteractionMatrix,
        batch_size: int,
        shuffle: bool = True,
        negatives: Stream = Stream.NEGATIVES,
        disliked: InteractionMatrix | None = None,
    ) -> None:
        pairs = dataset.inter_feat
        super().__init__(config, dataset, len(pairs[config["USER_ID_FIELD"]]), batch_size, shuffle)
        self.negative_field = config["NEG_PREFIX"] + self.item_field
        self.users = pairs[self.user_field].to(self.device)
        self.positives = pairs[self.item_field].to(self.device)
        self.num_negatives = int(config["train_neg_sample_args"]["sample_num"])
        self.stream = negatives
        self.sampler = NegativeSampler(seen.to(self.device))
        self.disliked = None if disliked is None else disliked.to(self.device)
        self.disliked_share: float = 0.0 if disliked is None else config["disliked_share"]

    def __iter__(self) -> Iterator[Interaction]:
        batches = self.batches()
        generator, of_disliked = (
            generator_for(self.seed, stream, self.epoch, device=self.device)
            for stream in (self.stream, Stream.DISLIKED_NEGATIVES)
        )
        self.epoch += 1
        for batch in batches:
            users = self.users[batch]
            negatives = self.sampler.draw(users, self.num_negatives, generator)  # (B, K)
            if self.disliked is not None:
                negatives = mix_in(negatives, users, self.disliked, self.disliked_share, of_disliked)
            yield Interaction(
                {
                    self.user_field: users,
                    self.item_field: self.positives[batch],
                    self.negative_field: negatives,
                }
            )
