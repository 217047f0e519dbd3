"""Latent Relational Metric Learning (LRML).

Tay et al., Latent Relational Metric Learning via Memory-based Attention for Collaborative Ranking,
WWW 2018 (doi 10.1145/3178876.3186154), in the form that Tran et al., RecSys 2021
(doi 10.1145/3460231.3474230) compare with: Eqs. 2-4 on the pair itself.
"""

from __future__ import annotations

from torch import Tensor

from recbole_hlr.model.candidates import Candidates, Users
from recbole_hlr.model.memory import MemoryRecommender


class LRML(MemoryRecommender):
    """r(u, v) = rel(p_u, q_v) (Eqs. 2-4).

    Deviation: the score is the negative squared distance; the released code takes its root, which
    leaves every ranking as it is.
    """

    def mixture(self, users: Users, items: Candidates) -> Tensor:
        """Return the slot weights of rel(p_u, q_v) (Eq. 3)."""
        return items.relation(self.memory, users)
