"""Tiny models, data and comparisons that the tests share. All sizes are distinct and none is 1.

U = 9 users, I = 13 items (padding included), d = 6, N = 3 slots, cap 7, longest history 10, B = 5 rows.
No item has more than 7 users, so that the cap leaves every audience whole.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.model import MODELS, MetricRecommender
from recbole_hlr.model.relation import RelationMemory
from recbole_hlr.options.shipped import objective_file, shipped
from recbole_hlr.options.yaml_values import load_yaml
from tests import reference

torch.set_num_threads(1)

NUM_USERS, NUM_ITEMS, SIZE, SLOTS, CAP = 9, 13, 6, 3, 7
LENGTHS = {1: 10, 2: 1, 3: 0, 4: 7, 5: 4, 6: 8, 7: 2, 8: 9}  # of every user's history
USERS = [6, 3, 1, 4, 2]  # B = 5: longer than the cap, empty, longest, at the cap, one item
TRAINED = [6, 2, 1, 4, 7]  # B = 5: users that have a positive; without it user 2's history is empty
ALL_USERS = list(range(1, NUM_USERS))
EMPTY = next(user for user, length in LENGTHS.items() if length == 0)

CHOICES: dict[str, list[Any]] = {
    "attend_user": [False, True],
    "attend_target": [False, True],
    "item_attention": ["history", "audience"],
    "direct_memory": [False, True],
    "attention_smoothing": [1.0, 0.7],
    "share_negative_relation": [False, True],
    "clip_memories": [False, True],
    "max_memory_norm": [None, 0.3],
    "centre_memories": [False, True],
    "orthogonal_memories": [False, True],
    "history_sampling": ["uniform", "inverse_popularity"],
    "eval_history": ["capped", "all"],
    "neighbour_refresh": ["batch", "epoch"],
    "negative_reduction": ["mean", "hardest", "soft", "rank"],
}
SCORING = (
    *("attend_user", "attend_target", "item_attention", "direct_memory", "attention_smoothing"),
    "centre_memories",
)
TRAINING = (*SCORING, "share_negative_relation", "neighbour_refresh")
CLIPPING = (
    "clip_memories",
    "max_memory_norm",
    "centre_memories",
    "orthogonal_memories",
    "direct_memory",
    "attend_user",
)

NAMES = {  # one name for each metric model's class
    model.__name__: name for name, model in reversed(MODELS.items()) if issubclass(model, MetricRecommender)
}


def defaults(name: str) -> dict[str, Any]:
    file = shipped("properties", "model", f"{MODELS[name].__name__}.yaml")
    return {**load_yaml(file), **load_yaml(objective_file("triplet")), "objective": "triplet"}


SOFTMAX = {**load_yaml(objective_file("softmax")), "objective": "softmax", "geometry": "ball"}


def variants(*keys: str, names: Iterable[str] | None = None, **fixed: Any) -> list[Any]:
    """Models (all, if no `names` are given) with values of those `keys` that their YAML has, as pytest parameters.

    Any two values of two keys meet in some variant.
    """
    params = []
    for name in NAMES.values() if names is None else names:
        known = [key for key in keys if key in defaults(name)]
        for options in pairwise(known):
            label = "-".join([name, *(f"{key}={value}" for key, value in options.items())])
            params.append(pytest.param(name, {**options, **fixed}, id=label))
    return params


def pairwise(keys: list[str]) -> list[dict[str, Any]]:
    """Combinations of the CHOICES of `keys`, each picked because it holds the most pairs not met yet."""
    product = [
        dict(zip(keys, values, strict=True)) for values in itertools.product(*(CHOICES[key] for key in keys))
    ]
    allowed = [
        options for options in product if options.get("attend_user") or not options.get("direct_memory")
    ]

    def pairs(options: dict[str, Any]) -> set[Any]:
        return set(itertools.combinations(options.items(), min(2, len(keys))))

    missing, picked = set().union(*map(pairs, allowed)), []
    while missing or not picked:
        picked.append(max(allowed, key=lambda options: len(pairs(options) & missing)))
        missing -= pairs(picked[-1])
    return picked


each_model = pytest.mark.parametrize("name", NAMES.values())
each_training = pytest.mark.parametrize(("name", "options"), variants(*TRAINING))


class Toy:
    """A stand-in for the host's data set: sizes, and interaction pairs as columns."""

    uid_field, iid_field = "user_id", "item_id"

    def __init__(self, pairs: list[tuple[int, int]], num_users: int, num_items: int) -> None:
        self.user_num, self.item_num = num_users, num_items
        columns = torch.tensor(pairs, dtype=torch.int64).view(-1, 2)  # (nnz, 2)
        self.inter_feat = {"user_id": columns[:, 0], "item_id": columns[:, 1]}

    def num(self, field: str) -> int:
        return {"user_id": self.user_num, "item_id": self.item_num}[field]

    def items_of(self, user: int) -> list[int]:
        return sorted(set(self.inter_feat["item_id"][self.inter_feat["user_id"] == user].tolist()))


def ragged(seed: int = 0, lengths: dict[int, int] = LENGTHS) -> Toy:
    """Histories of `lengths`, of random items, in random order, a third of the pairs given twice."""
    draw = random.Random(seed)
    pairs = [(u, i) for u, n in lengths.items() for i in draw.sample(range(1, NUM_ITEMS), n)]
    pairs += draw.sample(pairs, len(pairs) // 3)
    return Toy(draw.sample(pairs, len(pairs)), NUM_USERS, NUM_ITEMS)


def checkerboard(size: int = 8) -> Toy:
    """User u likes item i where u + i is even; (u, u) is withheld."""
    ids = range(1, size + 1)
    return Toy([(u, i) for u in ids for i in ids if (u + i) % 2 == 0 and u != i], size + 1, size + 1)


def options_for(name: str, **options: Any) -> dict[str, Any]:
    """The configuration of a model: its YAML, then the toy sizes, then `options`."""
    host = {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "NEG_PREFIX": "neg_",
        "device": torch.device("cpu"),
        "seed": 2021,
        "train_neg_sample_args": {"sample_num": 1},
        "eval_memory": 0.5,
        "compile": "off",
    }
    toy = {"embedding_size": SIZE, "num_memories": SLOTS, "max_history": CAP}
    return {**host, **defaults(name), **toy, **options}


def build(name: str, data: Toy | None = None, **options: Any) -> torch.nn.Module:
    """A float64 model in evaluation mode, its weights the same at every call."""
    torch.manual_seed(7)
    return MODELS[name](options_for(name, **options), data or ragged()).double().eval()


def twin_of(
    model: torch.nn.Module, data: Toy | None = None, learn: bool = False, **options: Any
) -> reference.CML:
    """The plain twin of a model built with the same `data` and `options`, its weights copied as float64."""
    weights = {
        name: value.detach().double().clone().requires_grad_(learn)
        for name, value in model.named_parameters()
    }
    data = data or ragged()
    kind = next(kind.__name__ for kind in type(model).__mro__ if kind.__name__ in reference.TWINS)
    interactions = {u: data.items_of(u) for u in range(data.user_num)}
    return reference.TWINS[kind](weights, options_for(NAMES[kind], **options), interactions, model.training)


def memories_of(model: torch.nn.Module) -> list[RelationMemory]:
    return [module for module in model.modules() if isinstance(module, RelationMemory)]


def with_history() -> list[str]:
    return [name for name in NAMES.values() if build(name).attends_to_history]


def with_memory() -> list[str]:
    return [name for name in NAMES.values() if memories_of(build(name))]


def translation_of(
    model: torch.nn.Module, users: Tensor, items: Tensor, history: HistoryBatch | None
) -> Tensor:
    """r(u, v) `(B, C, d)` of `users (B,)` with `items (B, C)`."""
    r = model.translation(model.users(users, history), model.listed(users, items))
    return torch.zeros_like(model.item_embedding(items)) if r is None else r


def candidates(rows: int = 5, columns: int = 4) -> Tensor:
    """Random items `(B, C)`."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, NUM_ITEMS, (rows, columns), generator=generator)


def rows_of(history: HistoryBatch | None, rows: int) -> list[list[int]]:
    """Each row's history as a list of item ids."""
    if history is None:
        return [[] for _ in range(rows)]
    return [items[mask].tolist() for items, mask in zip(history.items, history.mask, strict=True)]


def loop_scores(twin: reference.CML, users: list[int], histories: list[list[int]]) -> Tensor:
    """Scores `(B, I)` of users with all items, by loops."""
    with torch.no_grad():
        distances = [
            [twin.distance(u, v, history) for v in range(len(twin.q))]
            for u, history in zip(users, histories, strict=True)
        ]
    return -torch.tensor(distances, dtype=torch.float64)


def scores_by_pairs(model: torch.nn.Module, users: list[int]) -> Tensor:
    """Scores `(B, I)` by `predict` on the full grid."""
    items = torch.arange(model.n_items)
    grid = {
        "user_id": torch.tensor(users).repeat_interleave(len(items)),
        "item_id": items.repeat(len(users)),
    }
    return model.predict(Interaction(grid)).view(len(users), len(items))


def scores_of_all(model: torch.nn.Module, users: list[int]) -> Tensor:
    """Scores `(B, I)` by `full_sort_predict`."""
    return model.full_sort_predict(Interaction({"user_id": torch.tensor(users)})).view(len(users), -1)


def first_unseen(model: torch.nn.Module, data: Toy) -> list[int]:
    """The item that comes first for each user, those of its history left out."""
    users = list(range(1, data.user_num))
    scores = scores_of_all(model.eval(), users)  # (U - 1, I)
    scores[:, 0] = -torch.inf
    for u in users:
        scores[u - 1, data.items_of(u)] = -torch.inf
    return scores.argmax(dim=1).tolist()


def triplets(data: Toy, num_negatives: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """The rows TRAINED: users `(B,)`, a positive of each `(B,)`, unseen negatives `(B, K)`."""
    draw = random.Random(seed)
    seen = [data.items_of(u) for u in TRAINED]
    positives = [draw.choice(items) for items in seen]
    unseen = [sorted(set(range(1, data.item_num)) - set(items)) for items in seen]
    negatives = [[draw.choice(items) for _ in range(num_negatives)] for items in unseen]
    return torch.tensor(TRAINED), torch.tensor(positives), torch.tensor(negatives)


def ragged_batch(rows: int, width: int, num_items: int, seed: int = 0) -> HistoryBatch:
    """A history batch with holes anywhere; row 1 is empty, row 2 full, padded entries hold item 0."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(rows, width, generator=generator) < 0.6
    mask[1], mask[2] = False, True
    items = torch.randint(1, num_items, (rows, width), generator=generator)
    return HistoryBatch(items * mask, mask)


def assert_close(found: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Fail with the worst position where |found - expected| > tolerance * (1 + |expected|), or a NaN."""
    found, expected = found.detach().double(), expected.detach().double()
    assert found.shape == expected.shape, f"{what}: shape {tuple(found.shape)}, not {tuple(expected.shape)}"
    if found.numel() == 0:
        return
    error = ((found - expected).abs() / (1 + expected.abs())).nan_to_num(nan=float("inf"))
    worst = np.unravel_index(int(error.argmax()), error.shape)
    position = tuple(int(index) for index in worst)
    assert error.max() <= tolerance, (
        f"{what}: at {position} found {found[position]:.9g}, expected {expected[position]:.9g}, "
        f"off by {error.max():.2e} (allowed {tolerance:.0e})"
    )


def gradients(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gradients of `loss` by weight name, zero where a weight takes no part."""
    found = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return {
        name: torch.zeros_like(weight) if gradient is None else gradient
        for (name, weight), gradient in zip(weights.items(), found, strict=True)
    }
