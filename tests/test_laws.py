"""Laws that every metric model obeys: what does not matter, what it becomes, what bounds it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from recbole_hlr.data.interactions import HistoryBatch
from tests.toys import (
    CLIPPING,
    EMPTY,
    NAMES,
    NUM_ITEMS,
    NUM_USERS,
    SCORING,
    SIZE,
    TRAINING,
    USERS,
    Toy,
    assert_close,
    build,
    candidates,
    each_model,
    each_training,
    gradients,
    loop_scores,
    memories_of,
    ragged,
    ragged_batch,
    rows_of,
    scores_by_pairs,
    scores_of_all,
    translation_of,
    triplets,
    twin_of,
    variants,
    with_history,
    with_memory,
)

each_memory = pytest.mark.parametrize(("name", "options"), variants(*SCORING, names=with_memory()))


def shuffled_columns(history: HistoryBatch, seed: int = 0) -> HistoryBatch:
    order = torch.randperm(history.items.shape[1], generator=torch.Generator().manual_seed(seed))
    return HistoryBatch(history.items[:, order], history.mask[:, order])


@each_training
def test_padding_rows_do_not_matter(name, options) -> None:
    data = ragged()
    model = build(name, data, eval_history="all", **options)
    users, positives, negatives = triplets(data, 3)
    history = model.training_history(users, positives)

    def outcome() -> list[Tensor]:
        pairs, scores = scores_by_pairs(model, USERS)[:, 1:], scores_of_all(model, USERS)[:, 1:]
        model.train()
        model.start_epoch(1)
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


@pytest.mark.parametrize(("name", "options"), variants(*SCORING, names=with_history()))
def test_order_of_the_history_does_not_matter(name, options) -> None:
    model = build(name, **options)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 10, NUM_ITEMS)
    before = model.pair_distances(users, items, history)
    after = model.pair_distances(users, items, shuffled_columns(history))
    assert_close(after, before, 1e-13, f"{name} {options}")


@each_memory
def test_order_of_the_slots_does_not_matter(name, options) -> None:
    model = build(name, **options)
    pairs, scores = scores_by_pairs(model, USERS), scores_of_all(model, USERS)
    with torch.no_grad():
        for memory in memories_of(model):
            for weight in (memory.keys, memory.memories):
                weight.copy_(weight[torch.tensor([2, 0, 1])])
    assert_close(scores_by_pairs(model, USERS), pairs, 1e-13, f"{name} {options} predict")
    assert_close(scores_of_all(model, USERS), scores, 1e-13, f"{name} {options} full_sort_predict")


@each_memory
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


@pytest.mark.parametrize(
    ("name", "options"),
    variants("attend_user", "attend_target", "item_attention", names=with_memory()),
)
def test_one_slot_makes_every_attention_a_constant(name, options) -> None:
    data = ragged()
    model = build(name, data, num_memories=1, centre_memories=False, attention_smoothing=1.0, **options)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    known = history.mask.any(dim=1, keepdim=True).expand(items.shape)  # (B, C)
    moves = torch.ones(items.shape)  # how many attentions have something to attend to, (B, C)
    if name != NAMES["LRML"]:
        moves = (known | model.attend_user).float()
    if name == NAMES["HLRPP"]:
        sold = torch.isin(items, data.inter_feat["item_id"])
        attended = known if options["item_attention"] == "history" else sold
        moves = moves + (attended | options["attend_target"])
    expected = model.memory.memories[0] * moves.double().unsqueeze(2)  # (B, C, d)
    assert_close(translation_of(model, users, items, history), expected, 1e-14, f"{name} {options}")


@pytest.mark.parametrize(
    ("name", "options"),
    variants("attention_smoothing", names=with_history(), attend_user=False, attend_target=False),
)
def test_without_a_history_the_user_is_not_moved(name, options) -> None:
    model = build(name, **options)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    r = translation_of(model, users, items, history)  # (B, C, d)
    empty = ~history.mask.any(dim=1)
    assert empty.any()
    assert not r[empty].any()
    assert r[~empty].any(dim=2).all()


@each_training
def test_empty_histories_give_finite_scores_losses_and_gradients(name, options) -> None:
    nothing = Toy([], NUM_USERS, NUM_ITEMS)
    users, positives, negatives = triplets(ragged(), 3)
    for data, rows in ((ragged(), [EMPTY]), (nothing, USERS)):
        model = build(name, data, **options)
        expected = loop_scores(twin_of(model, data, **options), rows, [[]] * len(rows))
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


@pytest.mark.parametrize(
    ("name", "options"),
    [p for p in variants(*TRAINING) if p.values[1].get("share_negative_relation")],
)
def test_shared_negative_relation_is_column_0s_and_only_in_training(name, options) -> None:
    model = build(name, **options)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)
    rows = rows_of(history, len(users))
    for training in (False, True):
        twin = twin_of(model.train(training), **options)
        expected = [
            torch.stack([twin.distance(u, v, row, lender=vs[0] if training else None) for v in vs])
            for u, vs, row in zip(USERS, items.tolist(), rows, strict=True)
        ]
        found = model.pair_distances(users, items, history)
        assert_close(found, torch.stack(expected), 1e-10, f"{name} {options} training={training}")


@pytest.mark.parametrize(("name", "options"), variants(*CLIPPING))
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
        elif not options.get("clip_memories") and not options.get("orthogonal_memories"):
            assert value.equal(before[weight]), f"{name} {options} {weight}"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        param
        for param in variants(*CLIPPING, "attend_target", "item_attention")
        if param.values[1].get("clip_memories") or param.values[1].get("max_memory_norm")
    ],
)
def test_clipped_memories_bound_the_length_of_the_relation(name, options) -> None:
    model = build(name, max_norm=0.6, **{"max_memory_norm": None, **options})
    with torch.no_grad():
        for memory in memories_of(model):
            memory.memories.mul_(30)
    attentions = 2 if name == NAMES["HLRPP"] else 1
    bound = attentions * (options.get("max_memory_norm") or model.max_norm)
    users, items, history = torch.tensor(USERS), candidates(), ragged_batch(len(USERS), 6, NUM_ITEMS)

    def longest() -> float:
        return translation_of(model, users, items, history).norm(dim=2).max().item()

    assert longest() > bound, f"{name} {options}: short before it is clipped"
    model.clip_weights()
    assert longest() <= bound + 1e-12, f"{name} {options}"


@pytest.mark.parametrize("clip_memories", [False, True])
@each_model
def test_without_norms_nothing_is_clipped(name, clip_memories) -> None:
    free = {"max_norm": None, "max_memory_norm": None, "orthogonal_memories": False}
    model = build(name, **free, clip_memories=clip_memories)
    before = [value.detach().clone() for value in model.parameters()]
    model.clip_weights()
    assert all(value.equal(old) for value, old in zip(model.parameters(), before, strict=True))


@pytest.mark.parametrize("length", [None, 0.2])
@pytest.mark.parametrize("name", ["HLR", "HLR++", "LRML"])
def test_orthogonal_memories_cannot_become_one_vector(name, length) -> None:
    model = build(name, max_memory_norm=length, orthogonal_memories=True)
    (memory,) = memories_of(model)
    one = memory.memories.detach()[0].clone()
    with torch.no_grad():
        memory.memories.mul_(1e-3).add_(one)  # nearly the same in all slots
    before = memory.memories.norm(dim=1)
    model.clip_weights()
    squares = torch.full_like(before, length).square() if length else before.square()
    assert_close(memory.memories @ memory.memories.T, squares.diag(), 1e-10, name)
    nearest = memory.memories.detach().clone()
    model.clip_weights()
    assert_close(memory.memories, nearest, 1e-12, f"{name}: what is orthogonal stays")
    with torch.no_grad():
        memory.memories[0, 0] = float("nan")
    model.clip_weights()  # the epoch's end says so
    assert memory.memories.isnan().any()


@pytest.mark.parametrize("name", ["HLR", "HLR++", "LRML"])
@pytest.mark.parametrize("length", [1.0, 30.0])
def test_keys_start_with_the_length_asked_for(name, length) -> None:
    model = build(
        name,
        num_memories=200,
        initial_key_norm=length,
        **({"direct_memory": True, "attend_user": True} if name == "HLR" else {}),
    )
    memories = memories_of(model)
    assert len(memories) == (2 if name == "HLR" else 1)
    for memory in memories:
        assert memory.keys.norm(dim=1).square().mean().sqrt().item() == pytest.approx(length, rel=0.1)
        assert memory.memories.norm(dim=1).square().mean().sqrt().item() == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize("name", [name for name in NAMES.values() if name != "CML"])
def test_length_and_deviation_of_the_translation_are_those_over_pairs(name) -> None:
    model = build(name)
    users = torch.arange(1, model.n_users)
    items = torch.arange(1, model.n_items).expand(len(users), -1)
    pairs = model.users(users, model.evaluation_history(users)), model.listed(users, items)
    r = model.translation(*pairs).flatten(0, 1)
    found = model.describe_translation(100_000)
    assert found["length"] == pytest.approx(r.square().sum(dim=1).mean().sqrt().item(), rel=0.02)
    assert found["deviation"] == pytest.approx(
        (r - r.mean(dim=0)).square().sum(dim=1).mean().sqrt().item(), rel=0.02
    )
    spread = torch.linalg.svdvals(r - r.mean(dim=0)).square()
    assert found["directions"] == pytest.approx((spread.sum() ** 2 / spread.square().sum()).item(), rel=0.05)


def test_the_translation_is_described_as_it_ranks_also_after_training_without_a_validation() -> None:
    model = build("TransCF", neighbour_refresh="epoch")
    expected = model.eval().describe_translation()
    assert model.train().describe_translation() == expected


def test_one_slot_is_one_translation_for_all_pairs_and_cml_has_none() -> None:
    model = build("LRML", num_memories=1, centre_memories=False)
    found = model.describe_translation()
    expected = {"length": model.memory.memories.norm().item(), "deviation": 0, "directions": 0}
    assert found == pytest.approx(expected, abs=1e-9)
    assert build("CML").describe_translation() == {}
