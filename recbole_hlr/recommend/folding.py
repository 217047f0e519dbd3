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
from recbole_hlr.model.mfals import MFALS
from recbole_hlr.model.sphere import along_sphere
from recbole_hlr.protocols import Recommender

STEPS = 40  # of Adam, whose steps shrink to 0 along half a cosine
RATE = 0.5  # the first of them, as a part of what a coordinate of a vector measures
BETAS = (0.8, 0.95)  # with 40 steps what counts is what came last
TOGETHER = 256  # users at most, whose logits a core's cache holds in part


def fold_in(model: Recommender, history: InteractionMatrix, name: str) -> Recommender:
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
    with fixed(model):
        for block in spans(len(ids), users_together(other, history)):
            other.user_embedding.weight[ids[block]] = minimisers(other, ids[block], history)
    return other


def minimisers(model: MetricRecommender, ids: Tensor, history: InteractionMatrix) -> Tensor:
    """Return the vectors `(B, d)` of users `ids (B,)` that minimise their loss."""
    loss, (items, starts) = loss_of(model, ids, history), history.flat(ids)
    user_e = embedding_bag(items, model.item_embedding.weight, starts, mode="mean")  # (B, d)
    model.pull(user_e)
    radius = model.max_norm or float(model.item_embedding.weight[1:].norm(dim=1).mean())
    rate = RATE * radius * user_e.shape[1] ** -0.5
    optimizer = torch.optim.Adam([user_e.requires_grad_()], lr=rate, betas=BETAS)
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate * (1 + math.cos(math.pi * step / STEPS)) / 2
        (user_e.grad,) = torch.autograd.grad(loss(user_e), user_e)
        optimizer.step()
        model.pull(user_e)
    return user_e.detach()


def loss_of(model: MetricRecommender, ids: Tensor, history: InteractionMatrix) -> Callable[[Tensor], Tensor]:
    """Return J, summed, of users `ids (B,)` who have `history`, as a function of their vectors `(B, d)`.

    No item attends to itself.
    """
    items, _ = history.flat(ids)  # (n,)
    rows = torch.repeat_interleave(torch.arange(len(ids), device=ids.device), history.lengths[ids])
    users = model.users(ids, model.evaluation_history(ids), shared=True)
    users.without_target = True

    def loss(user_e: Tensor) -> Tensor:
        users.e = along_sphere(user_e) if model.geometry == "sphere" else user_e
        return model.objective.loss_of_all(model, users, rows, items)

    return loss


def users_together(model: MetricRecommender, history: InteractionMatrix) -> int:
    """Return how many users are folded in at once: `eval_memory` has room for their gradients."""
    _, per_pair = model.work.trained_floats(0)
    own = history.longest * model.objective.drawn
    return min(model.rows_within(model.n_items * per_pair + 8 * own), TOGETHER)


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
