"""HLR++: hierarchical latent relations with user attention and item attention.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), section 3.3, Eq. 9.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cached_property

import torch
from torch import Tensor

from recbole_hlr.data.interactions import HistoryBatch, InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.model.base import Pairs
from recbole_hlr.model.mixture import BlockMixture, Ranking, UserAttentionRecommender
from recbole_hlr.model.relation import attend, attend_block
from recbole_hlr.options.plain import complete
from recbole_hlr.protocols import InteractionData, Options


@dataclasses.dataclass
class AudiencePairs(Pairs):
    """Pairs with the users of their items."""

    audience_e: Tensor  # (B, C, A, d)
    audience_mask: Tensor  # (B, C, A)

    def first(self) -> AudiencePairs:
        """Return the pairs of column 0 alone."""
        pairs = {**vars(self), **vars(super().first())}
        pairs["audience_e"], pairs["audience_mask"] = self.audience_e[:, :1], self.audience_mask[:, :1]
        return AudiencePairs(**pairs)


class HLRPP(UserAttentionRecommender):
    """r(u, v) = user attention (as HLR) + item attention, both read from one memory (Eq. 9).

    Item attention: sum_x beta_x rel(p_u, x), beta = softmax_x(q_v . rel(p_u, x)), where x runs over
    the items of u (`item_attention: history`, released code) or over the users p_h of v
    (`audience`, the paper's section 3.3). With `attend_target` q_v joins the attended set.

    Deviation: in training u is no member of its positive's audience, as the positive is none of its
    history. Over nothing an attention gives 0; the released code attends to padding there.
    """

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        complete(config, type(self))
        self.item_attention = config["item_attention"]
        self.attend_target = config["attend_target"]
        super().__init__(config, dataset)

    # --- the audience of an item: its users ------------------------------------------------------

    def attend_when_scoring(self, history: InteractionMatrix) -> None:
        """Let scoring attend to `history`, and to the audiences that follow from it."""
        super().attend_when_scoring(history)
        if self.item_attention == "audience":
            self._eval_audience = history.transposed(self.n_users)
            self._eval_audience.shuffle(
                generator_for(self.seed, Stream.SCORING_AUDIENCE), self.history_sampling
            )

    def start_epoch(self, epoch: int) -> None:
        """Draw the histories and audiences of `epoch` anew, from the seed and the epoch alone."""
        super().start_epoch(epoch)
        if self.item_attention == "audience":
            self._audience_generator = generator_for(self.seed, Stream.AUDIENCE, epoch)
            self.audience.shuffle(self._audience_generator, self.history_sampling)

    @cached_property
    def audience(self) -> InteractionMatrix:
        """The users of every item, in training."""
        return self.history.transposed(self.n_users)

    def audience_of(self, users: Tensor, items: Tensor) -> HistoryBatch:
        """Return the users of `items (B, C)` that `users (B,)` attend to, `(B C, A)`."""
        flat = items.flatten()  # (B C,)
        if not self.training:
            return self._eval_audience.draw(flat, self.eval_cap)
        offsets = None
        if self.history_sampling == "uniform":
            offsets = self.audience.offsets(flat, self._audience_generator)
        own = users.repeat_interleave(items.shape[1])  # (B C,)
        return self.audience.draw(flat, self.max_history, exclude=own, offsets=offsets)

    def pairs(self, users: Tensor, items: Tensor, history: HistoryBatch | None) -> Pairs:
        """Return pairs, with the audiences of their items where those are attended to."""
        pairs = super().pairs(users, items, history)
        if self.item_attention == "history":
            return pairs
        audience = self.audience_of(users, items)  # (B C, A)
        shape = (*items.shape, audience.items.shape[1])
        audience_e = self.user_embedding(audience.items.view(shape))  # (B, C, A, d)
        return AudiencePairs(**vars(pairs), audience_e=audience_e, audience_mask=audience.mask.view(shape))

    # --- the model -------------------------------------------------------------------------------

    def mixture(self, pairs: Pairs) -> Tensor:
        """Return user attention + item attention (Eq. 9) as slot weights `(B, C, N)`."""
        return self.user_attention(pairs) + self.item_attention_of(pairs)

    def item_attention_of(self, pairs: Pairs) -> Tensor:
        """Return the mixture `(B, C, N)` of the item attention."""
        own = None  # rel(p_u, q_v), (B, C, N)
        if self.attend_target:
            own = self.memory.pair_slots(pairs.item_e, pairs.user_e.unsqueeze(1))
        if not isinstance(pairs, AudiencePairs):
            return self._over_history(pairs.user_e, pairs.item_e, *pairs.listed(), own)
        audience_e = pairs.audience_e.flatten(1, 2)  # (B, C A, d)
        slots = self.memory.slots(pairs.user_e.unsqueeze(1), audience_e).squeeze(dim=1)  # (B, N, C A)
        slots = slots.unflatten(2, pairs.audience_mask.shape[1:]).transpose(1, 2)  # (B, C, N, A)
        query = pairs.item_e @ self.memory.memories.T  # (B, C, N)
        return self._attend(slots, query, pairs.audience_mask, own)

    def _over_history(
        self, user_e: Tensor, item_e: Tensor, history_e: Tensor, mask: Tensor, own: Tensor | None
    ) -> Tensor:
        """Return the mixture `(B, C, N)` of `user_e (B, d)`, `item_e (B or 1, C, d)`, `history_e (B, H, d)`.

        Identity: the slot weights of rel(p_u, q_j) do not depend on the target.
        What disappears: (B, C, N, H); (B, N, H) remains.
        """
        slots = self.memory.slots(user_e.unsqueeze(1), history_e).squeeze(dim=1)  # (B, N, H)
        query = item_e @ self.memory.memories.T  # (B or 1, C, N)
        return self._attend(slots, query, mask.unsqueeze(1), own)

    def _attend(self, slots: Tensor, query: Tensor, mask: Tensor, own: Tensor | None) -> Tensor:
        joins = None if own is None else (own, query)
        return _sum(*attend(slots, query, mask, self.attention_smoothing, joins))

    # --- all items -------------------------------------------------------------------------------

    def block_mixture(self, ranking: Ranking, items: slice) -> BlockMixture:
        """Return what gives user attention + item attention of a block of items."""
        user_attention = self.user_attention_of_block(ranking, items)
        kind = self._history_block if self.item_attention == "history" else self._audience_block
        item_attention = kind(ranking, items)
        return lambda rows: user_attention(rows) + item_attention(rows)

    @cached_property
    def _attend_block(self) -> Callable[..., tuple[Tensor, Tensor | None]]:
        return self._compiled(attend_block)

    def ranking(self, users: Tensor) -> Ranking:
        """Return the ranking of `users (B,)`; the slot weights of rel(p_u, q_j) serve all targets."""
        ranking = super().ranking(users)
        if self.item_attention == "audience":
            return ranking
        known_e, positions, _ = ranking.histories()
        chunk = self._rows_within(self._history_floats(positions.shape[1]))
        parts = [
            self.memory.slots(user_e.unsqueeze(1), known_e[at]).permute(0, 3, 2, 1)
            for user_e, at in zip(ranking.user_e.split(chunk), positions.split(chunk), strict=True)
        ]
        return ranking._replace(own_slots=torch.cat(parts))

    def _history_block(self, ranking: Ranking, items: slice) -> BlockMixture:
        slots, mask = ranking.own_slots, ranking.histories().mask
        assert slots is not None
        item_e = self.item_embedding.weight[items]  # (V, d)
        query = self.memory.queries(item_e).unsqueeze(1)  # (N, 1, V)

        def mixture(rows: slice) -> Tensor:
            own = None
            if self.attend_target:
                own = self.memory.slots(ranking.user_e[rows], item_e).transpose(0, 1), query  # (N, b, V)
            listed = (slots[rows], query, mask[rows], self.attention_smoothing, own)
            return _sum(*self._attend_block(*listed))

        return mixture

    def _audience_block(self, ranking: Ranking, items: slice) -> BlockMixture:
        """Item attention over audiences: that of `user_attention_of_block` with users and items exchanged."""
        item_e = self.item_embedding.weight[items]  # (V, d)
        audience = self._eval_audience.draw(
            torch.arange(items.start, items.stop, device=item_e.device), self.eval_cap
        )  # (V, A)
        known, positions = audience.items.unique(return_inverse=True)  # (J,), (V, A)
        known_e = self.user_embedding(known)  # (J, d)
        query = self.memory.queries(item_e).unsqueeze(2)  # (N, V, 1)

        def mixture(rows: slice) -> Tensor:
            user_e = ranking.user_e[rows]
            table = self.memory.slots(known_e, user_e)  # (J, N, b)
            own = None
            if self.attend_target:
                own = self.memory.slots(item_e, user_e).transpose(0, 1), query  # (N, V, b)
            listed = (table, positions, query, audience.mask, self.attention_smoothing, own)
            return _sum(*self._attend_table(*listed)).transpose(1, 2)  # (N, b, V)

        return mixture

    @property
    def user_floats(self) -> int:
        """Floats that ranking holds for each of its users at once, their scores apart."""
        over_history = self.item_attention == "history"
        width = self._scoring_width(self._eval_history)
        return super().user_floats + over_history * self.num_memories * width

    def ranking_floats(self, ranking: Ranking) -> tuple[int, int, int]:
        """Return the floats per item of a block, per user, and per user and item."""
        per_item, per_user, per_pair = super().ranking_floats(ranking)
        if self.item_attention == "history":
            return per_item, per_user, per_pair + 4 * ranking.histories().positions.shape[1]
        width = self._scoring_width(self._eval_audience)
        per_user += 3 * self.num_memories * self.n_users
        return per_item, per_user, max(per_pair, self.num_memories * (2 * width + 6))

    def _history_floats(self, width: int) -> int:
        return width * (self.item_embedding.embedding_dim + 2 * self.num_memories)

    @property
    def rows_read(self) -> tuple[int, int] | None:
        """Rows of the users' and of the items' table that a positive reads at most."""
        candidates, audience = 1 + self.num_negatives, self.item_attention == "audience"
        return 1 + audience * candidates * self.max_history, candidates + self.max_history

    @property
    def pair_floats(self) -> int:
        """Floats that scoring one pair holds at once."""
        over_history = self.item_attention == "history"
        width = self._scoring_width(self._eval_history if over_history else self._eval_audience)
        return super().pair_floats + self._history_floats(width)


def _sum(listed: Tensor, direct: Tensor | None) -> Tensor:
    return listed if direct is None else listed + direct
