"""Models whose translation is a mixture of rows, r = c X: of memories, or of history items.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230). R = number of rows that are mixed, V = items of a block.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from recbole_hlr.host.compile import Compiled, compiled
from recbole_hlr.model.base import MetricRecommender, Pairs
from recbole_hlr.model.distance import moved_distances
from recbole_hlr.model.relation import RelationMemory, attend, attend_table, clip_norms
from recbole_hlr.protocols import InteractionData, Options

P = ParamSpec("P")
T = TypeVar("T")

BlockMixture = Callable[[slice], Tensor]  # rows of a ranking -> their mixtures (R, b, V) or (b, R, V)


class Attended(NamedTuple):
    """The histories of the users of a ranking, by the items that any of them has."""

    known_e: Tensor  # (J, d) distinct items
    positions: Tensor  # (B, H) where among them a history's items are
    mask: Tensor  # (B, H) True where real


class Ranking(NamedTuple):
    """Users whose items are all ranked at once."""

    user_e: Tensor  # (B, d)
    attended: Attended | None
    own_slots: Tensor | None = None  # (B, H, N, 1) slot weights of rel(p_u, q_j), where a model reads them

    def histories(self) -> Attended:
        """Return the histories of a model that has them."""
        assert self.attended is not None
        return self.attended


class MixtureRecommender(MetricRecommender):
    """r(u, v) = c(u, v) X with mixtures c `(B, C, R)`; X `(R, d)`, or `(B, R, d)` of each user its own.

    Mixtures of all items are `(R, B, V)`, or `(B, R, V)` where each user has its own X.
    """

    @abstractmethod
    def readout(self, ranking: Ranking, rows: slice) -> Tensor:
        """Return X `(R, d)` or, of the users in `rows`, `(b, R, d)`."""

    @abstractmethod
    def block_mixture(self, ranking: Ranking, items: slice) -> BlockMixture:
        """Return what gives the mixtures `(R, b, V)` or `(b, R, V)` of some users with a block of items.

        What the block's users share is computed once, here.
        """

    @property
    def user_floats(self) -> int:
        """Floats that ranking holds for each of its users at once, their scores apart."""
        return 3 * self._scoring_width(self._eval_history) if self.attends_to_history else 0

    @abstractmethod
    def ranking_floats(self, ranking: Ranking) -> tuple[int, int, int]:
        """Return the floats that a block holds per item, per user, and per user and item."""

    def ranking(self, users: Tensor) -> Ranking:
        """Return the ranking of `users (B,)`."""
        history, attended = self.evaluation_history(users), None
        if history is not None:
            known, positions = history.items.unique(return_inverse=True)  # (J,), (B, H)
            attended = Attended(self.item_embedding(known), positions, history.mask)
        return Ranking(self.user_embedding(users), attended)

    @property
    def ranking_flops(self) -> int:
        """Floating-point operations per user and item of a ranking, roughly."""
        return self.pair_flops

    def _compiled(self, function: Callable[P, T]) -> Callable[P, T]:
        work = self.n_users * self.n_items * self.ranking_flops
        return compiled(function, self.compilation, work, self.device)

    @cached_property
    def _moved_distances(self) -> Callable[..., Tensor]:
        return self._compiled(moved_distances)

    @property
    def block_size(self) -> tuple[int, int]:
        """The items of a block, and the floats that its users may hold at once: some of a core's cache."""
        return (256, 2**20) if self.device.type == "cpu" else (2048, 2**28)

    @torch.no_grad()
    def score_all(self, users: Tensor) -> Tensor:
        """Return `(B, I)` scores, without any vector r.

        Plain formula: -||p + r - q||^2, r = c X, with a vector r of d numbers per user and item.
        Identity: ||p + cX - q||^2 = ||p - q||^2 + 2 c.(Xp - Xq) + c (X X^T) c^T.
        What disappears: (B, I, d); a block of V items holds (R, b, V) for some b users.
        Caveat: the expansion cancels, to some 1e-6 in float32; `tests/test_models.py` shows it.
        """
        return torch.cat(
            [self._score_all(group) for group in users.split(self._rows_within(self.user_floats))]
        )

    def _score_all(self, users: Tensor) -> Tensor:
        ranking = self.ranking(users)
        scores = ranking.user_e.new_empty(len(users), self.n_items)
        per_item, per_user, per_pair = self.ranking_floats(ranking)
        most_items, floats = self.block_size
        width = min(self._rows_within(per_item + per_pair), most_items, self.n_items)
        count = self._rows_within(per_user + per_pair * width)
        count = max(min(count, floats // (per_pair * width)), 1)
        for items in windows(self.n_items, width):
            item_e = self.item_embedding.weight[items]  # (V, d)
            mixture = self.block_mixture(ranking, items)
            for rows in windows(len(users), count):
                scores[rows, items] = -self._moved_distances(
                    ranking.user_e[rows], item_e, mixture(rows), self.readout(ranking, rows)
                )
        return scores


def windows(total: int, size: int) -> Iterator[slice]:
    """Yield slices that cover `total` places, all of one size, the last one overlapping: one compilation."""
    for start in range(0, total, size):
        yield slice(max(min(start, total - size), 0), min(start + size, total))


class MemoryRecommender(MixtureRecommender):
    """r(u, v) = c(u, v) M: the rows that are mixed are the memories of Eqs. 2-4."""

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__(config, dataset)
        self.share_negative_relation = config["share_negative_relation"]
        self.clip_memories = config["clip_memories"]
        self.max_memory_norm = config["max_memory_norm"]
        self.num_memories = config["num_memories"]
        self.memory = RelationMemory(self.num_memories, config["embedding_size"], config["initial_key_norm"])

    @abstractmethod
    def mixture(self, pairs: Pairs) -> Tensor:
        """Return the slot weights c(u, v) `(B, C, R)`."""

    def memories(self) -> list[RelationMemory]:
        """Return the memories whose slots are mixed, in the order of the mixture's slots."""
        return [self.memory]

    def translation(self, pairs: Pairs) -> Tensor:
        """Return r(u, v) = c(u, v) M, `(B, C, d)`."""
        return self.mixture(pairs) @ self._rows()

    def readout(self, ranking: Ranking, rows: slice) -> Tensor:
        """Return M `(R, d)`."""
        return self._rows()

    def _rows(self) -> Tensor:
        first, *others = (memory.memories for memory in self.memories())
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
            if self.max_memory_norm is not None:
                clip_norms(memory.memories, self.max_memory_norm, dim=1)

    @property
    def pair_floats(self) -> int:
        """Floats that scoring one pair holds at once."""
        size, slots = self.item_embedding.embedding_dim, self.num_memories
        width = self._scoring_width(self._eval_history) if self.attends_to_history else 0
        return 4 * size + slots * size + width * (size + 4 * slots)


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

    @cached_property
    def _attend_table(self) -> Callable[..., tuple[Tensor, Tensor | None]]:
        return self._compiled(attend_table)

    @property
    def ranking_flops(self) -> int:
        """Floating-point operations per user and item of a ranking, roughly."""
        return 4 * self.max_history * self.num_memories

    @property
    def pair_flops(self) -> int:
        """Floating-point operations of one pair's distance, roughly."""
        return 2 * self.max_history * self.num_memories * self.item_embedding.embedding_dim

    def user_attention(self, pairs: Pairs) -> Tensor:
        """Return the mixture `(B, C, R)` of the user attention (Eqs. 5-6)."""
        history_e, mask = pairs.listed()  # (B, H, d), (B, H)
        slots = self.memory.slots(pairs.item_e, history_e)  # (B, C, N, H)
        query = (pairs.user_e @ self.memory.memories.T).unsqueeze(1)  # (B, 1, N)
        mask = mask.unsqueeze(1)  # (B, 1, H)
        if not self.attend_user:
            return attend(slots, query, mask, self.attention_smoothing)[0]
        memory = self.direct_memory or self.memory
        own = memory.pair_slots(pairs.item_e, pairs.user_e.unsqueeze(1))  # (B, C, N)
        own_query = (pairs.user_e @ memory.memories.T).unsqueeze(1)  # (B, 1, N)
        return self._joined(*attend(slots, query, mask, self.attention_smoothing, (own, own_query)), dim=2)

    def user_attention_of_block(self, ranking: Ranking, items: slice) -> BlockMixture:
        """Return what gives the same `(R, b, V)` for a block of items.

        Identity: the slot weights w_(v,j) of an item pair do not depend on the user.
        What disappears: (B, I, H, d) relations; one table (J, N, V) serves all users of the block.
        """
        user_e, (known_e, positions, mask) = ranking.user_e, ranking.histories()
        item_e = self.item_embedding.weight[items]  # (V, d)
        table = self.memory.slots(known_e, item_e)  # (J, N, V)

        def mixture(rows: slice) -> Tensor:
            query = self.memory.queries(user_e[rows]).unsqueeze(2)  # (N, b, 1)
            listed = (table, positions[rows], query, mask[rows], self.attention_smoothing)
            if not self.attend_user:
                return self._attend_table(*listed)[0]
            memory = self.direct_memory or self.memory
            own = memory.slots(user_e[rows], item_e).transpose(0, 1)  # (N, b, V)
            own_query = memory.queries(user_e[rows]).unsqueeze(2)  # (N, b, 1)
            return self._joined(*self._attend_table(*listed, (own, own_query)), dim=0)

        return mixture

    @property
    def block_size(self) -> tuple[int, int]:
        """Compiled on a CPU, no slot weights are written, and a table of few items stays in the cache."""
        fused = isinstance(self._attend_table, Compiled) and self.device.type == "cpu"
        return (32, 2**23) if fused else super().block_size

    def _joined(self, listed: Tensor, own: Tensor | None, dim: int) -> Tensor:
        assert own is not None
        return listed + own if self.direct_memory is None else torch.cat([listed, own], dim=dim)

    def ranking_floats(self, ranking: Ranking) -> tuple[int, int, int]:
        """Return the floats per item of a block, per user, and per user and item."""
        known_e, positions, _ = ranking.histories()
        return 3 * self.num_memories * len(known_e), 0, self.num_memories * (2 * positions.shape[1] + 6)
