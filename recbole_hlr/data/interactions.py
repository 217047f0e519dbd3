"""The training interactions of every user, as the relation models attend to them.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230): I_u, the items of user u, is `items[indptr[u]:indptr[u + 1]]` of the matrix.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from recbole_hlr.protocols import InteractionData

Sampling = Literal["uniform", "inverse_popularity"]
HELD_OUT = "held_out"  # a column of a batch: which of a user's interactions are validated on
DISLIKED = "disliked"  # a column of a batch: which of its pairs are no interactions, but dislikes


class HistoryBatch(NamedTuple):
    """Histories of a batch of users: `items (B, H)` item ids and `mask (B, H)`, True where real."""

    items: Tensor
    mask: Tensor


class InteractionMatrix:
    """Training interactions as compressed sparse rows, from which bounded histories are drawn.

    `indptr (U + 1,)` and `items (nnz,)` are int64; the items of a row are distinct and ascending.
    `order (nnz,)` holds the same rows in the order in which a capped history takes them.
    """

    def __init__(self, indptr: Tensor, items: Tensor, num_items: int) -> None:
        self.indptr = indptr
        self.items = items
        self.order = items
        self.num_items = num_items
        self.lengths = indptr.diff()  # (U,)
        self.longest = int(self.lengths.max()) if len(self.lengths) else 0

    @classmethod
    def from_pairs(cls, users: Tensor, items: Tensor, num_users: int, num_items: int) -> InteractionMatrix:
        """Build from interaction pairs `users (nnz,)`, `items (nnz,)`; duplicates count once."""
        pairs = torch.unique(users.long() * num_items + items.long())  # (nnz,) sorted
        counts = torch.bincount(pairs // num_items, minlength=num_users)  # (U,)
        indptr = torch.zeros(num_users + 1, dtype=torch.int64, device=pairs.device)
        torch.cumsum(counts, dim=0, out=indptr[1:])
        return cls(indptr, pairs % num_items, num_items)

    @classmethod
    def of(cls, *parts: InteractionData) -> InteractionMatrix:
        """Build from the interactions of one built data set, or of several parts of one."""
        fields = parts[0].uid_field, parts[0].iid_field
        users, items = (torch.cat([part.inter_feat[field] for part in parts]) for field in fields)
        return cls.from_pairs(users, items, parts[0].user_num, parts[0].item_num)

    @property
    def num_users(self) -> int:
        """Users, padding included."""
        return len(self.indptr) - 1

    def users(self) -> Tensor:
        """Return the user of every stored interaction, `(nnz,)`."""
        rows = torch.arange(self.num_users, device=self.items.device)
        return torch.repeat_interleave(rows, self.lengths)

    def to(self, device: torch.device) -> InteractionMatrix:
        """Return the same history on another device."""
        moved = InteractionMatrix(self.indptr.to(device), self.items.to(device), self.num_items)
        moved.order = self.order.to(device)
        return moved

    def transposed(self, num_users: int) -> InteractionMatrix:
        """Return the same interactions by item: rows are items, and what they list are users."""
        return InteractionMatrix.from_pairs(self.items, self.users(), self.num_items, num_users)

    def keys(self) -> Tensor:
        """Return one number per interaction, `(nnz,)`, ascending: user * num_items + item."""
        return self.users() * self.num_items + self.items

    def joined(self, other: InteractionMatrix) -> InteractionMatrix:
        """Return these interactions and those of `other`, of the same users and items."""
        keys = torch.cat([self.keys(), other.keys()])
        return InteractionMatrix.from_pairs(
            keys // self.num_items, keys % self.num_items, self.num_users, self.num_items
        )

    def without(self, other: InteractionMatrix) -> InteractionMatrix:
        """Return the interactions that `other`, of the same users and items, does not have."""
        left = self.keys()  # (nnz,)
        left = left[~torch.isin(left, other.keys(), assume_unique=True)]
        return InteractionMatrix.from_pairs(
            left // self.num_items, left % self.num_items, self.num_users, self.num_items
        )

    def offsets(self, users: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random place `(B,)` in the row of each user, for `draw` to start from."""
        chance = torch.rand(len(users), generator=generator, dtype=torch.float64)
        return (chance.to(users.device) * self.lengths[users]).long()

    def flat(self, users: Tensor) -> tuple[Tensor, Tensor]:
        """Return whole rows one after the other, `(total,)`, and where each begins, `(B,)`."""
        lengths = self.lengths[users]  # (B,)
        starts = lengths.cumsum(dim=0) - lengths  # (B,)
        total = int(lengths.sum())
        index = torch.arange(total, device=users.device)
        index += torch.repeat_interleave(self.indptr[users] - starts, lengths, output_size=total)
        return self.items[index], starts

    def shuffle(self, generator: torch.Generator, sampling: Sampling = "uniform") -> None:
        """Put every row into a new random order, `uniform` or by weighted draws without replacement.

        With weights 1 / popularity the order is that of an exponential race: position k holds the
        k-th of successive draws without replacement (Efraimidis and Spirakis, 2006).
        """
        keys = torch.rand(len(self.items), generator=generator, device=generator.device)
        self._order_by(keys, sampling, self.items)

    def order_alike(self, generator: torch.Generator, sampling: Sampling, others: Tensor) -> None:
        """Put every row into the order of one draw of all items: it follows from the row's items alone.

        `others (m,)` are the interactions that tell how popular items are.
        """
        keys = torch.rand(self.num_items, generator=generator, device=generator.device)
        self._order_by(keys[self.items.cpu()], sampling, others)

    def _order_by(self, keys: Tensor, sampling: Sampling, popular: Tensor) -> None:
        keys = keys.to(self.items.device, torch.float64)
        if sampling == "inverse_popularity":
            popularity = torch.bincount(popular, minlength=self.num_items)  # (I,)
            keys = -torch.log1p(-keys) * popularity[self.items]
        by_key = torch.argsort(keys, stable=True)
        by_row = torch.argsort(self.users()[by_key], stable=True)
        self.order = self.items[by_key[by_row]]

    def draw(
        self,
        users: Tensor,
        cap: int | None,
        exclude: Tensor | None = None,
        offsets: Tensor | None = None,
    ) -> HistoryBatch:
        """Return at most `cap` distinct items of each user, `exclude (B,)` never among them.

        Takes the row in `order`, from `offsets (B,)` on and around its end; without a cap the
        whole row. A uniformly random order makes any such window a uniform draw without replacement.
        """
        lengths = self.lengths[users]  # (B,)
        if cap is None:
            width = int(lengths.max()) if len(users) else 0
        else:  # the same for every batch: nothing is read back from the device, nothing compiled anew
            width = min(self.longest, cap if exclude is None else cap + 1)
        step = torch.arange(width, device=users.device)  # (W,)
        mask = step < lengths[:, None]  # (B, W)
        position = step if offsets is None else step + offsets[:, None]
        position = position % lengths.clamp(min=1)[:, None]  # (B, W)
        index = (self.indptr[users][:, None] + position) * mask
        items = self.order[index] * mask if len(self.order) else index  # (B, W), 0 where padded
        if exclude is not None:
            mask = mask & (items != exclude[:, None])
            if cap is not None:
                mask = mask & (mask.cumsum(dim=1) <= cap)
            items = items * mask
        return HistoryBatch(items, mask)
