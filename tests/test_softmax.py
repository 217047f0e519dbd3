"""The softmax over the catalogue: its loss and gradients are the reference's, whatever the blocks; the sphere."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction

from recbole_hlr import prepare, run
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.user_rows import UserLoader
from recbole_hlr.errors import InputError
from recbole_hlr.model import attention
from recbole_hlr.model.sphere import along_sphere, onto_sphere
from recbole_hlr.objective import softmax
from recbole_hlr.objective.sample import Sampler, Seen
from recbole_hlr.objective.softmax import against, softmax_loss
from tests.toys import (
    ALL_USERS,
    NUM_ITEMS,
    NUM_USERS,
    SCORING,
    SOFTMAX,
    assert_close,
    build,
    each_model,
    gradients,
    ragged,
    rows_of,
    scores_of_all,
    twin_of,
    variants,
)


def batch_of(data, users=ALL_USERS) -> Interaction:
    pairs = [(u, i) for u in users for i in data.items_of(u)]
    columns = torch.tensor(pairs).T.contiguous()
    return Interaction({"user_id": columns[0], "item_id": columns[1]})


def model_and_twin(name, data, disturb=lambda model: None, **options):
    options = {**SOFTMAX, "denominator_exponent": 1.2, "user_weight": 0.4, **options}
    model = build(name, data, **options).train()
    disturb(model)
    model.start_epoch(1)
    twin = twin_of(model, data, learn=True, **options)
    histories = {}
    if model.attends_to_history:
        users = torch.tensor([u for u in ALL_USERS if data.items_of(u)])
        drawn = rows_of(training_histories(model, users), len(users))
        histories = dict(zip(users.tolist(), drawn, strict=True))
        model.start_epoch(1)  # the same draws again
    rows = [(u, data.items_of(u), histories.get(u, [])) for u in ALL_USERS if data.items_of(u)]
    return model, twin, rows


def training_histories(model, users):
    offsets = model.history.offsets(users, model._generator)
    return model.history.draw(users, model.max_history, offsets=offsets)


def disturbed(model) -> None:
    """Give what starts at one value for all items, and the factor of the scale, values of their own."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        if model.item_bias is not None:
            model.item_bias.copy_(torch.randn(NUM_ITEMS, generator=generator))
        if model.objective.root is not None:
            model.objective.root.fill_(1.3)


def assert_the_references(model, loss, expected, weights, what) -> None:
    assert_close(loss, expected, 1e-10, f"{what} loss")
    found, wanted = gradients(loss, dict(model.named_parameters())), gradients(expected, weights)
    for weight, gradient in wanted.items():
        assert_close(found[weight], gradient, 1e-9, f"{what} gradient of {weight}")
    assert all(found[weight].any() for weight in found)
    assert not found["item_embedding.weight"][0].any(), "the padding row has a gradient"


@pytest.mark.parametrize(("name", "options"), variants(*SCORING, "neighbour_refresh"))
def test_loss_and_gradients_are_the_references(name, options) -> None:
    data = ragged()
    model, twin, rows = model_and_twin(name, data, **options)
    loss, expected = model.calculate_loss(batch_of(data)), twin.softmax_loss(rows)
    assert_the_references(model, loss, expected, twin.weights, f"{name} {options}")


@each_model
@pytest.mark.parametrize("sampled", [False, True])
def test_bias_and_learned_scale_are_the_references(name, sampled) -> None:
    data, more = ragged(), {"item_bias": True, "learn_scale": True, "candidates": 5 if sampled else "all"}
    model, twin, rows = model_and_twin(name, data, disturb=disturbed, **more)
    sample = drawn(model, data) if sampled else None
    loss, expected = model.calculate_loss(batch_of(data)), twin.softmax_loss(rows, sample)
    assert_the_references(model, loss, expected, twin.weights, name)
    users = torch.tensor([1, 2])
    model.eval()
    scores = scores_of_all(model, users.tolist())
    listed = Interaction(
        {"user_id": users.repeat_interleave(NUM_ITEMS), "item_id": torch.arange(NUM_ITEMS).repeat(2)}
    )
    assert_close(model.predict(listed).view(2, -1), scores, 1e-10, "pairs and blocks")
    with torch.no_grad():
        bare = -model.distances(model.ranked(users), model.shared(slice(0, NUM_ITEMS)))
    assert_close(scores, bare + model.item_bias, 1e-10, "score")


# --- samples ----------------------------------------------------------------------------------------------


def drawn(model, data) -> dict[int, float]:
    """What the next batch is held against, by item, and drawn again when that batch comes."""
    model.start_epoch(1)
    sample = model.objective.sampler.draw(batch_of(data)["item_id"], model.objective._generator)
    model.start_epoch(1)
    return dict(zip(sample.ids.tolist(), sample.log_weights.exp().tolist(), strict=True))


@pytest.mark.parametrize("distribution", ["uniform", "popularity", "batch"])
@pytest.mark.parametrize(("name", "options"), variants("item_attention", "attend_target", "attend_user"))
def test_a_sample_has_the_references_loss_and_gradients(name, options, distribution) -> None:
    data = ragged()
    options = {**options, "candidates": 6, "candidate_distribution": distribution}
    model, twin, rows = model_and_twin(name, data, **options)
    sample = drawn(model, data)
    loss, expected = model.calculate_loss(batch_of(data)), twin.softmax_loss(rows, sample)
    assert_the_references(model, loss, expected, twin.weights, f"{name} {options}")


@each_model
def test_a_sample_of_all_items_is_the_catalogue(name, monkeypatch) -> None:
    data, found = ragged(), []
    for candidates, memory in (("all", None), (NUM_ITEMS - 1, None), (NUM_ITEMS - 1, 1000)):
        model, _, _ = model_and_twin(name, data, candidates=candidates)
        if memory is not None:
            model.objective.train_memory = memory
        loss = model.calculate_loss(batch_of(data))
        found.append([loss, *gradients(loss, dict(model.named_parameters())).values()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert_close(two, one, 1e-11, name)


@pytest.mark.parametrize("distribution", ["uniform", "popularity", "batch"])
def test_sums_over_samples_are_those_over_the_catalogue_on_average(distribution) -> None:
    generator = torch.Generator().manual_seed(5)
    items, count, draws = 12, 4, 6000
    popularity = torch.tensor([0, 5, 1, 9, 2, 2, 7, 1, 3, 4, 8, 1, 6])
    interactions = torch.repeat_interleave(torch.arange(items + 1), popularity)
    terms = torch.rand(items + 1, generator=generator, dtype=torch.float64) + 0.1
    sampler = Sampler(count, distribution, popularity)
    sums = []
    for _ in range(draws):
        batch = interactions[torch.randint(len(interactions), (9,), generator=generator)]
        ids, log_weights = sampler.draw(batch, generator)
        assert (ids[1:] > ids[:-1]).all()
        assert 1 <= ids[0] <= ids[-1] <= items
        sums.append((terms[ids] * log_weights.exp()).sum())
    estimates = torch.stack(sums)
    error = estimates.std() / draws**0.5
    assert abs(estimates.mean() - terms[1:].sum()) < 4 * error
    assert error < 0.05 * terms[1:].sum()


@pytest.mark.parametrize(("name", "options"), variants("item_attention", "attend_target", "attend_user"))
def test_blocks_and_computing_them_twice_change_nothing(name, options, monkeypatch) -> None:
    data, found = ragged(), []
    for width, recompute, chunk in (
        (NUM_ITEMS, False, 2**18),
        (1, False, 1),
        (5, True, 40),
        (NUM_ITEMS, True, 1),
    ):
        model, _, _ = model_and_twin(name, data, **options)
        starts = range(0, NUM_ITEMS - 1, width)
        blocks = [slice(start, min(start + width, NUM_ITEMS - 1)) for start in starts]
        monkeypatch.setattr(softmax.Softmax, "blocks", lambda *sizes, b=blocks, r=recompute: (b, r))
        monkeypatch.setattr(attention, "CHUNK", chunk)
        loss = model.calculate_loss(batch_of(data))
        found.append([loss, *gradients(loss, dict(model.named_parameters())).values()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert_close(two, one, 1e-11, f"{name} {options}")


def test_what_a_step_may_take_decides_on_blocks() -> None:
    model = build("HLR", **SOFTMAX).train()
    blocks, recompute = model.objective.blocks(model, NUM_ITEMS, 5, 7)
    assert not recompute
    assert [n for block in blocks for n in range(block.start, block.stop)] == list(range(NUM_ITEMS))
    model.objective.train_memory = 1000
    assert model.objective.blocks(model, NUM_ITEMS, 5, 7)[1]


@pytest.mark.parametrize("order", [1, 2])
def test_attended_sums_have_the_gradients_of_differences(order) -> None:
    generator = torch.Generator().manual_seed(order)
    table = torch.rand(6, 3, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    query = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    positions = torch.randint(6, (5, 2), generator=generator)
    columns = torch.randint(-1, 4, (5, 2), generator=generator)
    hidden = attention.Hidden(torch.rand(5, 2, generator=generator) > 0.3, columns)
    assert torch.autograd.gradcheck(
        lambda t, q: attention.AttendedSums.apply(t, q, positions, hidden), (table, query)
    )


def test_splitting_off_has_the_gradients_of_differences() -> None:
    generator = torch.Generator().manual_seed(2)
    distances = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    seen = Seen(torch.tensor([0, 0, 2]), torch.tensor([1, 4, 0]))
    added = torch.randn(5, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda d: softmax.SplitOff.apply(d, 1.7, seen, added), (distances,))


@pytest.mark.parametrize("smoothing", [1.0, 0.5])
def test_what_attends_to_nothing_has_finite_gradients_however_steep_the_loss(smoothing) -> None:
    table = torch.rand(3, 2, 4, requires_grad=True)
    query = torch.rand(2, 2, 1, requires_grad=True)
    positions = torch.tensor([[0, 1], [2, 0]])
    hidden = attention.Hidden(torch.tensor([[True, True], [False, False]]))
    mixture, _ = attention.attend_table_trained(table, positions, query, hidden, smoothing)
    assert not mixture[:, 1].any()
    (1e6 * mixture).sum().backward()
    assert table.grad.isfinite().all()
    assert query.grad.isfinite().all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_blocks_of_any_width_give_one_softmax(data) -> None:
    users, items = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 9))
    seen = [data.draw(st.sets(st.integers(0, items - 1), min_size=1)) for _ in range(users)]
    width, recompute = data.draw(st.integers(1, items)), data.draw(st.booleans())
    exponent, power = data.draw(st.floats(0.5, 2)), data.draw(st.floats(0, 1))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    distances = 4 * torch.randn(users, items, generator=generator, dtype=torch.float64)
    values = distances.tolist()
    distances.requires_grad_()
    added = torch.randn(items, generator=generator, dtype=torch.float64) if data.draw(st.booleans()) else None
    rows = torch.tensor([u for u, ids in enumerate(seen) for _ in ids])
    places = torch.tensor([i for chosen in seen for i in sorted(chosen)])
    blocks = [slice(start, min(start + width, items)) for start in range(0, items, width)]
    rest, own = against(lambda b: distances[:, b], blocks, Seen(rows, places), 1.3, added, recompute)
    loss = softmax_loss(rest, own, rows, power, exponent)
    total = 0.0
    times = [1.0] * items if added is None else added.exp().tolist()
    for u, chosen in enumerate(seen):
        rest = sum(times[j] * math.exp(-1.3 * values[u][j]) for j in range(items) if j not in chosen)
        terms = [math.log1p(rest**exponent / math.exp(-1.3 * values[u][i])) for i in chosen]
        total += len(chosen) ** (power - 1) * sum(terms)
    assert loss.item() == pytest.approx(total, rel=1e-6, abs=1e-9)
    (gradient,) = torch.autograd.grad(loss, distances)
    assert gradient.isfinite().all()
    for u, chosen in enumerate(seen):
        if len(chosen) == items:  # nothing is left to be told apart from
            assert not gradient[u].any()


# --- the loader -------------------------------------------------------------------------------------------


def loader(shuffle=True, size=3):
    data = ragged()
    config = {
        "USER_ID_FIELD": "user_id",
        "ITEM_ID_FIELD": "item_id",
        "device": torch.device("cpu"),
        "seed": 5,
    }
    return UserLoader(config, data, InteractionMatrix.of(data), size, shuffle), data


def test_an_epoch_has_every_user_once_with_all_items() -> None:
    batches, data = loader()
    assert len(batches) == 3
    seen = [list(zip(b["user_id"].tolist(), b["item_id"].tolist(), strict=True)) for b in batches]
    assert len(seen) == len(batches)
    pairs = [pair for batch in seen for pair in batch]
    assert sorted(pairs) == sorted((u, i) for u in range(NUM_USERS) for i in data.items_of(u))
    users = [[u for u, _ in batch] for batch in seen]
    assert all(len(set(batch)) <= 3 for batch in users)
    assert sum(len(set(batch)) for batch in users) == len({u for batch in users for u in batch})


def test_an_epochs_order_follows_from_seed_and_epoch() -> None:
    batches, _ = loader()

    def order(epoch):
        batches.set_epoch(epoch)
        return [b["user_id"].tolist() for b in batches]

    assert order(3) == order(3) != order(4)
    assert [b["user_id"].tolist() for b in batches] == order(5)  # the one after 4
    straight, _ = loader(shuffle=False)
    users = [user for b in straight for user in b["user_id"].tolist()]
    assert users == sorted(users)


# --- the sphere -------------------------------------------------------------------------------------------


def test_gradients_lead_along_the_sphere_and_steps_back_onto_it() -> None:
    generator = torch.Generator().manual_seed(1)
    vectors = torch.randn(4, 3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    other = torch.randn(6, generator=generator, dtype=torch.float64)
    (along,) = torch.autograd.grad((along_sphere(vectors) - other).square().sum(), vectors)
    assert_close((along * vectors).sum(dim=-1), torch.zeros(4, 3, dtype=torch.float64), 1e-12, "outwards")
    normalised = vectors / vectors.norm(dim=-1, keepdim=True) * vectors.detach().norm(dim=-1, keepdim=True)
    (wanted,) = torch.autograd.grad((normalised - other).square().sum(), vectors)
    assert_close(along, wanted, 1e-12, "as by normalising")
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    onto_sphere(rows, 2.0)
    assert rows.tolist() == [[pytest.approx(1.2), pytest.approx(1.6)], [0.0, 0.0]]


@each_model
@pytest.mark.parametrize("radius", [1.0, 0.5])
def test_a_run_stays_on_the_sphere_and_learns(name, radius, toy) -> None:
    options = {**toy, "objective": "softmax", "max_norm": radius, "epochs": 4, "train_batch_size": 5}
    parts = prepare(name, **options)
    before = loss_of(parts)
    parts.trainer.fit(parts.train_data, parts.valid_data)
    for table in (parts.model.user_embedding, parts.model.item_embedding):
        assert_close(table.weight.norm(dim=1), torch.full((len(table.weight),), radius), 1e-5, name)
    assert loss_of(parts) < before


def loss_of(parts) -> float:
    parts.model.train()
    parts.train_data.set_epoch(0)
    with torch.no_grad():
        return sum(parts.model.calculate_loss(batch).item() for batch in parts.train_data)


# --- runs -------------------------------------------------------------------------------------------------


@each_model
def test_scores_are_minus_distances_after_training(name, toy) -> None:
    parts = prepare(name, **{**toy, "objective": "softmax", "epochs": 1})
    parts.trainer.fit(parts.train_data, parts.valid_data)
    users, items = torch.tensor([1, 2, 3]), torch.arange(parts.model.n_items).expand(3, -1)
    parts.model.eval()
    with torch.no_grad():
        distances = parts.model.pair_distances(users, items, parts.model.evaluation_history(users))
    assert_close(scores_of_all(parts.model, [1, 2, 3]), -distances, 1e-4, name)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"scale": 0}, r"scale=0 .*must be a number > 0"),
        ({"scale": -1.0}, r"scale=-1.0 .*must be a number > 0"),
        ({"user_weight": 1.5}, r"user_weight=1.5 .*must be a number in \[0, 1\]"),
        ({"candidates": 500}, r"candidates=500 .*must be at most 17, the number of items, or all"),
        ({"geometry": "cube"}, r"geometry=cube .*must be one of ball, sphere"),
        ({"max_norm": None}, r"max_norm=None .*must be a number with geometry=sphere"),
        ({"share_negative_relation": True}, r"share_negative_relation=True .*unless objective=triplet"),
        ({"margin": 1.0}, r"margin \(.*is no option of HLR trained by objective=softmax"),
        ({"objective": "softmx"}, r"objective=softmx .*must be one of triplet, softmax"),
    ],
)
def test_wrong_options_are_told_in_one_sentence(given, sentence, toy) -> None:
    with pytest.raises(InputError, match=sentence):
        prepare("HLR", **{**toy, "objective": "softmax", **given})


def test_options_of_the_other_objective_are_told_to_be_so(toy) -> None:
    with pytest.raises(InputError, match=r"scale \(.*trained by objective=triplet; give objective=softmax"):
        prepare("CML", **toy, objective="triplet", scale=2.0)


def test_validation_by_the_loss_is_that_of_the_held_out_items(toy) -> None:
    result = run("CML", **{**toy, "objective": "softmax", "valid_metric": "loss", "epochs": 3})
    assert math.isfinite(result.best_valid_score)
    assert result.best_valid_score > 0


@pytest.mark.parametrize("name", ["CML", "HLR++"])
def test_a_resumed_run_ends_like_one_never_stopped(name, toy) -> None:
    options = {**toy, "objective": "softmax", "train_batch_size": 5}
    whole = run(name, **{**options, "epochs": 4})
    part = run(name, **{**options, "epochs": 2})
    again = run(resume=part.run_dir, epochs=4)
    assert again.test == whole.test
    assert again.best_valid_score == whole.best_valid_score
    assert losses_of(again.run_dir) == losses_of(whole.run_dir)


def losses_of(run_dir) -> list[float]:
    lines = (Path(run_dir) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 4
    return [json.loads(line)["train_loss"] for line in lines]
