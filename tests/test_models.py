"""Every entry of MODELS: three ways of scoring agree, the loss is the reference's, the laws hold."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_hlr.data.history import History, HistoryBatch
from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.model.relation import RelationMemory
from recbole_hlr.options import MODEL_OPTIONS, RUN_OPTIONS
from recbole_hlr.resources import shipped
from recbole_hlr.values import load_yaml
from tests import reference, toys
from tests.toys import (
    CAP,
    LENGTHS,
    NAMES,
    NUM_ITEMS,
    NUM_USERS,
    SCORING,
    SIZE,
    TRAINED,
    TRAINING,
    USERS,
    Toy,
    assert_close,
    build,
    gradients,
    loop_scores,
    ragged,
    ragged_batch,
    rows_of,
    scores_by_pairs,
    scores_of_all,
    triplets,
    twin_of,
    variants,
)

EMPTY = next(user for user, length in LENGTHS.items() if length == 0)
ALL_USERS = [u for u in range(1, NUM_USERS)]

each_model = pytest.mark.parametrize("name", NAMES.values())
each_scoring = pytest.mark.parametrize(("name", "options"), variants(*SCORING))
each_training = pytest.mark.parametrize(("name", "options"), variants(*TRAINING))


def memories_of(model: torch.nn.Module) -> list[RelationMemory]:
    return [module for module in model.modules() if isinstance(module, RelationMemory)]


def with_history() -> list[str]:
    return [name for name in NAMES.values() if build(name).uses_history]


def with_memory() -> list[str]:
    return [name for name in NAMES.values() if memories_of(build(name))]


def memory_variants() -> list[Any]:
    return [param for param in variants(*SCORING) if param.values[0] in with_memory()]


def shuffled_columns(history: HistoryBatch, seed: int = 0) -> HistoryBatch:
    order = torch.randperm(history.items.shape[1], generator=torch.Generator().manual_seed(seed))
    return HistoryBatch(history.items[:, order], history.mask[:, order])


def candidates(rows: int = 5, columns: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(1, NUM_ITEMS, (rows, columns), generator=generator)  # (B, C)


# --- three ways of scoring ------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize(("name", "options"), variants(*SCORING, "eval_history"))
def test_pair_scores_are_all_item_scores_are_loops(name, options, dtype, tolerance) -> None:
    model = build(name, **options).to(dtype)
    histories = rows_of(model.evaluation_history(torch.tensor(USERS)), len(USERS))
    expected = loop_scores(twin_of(model, **options), USERS, histories)  # (B, I)
    assert_close(scores_by_pairs(model, USERS), expected, tolerance, f"{name} {options} predict")
    assert_close(scores_of_all(model, USERS), expected, tolerance, f"{name} {options} full_sort_predict")


@pytest.mark.parametrize("seed", [1, 2, 3])
@each_scoring
def test_all_item_scores_are_pair_scores_on_random_ragged_histories(name, options, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, NUM_ITEMS - 1, (NUM_USERS - 1,), generator=generator).tolist()
    data = ragged(seed, dict(enumerate(lengths, start=1)))
    model = build(name, data, eval_history="all", **options)
    assert_close(
        scores_of_all(model, ALL_USERS),
        scores_by_pairs(model, ALL_USERS),
        1e-12,
        f"{name} {options} {lengths}",
    )


@each_scoring
def test_all_item_scores_skip_masked_entries_wherever_they_stand(name, options, monkeypatch) -> None:
    model = build(name, **options)
    batch = ragged_batch(NUM_USERS, 6, NUM_ITEMS)
    monkeypatch.setattr(
        model, "evaluation_history", lambda users: HistoryBatch(batch.items[users], batch.mask[users])
    )
    histories = [rows_of(batch, NUM_USERS)[u] for u in USERS]
    expected = loop_scores(twin_of(model, **options), USERS, histories)
    assert_close(scores_of_all(model, USERS), expected, 1e-10, f"{name} {options} full_sort_predict")
    assert_close(scores_by_pairs(model, USERS), expected, 1e-10, f"{name} {options} predict")


@each_scoring
def test_chunks_of_any_size_give_the_same_scores(name, options, monkeypatch) -> None:
    model = build(name, eval_history="all", **options)
    sizes = set()
    rows_within = model._rows_within
    monkeypatch.setattr(model, "_rows_within", lambda floats: sizes.add(rows := rows_within(floats)) or rows)
    pairs, scores = scores_by_pairs(model, USERS), scores_of_all(model, USERS)
    for power in range(0, 64):
        model.memory_budget = int(2 ** (power / 3))
        what = f"{name} {options} memory_budget={model.memory_budget}"
        if power % 3 == 0:  # pair by pair they are slow
            assert_close(scores_by_pairs(model, USERS), pairs, 1e-12, f"{what} predict")
        assert_close(scores_of_all(model, USERS), scores, 1e-12, f"{what} full_sort_predict")
    assert 1 in sizes, f"{name} {options}: no chunk of one"
    assert {size for size in sizes if 1 < size < NUM_ITEMS and NUM_ITEMS % size}, f"{name} {options}: {sizes}"
    assert max(sizes) >= NUM_ITEMS


@pytest.mark.parametrize("width", [1, 5, NUM_ITEMS])
@each_scoring
def test_scores_of_all_items_are_those_the_base_derives_from_pairs(name, options, width, monkeypatch) -> None:
    model, users = build(name, eval_history="all", **options), torch.tensor(USERS)
    monkeypatch.setattr(model, "_rows_within", lambda floats: width)
    derived = MetricRecommender.score_all(model, users)
    assert_close(model.score_all(users), derived, 1e-12, f"{name} {options} width={width}")


@each_scoring
def test_scores_are_minus_distances(name, options) -> None:
    model = build(name, **options)
    users = torch.tensor(USERS)
    items = torch.arange(NUM_ITEMS).expand(len(users), -1)  # (B, I)
    distances = model.distances(users, items, model.evaluation_history(users))
    assert (distances >= 0).all()
    assert_close(scores_of_all(model, USERS), -distances, 1e-12, f"{name} {options}")


@pytest.mark.parametrize("name", with_history())
@pytest.mark.parametrize("sampling", toys.CHOICES["history_sampling"])
@pytest.mark.parametrize("eval_history", toys.CHOICES["eval_history"])
def test_scoring_attends_to_a_fixed_draw_of_the_users_own_items(name, sampling, eval_history) -> None:
    data, options = ragged(), {"history_sampling": sampling, "eval_history": eval_history}
    model, users = build(name, data, **options), torch.tensor(ALL_USERS)
    first = rows_of(model.evaluation_history(users), len(users))
    for user, row in zip(ALL_USERS, first, strict=True):
        own = data.items_of(user)
        expected = len(own) if eval_history == "all" else min(len(own), CAP)
        assert len(row) == len(set(row)) == expected, f"{name} user {user}: {row}"
        assert set(row) <= set(own), f"{name} user {user}: {row}"
    if eval_history == "capped":
        other = build(name, data, seed=4, **options)
        assert rows_of(other.evaluation_history(users), len(users)) != first, (
            f"{name}: the seed has no effect"
        )
    model.start_epoch(3)
    again = build(name, data, **options)
    for other in (model, again):
        assert rows_of(other.evaluation_history(users), len(users)) == first
    alone = [rows_of(model.evaluation_history(users[n : n + 1]), 1)[0] for n in range(len(users))]
    assert alone == first, f"{name}: a user's history depends on the batch"


# --- float32 --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", with_memory())
def test_expanded_distances_in_float32_are_never_negative_and_err_within_a_bound(name) -> None:
    size, eps = 100, torch.finfo(torch.float32).eps
    model = build(name, embedding_size=size, num_memories=1, eval_history="all").float()
    (memory,) = memories_of(model)
    with torch.no_grad():
        for table in (model.user_embedding.weight, model.item_embedding.weight):
            table.div_(table.norm(dim=1, keepdim=True))  # on the sphere
        memory.memories.div_(memory.memories.norm())
        for u in ALL_USERS:  # item u lies where user u is moved to: distance 0, all digits cancel
            model.item_embedding.weight[u] = model.user_embedding.weight[u] + memory.memories[0]
        scores = scores_of_all(model, ALL_USERS)
        exact = scores_of_all(model.double(), ALL_USERS)
    bound = 4 * eps * (1 + 1 + 2) ** 2  # (||p|| + ||r|| + ||q||)^2, times some roundings
    error = float((scores.double() - exact).abs().max())
    assert (scores <= 0).all(), f"{name}: a distance of {-scores.max():.1e}"
    assert 0 < error <= bound, f"{name}: off by {error:.1e}, allowed {bound:.1e}"


def test_expanded_distances_of_cml_in_float32_are_never_negative_and_err_within_a_bound() -> None:
    model = build(NAMES["CML"], embedding_size=100).float()
    with torch.no_grad():
        users = model.user_embedding.weight
        users.div_(users.norm(dim=1, keepdim=True))
        model.item_embedding.weight[:NUM_USERS] = users  # distance 0 on the diagonal
        scores = scores_of_all(model, ALL_USERS)
        pairs = scores_by_pairs(model, ALL_USERS)
    error = float((scores - pairs).abs().max())
    bound = 4 * torch.finfo(torch.float32).eps * (1 + 1) ** 2
    assert (scores <= 0).all(), f"a distance of {-scores.max():.1e}"
    assert 0 < error <= bound, f"off by {error:.1e}, allowed {bound:.1e}"


# --- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_negatives", [1, 3])
@pytest.mark.parametrize("reduction", ["mean", "hardest", "soft", "rank"])
@each_training
def test_loss_eq_8_and_its_gradients_are_the_references(name, options, reduction, num_negatives) -> None:
    options = {**options, "negative_reduction": reduction, "negative_temperature": 0.6}
    data = ragged()
    model = build(name, data, **options).train()
    model.start_epoch(1)
    users, positives, negatives = triplets(data, num_negatives)
    history = model.training_history(users, positives)
    twin = twin_of(model, learn=True, **options)
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
    assert_close(model.distances(users, items, history), expected, 1e-10, f"{name} {options}")


@pytest.mark.parametrize("num_negatives", [1, 3])
@each_training
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
    twin = twin_of(model, **{**options, "share_negative_relation": False})
    rows = list(zip(users.tolist(), positives.tolist(), negatives.tolist(), strict=True))
    expected = twin.loss(rows, rows_of(model.evaluation_history(users), len(users)))
    assert_close(model.validation_loss(Interaction(batch)), expected, 1e-10, f"{name} {options}")


# --- laws -----------------------------------------------------------------------------------------


@each_training
def test_padding_rows_do_not_matter(name, options) -> None:
    data = ragged()
    model = build(name, data, eval_history="all", **options)
    users, positives, negatives = triplets(data, 3)
    history = model.training_history(users, positives)

    def outcome() -> list[Tensor]:
        pairs, scores = scores_by_pairs(model, USERS)[:, 1:], scores_of_all(model, USERS)[:, 1:]
        model.train()
        loss = model.loss(users, positives, negatives, history)
        found = gradients(loss, dict(model.named_parameters()))
        model.eval()
        return [pairs, scores, loss, *found.values()]

    before = outcome()
    with torch.no_grad():
        model.user_embedding.weight[0] = 3 * torch.randn(SIZE, dtype=torch.float64)
        model.item_embedding.weight[0] = 3 * torch.randn(SIZE, dtype=torch.float64)
    for n, (old, new) in enumerate(zip(before, outcome(), strict=True)):
        assert_close(new, old, 1e-14, f"{name} {options} outcome {n}")


@each_training
def test_order_of_the_history_does_not_matter(name, options) -> None:
    model = build(name, **options)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 10, NUM_ITEMS)
    before = model.distances(users, items, history)
    after = model.distances(users, items, shuffled_columns(history))
    assert_close(after, before, 1e-13, f"{name} {options}")


@pytest.mark.parametrize(("name", "options"), memory_variants())
def test_order_of_the_slots_does_not_matter(name, options) -> None:
    model = build(name, **options)
    pairs, scores = scores_by_pairs(model, USERS), scores_of_all(model, USERS)
    with torch.no_grad():
        for memory in memories_of(model):
            for weight in (memory.keys, memory.memories):
                weight.copy_(weight[torch.tensor([2, 0, 1])])
    assert_close(scores_by_pairs(model, USERS), pairs, 1e-13, f"{name} {options} predict")
    assert_close(scores_of_all(model, USERS), scores, 1e-13, f"{name} {options} full_sort_predict")


@pytest.mark.parametrize(("name", "options"), memory_variants())
def test_zero_memories_make_it_cml(name, options) -> None:
    model, cml = build(name, **options), build(NAMES["CML"])
    with torch.no_grad():
        for table in ("user_embedding", "item_embedding"):
            getattr(cml, table).weight.copy_(getattr(model, table).weight)
        unlike = (scores_of_all(model, USERS) - scores_of_all(cml, USERS)).abs().max()
        assert unlike > 0.1, f"{name} {options}: CML even with its memories"
        for memory in memories_of(model):
            memory.memories.zero_()
    expected = scores_of_all(cml, USERS)
    assert_close(scores_by_pairs(model, USERS), expected, 1e-12, f"{name} {options} predict")
    assert_close(scores_of_all(model, USERS), expected, 1e-12, f"{name} {options} full_sort_predict")


@pytest.mark.parametrize("attend_user", [False, True])
def test_one_slot_makes_hlrs_relation_constant(attend_user) -> None:
    model = build(NAMES["HLR"], num_memories=1, attend_user=attend_user)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    r = model.translation(model.user_embedding(users), model.item_embedding(items), history)  # (B, C, d)
    moved = history.mask.any(dim=1) | attend_user  # (B,)
    assert moved.any()
    assert attend_user or not moved.all()
    expected = model.memory.memories[0] * moved[:, None, None].expand_as(r)
    assert_close(r, expected, 1e-14, f"attend_user={attend_user}")


@each_training
def test_empty_histories_give_finite_scores_losses_and_gradients(name, options) -> None:
    nothing = Toy([], NUM_USERS, NUM_ITEMS)
    users, positives, negatives = triplets(ragged(), 3)
    for data, rows in ((ragged(), [EMPTY]), (nothing, USERS)):
        model = build(name, data, **options)
        expected = loop_scores(twin_of(model, **options), rows, [[]] * len(rows))
        assert_close(scores_of_all(model, rows), expected, 1e-12, f"{name} {options} full_sort_predict")
        assert_close(scores_by_pairs(model, rows), expected, 1e-12, f"{name} {options} predict")
    model = build(name, nothing, **options).train().float()
    with torch.no_grad():
        for memory in memories_of(model):
            memory.memories.mul_(30)  # large relations, large gradients
    for history in (
        model.training_history(users, positives),
        HistoryBatch(torch.zeros(5, 6, dtype=torch.int64), torch.zeros(5, 6, dtype=torch.bool)),
    ):
        loss = model.loss(users, positives, negatives, history)
        for weight, gradient in gradients(loss, dict(model.named_parameters())).items():
            assert gradient.isfinite().all(), f"{name} {options}: gradient of {weight}"
        assert loss.isfinite(), f"{name} {options}: loss"


@pytest.mark.parametrize("smoothing", [1.0, 0.7])
def test_hlr_without_a_history_does_not_move_the_user(smoothing) -> None:
    model = build(NAMES["HLR"], attention_smoothing=smoothing)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    r = model.translation(model.user_embedding(users), model.item_embedding(items), history)  # (B, C, d)
    empty = ~history.mask.any(dim=1)
    assert empty.any()
    assert not r[empty].any()
    assert r[~empty].any(dim=2).all()


@pytest.mark.parametrize(
    ("name", "options"),
    [p for p in variants(*TRAINING) if p.values[1].get("share_negative_relation")],
)
def test_shared_negative_relation_is_column_0s_and_only_in_training(name, options) -> None:
    model = build(name, **options)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    twin, rows = twin_of(model, **options), rows_of(history, len(users))
    own, lent = [], []
    for u, vs, row in zip(USERS, items.tolist(), rows, strict=True):
        own.append(torch.stack([twin.distance(u, v, row) for v in vs]))
        lent.append(torch.stack([twin.distance(u, v, row, lender=vs[0]) for v in vs]))
    evaluating = model.distances(users, items, history)
    training = model.train().distances(users, items, history)
    assert_close(training, torch.stack(lent), 1e-10, f"{name} {options} training")
    assert_close(evaluating, torch.stack(own), 1e-10, f"{name} {options} evaluation")


@pytest.mark.parametrize(
    ("name", "options"), variants("attend_user", "direct_memory", "clip_memories", "max_memory_norm")
)
def test_clipped_weights_lie_in_the_ball_and_rows_inside_stay(name, options) -> None:
    options = {**options, "max_norm": 0.9}
    model = build(name, **options)
    before = {weight: value.detach().clone() for weight, value in model.named_parameters()}
    expected = twin_of(model, **options).clipped()
    model.clip_weights()
    for weight, value in model.named_parameters():
        assert_close(value, expected[weight], 1e-14, f"{name} {options} {weight}")
        by_rows = weight.endswith("embedding.weight")
        inside = before[weight].norm(dim=1) <= 0.9
        if by_rows:
            assert 0 < inside.sum() < len(inside), f"{name} {weight}: this test needs rows on both sides"
            assert (value.norm(dim=1) <= 0.9 + 1e-12).all(), f"{name} {options} {weight}"
            assert value[inside].equal(before[weight][inside]), f"{name} {options} {weight}"
        elif options.get("max_memory_norm") and weight.endswith("memories"):
            assert (value.norm(dim=1) <= 0.3 + 1e-12).all(), f"{name} {options} {weight}"
        elif not options.get("clip_memories"):
            assert value.equal(before[weight]), f"{name} {options} {weight}"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        param
        for param in variants("attend_user", "direct_memory", "clip_memories", "max_memory_norm")
        if param.values[1].get("clip_memories") or param.values[1].get("max_memory_norm")
    ],
)
def test_clipped_memories_bound_the_length_of_the_relation(name, options) -> None:
    model = build(name, max_norm=0.6, **{"max_memory_norm": None, **options})
    with torch.no_grad():
        for memory in memories_of(model):
            memory.memories.mul_(3)
    bound = options.get("max_memory_norm") or model.max_norm
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)

    def longest() -> float:
        r = model.translation(model.user_embedding(users), model.item_embedding(items), history)  # (B, C, d)
        return r.norm(dim=2).max().item()

    assert longest() > bound, f"{name} {options}: short before it is clipped"
    model.clip_weights()
    assert longest() <= bound + 1e-12, f"{name} {options}"


@pytest.mark.parametrize("clip_memories", [False, True])
@each_model
def test_without_norms_nothing_is_clipped(name, clip_memories) -> None:
    model = build(name, max_norm=None, max_memory_norm=None, clip_memories=clip_memories)
    before = [value.detach().clone() for value in model.parameters()]
    model.clip_weights()
    assert all(value.equal(old) for value, old in zip(model.parameters(), before, strict=True))


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), variants("attend_user", "item_attention"))
def test_checkerboard_with_the_diagonal_withheld_is_learnt(name, options) -> None:
    size = 8  # user u likes item i where u + i is even, and (u, u) is neither trained on nor a negative
    liked = [(u, i) for u in range(1, size + 1) for i in range(1, size + 1) if (u + i) % 2 == 0]
    data = Toy([(u, i) for u, i in liked if u != i], size + 1, size + 1)
    never_negative = History.from_pairs(*torch.tensor(liked).T, size + 1, size + 1)
    model = build(name, data, margin=2.0, **options)
    users = list(range(1, size + 1))

    def top_items() -> list[int]:
        scores = scores_of_all(model.eval(), users)  # (U - 1, I)
        scores[:, 0] = -torch.inf
        for u in users:
            scores[u - 1, data.items_of(u)] = -torch.inf
        return scores.argmax(dim=1).tolist()

    assert top_items() != users, f"{name} {options}: right before it is trained"
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
    assert top_items() == users, f"{name} {options}: the withheld item is not first"


# --- what belongs to a model ----------------------------------------------------------------------


@each_model
def test_every_model_has_a_plain_twin(name) -> None:
    assert toys.MODELS[name].__name__ in reference.TWINS


@each_model
def test_every_model_has_a_row_in_the_readme(name) -> None:
    readme = Path(__file__).parents[1] / "README.md"
    assert readme.is_file(), "there is no README.md"
    names = [alias for alias, model in toys.MODELS.items() if model is toys.MODELS[name]]
    lines = readme.read_text(encoding="utf-8").splitlines()
    assert any(line.startswith(f"| {alias} |") for alias in names for line in lines), f"no line '| {name} |'"


@each_model
def test_every_option_of_a_models_yaml_is_commented_and_checked(name) -> None:
    path = shipped("properties", "model", f"{toys.MODELS[name].__name__}.yaml")
    assert path.is_file(), f"there is no {path.name}"
    options = {**RUN_OPTIONS, **MODEL_OPTIONS}
    for key, value in load_yaml(path).items():
        assert key in options, f"{path.name}: no code checks {key}"
        assert options[key].check(value), f"{path.name}: {key}={value} must be {options[key].allowed}"
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        assert not line.strip() or re.fullmatch(r"\w+: .*\S\s+# \(.+\) \S.*|#.*", line), (
            f"{path.name}:{number}: needs a comment '# (type) meaning'"
        )
