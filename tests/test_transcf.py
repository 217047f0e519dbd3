"""TransCF: its neighbourhood means, when they are refreshed, and its two regularisers."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from recbole_hlr.model.transcf import means
from tests.toys import (
    EMPTY,
    NUM_ITEMS,
    NUM_USERS,
    TRAINED,
    Toy,
    assert_close,
    build,
    candidates,
    gradients,
    ragged,
    scores_of_all,
    triplets,
    twin_of,
)

ALL_ITEMS = list(range(NUM_ITEMS))
each_refresh = pytest.mark.parametrize("refresh", ["batch", "epoch"])


def shift_tables(model: torch.nn.Module) -> None:
    """Move every vector by another random amount, as a training step does."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for table in (model.user_embedding.weight, model.item_embedding.weight):
            table += torch.randn(table.shape, generator=generator, dtype=table.dtype)


def translations(model: torch.nn.Module) -> Tensor:
    users = torch.tensor(TRAINED)
    return model.translation(model.users(users, None), model.listed(users, candidates()))  # (B, C, d)


def expected_translations(twin: Any) -> Tensor:
    rows = [
        [twin.translation(u, v, []) for v in vs] for u, vs in zip(TRAINED, candidates().tolist(), strict=True)
    ]
    return torch.stack([torch.stack(row) for row in rows])  # (B, C, d)


def test_means_are_those_of_plain_loops_and_zero_over_nobody() -> None:
    data = ragged()
    model, twin = build("TransCF", data), twin_of(build("TransCF", data), data)
    everybody = torch.arange(NUM_USERS)
    of_users = torch.stack([twin.user_mean(u) for u in range(NUM_USERS)])  # (U, d)
    of_items = torch.stack([twin.item_mean(v) for v in ALL_ITEMS])  # (I, d)
    unsold = [v for v in ALL_ITEMS if v not in data.inter_feat["item_id"]]
    assert not of_users[EMPTY].any()
    assert len(unsold) > 0
    assert not of_items[unsold].any()
    items = model.item_embedding.weight
    assert_close(means(model.history, items), of_users, 1e-14, "all users")
    assert_close(
        means(model.history, items, everybody[[4, 3, 4, 1]]), of_users[[4, 3, 4, 1]], 1e-14, "some users"
    )
    grid = torch.tensor([[5, 0, 5], [1, 2, 12]])
    assert_close(
        means(model.audience, model.user_embedding.weight, grid), of_items[grid], 1e-14, "a grid of items"
    )


def test_without_interactions_it_is_cml() -> None:
    nothing = Toy([], NUM_USERS, NUM_ITEMS)
    model, cml = build("TransCF", nothing), build("CML", nothing)
    cml.load_state_dict(model.state_dict())
    assert_close(scores_of_all(model, TRAINED), scores_of_all(cml, TRAINED), 1e-13, "scores")


@each_refresh
def test_means_take_no_gradient(refresh) -> None:
    data = ragged()
    model = build("TransCF", data, neighbour_refresh=refresh).train()
    model.start_epoch(1)
    users, positives, negatives = triplets(data, 1)
    found = gradients(model.loss(users, positives, negatives, None), dict(model.named_parameters()))
    in_batch = {*positives.tolist(), *negatives.flatten().tolist()}
    neighbours = {item for u in TRAINED for item in data.items_of(u)} - in_batch
    assert neighbours, "this test needs neighbours outside of the batch"
    assert not found["item_embedding.weight"][list(neighbours)].any()
    outsiders = {u for u in range(1, NUM_USERS) if u not in TRAINED and in_batch & set(data.items_of(u))}
    assert outsiders, "this test needs users outside of the batch"
    assert not found["user_embedding.weight"][list(outsiders)].any()


def test_means_by_batch_follow_the_tables() -> None:
    model = build("TransCF", neighbour_refresh="batch").train()
    model.start_epoch(0)
    shift_tables(model)
    assert_close(translations(model), expected_translations(twin_of(model)), 1e-13, "translations")


def test_means_by_epoch_are_those_of_its_start_and_scoring_takes_the_current_ones() -> None:
    model = build("TransCF", neighbour_refresh="epoch").train()
    start = twin_of(model)
    model.start_epoch(0)
    shift_tables(model)
    current = twin_of(model)
    now, then = expected_translations(current), expected_translations(start)
    assert (now - then).abs().amax() > 0.1
    assert_close(translations(model), then, 1e-13, "in the epoch")
    assert_close(translations(model.eval()), now, 1e-13, "in scoring")
    assert_close(
        scores_of_all(model, TRAINED)[:, 1],
        -torch.stack([current.distance(u, 1, []) for u in TRAINED]),
        1e-13,
        "scores",
    )
    model.train().start_epoch(1)
    assert_close(translations(model), now, 1e-13, "in the next epoch")


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize(("neighbour_weight", "distance_weight"), [(0.3, 0.0), (0.0, 0.7), (0.3, 0.7)])
def test_regularisers_are_plain_sums_over_positives(neighbour_weight, distance_weight, num_negatives) -> None:
    data = ragged()
    weights = {"neighbour_weight": neighbour_weight, "distance_weight": distance_weight}
    model = build("TransCF", data, **weights).train()
    bare = build("TransCF", data, neighbour_weight=0.0, distance_weight=0.0).train()
    batch = triplets(data, num_negatives)
    twin = twin_of(model, data)
    neighbours = distances = 0.0
    for u, i, js in zip(*(column.tolist() for column in batch), strict=True):
        neighbours += ((twin.p[u] - twin.user_mean(u)) ** 2).sum()
        neighbours += ((twin.q[i] - twin.item_mean(i)) ** 2).sum()
        for j in js:
            neighbours += ((twin.q[j] - twin.item_mean(j)) ** 2).sum() / num_negatives
        distances += ((twin.p[u] + twin.user_mean(u) * twin.item_mean(i) - twin.q[i]) ** 2).sum()
    added = model.loss(*batch, None) - bare.loss(*batch, None)
    expected = neighbour_weight * neighbours + distance_weight * distances
    assert_close(added, expected, 1e-12, f"{weights} K={num_negatives}")
