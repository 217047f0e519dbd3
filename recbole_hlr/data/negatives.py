"""Items that a user has not seen, drawn to train on and to rank."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_hlr.data.interactions import InteractionMatrix

_BLOCK = 2**22  # users times items whose chances are drawn at once; what is drawn depends on it


class NegativeSampler:
    """Draws uniformly from the items that a user has not `seen`, again as long as it has.

    Every user must leave at least one item unseen.
    """

    def __init__(self, seen: InteractionMatrix) -> None:
        self.num_items = seen.num_items
        self._seen = seen.keys()  # (nnz,) ascending

    def draw(self, users: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Return `(B, count)` items that `users (B,)` have not seen, uniform and independent."""
        rows = users.repeat_interleave(count)  # (B * count,)
        negatives = self._draw(len(rows), generator)
        wrong = self._is_seen(rows, negatives).nonzero().squeeze(dim=1)
        while len(wrong):
            again = self._draw(len(wrong), generator)
            negatives[wrong] = again
            wrong = wrong[self._is_seen(rows[wrong], again)]
        return negatives.view(len(users), count)

    def _draw(self, count: int, generator: torch.Generator) -> Tensor:
        return torch.randint(1, self.num_items, (count,), generator=generator, device=self._seen.device)

    def _is_seen(self, users: Tensor, items: Tensor) -> Tensor:
        pairs = users * self.num_items + items
        at = torch.searchsorted(self._seen, pairs).clamp(max=len(self._seen) - 1)
        return self._seen[at] == pairs


def mix_in(
    negatives: Tensor, users: Tensor, disliked: InteractionMatrix, share: float, generator: torch.Generator
) -> Tensor:
    """Return `negatives (B, K)`, each with the chance `share` one of what its user `(B,)` dislikes instead.

    These are drawn with repetition; a user who dislikes nothing keeps all.
    """
    place, chance = torch.rand(2, *negatives.shape, generator=generator, device=negatives.device)  # (B, K)
    lengths = disliked.lengths[users].unsqueeze(1)  # (B, 1)
    taken = (chance < share) & (lengths > 0)  # (B, K)
    step = (place.double() * lengths).long()  # (B, K)
    index = (disliked.indptr[users].unsqueeze(1) + step) * taken  # 0 where none is taken
    return torch.where(taken, disliked.items[index], negatives)


def draw_candidates(
    seen: InteractionMatrix, asked: Tensor, weights: Tensor | None, generator: torch.Generator
) -> InteractionMatrix:
    """Return at most `asked (U,)` items of every user, none of them `seen`, drawn without repetition.

    The order of an exponential race is that of successive draws in proportion to `weights (I,)`, or of
    uniform ones (Efraimidis and Spirakis, 2006). Where nothing is left that has a weight, they end.
    """
    found = [asked.new_empty(0)]
    for users in asked.nonzero().squeeze(dim=1).split(max(_BLOCK // seen.num_items, 1)):
        race = torch.rand(len(users), seen.num_items, generator=generator, dtype=torch.float64)  # (B, I)
        if weights is not None:
            race = race.neg_().log1p_().neg_().div_(weights)
            race[:, weights == 0] = torch.inf
        race[:, 0] = torch.inf  # padding
        items, _ = seen.flat(users)
        race[torch.arange(len(users)).repeat_interleave(seen.lengths[users]), items] = torch.inf
        first = race.topk(min(int(asked[users].max()), seen.num_items), dim=1, largest=False)  # (B, W)
        places = torch.arange(first.values.shape[1])  # (W,)
        rows, places = ((places < asked[users, None]) & first.values.isfinite()).nonzero(as_tuple=True)
        found.append(users[rows] * seen.num_items + first.indices[rows, places])
    pairs = torch.cat(found)
    return InteractionMatrix.from_pairs(
        pairs // seen.num_items, pairs % seen.num_items, seen.num_users, seen.num_items
    )
