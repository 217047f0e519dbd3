"""Translational Collaborative Filtering (TransCF).

Park et al., Collaborative Translational Metric Learning, ICDM 2018 (doi 10.1109/ICDM.2018.00052), in
the form that Tran et al., RecSys 2021 (doi 10.1145/3460231.3474230) compare with.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from recbole_hlr.data.interactions import HistoryBatch, InteractionMatrix
from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.candidates import Candidates, Listed, Shared, Users
from recbole_hlr.protocols import InteractionData, Options


class TransCF(MetricRecommender):
    """r(u, v) = a_u * b_v, a_u = mean of q over u's items, b_v = mean of p over v's users.

    The loss adds neighbour_weight sum(||p_u - a_u||^2 + ||q_i - b_i||^2 + mean_j ||q_j - b_j||^2) and
    distance_weight sum ||p_u + r(u, i) - q_i||^2 over positives i and their negatives j. The means are
    those of the current tables, at every step or, with `neighbour_refresh: epoch`, at every epoch's
    start. A neighbourhood without members has the mean 0.
    """

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__(config, dataset)
        self.neighbour_weight = config["neighbour_weight"]
        self.distance_weight = config["distance_weight"]
        self.neighbour_refresh = config["neighbour_refresh"]
        self.history = InteractionMatrix.of(dataset).to(self.device)
        self.audience = self.history.transposed(self.n_users)
        self._means: tuple[Tensor, Tensor] | None = None  # (U, d), (I, d) of this epoch
        self._means_stay = False  # where scoring takes those, too

    def start_epoch(self, epoch: int) -> None:
        """Compute the epoch's means, where they are refreshed by the epoch."""
        super().start_epoch(epoch)
        if self.neighbour_refresh == "epoch":
            self._means = (
                means(self.history, self.item_embedding.weight),
                means(self.audience, self.user_embedding.weight),
            )

    def of_others(self, history: InteractionMatrix) -> MetricRecommender:
        """Return this model for other users; an item's mean is that of the users of the training."""
        other = cast(TransCF, super().of_others(history))
        other._means = (
            means(history, self.item_embedding.weight),
            means(self.audience, self.user_embedding.weight),
        )
        other._means_stay = True
        return other

    def users(self, ids: Tensor, history: HistoryBatch | None, shared: bool = False) -> Users:
        """Return users with the means of their items, which take no gradient."""
        users = super().users(ids, history, shared)
        users.mean = self._mean(0, self.history, self.item_embedding, ids)
        return users

    def listed(self, users: Tensor, items: Tensor) -> Listed:
        """Return items with the means of their users, which take no gradient."""
        listed = super().listed(users, items)
        listed.mean = self._mean(1, self.audience, self.user_embedding, items)
        return listed

    def shared(self, items: slice | Tensor) -> Shared:
        """Return a block of the catalogue with the means of its users, which take no gradient."""
        shared = super().shared(items)
        shared.mean = self._mean(1, self.audience, self.user_embedding, shared.ids)
        return shared

    def _mean(self, side: int, lists: InteractionMatrix, table: nn.Embedding, rows: Tensor) -> Tensor:
        if self._means is not None and (self.training or self._means_stay):
            return self._means[side][rows]
        return means(lists, table.weight, rows)

    def translation(self, users: Users, items: Listed) -> Tensor:
        """Return r(u, v) `(B, C, d)`."""
        assert users.mean is not None
        assert items.mean is not None
        return users.mean.unsqueeze(1) * items.mean

    def distances(self, users: Users, items: Candidates) -> Tensor:
        """Return ||p_u + a_u * b_v - q_v||^2, `(B, C)` or `(B, V)`."""
        assert users.mean is not None
        assert items.mean is not None
        return items.stretched(users.e, users.mean, items.mean)

    def penalty(self, users: Users, items: Listed, distances: Tensor) -> Tensor:
        """Return the two regularisers; several negatives count as their mean."""
        assert users.mean is not None
        assert items.mean is not None
        of_users = (users.e - users.mean).square().sum()
        of_items = (items.e - items.mean).square().sum(dim=2)  # (B, C)
        neighbours = of_users + of_items[:, 0].sum() + of_items[:, 1:].mean(dim=1).sum()
        return self.neighbour_weight * neighbours + self.distance_weight * distances[:, 0].sum()

    @property
    def rows_read(self) -> tuple[None, None]:
        """The means are those of whole tables."""
        return None, None


@torch.no_grad()
def means(lists: InteractionMatrix, table: Tensor, rows: Tensor | None = None) -> Tensor:
    """Return the mean of `table (T, d)` over the list of each row, `(..., d)` for `rows (...)`, or all rows.

    A product of a sparse matrix with the table: each distinct row is computed once.
    """
    if rows is None:
        return embedding_bag(lists.items, table, lists.indptr, mode="mean", include_last_offset=True)
    distinct, position = rows.unique(return_inverse=True)  # (D,), (...)
    members, starts = lists.flat(distinct)
    return embedding_bag(members, table, starts, mode="mean")[position]
