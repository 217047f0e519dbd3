"""Users and the items that they are held against, in the two layouts of a model's one formula.

`Listed` items are each user's own, `(B, C)`: training triplets, single pairs. `Shared` items are the same for
all users, `(V,)`: blocks of the catalogue. What depends on a pair is laid out as suits the matrix products:

| | `Listed` | `Shared` |
|---|---|---|
| distances | (B, C) | (B, V) |
| slot weights of a pair's own relation, mixtures over memories | (B, C, N) | (N, B, V) |
| mixtures over a user's own rows | (B, C, H) | (B, H, V) |

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), whose letters `model/base.py` explains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor

from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.model.attention import Hidden, attend_table_trained, columns_of
from recbole_hlr.model.distance import moved_distances, squared_distances
from recbole_hlr.model.relation import (
    RelationMemory,
    attend,
    attend_block,
    attend_table,
    attention_weights,
    rows_of,
)

Own = tuple[Tensor, Tensor]  # the slot weights of one more relation, and its query


class Audience(NamedTuple):
    """The users of items: `members` and `mask (V, A)` with distinct `known_e (J, d)` and `positions (V, A)`.

    Of `Listed` items the vectors are those of each pair, `known_e (B, C A, d)`, and there are no positions.
    `others` says that the users who are held against the items are none of them, whatever their numbers.
    """

    members: Tensor
    mask: Tensor
    known_e: Tensor
    positions: Tensor | None = None
    others: bool = False


class Kernels(NamedTuple):
    """The three sums over blocks of items, which may be compiled."""

    attend_table: Callable[..., tuple[Tensor, Tensor | None]] = attend_table
    attend_block: Callable[..., tuple[Tensor, Tensor | None]] = attend_block
    moved_distances: Callable[..., Tensor] = moved_distances


@dataclass
class Users:
    """A batch of users and what they attend to.

    `ids (B,)`, `e (B, d)` and, of a model with a history, `history (B, H)` with its vectors: `known_e (J, d)`
    of distinct items and `positions (B, H)` among them, or `known_e (B, H, d)` without positions.
    """

    ids: Tensor
    e: Tensor
    total: int  # ids that there are
    history: HistoryBatch | None = None
    known_e: Tensor | None = None
    positions: Tensor | None = None
    mean: Tensor | None = None  # (B, d) of the vectors of a neighbourhood
    own_slots: Tensor | None = None  # (B, N, H) slot weights of rel(p_u, q_j), where they are known already
    without_target: bool = False  # a shared item is not attended to where it is the one held against

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, rows: slice | Tensor) -> Users:
        """Return some of the users; distinct items stay those of all."""
        names = ["ids", "e", "mean", "own_slots", "known_e" if self.positions is None else "positions"]
        some = {name: value[rows] for name in names if (value := getattr(self, name)) is not None}
        if self.history is not None:
            some["history"] = HistoryBatch(self.history.items[rows], self.history.mask[rows])
        return replace(self, **some)

    @property
    def known(self) -> int:
        """How many rows `known_e` has."""
        return 0 if self.known_e is None else len(self.known_e)

    def history_e(self) -> Tensor:
        """Return the vectors of the history, `(B, H, d)`."""
        assert self.known_e is not None
        return self.known_e if self.positions is None else rows_of(self.known_e, self.positions)

    def slots(self, memory: RelationMemory) -> Tensor:
        """Return the slot weights of rel(p_u, q_j), `(B, N, H)`: they do not depend on any candidate."""
        if self.own_slots is not None:
            return self.own_slots
        return memory.slots(self.e.unsqueeze(1), self.history_e()).squeeze(dim=1)


@dataclass
class Listed:
    """Items of each user its own: `ids (B, C)`, `e (B, C, d)`."""

    ids: Tensor
    e: Tensor
    mean: Tensor | None = None  # (B, C, d) of the vectors of a neighbourhood
    audience: Audience | None = None  # with `members` and `mask (B, C, A)`, `known_e (B, C A, d)`
    slot_dim = 2

    def first(self) -> Listed:
        """Return the items of column 0 alone."""
        mean = None if self.mean is None else self.mean[:, :1]
        audience = None
        if self.audience is not None:
            members, mask, known_e, *_ = self.audience
            audience = Audience(members[:, :1], mask[:, :1], known_e[:, : members.shape[2]])
        return Listed(self.ids[:, :1], self.e[:, :1], mean, audience)

    def squared(self, user_e: Tensor) -> Tensor:
        """Return ||p - q||^2 `(B, C)` of `user_e (B, d)`, or `(B, C, d)` where each pair has its own."""
        return ((user_e if user_e.dim() == 3 else user_e.unsqueeze(1)) - self.e).square().sum(dim=-1)

    def moved(self, user_e: Tensor, mixture: Tensor, rows: Tensor) -> Tensor:
        """Return ||p + c X - q||^2 `(B, C)` of mixtures c of the `rows` X, `(R, d)` or `(B, R, d)`."""
        return self.squared(user_e.unsqueeze(1) + mixture @ rows)

    def stretched(self, user_e: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return ||p + a * b - q||^2 `(B, C)` of `a (B, d)`, one of each user, and `b (B, C, d)`."""
        return self.squared(user_e.unsqueeze(1) + a.unsqueeze(1) * b)

    def relation(self, memory: RelationMemory, users: Users) -> Tensor:
        """Return the slot weights of rel(q_v, p_u)."""
        return memory.pair_slots(self.e, users.e.unsqueeze(1))

    def relations(self, memory: RelationMemory, users: Users) -> Tensor:
        """Return the slot weights of rel(q_v, q_j) over the history, for `attend`: `(B, C, N, H)`."""
        return memory.slots(self.e, users.history_e())

    def users_query(self, memory: RelationMemory, users: Users) -> Tensor:
        """Return M p_u, for `attend`: `(B, 1, N)`."""
        return (users.e @ memory.values.T).unsqueeze(1)

    def query(self, memory: RelationMemory) -> Tensor:
        """Return M q_v, for `attend`: `(B, C, N)`."""
        return self.e @ memory.values.T

    def attend(
        self, slots: Tensor, query: Tensor, users: Users, smoothing: float, own: Own | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the mixtures of the attention over `slots` of a history, and that of `own` (Eqs. 5-6)."""
        return attend(slots, query, self.mask(users), smoothing, own)

    attend_own = attend  # over slots (B, N, H) of users, which all items share

    def attend_audience(
        self, memory: RelationMemory, users: Users, smoothing: float, own: Own | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the same over rel(p_u, p_h), h among the users of each item, with the query q_v."""
        assert self.audience is not None
        mask = self.audience.mask  # (B, C, A)
        slots = memory.slots(users.e.unsqueeze(1), self.audience.known_e).squeeze(dim=1)  # (B, N, C A)
        slots = slots.unflatten(2, mask.shape[1:]).transpose(1, 2)  # (B, C, N, A)
        return attend(slots, self.query(memory), mask, smoothing, own)

    def attention(self, users: Users, smoothing: float) -> Tensor:
        """Return softmax_j(q_j . q_v) over the history: `(B, C, H)`."""
        logits = self.e @ users.history_e().transpose(1, 2)  # (B, C, H)
        return attention_weights(without(logits, ~self.mask(users)), smoothing, dim=2)

    def mask(self, users: Users) -> Tensor:
        """Return which entries of histories take part: `(B, 1, H)`, `(B, C, H)` where targets do not."""
        assert users.history is not None
        mask = users.history.mask.unsqueeze(1)
        return (
            mask & (users.history.items.unsqueeze(1) != self.ids.unsqueeze(2))
            if users.without_target
            else mask
        )


@dataclass
class Shared:
    """Items that are the same for all users: `ids (V,)`, `e (V, d)`.

    Identity: the slot weights w_(v,j) of an item pair do not depend on the user.
    What disappears: (B, V, H, d) relations; one table (J, N, V) serves all users of the block.
    """

    ids: Tensor
    e: Tensor
    total: int  # ids that there are
    mean: Tensor | None = None  # (V, d) of the vectors of a neighbourhood
    audience: Audience | None = None
    kernels: Kernels = field(default_factory=Kernels)
    tables: dict[RelationMemory | None, Tensor] = field(default_factory=dict)
    slot_dim = 0

    def listed(self, count: int) -> Listed:
        """Return the same items for each of `count` users: `(B, V, d)`, without a copy."""
        return Listed(self.ids.expand(count, -1), self.e.expand(count, -1, -1))

    def first(self) -> Shared:
        """Return the same items: shared ones have no column of positives."""
        return self

    def squared(self, user_e: Tensor) -> Tensor:
        """Return ||p - q||^2 `(B, V)` of `user_e (B, d)`."""
        return squared_distances(user_e, self.e)

    def moved(self, user_e: Tensor, mixture: Tensor, rows: Tensor) -> Tensor:
        """Return ||p + c X - q||^2 `(B, V)`, without any vector r.

        Identity: ||p + cX - q||^2 = ||p - q||^2 + 2 c.(Xp - Xq) + c (X X^T) c^T.
        What disappears: (B, V, d). Caveat: the expansion cancels, to some 1e-6 in float32.
        """
        return self.kernels.moved_distances(user_e, self.e, mixture, rows)

    def stretched(self, user_e: Tensor, a: Tensor, b: Tensor) -> Tensor:
        """Return ||p + a * b - q||^2 `(B, V)` of `a (B, d)` and `b (V, d)`.

        Identity: ||p + a b - q||^2 = ||p - q||^2 + 2 (p a).b - 2 a.(b q) + (a a).(b b), products of
        vectors elementwise. What disappears: (B, V, d). Caveat: as in `moved`.
        """
        cross = (user_e * a) @ b.T - a @ (b * self.e).T  # (B, V)
        return self.squared(user_e) + 2 * cross + a.square() @ b.square().T

    def relation(self, memory: RelationMemory, users: Users) -> Tensor:
        """Return the slot weights of rel(q_v, p_u); (B N, d) keyed users replace (B, V, d)."""
        return memory.slots(users.e, self.e).transpose(0, 1)

    def relations(self, memory: RelationMemory, users: Users) -> Tensor:
        """Return the slot weights of rel(q_j, q_v) of the items in any history, for `attend`: `(J, N, V)`."""
        if memory not in self.tables:
            assert users.known_e is not None
            self.tables[memory] = memory.slots(users.known_e, self.e)
        return self.tables[memory]

    def users_query(self, memory: RelationMemory, users: Users) -> Tensor:
        """Return M p_u, for `attend`: `(N, B, 1)`."""
        return memory.queries(users.e).unsqueeze(2)

    def query(self, memory: RelationMemory) -> Tensor:
        """Return M q_v, for `attend`: `(N, 1, V)`."""
        return memory.queries(self.e).unsqueeze(1)

    def attend(
        self, slots: Tensor, query: Tensor, users: Users, smoothing: float, own: Own | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the mixtures of the attention over `slots` of `relations`, and that of `own` (Eqs. 5-6)."""
        assert users.positions is not None
        return self._attend_table(slots, users.positions, query, self.hidden(users), smoothing, own)

    def _attend_table(
        self,
        table: Tensor,
        positions: Tensor,
        query: Tensor,
        hidden: Hidden,
        smoothing: float,
        own: Own | None,
    ) -> tuple[Tensor, Tensor | None]:
        if torch.is_grad_enabled():
            return attend_table_trained(table, positions, query, hidden, smoothing, own)
        return self.kernels.attend_table(table, positions, query, hidden.of(table.shape[2]), smoothing, own)

    def attend_own(
        self, slots: Tensor, query: Tensor, users: Users, smoothing: float, own: Own | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the same over `slots (B, N, H)` of users, which all items share."""
        slots = slots.transpose(1, 2).unsqueeze(3)  # (B, H, N, 1)
        return self.kernels.attend_block(slots, query, self.hidden(users).of(len(self.ids)), smoothing, own)

    def attend_audience(
        self, memory: RelationMemory, users: Users, smoothing: float, own: Own | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return the same over rel(p_u, p_h), h among the users of each item: users and items exchanged."""
        assert self.audience is not None
        audience = self.audience
        table = memory.slots(audience.known_e, users.e)  # (J, N, B)
        columns = None
        if users.without_target and not audience.others:
            columns = columns_of(audience.members, users.ids, users.total)
        if own is not None:
            own = own[0].transpose(1, 2), own[1].transpose(1, 2)  # (N, V, B or 1)
        query = memory.queries(self.e).unsqueeze(2)  # (N, V, 1)
        hidden = Hidden(audience.mask, columns)
        assert audience.positions is not None
        found = self._attend_table(table, audience.positions, query, hidden, smoothing, own)
        return found[0].transpose(1, 2), None if found[1] is None else found[1].transpose(1, 2)

    def attention(self, users: Users, smoothing: float) -> Tensor:
        """Return softmax_j(q_j . q_v) over the history, `(B, H, V)`, from one table of item pairs."""
        assert users.known_e is not None
        if None not in self.tables:
            self.tables[None] = users.known_e @ self.e.T  # (J, V)
        assert users.positions is not None
        logits = rows_of(self.tables[None], users.positions)  # (B, H, V)
        return attention_weights(without(logits, self.hidden(users).of(len(self.ids))), smoothing, dim=1)

    def hidden(self, users: Users) -> Hidden:
        """Return which entries of histories take no part."""
        assert users.history is not None
        if not users.without_target:
            return Hidden(users.history.mask)
        return Hidden(users.history.mask, columns_of(users.history.items, self.ids, self.total))


Candidates = Listed | Shared


def without(logits: Tensor, hide: Tensor) -> Tensor:
    """Return logits that are -inf where they are to take no part."""
    return logits.masked_fill(hide, float("-inf"))


def windows(total: int, size: int) -> list[slice]:
    """Return slices that cover `total` places, all of one size, the last one overlapping: one compilation."""
    starts = range(0, total, size)
    return [slice(max(min(start, total - size), 0), min(start + size, total)) for start in starts]
