"""Every metric model in training: its loss and gradients are the reference's, what it attends to, what it learns."""

from __future__ import annotations

import pytest
import torch
from recbole.data.interaction import Interaction

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.triplets import TripletLoader
from tests import toys
from tests.golden import optimizer_of
from tests.toys import (
    CAP,
    NUM_ITEMS,
    TRAINED,
    TRAINING,
    USERS,
    assert_close,
    build,
    candidates,
    checkerboard,
    each_training,
    first_unseen,
    gradients,
    ragged,
    ragged_batch,
    rows_of,
    triplets,
    twin_of,
    variants,
    with_history,
    with_memory,
)


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize(("name", "options"), variants(*TRAINING, "negative_reduction"))
def test_loss_eq_8_and_its_gradients_are_the_references(name, options, num_negatives) -> None:
    options = {**options, "negative_temperature": 0.6}
    data = ragged()
    model = build(name, data, **options).train()
    model.start_epoch(1)
    users, positives, negatives = triplets(data, num_negatives)
    history = model.training_history(users, positives)
    twin = twin_of(model, data, learn=True, **options)
    rows = list(zip(users.tolist(), positives.tolist(), negatives.tolist(), strict=True))
    expected = twin.loss(rows, rows_of(history, len(users)))
    loss = model.loss(users, positives, negatives, history)
    what = f"{name} {options} K={num_negatives}"
    assert_close(loss, expected, 1e-10, f"{what} loss")
    found, wanted = gradients(loss, dict(model.named_parameters())), gradients(expected, twin.weights)
    for weight, gradient in wanted.items():
        assert_close(found[weight], gradient, 1e-10, f"{what} gradient of {weight}")
    for table in ("user_embedding.weight", "item_embedding.weight"):
        assert found[table].any(), f"{what}: no gradient of {table}"
        assert not found[table][0].any(), f"{what}: the padding row of {table} has a gradient"


@each_training
def test_distances_on_histories_with_holes_are_the_references(name, options) -> None:
    model = build(name, **options)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    twin, rows = twin_of(model, **options), rows_of(history, len(users))
    expected = torch.stack(
        [
            torch.stack([twin.distance(int(u), int(v), row) for v in vs])
            for u, vs, row in zip(users, items, rows, strict=True)
        ]
    )  # (B, C)
    assert_close(model.pair_distances(users, items, history), expected, 1e-10, f"{name} {options}")


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize(("name", "options"), variants(*TRAINING, "history_sampling"))
def test_tiled_rows_of_the_hosts_loader_give_the_loss_of_grouped_negatives(
    name, options, num_negatives
) -> None:
    data = ragged()
    model = build(name, data, train_neg_sample_args={"sample_num": num_negatives}, **options).train()
    users, positives, negatives = triplets(data, num_negatives)
    grouped = {"user_id": users, "item_id": positives, "neg_item_id": negatives}  # (B,), (B,), (B, K)
    tiled = Interaction({"user_id": users, "item_id": positives}).repeat(num_negatives)  # (K * B,)
    tiled.update(Interaction({"neg_item_id": negatives.T.reshape(-1)}))
    found = []
    for batch in (Interaction(grouped), tiled):
        model.start_epoch(2)
        found.append(model.calculate_loss(batch))
    model.start_epoch(2)
    direct = model.loss(users, positives, negatives, model.training_history(users, positives))
    assert_close(found[0], direct, 0, f"{name} {options} grouped")
    assert_close(found[1], direct, 0, f"{name} {options} tiled")


@pytest.mark.parametrize("sampling", toys.CHOICES["history_sampling"])
@pytest.mark.parametrize("name", with_history())
def test_training_history_is_a_draw_of_the_users_items_without_the_positive(name, sampling) -> None:
    data = ragged()
    model = build(name, data, history_sampling=sampling).train()
    drawn = set()
    for epoch in range(30):
        model.start_epoch(epoch)
        users, positives, _ = triplets(data, 3, seed=epoch)
        rows = rows_of(model.training_history(users, positives), len(users))
        for user, positive, row in zip(TRAINED, positives.tolist(), rows, strict=True):
            rest = set(data.items_of(user)) - {positive}
            assert positive not in row, f"{name} epoch {epoch} user {user}: its own positive"
            assert len(row) == len(set(row)) == min(len(rest), CAP), (
                f"{name} epoch {epoch} user {user}: {row}"
            )
            assert set(row) <= rest, f"{name} epoch {epoch} user {user}: {row}"
        drawn.add(frozenset(rows[2]))
        model.start_epoch(epoch)
        again = rows_of(model.training_history(users, positives), len(users))
        assert again == rows, f"{name} epoch {epoch}: not a function of seed and epoch"
    assert len(drawn) > 10, f"{name}: user {TRAINED[2]}'s capped history hardly changes with the epoch"


@pytest.mark.parametrize("name", with_history())
def test_rows_of_one_user_in_one_epoch_attend_to_different_draws(name) -> None:
    data = ragged()
    model, rows = build(name, data).train(), 40
    users, item = torch.full((rows,), 1), data.items_of(1)[3]
    drawn = rows_of(model.training_history(users, torch.full((rows,), item)), rows)
    assert len({frozenset(row) for row in drawn}) > 3, f"{name}: {drawn}"
    assert set().union(*drawn) == set(data.items_of(1)) - {item}, f"{name}: {drawn}"


@each_training
def test_validation_loss_takes_the_histories_and_relations_of_scoring(name, options) -> None:
    data = ragged()
    model = build(name, data, **options)
    users, positives, negatives = triplets(data, 1)
    batch = {"user_id": users, "item_id": positives, "neg_item_id": negatives}
    twin = twin_of(model, data, **options)
    rows = list(zip(users.tolist(), positives.tolist(), negatives.tolist(), strict=True))
    expected = twin.loss(rows, rows_of(model.evaluation_history(users), len(users)))
    assert_close(model.validation_loss(Interaction(batch)), expected, 1e-10, f"{name} {options}")


@pytest.mark.parametrize("options", [{"eval_history": "all"}, {"eval_history": "capped"}])
@pytest.mark.parametrize("name", with_history())
def test_validation_loss_is_split_into_rows_that_fit_the_memory(name, options, monkeypatch) -> None:
    data = ragged()
    users, positives, negatives = triplets(data, 3)
    batch = Interaction({"user_id": users, "item_id": positives, "neg_item_id": negatives})
    negative_options = {**options, "train_neg_sample_args": {"sample_num": 3}}
    whole = build(name, data, **negative_options).validation_loss(batch)
    model = build(name, data, **negative_options)
    bytes_of_a_row = 2 * 8 * 4 * model.work.pair_floats  # a positive and three negatives, of float64
    for rows in (1, 2):
        sizes, loss = [], model.loss
        with monkeypatch.context() as patch:
            patch.setattr(model, "memory_budget", rows * bytes_of_a_row)
            patch.setattr(
                model, "loss", lambda u, *rest, of=loss, into=sizes: into.append(len(u)) or of(u, *rest)
            )
            assert_close(model.validation_loss(batch), whole, 1e-12, f"{name} by {rows} rows")
        assert max(sizes) == rows
        assert sum(sizes) == len(users)


@pytest.mark.parametrize("name", with_memory())
def test_frozen_tables_have_no_gradient_are_not_clipped_and_do_not_move(name) -> None:
    tables = {"user_embedding.weight", "item_embedding.weight"}
    data, options = ragged(), {"max_norm": 0.5, "clip_memories": True}
    model = build(name, data, freeze_embeddings=True, **options).train()
    before = {weight: value.detach().clone() for weight, value in model.named_parameters()}
    assert tables < set(before)
    assert (model.user_embedding.weight.norm(dim=1) > model.max_norm).any(), "this test needs long rows"
    users, positives, negatives = triplets(data, 3)
    model.loss(users, positives, negatives, model.training_history(users, positives)).backward()
    optimizer_of(model, 0.1).step()
    model.clip_weights()
    for weight, value in model.named_parameters():
        frozen = weight in tables
        assert (value.grad is None) is frozen, f"{name}: gradient of {weight}"
        assert value.equal(before[weight]) is frozen, f"{name}: {weight}"


@pytest.mark.parametrize(("name", "options"), variants("attend_user", "item_attention", "neighbour_refresh"))
def test_checkerboard_with_the_diagonal_withheld_is_learnt(name, options) -> None:
    data = checkerboard()
    withheld = torch.arange(1, data.item_num)  # of user u, item u: neither trained on nor a negative
    liked = (torch.cat([data.inter_feat[field], withheld]) for field in ("user_id", "item_id"))
    never_negative = InteractionMatrix.from_pairs(*liked, data.user_num, data.item_num)
    model = build(name, data, margin=2.0, **options)
    assert first_unseen(model, data) != withheld.tolist(), f"{name} {options}: right before it is trained"
    loader = TripletLoader(toys.options_for(name), data, never_negative, batch_size=10)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    model.train()
    for epoch in range(40):
        loader.set_epoch(epoch)
        model.start_epoch(epoch)
        for batch in loader:
            optimizer.zero_grad()
            model.calculate_loss(batch).backward()
            optimizer.step()
            model.clip_weights()
    assert first_unseen(model, data) == withheld.tolist(), f"{name} {options}: the withheld item is not first"
