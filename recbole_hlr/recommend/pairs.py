"""Pairs of a user and an item that a memory was trained on, as they were trained, and their slot weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.model.candidates import Listed, Users
from recbole_hlr.model.memory import MemoryRecommender

if TYPE_CHECKING:
    from recbole_hlr.recommend.fitted import FittedRecommender

PAIRS = 20_000  # that are measured, at most


class Pairs(NamedTuple):
    """Pairs `users (P,)`, `items (P,)`, their slot weights `c (P, R)` and ||p - q||^2 `squared (P,)`."""

    users: Tensor
    items: Tensor
    c: Tensor
    squared: Tensor


def trained_pairs(fitted: FittedRecommender) -> tuple[Tensor, Tensor]:
    """Return users and items `(P,)` of training interactions, drawn from the run's seed."""
    history = fitted.data.history
    generator = generator_for(fitted.config["seed"], Stream.DESCRIBED_PAIRS)
    drawn = torch.randperm(len(history.items), generator=generator)[:PAIRS]
    return history.users()[drawn], history.items[drawn]


def measured(model: MemoryRecommender, users: Tensor, items: Tensor) -> Pairs:
    """Return the slot weights of pairs, a block at a time."""
    chunk = model.rows_within(model.work.pair_floats)
    mixtures, distances = [], []
    for u, v in zip(users.split(chunk), items.split(chunk), strict=True):
        batch, listed = as_trained(model, u.to(model.device), v.to(model.device))
        mixtures.append(model.mixture(batch, listed).squeeze(dim=1).double().cpu())
        distances.append(listed.squared(batch.e).squeeze(dim=1).double().cpu())
    return Pairs(users, items, torch.cat(mixtures), torch.cat(distances))


def as_trained(model: MemoryRecommender, users: Tensor, items: Tensor) -> tuple[Users, Listed]:
    """Return `users (B,)` and `items (B, 1)` of pairs, neither being among what the other attends to."""
    history = model.evaluation_history(users)
    if history is not None:
        history = HistoryBatch(history.items, history.mask & (history.items != items.unsqueeze(1)))
    listed = model.listed(users, items.unsqueeze(1))
    if listed.audience is not None:
        others = listed.audience.members != users.view(-1, 1, 1)  # (B, 1, A)
        listed.audience = listed.audience._replace(mask=listed.audience.mask & others)
    return model.users(users, history), listed
