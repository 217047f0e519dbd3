"""Hierarchical Latent Relation modeling (HLR).

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-8.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_hlr.data.history import HistoryBatch
from recbole_hlr.model.base import MetricRecommender, squared_distances
from recbole_hlr.model.relation import RelationMemory, attention_weights, clip_norms


class HLR(MetricRecommender):
    """r(u, v) = sum_j alpha_j rel(q_v, q_j), alpha = softmax_j(p_u . rel(q_v, q_j)), j in I_u (Eqs. 5-6).

    Deviation: with `attend_user` (the released code) p_u joins the attended set, so that
    rel(q_v, p_u) is one of the relations; `direct_memory` reads that one from a second memory.
    Deviation: an empty history gives r = 0 (or rel(q_v, p_u), with `attend_user`).
    """

    uses_history = True

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.share_negative_relation = config["share_negative_relation"]
        self.attention_smoothing = config["attention_smoothing"]
        self.attend_user = config["attend_user"]
        self.clip_memories = config["clip_memories"]
        self.max_memory_norm = config["max_memory_norm"]
        self.num_memories = config["num_memories"]
        size = config["embedding_size"]
        self.memory = RelationMemory(self.num_memories, size)
        self.direct_memory = RelationMemory(self.num_memories, size) if config["direct_memory"] else None

    def translation(self, user_e: Tensor, item_e: Tensor, history: HistoryBatch | None) -> Tensor:
        """Return r(u, v) `(B, C, d)` (Eqs. 5-6), the relations kept as slot weights."""
        assert history is not None
        history_e = self.item_embedding(history.items)  # (B, H, d)
        slots = self.memory.slots(item_e, history_e)  # (B, C, N, H)
        logits = torch.einsum("bn,bcnh->bch", user_e @ self.memory.memories.T, slots)
        logits = logits.masked_fill(~history.mask.unsqueeze(1), float("-inf"))
        if not self.attend_user:
            weights = attention_weights(logits, self.attention_smoothing, dim=2)  # (B, C, H)
            return torch.einsum("bch,bcnh->bcn", weights, slots) @ self.memory.memories
        memory = self.memory_of_user
        own = memory.pair_slots(item_e, user_e.unsqueeze(1))  # (B, C, N)
        own_logits = torch.einsum("bn,bcn->bc", user_e @ memory.memories.T, own).unsqueeze(2)
        logits = torch.cat([own_logits, logits], dim=2)  # (B, C, 1 + H)
        weights = attention_weights(logits, self.attention_smoothing, dim=2)
        mixture = torch.einsum("bch,bcnh->bcn", weights[:, :, 1:], slots)  # (B, C, N)
        return mixture @ self.memory.memories + (weights[:, :, :1] * own) @ memory.memories

    @property
    def memory_of_user(self) -> RelationMemory:
        """The memory that rel(q_v, p_u) is read from."""
        return self.memory if self.direct_memory is None else self.direct_memory

    def clip_weights(self) -> None:
        """Pull the tables into the ball, and the memories into that of `max_memory_norm`.

        With `attention_smoothing` 1, r is a convex combination of memories (and of 0), so that
        `max_memory_norm` bounds its length too.
        With `clip_memories`, keys and memories are pulled into the tables' ball as well.
        """
        super().clip_weights()
        for memory in (self.memory, self.direct_memory):
            if memory is not None and self.clip_memories and self.max_norm is not None:
                memory.clip(self.max_norm)
            if memory is not None and self.max_memory_norm is not None:
                clip_norms(memory.memories, self.max_memory_norm, dim=1)

    @property
    def pair_floats(self) -> int:
        """Floats that scoring one pair holds at once."""
        longest = int(self.history.lengths.max())
        width = longest if self.eval_cap is None else min(longest, self.eval_cap)
        size = self.item_embedding.embedding_dim
        return 4 * size + self.num_memories * size + width * (size + 4 * self.num_memories)

    def score_all(self, users: Tensor) -> Tensor:
        """Return `(B, I)` scores, from slot weights shared by all users of the batch.

        Plain formula: -||p + r - q||^2, r = c M, c = sum_j alpha_j w_(v,j), one w per user and pair.
        Identity: the slot weights w_(v,j) of an item pair do not depend on the user; and
        ||p + cM - q||^2 = ||p - q||^2 + 2 c.(Mp - Mq) + c (M M^T) c^T.
        What disappears: (B, I, H, d) relations; a block of items holds one table (J, N, V) for
        the J items in any history of the batch, and (N, V) per user.
        Caveat: the expansion cancels, to some 1e-6 in float32; `tests/test_models.py` shows it.
        """
        history = self.evaluation_history(users)
        assert history is not None
        known, position = history.items.unique(return_inverse=True)  # (J,), (B, H)
        rows = [p[m] for p, m in zip(position, history.mask, strict=True)]
        scores = self.item_embedding.weight.new_empty(len(users), self.n_items)
        known_e, user_e = self.item_embedding(known), self.user_embedding(users)
        floats_per_item = 3 * self.num_memories * (len(known) + history.items.shape[1] + len(users))
        width = min(self._rows_within(floats_per_item), 512)
        for start in range(0, self.n_items, width):
            block = slice(start, start + width)
            item_e = self.item_embedding.weight[block]  # (V, d)
            table = self.memory.slots(known_e, item_e)  # (J, N, V)
            scores[:, block] = -self._block_distances(user_e, item_e, table, rows)
        return scores

    def _block_distances(self, user_e: Tensor, item_e: Tensor, table: Tensor, rows: list[Tensor]) -> Tensor:
        """Return `(B, V)` distances of `user_e (B, d)` to `item_e (V, d)`; user b attends to rows[b].

        R = N columns are read, 2 N where rel(q_v, p_u) has a memory of its own.
        """
        separate = self.direct_memory is not None and self.attend_user
        read: Tensor = self.memory.memories  # (R, d)
        if separate:
            read = torch.cat([read, self.memory_of_user.memories])
        value = user_e @ read.T  # (B, R)
        item_value, gram = read @ item_e.T, read @ read.T  # (R, V), (R, R)
        n = self.num_memories
        own = self.memory_of_user.slots(user_e, item_e) if self.attend_user else None  # (B, N, V)
        distances = squared_distances(user_e, item_e)  # (B, V)
        for b, row in enumerate(rows):
            slots = table[row]  # (H, N, V)
            logits = value[b, :n] @ slots  # (H, V)
            if own is not None:
                logits = torch.cat([(value[b, -n:] @ own[b]).unsqueeze(0), logits])  # (1 + H, V)
            weights = attention_weights(logits, self.attention_smoothing, dim=0).unsqueeze(1)
            mixture = (weights[-len(row) :] * slots).sum(dim=0) if len(row) else 0 * item_value[:n]
            if own is not None:
                direct = weights[0] * own[b]  # (N, V)
                mixture = torch.cat([mixture, direct]) if separate else mixture + direct
            linear = (mixture * (value[b].unsqueeze(1) - item_value)).sum(dim=0)  # (V,)
            distances[b] += 2 * linear + (mixture * (gram @ mixture)).sum(dim=0)
        return distances.clamp_(min=0)
