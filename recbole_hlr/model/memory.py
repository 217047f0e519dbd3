"""Models whose translation is read from relation memories, r = c M, with mixtures c of their slots.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-6.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.candidates import Candidates, Listed, Users
from recbole_hlr.model.relation import RelationMemory
from recbole_hlr.model.work import Work
from recbole_hlr.protocols import InteractionData, Options


class MemoryRecommender(MetricRecommender):
    """r(u, v) = c(u, v) M: the rows that are mixed are the memories of Eqs. 2-4."""

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__(config, dataset)
        self.share_negative_relation = config["share_negative_relation"]
        self.clip_memories = config["clip_memories"]
        self.max_memory_norm = config["max_memory_norm"]
        self.num_memories = config["num_memories"]
        self.memory = self.new_memory(config)

    def new_memory(self, config: Options) -> RelationMemory:
        """Return a memory of relations, untrained."""
        kind = config["initial_key_norm"], config["centre_memories"], config["orthogonal_memories"]
        return RelationMemory(config["num_memories"], config["embedding_size"], *kind)

    @abstractmethod
    def mixture(self, users: Users, items: Candidates) -> Tensor:
        """Return the slot weights c(u, v): `(B, C, R)` of listed items, `(R, B, V)` of shared ones."""

    def memories(self) -> list[RelationMemory]:
        """Return the memories whose slots are mixed, in the order of the mixture's slots."""
        return [self.memory]

    def translation(self, users: Users, items: Listed) -> Tensor:
        """Return r(u, v) = c(u, v) M, `(B, C, d)`."""
        return self.mixture(users, items) @ self.rows()

    def distances(self, users: Users, items: Candidates) -> Tensor:
        """Return ||p_u + c M - q_v||^2, `(B, C)` or `(B, V)`."""
        return items.moved(users.e, self.mixture(users, items.first() if self.lends else items), self.rows())

    def rows(self) -> Tensor:
        """Return the rows that are mixed, `(R, d)`."""
        first, *others = (memory.values for memory in self.memories())
        return torch.cat([first, *others]) if others else first

    def clip_weights(self) -> None:
        """Pull the tables into the ball, and the memories into that of `max_memory_norm`.

        With `attention_smoothing` 1, r is a convex combination of memories (and of 0), HLR++'s the
        sum of two, so that `max_memory_norm` bounds its length too.
        With `clip_memories`, keys and memories are pulled into the tables' ball as well.
        """
        super().clip_weights()
        for memory in (module for module in self.modules() if isinstance(module, RelationMemory)):
            if self.clip_memories and self.max_norm is not None:
                memory.clip(self.max_norm)
            memory.bound(self.max_memory_norm)

    @property
    def work(self) -> Work:
        """The sizes that the cost of a distance follows from."""
        slots, size = self.num_memories * len(self.memories()), self.item_embedding.embedding_dim
        if not self.attends_to_history:
            return Work(size, slots)
        return Work(size, slots, self._scoring_width(self._eval_history), attentions=1)


class UserAttentionRecommender(MemoryRecommender):
    """User attention over u's history: sum_j alpha_j rel(q_v, q_j) (Eqs. 5-6).

    alpha = softmax_j(p_u . rel(q_v, q_j)), j in I_u.
    With `attend_user` p_u joins the attended set, so that rel(q_v, p_u) is one of the relations.
    """

    attends_to_history = True
    direct_memory: RelationMemory | None  # that rel(q_v, p_u) is read from, where not `memory`

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__(config, dataset)
        self.attention_smoothing = config["attention_smoothing"]
        self.attend_user = config["attend_user"]
        self.direct_memory = None

    def user_attention(self, users: Users, items: Candidates) -> Tensor:
        """Return the mixture of the user attention (Eqs. 5-6)."""
        slots, query = items.relations(self.memory, users), items.users_query(self.memory, users)
        if not self.attend_user:
            return items.attend(slots, query, users, self.attention_smoothing)[0]
        memory = self.direct_memory or self.memory
        own = items.relation(memory, users), items.users_query(memory, users)
        listed, direct = items.attend(slots, query, users, self.attention_smoothing, own)
        assert direct is not None
        if self.direct_memory is None:
            return listed + direct
        return torch.cat([listed, direct], dim=items.slot_dim)
