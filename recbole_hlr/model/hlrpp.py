"""HLR++: hierarchical latent relations with user attention and item attention.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), section 3.3, Eq. 9.
"""

from __future__ import annotations

from functools import cached_property
from typing import cast

from torch import Tensor, nn

from recbole_hlr.data.interactions import HistoryBatch, InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.candidates import Audience, Candidates, Listed, Shared, Users
from recbole_hlr.model.memory import UserAttentionRecommender
from recbole_hlr.model.work import Work
from recbole_hlr.options.plain import complete
from recbole_hlr.protocols import InteractionData, Options


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
        self._trained: tuple[nn.Embedding, ...] = ()  # the table of other users, whom audiences consist of
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

    def of_others(self, history: InteractionMatrix) -> MetricRecommender:
        """Return this model for other users; the audiences are those of the training."""
        other = cast(HLRPP, super().of_others(history))
        other._trained = (self.members,)
        return other

    @property
    def members(self) -> nn.Embedding:
        """The table of those whom audiences consist of."""
        return self._trained[0] if self._trained else self.user_embedding

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
        if self.objective.pairs is None:  # the lists that shared items have
            members, mask = self.audience.draw(flat, self.max_history)
            return HistoryBatch(members, mask & (members != own.unsqueeze(1)))
        return self.audience.draw(flat, self.max_history, exclude=own, offsets=offsets)

    def listed(self, users: Tensor, items: Tensor) -> Listed:
        """Return items with the audiences that are attended to."""
        listed = super().listed(users, items)
        if self.item_attention == "audience":
            members, mask = (part.view(*items.shape, -1) for part in self.audience_of(users, items))
            listed.audience = Audience(members, mask, self.embedded(self.members, members.flatten(1)))
        return listed

    def shared(self, items: slice | Tensor) -> Shared:
        """Return a block of the catalogue with the audiences that are attended to."""
        shared = super().shared(items)
        if self.item_attention == "audience":
            lists = self.audience if self.training else self._eval_audience
            cap = self.max_history if self.training else self.eval_cap
            audience = lists.draw(shared.ids, cap)  # (V, A)
            known, positions = audience.items.unique(return_inverse=True)  # (J,), (V, A)
            known_e = self.embedded(self.members, known)
            shared.audience = Audience(*audience, known_e, positions, others=bool(self._trained))
        return shared

    def ranked(self, users: Tensor) -> Users:
        """Return users for whom all items are ranked; their slots of rel(p_u, q_j) serve all of these."""
        ranked = super().ranked(users)
        if self.item_attention == "history":
            ranked.own_slots = ranked.slots(self.memory)
        return ranked

    # --- the model -------------------------------------------------------------------------------

    def mixture(self, users: Users, items: Candidates) -> Tensor:
        """Return user attention + item attention (Eq. 9) as slot weights."""
        return self.user_attention(users, items) + self.item_attention_of(users, items)

    def item_attention_of(self, users: Users, items: Candidates) -> Tensor:
        """Return the mixture of the item attention."""
        query, own = items.query(self.memory), None
        if self.attend_target:
            own = items.relation(self.memory, users), query
        if self.item_attention == "audience":
            listed, direct = items.attend_audience(self.memory, users, self.attention_smoothing, own)
        else:  # slot weights that do not depend on the target: (B, N, H) in place of (B, C, N, H)
            slots = users.slots(self.memory)
            listed, direct = items.attend_own(slots, query, users, self.attention_smoothing, own)
        return listed if direct is None else listed + direct

    @property
    def work(self) -> Work:
        """The sizes that the cost of a distance follows from."""
        width, members = self._scoring_width(self._eval_history), 0
        if self.item_attention == "audience":
            width, members = max(width, self._scoring_width(self._eval_audience)), self.n_users
        return super().work._replace(H=width, attentions=2, audience=members)

    @property
    def rows_read(self) -> tuple[int | None, int | None]:
        """Rows of the users' and of the items' table that one of a batch reads at most."""
        candidates, audience = self.objective.pairs, self.item_attention == "audience"
        if candidates is None:
            return None if audience else 1, None
        return 1 + audience * candidates * self.max_history, candidates + self.max_history
