"""Hierarchical Latent Relation modeling (HLR).

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-8.
"""

from __future__ import annotations

from torch import Tensor

from recbole_hlr.model.candidates import Candidates, Users
from recbole_hlr.model.memory import UserAttentionRecommender
from recbole_hlr.model.relation import RelationMemory
from recbole_hlr.protocols import InteractionData, Options


class HLR(UserAttentionRecommender):
    """r(u, v) = sum_j alpha_j rel(q_v, q_j), alpha = softmax_j(p_u . rel(q_v, q_j)), j in I_u (Eqs. 5-6).

    Deviation: with `attend_user` (the released code) p_u joins the attended set, so that
    rel(q_v, p_u) is one of the relations; `direct_memory` reads that one from a second memory.
    Deviation: an empty history gives r = 0 (or rel(q_v, p_u), with `attend_user`).
    """

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__(config, dataset)
        if config["direct_memory"]:
            self.direct_memory = self.new_memory(config)

    def memories(self) -> list[RelationMemory]:
        """Return the memory of item-item relations, and that of user-item relations if it is another."""
        return [self.memory] if self.direct_memory is None else [self.memory, self.direct_memory]

    def mixture(self, users: Users, items: Candidates) -> Tensor:
        """Return the user attention (Eqs. 5-6) as slot weights."""
        return self.user_attention(users, items)
