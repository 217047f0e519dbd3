"""Users who were not in the data, folded in: their vectors minimise the run's own objective, all else fixed.

For a user with the items P the vector is p = argmin J(p; P, Q, M) over the sphere or the ball of the
training, J being the objective that the run was trained by, the softmax or the triplets (`objective/`), with
item vectors Q, biases and memories M as they were trained. An item is no part of the history that it is held
against, as in training. MF-ALS has a closed form (`model/mfals.py`): Hu, Koren and Volinsky, ICDM 2008
(doi 10.1109/ICDM.2008.22), Eq. 4. The word is that of Deerwester et al., Indexing by Latent Semantic
Analysis, JASIS 1990.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from recbole_hlr.data.chunks import spans
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.errors import InputError
from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.candidates import Shared
from recbole_hlr.model.mfals import MFALS
from recbole_hlr.model.sphere import along_sphere
from recbole_hlr.protocols import Recommender

STEPS = 24  # of Adam, whose steps shrink to 0 along half a cosine
RATE = 0.5  # the first of them, as a part of what a coordinate of a vector measures
BETAS = (0.8, 0.95)  # with so few steps what counts is what came last
TOGETHER = 256  # users at most, whose logits a core's cache holds in part


def fold_in(model: Recommender, history: InteractionMatrix, name: str) -> MetricRecommender | MFALS:
    """Return a model of the users of `history`, 0 being padding; items and memories are those of `model`.

    A user's vector follows from its items alone: it does not matter who else is folded in. It is 0 for
    a user without items. Raises `InputError` for a model, called `name`, that is none of this package.
    """
    if isinstance(model, MFALS):
        return model.of_others(history.to(model.device))
    if not isinstance(model, MetricRecommender):
        raise InputError(
            f"model={name}: cannot take in users who were not in the data; must be a model of this package, "
            "such as CML, HLR or MF-ALS"
        )
    history = history.to(model.device)
    other = model.of_others(history).eval()
    ids = history.lengths.nonzero().squeeze(dim=1)  # (n,)
    together = users_within(other, history)
    with fixed(model), torch.enable_grad():
        for block in spans(len(ids), min(max(together, 1), TOGETHER)):
            other.user_embedding.weight[ids[block]] = minimisers(other, ids[block], history, together > 0)
    return other


def minimisers(
    model: MetricRecommender, ids: Tensor, history: InteractionMatrix, keep: bool = True
) -> Tensor:
    """Return the vectors `(B, d)` of users `ids (B,)` that minimise their loss, `keep` as for `loss_of`."""
    loss, (items, starts) = loss_of(model, ids, history, keep), history.flat(ids)
    user_e = embedding_bag(items, model.item_embedding.weight, starts, mode="mean")  # (B, d)
    model.keep_within(user_e)
    radius = model.max_norm or float(model.item_embedding.weight[1:].norm(dim=1).mean())
    rate = RATE * radius * user_e.shape[1] ** -0.5
    optimizer = torch.optim.Adam([user_e.requires_grad_()], lr=rate, betas=BETAS)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / STEPS)) / 2
        (user_e.grad,) = torch.autograd.grad(loss(user_e), user_e)
        optimizer.step()
        model.keep_within(user_e)
    return user_e.detach()


def loss_of(
    model: MetricRecommender, ids: Tensor, history: InteractionMatrix, keep: bool = True
) -> Callable[[Tensor], Tensor]:
    """Return J, summed, of users `ids (B,)` who have `history`, as a function of their vectors `(B, d)`.

    No item attends to itself. With `keep` what follows from items alone is kept for the next call.
    """
    items, _ = history.flat(ids)  # (n,)
    rows = torch.repeat_interleave(torch.arange(len(ids), device=ids.device), history.lengths[ids])
    users = model.users(ids, model.evaluation_history(ids), shared=True)
    users.without_target = True
    shared = Kept(model) if keep else model.shared

    def loss(user_e: Tensor) -> Tensor:
        users.e = along_sphere(user_e) if model.geometry == "sphere" else user_e
        return model.objective.loss_of_all(model, users, rows, items, shared)

    return loss


class Kept:
    """Blocks of a model's items, with what follows from items alone, made once: they stay as they are."""

    def __init__(self, model: MetricRecommender) -> None:
        self.model = model
        self.blocks: dict[tuple[int, ...], Shared] = {}

    def __call__(self, items: slice | Tensor) -> Shared:
        """Return a block."""
        key = (items.start, items.stop) if isinstance(items, slice) else tuple(items.tolist())
        if key not in self.blocks:
            self.blocks[key] = self.model.shared(items)
        return self.blocks[key]


def users_within(model: MetricRecommender, history: InteractionMatrix) -> int:
    """Return for how many users `eval_memory` holds all that their gradients need; 0 for not even one."""
    per_item, per_pair = model.work.trained_floats(model.work.H)
    floats = model.n_items * (per_item + per_pair) + 8 * history.longest * model.objective.drawn
    return model.memory_budget // (2 * model.item_embedding.weight.element_size() * floats)


@contextmanager
def fixed(module: nn.Module) -> Iterator[None]:
    """Let no parameter of a module have a gradient while this lasts."""
    trained = [weight for weight in module.parameters() if weight.requires_grad]
    try:
        for weight in trained:
            weight.requires_grad_(False)
        yield
    finally:
        for weight in trained:
            weight.requires_grad_()
