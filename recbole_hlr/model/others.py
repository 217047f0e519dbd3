"""A trained model for users other than those it was trained on: what it knows of items stays as it is."""

from __future__ import annotations

import copy
from typing import TypeVar

from recbole.model.abstract_recommender import GeneralRecommender
from torch import nn

Model = TypeVar("Model", bound=GeneralRecommender)


def with_users(model: Model, count: int) -> Model:
    """Return a copy of `model` with a table of `count` users, all 0, padding included; all else is shared."""
    other = copy.copy(model)
    other._modules = model._modules.copy()
    other.__dict__.pop("_loss_of", None)  # it is bound to the model that it was made for
    other.n_users = count
    weight = model.user_embedding.weight
    other.user_embedding = nn.Embedding.from_pretrained(weight.new_zeros(count, weight.shape[1]))
    return other
