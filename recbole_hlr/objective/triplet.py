"""The triplet loss of metric learning, for one or several negatives.

Hinge and sum over the batch: Tran et al., RecSys 2021 (doi 10.1145/3460231.3474230), Eq. 8.
Rank weights: Hsieh et al., Collaborative Metric Learning, WWW 2017 (doi 10.1145/3038912.3052639), Eq. 2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.protocols import Batch, Options

if TYPE_CHECKING:
    from recbole_hlr.model.base import MetricRecommender
    from recbole_hlr.model.candidates import Users
    from recbole_hlr.objective.softmax import SharedOf

DRAWS = 512  # negatives that stand for all where users are folded in
Reduction = Literal["mean", "hardest", "soft", "rank"]


class Triplets:
    """Batches of positives with K negatives each, under a hinge (Eq. 8)."""

    geometry, item_bias = "ball", False

    def __init__(self, config: Options) -> None:
        self.margin: float = config["margin"]
        self.reduction: Reduction = config["negative_reduction"]
        self.temperature: float = config["negative_temperature"]
        self.num_negatives = int(config["train_neg_sample_args"]["sample_num"])

    @property
    def pairs(self) -> int:
        """Pairs of a user with an item that a positive has: itself and its negatives."""
        return 1 + self.num_negatives

    @property
    def drawn(self) -> int:
        """Negatives of a positive in `loss_of_all`: whole draws of K."""
        return -(-DRAWS // self.num_negatives) * self.num_negatives

    def start_epoch(self, epoch: int) -> None:
        """Draw nothing: negatives come with the batches."""

    def hinges(self, distances: Tensor, num_items: int) -> Tensor:
        """Return the summed hinges of `distances (B, 1 + K)`, the positives' in column 0."""
        joined = self.reduction, self.temperature
        return triplet_loss(distances[:, 0], distances[:, 1:], self.margin, *joined, num_items)

    def loss(self, model: MetricRecommender, batch: Batch) -> Tensor:
        """Return the loss of a batch of triplets, the host's or the package's, with histories of training."""
        users, positives, negatives = (batch[k] for k in (model.USER_ID, model.ITEM_ID, model.NEG_ITEM_ID))
        if negatives.dim() == 1:  # the host's loader: row k * B + b is the k-th negative of row b
            negatives = negatives.view(self.num_negatives, -1).T  # (B, K)
            users, positives = users[: len(negatives)], positives[: len(negatives)]
        return model.loss(users, positives, negatives, model.training_history(users, positives))

    def loss_of_all(
        self,
        model: MetricRecommender,
        users: Users,
        rows: Tensor,
        items: Tensor,
        shared: SharedOf | None = None,
    ) -> Tensor:
        """Return the loss of `users` with all their `items (n,)`, of `rows (n,)`: the mean over negatives.

        They are drawn from the seed alone, the same for all users; what a user has is no negative of it.
        A negative is held against the whole history, and never takes a positive's relation. `shared` is in
        place of the model's own.
        """
        k, count = self.num_negatives, self.drawn
        generator = generator_for(model.seed, Stream.FOLDED_NEGATIVES)
        drawn = torch.randint(1, model.n_items, (count,), generator=generator).to(items.device)
        ids, places = torch.cat([drawn, items]).unique(return_inverse=True)  # (V,), (T + n,)
        drawn_places, own_places = places[:count], places[count:]
        distances = model.distances(users, (shared or model.shared)(ids))  # (B, V)
        own = distances[rows, own_places]  # (n,)
        unseen = distances.index_put((rows, own_places), distances.new_tensor(torch.inf))
        negatives = unseen[:, drawn_places][rows].view(-1, k)  # (n T / K, K)
        joined = self.reduction, self.temperature, model.n_items - 1
        hinges = triplet_loss(own.repeat_interleave(count // k), negatives, self.margin, *joined)
        return hinges / (count // k) + model.own_penalty(users.rows(rows), items, own)

    def validation_loss(self, model: MetricRecommender, batch: Batch) -> Tensor:
        """Return the loss of a validation batch; the histories are those of scoring.

        As many rows at once as the memory budget allows: without a cap, histories have any length.
        """
        columns = (batch[key] for key in (model.USER_ID, model.ITEM_ID, model.NEG_ITEM_ID))
        chunk = model.rows_within(model.work.pair_floats * self.pairs)
        losses = [
            model.loss(users, positives, negatives, model.evaluation_history(users))
            for users, positives, negatives in zip(*(c.split(chunk) for c in columns), strict=True)
        ]
        return torch.stack(losses).sum()


def triplet_loss(
    positive: Tensor,
    negative: Tensor,
    margin: float,
    reduction: Reduction,
    temperature: float,
    num_items: int,
) -> Tensor:
    """Return the sum over positives of their hinges max(0, margin + d_pos - d_neg), as a scalar.

    `positive (B,)` and `negative (B, K)` are squared distances. `reduction` joins the K hinges of
    a positive: their mean; the hardest; their average under softmax(hinge / temperature) weights,
    which take no gradient; the hardest times log(1 + estimated rank), the rank being the share of
    violating negatives times `num_items`.
    """
    hinges = (margin + positive.unsqueeze(1) - negative).relu()  # (B, K)
    if reduction == "mean":
        return hinges.mean(dim=1).sum()
    if reduction == "soft":
        weights = (hinges.detach() / temperature).softmax(dim=1)
        return (weights * hinges).sum()
    hardest = hinges.amax(dim=1)  # (B,)
    if reduction == "rank":
        violations = (hinges > 0).to(hinges.dtype).mean(dim=1)
        hardest = hardest * torch.log1p(violations * num_items)
    return hardest.sum()
