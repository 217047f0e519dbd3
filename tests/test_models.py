"""Every metric model of MODELS: its three ways of scoring agree; it has a twin, a README row, checked options."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.model.base import MetricRecommender
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.table import MODEL_OPTIONS, RUN_OPTIONS
from recbole_hlr.options.yaml_values import load_yaml
from tests import reference, toys
from tests.toys import (
    ALL_USERS,
    CAP,
    NUM_ITEMS,
    NUM_USERS,
    SCORING,
    USERS,
    Toy,
    assert_close,
    build,
    each_model,
    loop_scores,
    ragged,
    ragged_batch,
    rows_of,
    scores_by_pairs,
    scores_of_all,
    translation_of,
    twin_of,
    variants,
    with_history,
)

each_scoring = pytest.mark.parametrize(("name", "options"), variants(*SCORING))


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
    for eval_history in toys.CHOICES["eval_history"]:
        model = build(name, data, eval_history=eval_history, max_history=4, **options)
        found, expected = scores_of_all(model, ALL_USERS), scores_by_pairs(model, ALL_USERS)
        assert_close(found, expected, 1e-12, f"{name} {options} {eval_history} {lengths}")


@pytest.mark.parametrize(("name", "options"), variants(*SCORING, names=with_history()))
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
    within = model.rows_within
    monkeypatch.setattr(model, "rows_within", lambda floats: sizes.add(rows := within(floats)) or rows)
    pairs, scores = scores_by_pairs(model, USERS), scores_of_all(model, USERS)
    for power in range(24, 64):
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
    monkeypatch.setattr(model, "rows_within", lambda floats: width)
    items = torch.arange(NUM_ITEMS).expand(len(users), -1)  # (B, I)
    pairs = model.users(users, model.evaluation_history(users)), model.listed(users, items)
    derived = -MetricRecommender.distances(model, *pairs)
    assert_close(model.score_all(users), derived, 1e-12, f"{name} {options} width={width}")


@each_scoring
def test_scores_are_minus_distances(name, options) -> None:
    model = build(name, **options)
    users = torch.tensor(USERS)
    items = torch.arange(NUM_ITEMS).expand(len(users), -1)  # (B, I)
    distances = model.pair_distances(users, items, model.evaluation_history(users))
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


@each_model
def test_expanded_distances_in_float32_are_never_negative_and_err_within_a_bound(name) -> None:
    eps, half = torch.finfo(torch.float32).eps, (NUM_USERS - 1) // 2
    data = Toy([(u, u) for u in ALL_USERS], NUM_USERS, NUM_ITEMS)
    model = build(name, data, embedding_size=100, num_memories=1, attend_target=False).float()
    movers = torch.arange(1, half + 1)  # who have one item and one slot: r depends on no unknown item
    targets = movers + half
    with torch.no_grad():
        users, items = model.user_embedding.weight, model.item_embedding.weight
        for table in (users, items, *(memory.memories for memory in toys.memories_of(model))):
            table.div_(table.norm(dim=1, keepdim=True))  # on the sphere
        r = translation_of(model, movers, targets[:, None], model.evaluation_history(movers))  # (B, 1, d)
        items[targets] = users[movers] + r.squeeze(dim=1)  # distance 0: all digits cancel
        scores = scores_of_all(model, ALL_USERS)
        longest = 1 + r.norm(dim=2).max().item() + items.norm(dim=1).max().item()  # ||p|| + ||r|| + ||q||
        exact = scores_by_pairs(model.double(), ALL_USERS)
    assert (exact[movers - 1, targets] > -1e-12).all()
    bound = 4 * eps * longest**2  # some roundings of terms that large
    error = (scores.double() - exact).abs().max().item()
    assert (scores <= 0).all(), f"{name}: a distance of {-scores.max():.1e}"
    assert 0 < error <= bound, f"{name}: off by {error:.1e}, allowed {bound:.1e}"


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
