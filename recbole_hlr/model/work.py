"""What a distance costs, derived once from the sizes of a model: floats held, operations done."""

from __future__ import annotations

from typing import NamedTuple


class Work(NamedTuple):
    """The sizes that the cost of a distance follows from; letters as in `model/base.py`."""

    d: int
    N: int = 0  # memory slots, of all memories
    H: int = 0  # history items, or users of an item, attended to at most
    attentions: int = 0  # over a history or an audience
    own_rows: bool = False  # the mixed rows are each user's own (H, d), not the memories
    audience: int = 0  # users that items are attended to through, if they are

    @property
    def mixed(self) -> int:
        """Numbers of one relation in an attention: its slots, or the one dot product."""
        return max(self.N, 1)

    @property
    def mixes(self) -> bool:
        """Whether a distance has a mixture: of memories, or of a user's own rows."""
        return bool(self.N or self.attentions)

    @property
    def pair_floats(self) -> int:
        """Floats that the distance of one listed pair holds at once."""
        return 4 * self.d + self.N * self.d + self.attentions * self.H * (self.d + 4 * self.mixed)

    @property
    def pair_flops(self) -> int:
        """Floating-point operations of one listed pair, roughly."""
        return 4 * self.d + 2 * self.d * self.N + 2 * self.attentions * self.H * self.d * max(self.N, 2)

    @property
    def user_floats(self) -> int:
        """Floats that are held for each user of a ranking, its scores apart."""
        both = self.attentions == 2 and not self.audience  # slot weights of a user's own relations are kept
        return self.H * (3 + both * (self.d + 2 * self.N)) if self.attentions else 0

    @property
    def block_flops(self) -> int:
        """Floating-point operations of one user and one item of a block, whose tables are there, roughly."""
        rows = 2 * self.H * self.d if self.own_rows else 0
        return 2 * self.d + 4 * self.mixed * (self.attentions * self.H + bool(self.N)) + rows

    def block_floats(self, known: int) -> tuple[int, int, int]:
        """Return a block's floats per item, per user, and per user and item; `known` rows are attended to."""
        per_item = 2 * self.d + self.attentions * 3 * self.mixed * known
        per_user = self.N * self.d + 3 * self.N * self.audience
        if self.own_rows:
            per_user += self.H * (2 * self.d + self.H)
        return per_item, per_user, 6 * self.mixed + self.attentions * self.H * max(2 * self.N, 6)

    def trained_floats(self, known: int) -> tuple[int, int]:
        """Return a block's floats per item, and per user and item, with all that its gradient is made of."""
        per_item = 4 * self.d + 6 * self.attentions * self.mixed * known
        over_lists = self.own_rows or self.attentions == 2  # weights of whole lists are kept
        return per_item, 8 * self.mixed + 8 + over_lists * 8 * self.H
