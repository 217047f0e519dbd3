"""Latent Relational Metric Learning (LRML).

Tay et al., Latent Relational Metric Learning via Memory-based Attention for Collaborative Ranking,
WWW 2018 (doi 10.1145/3178876.3186154), in the form that Tran et al., RecSys 2021
(doi 10.1145/3460231.3474230) compare with: Eqs. 2-4 on the pair itself.
"""

from __future__ import annotations

from torch import Tensor

from recbole_hlr.model.base import Pairs
from recbole_hlr.model.mixture import BlockMixture, MemoryRecommender, Ranking


class LRML(MemoryRecommender):
    """r(u, v) = rel(p_u, q_v) (Eqs. 2-4).

    Deviation: the score is the negative squared distance; the released code takes its root, which
    leaves every ranking as it is.
    """

    def mixture(self, pairs: Pairs) -> Tensor:
        """Return the slot weights of rel(p_u, q_v) (Eq. 3), `(B, C, N)`."""
        return self.memory.pair_slots(pairs.item_e, pairs.user_e.unsqueeze(1))

    def block_mixture(self, ranking: Ranking, items: slice) -> BlockMixture:
        """Return what gives the slot weights of a block; (b N, d) keyed users replace (b, V, d)."""
        item_e = self.item_embedding.weight[items]  # (V, d)
        return lambda rows: self.memory.slots(ranking.user_e[rows], item_e).transpose(0, 1)  # (N, b, V)

    def ranking_floats(self, ranking: Ranking) -> tuple[int, int, int]:
        """Return the floats per item of a block, per user, and per user and item."""
        size = self.item_embedding.embedding_dim
        return 2 * size, self.num_memories * size, 6 * self.num_memories
