"""Candidates that stand for a catalogue: items drawn for a whole batch, with the correction of their chances.

Bengio and Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language
Model, 2008 (doi 10.1109/TNN.2007.912312); as logits: Yi et al., Sampling-Bias-Corrected Neural Modeling for
Large Corpus Item Recommendations, RecSys 2019 (doi 10.1145/3298689.3346996).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

WHOLE = 20_000  # items: up to so many `auto` takes them all
SAMPLED = 4096  # beyond, so many of them
Distribution = Literal["uniform", "popularity", "batch"]


class Seen(NamedTuple):
    """What the users of a batch have seen: `rows (n,)` of the batch, `places (n,)` of candidates."""

    rows: Tensor
    places: Tensor

    def within(self, block: slice) -> tuple[Seen, Tensor]:
        """Return what is in a block of the candidates, at its places there, and which of the n it is."""
        inside = ((self.places >= block.start) & (self.places < block.stop)).nonzero().squeeze(dim=1)
        return Seen(self.rows[inside], self.places[inside] - block.start), inside


class Sample(NamedTuple):
    """Distinct items `ids (V,)`, ascending, and `log_weights (V,)`, by which sum exp(l + .) is unbiased."""

    ids: Tensor
    log_weights: Tensor

    def seen(self, rows: Tensor, ids: Tensor) -> Seen:
        """Return which of these items are among those `ids (n,)` of the users `rows (n,)`."""
        places = torch.searchsorted(self.ids, ids).clamp(max=len(self.ids) - 1)
        there = self.ids[places] == ids
        return Seen(rows[there], places[there])


class Sampler:
    """Draws `count` of the items, for all users of a batch.

    `uniform`: without replacement. `popularity`: in proportion to 1 + the interactions of an item, of which
    `popularity (I,)` has the number. `batch`: all that the batch's users have, and `count` of the others.
    """

    def __init__(self, count: int, distribution: Distribution, popularity: Tensor) -> None:
        self.count, self.distribution = count, distribution
        chances = popularity.double() + 1
        chances[0] = 0  # padding
        self.chances = chances / chances.sum()  # (I,)
        self.cumulated = self.chances.cumsum(dim=0)

    def draw(self, positives: Tensor, generator: torch.Generator) -> Sample:
        """Return a sample for a batch with the items `positives (n,)`."""
        device, items = positives.device, len(self.chances) - 1
        if self.distribution == "popularity":
            points = torch.rand(self.count, generator=generator, dtype=torch.float64).to(device)
            ids, times = (
                torch.searchsorted(self.cumulated, points, right=True)
                .clamp(1, items)
                .unique(return_counts=True)
            )
            return Sample(ids, (times / (self.count * self.chances[ids])).log())
        own = torch.zeros(items + 1, dtype=torch.bool, device=device)
        own[0] = True  # padding is no item
        if self.distribution == "batch":
            own[positives] = True
        others = (~own).nonzero().squeeze(dim=1)
        drawn = others[torch.randperm(len(others), generator=generator)[: self.count].to(device)]
        log_weights = torch.zeros(items + 1, dtype=torch.float64, device=device)
        log_weights[drawn] = math.log(len(others) / max(len(drawn), 1)) if len(others) else 0.0
        own[0], own[drawn] = False, True
        ids = own.nonzero().squeeze(dim=1)
        return Sample(ids, log_weights[ids])


def sample_size(candidates: int | str, items: int) -> int | None:
    """Return how many of `items`, padding included, stand for the catalogue; None: all of them."""
    if candidates == "auto":
        candidates = "all" if items <= WHOLE else SAMPLED
    return None if candidates == "all" else int(candidates)
