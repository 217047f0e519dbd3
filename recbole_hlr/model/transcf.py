"""Translational Collaborative Filtering (TransCF).

Park et al., Collaborative Translational Metric Learning, ICDM 2018 (doi 10.1109/ICDM.2018.00052), in
the form that Tran et al., RecSys 2021 (doi 10.1145/3460231.3474230) compare with.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from recbole_hlr.data.interactions import HistoryBatch, InteractionMatrix
from recbole_hlr.model.base import MetricRecommender, Pairs
from recbole_hlr.model.distance import squared_distances
from recbole_hlr.protocols import InteractionData, Options


@dataclasses.dataclass
class NeighbourPairs(Pairs):
    """Pairs with the means of their neighbourhoods, which take no gradient."""

    user_mean: Tensor  # (B, d) of the items of a user
    item_mean: Tensor  # (B, C, d) of the users of an item


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

    def start_epoch(self, epoch: int) -> None:
        """Compute the epoch's means, where they are refreshed by the epoch."""
        super().start_epoch(epoch)
        if self.neighbour_refresh == "epoch":
            self._means = (
                means(self.history, self.item_embedding.weight),
                means(self.audience, self.user_embedding.weight),
            )

    def pairs(self, users: Tensor, items: Tensor, history: HistoryBatch | None) -> NeighbourPairs:
        """Return pairs with their neighbourhoods' means."""
        pairs = super().pairs(users, items, history)
        if self.training and self._means is not None:
            user_mean, item_mean = self._means[0][users], self._means[1][items]
        else:
            user_mean = means(self.history, self.item_embedding.weight, users)
            item_mean = means(self.audience, self.user_embedding.weight, items)
        return NeighbourPairs(**vars(pairs), user_mean=user_mean, item_mean=item_mean)

    def translation(self, pairs: Pairs) -> Tensor:
        """Return r(u, v) `(B, C, d)`."""
        assert isinstance(pairs, NeighbourPairs)
        return pairs.user_mean.unsqueeze(1) * pairs.item_mean

    def penalty(self, pairs: Pairs, distances: Tensor) -> Tensor:
        """Return the two regularisers; several negatives count as their mean."""
        assert isinstance(pairs, NeighbourPairs)
        of_users = (pairs.user_e - pairs.user_mean).square().sum()
        of_items = (pairs.item_e - pairs.item_mean).square().sum(dim=2)  # (B, C)
        neighbours = of_users + of_items[:, 0].sum() + of_items[:, 1:].mean(dim=1).sum()
        return self.neighbour_weight * neighbours + self.distance_weight * distances[:, 0].sum()

    @property
    def rows_read(self) -> None:
        """The means are those of whole tables."""
        return None

    def score_all(self, users: Tensor) -> Tensor:
        """Return `(B, I)` scores; r = a * b keeps ||p + r - q||^2 a sum of matrix products.

        Identity: ||p + a b - q||^2 = ||p - q||^2 + 2 (p a).b - 2 a.(b q) + (a a).(b b), products of
        vectors elementwise. What disappears: (B, I, d). Caveat: as in `CML.score_all`.
        """
        user_e, item_e = self.user_embedding(users), self.item_embedding.weight
        a = means(self.history, item_e, users)  # (B, d)
        b = means(self.audience, self.user_embedding.weight)  # (I, d)
        cross = (user_e * a) @ b.T - a @ (b * item_e).T  # (B, I)
        distances = squared_distances(user_e, item_e) + 2 * cross + a.square() @ b.square().T
        return -distances.clamp_(min=0)


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
