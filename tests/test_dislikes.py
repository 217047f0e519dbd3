"""Known dislikes as negatives: what they are, losses and gradients by plain loops, draws, and runs."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.interaction import Interaction

from recbole_hlr import InputError, load, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.data.interactions import DISLIKED, InteractionMatrix
from recbole_hlr.data.negatives import mix_in
from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.data.user_rows import UserLoader
from recbole_hlr.objective import softmax
from recbole_hlr.objective.sample import Seen
from recbole_hlr.objective.softmax import Disliked, against
from tests.test_softmax import assert_the_references, drawn, model_and_twin
from tests.toys import NUM_ITEMS, NUM_USERS, Toy, assert_close, each_model, gradients, options_for, ragged

# Of users of `ragged`: user 1 has two items left, user 3 no positive, user 8 dislikes all that it has not.
COUNTS = {1: 2, 2: 5, 3: 4, 5: 3, 8: 3}


def dislikes_of(data: Toy) -> dict[int, list[int]]:
    unseen = {u: [i for i in range(1, NUM_ITEMS) if i not in data.items_of(u)] for u in COUNTS}
    return {u: items[-COUNTS[u] :] for u, items in unseen.items()}


def matrix_of(told: dict[int, list[int]]) -> InteractionMatrix:
    pairs = torch.tensor([(u, i) for u, items in told.items() for i in items]).T
    return InteractionMatrix.from_pairs(pairs[0], pairs[1], NUM_USERS, NUM_ITEMS)


def config_of(**more) -> dict:
    fields = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id"}
    return {**fields, "device": torch.device("cpu"), "seed": 5, **more}


def whole_batch(data: Toy) -> Interaction:
    trained = InteractionMatrix.of(data)
    (batch,) = UserLoader(
        config_of(), data, trained, 99, shuffle=False, disliked=matrix_of(dislikes_of(data))
    )
    return batch


# --- the softmax ------------------------------------------------------------------------------------------


@each_model
@pytest.mark.parametrize(
    "options", [{"disliked": "masked"}, {"disliked": "weighted", "disliked_weight": 2.7}], ids=str
)
@pytest.mark.parametrize("candidates", ["all", 6])
def test_loss_and_gradients_are_the_references(name, options, candidates) -> None:
    data = ragged()
    options = {**options, "candidates": candidates, "candidate_distribution": "uniform"}
    model, twin, rows = model_and_twin(name, data, **options)
    sample = None if candidates == "all" else drawn(model, data)
    loss = model.calculate_loss(whole_batch(data))
    expected = twin.softmax_loss(rows, sample, dislikes_of(data))
    assert abs(expected - twin.softmax_loss(rows, sample)) > 1e-3, "dislikes must matter here"
    assert_the_references(model, loss, expected, twin.weights, f"{name} {options}")


@pytest.mark.parametrize("name", ["CML", "HLR"])
@pytest.mark.parametrize("options", [{"disliked": "masked"}, {"disliked": "weighted"}], ids=str)
def test_blocks_and_computing_them_twice_change_nothing(name, options, monkeypatch) -> None:
    data, found = ragged(), []
    for width, recompute in ((NUM_ITEMS, False), (1, False), (5, True), (NUM_ITEMS, True)):
        model, _, _ = model_and_twin(name, data, **options)
        starts = range(0, NUM_ITEMS - 1, width)
        blocks = [slice(start, min(start + width, NUM_ITEMS - 1)) for start in starts]
        monkeypatch.setattr(softmax.Softmax, "blocks", lambda *sizes, b=blocks, r=recompute: (b, r))
        loss = model.calculate_loss(whole_batch(data))
        found.append([loss, *gradients(loss, dict(model.named_parameters())).values()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            assert_close(two, one, 1e-11, f"{name} {options}")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_sums_of_any_pairs_of_any_weight_in_any_blocks(data) -> None:
    users, items = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 7))
    kinds = [[data.draw(st.sampled_from("pdn")) for _ in range(items)] for _ in range(users)]
    weight, width = data.draw(st.sampled_from([0.0, 0.3, 1.0, 4.0])), data.draw(st.integers(1, items))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999)))
    distances = torch.randn(users, items, generator=generator, dtype=torch.float64, requires_grad=True)
    pairs = {
        kind: Seen(*torch.tensor([[u, i] for u in range(users) for i in range(items) if kinds[u][i] == kind],
                                 dtype=torch.int64).view(-1, 2).T)
        for kind in "pd"
    }  # fmt: skip
    blocks = [slice(start, min(start + width, items)) for start in range(0, items, width)]
    rest, _ = against(
        lambda b: distances[:, b], blocks, pairs["p"], 1.3, None, data.draw(st.booleans()),
        Disliked(pairs["d"], weight),
    )  # fmt: skip
    times = {"p": 0.0, "d": weight, "n": 1.0}
    for u in range(users):
        sums = sum(times[kinds[u][i]] * torch.exp(-1.3 * distances[u, i]) for i in range(items))
        if sums == 0:
            assert rest[u] < -1e30  # nothing is held against this user
            continue
        assert rest[u].item() == pytest.approx(math.log(sums.item()), abs=1e-9)
        (found,) = torch.autograd.grad(rest[u], distances, retain_graph=True)
        (wanted,) = torch.autograd.grad(torch.log(sums), distances, retain_graph=True)
        assert_close(found, wanted, 1e-9, f"user {u}")


def test_the_column_tells_dislikes_apart_and_who_has_these_alone_is_not_there() -> None:
    data = ragged()
    batch, told = whole_batch(data), dislikes_of(data)
    pairs = list(
        zip(batch["user_id"].tolist(), batch["item_id"].tolist(), batch[DISLIKED].tolist(), strict=True)
    )
    wanted = [(u, i, False) for u in range(NUM_USERS) for i in data.items_of(u)]
    wanted += [(u, i, True) for u, items in told.items() for i in items if data.items_of(u)]
    assert sorted(pairs) == sorted(wanted)
    assert 3 in told
    assert 3 not in batch["user_id"]


# --- triplets ---------------------------------------------------------------------------------------------


def test_each_negative_is_a_dislike_by_plain_loops() -> None:
    told = dislikes_of(ragged())
    matrix, users = matrix_of(told), torch.tensor([4, 1, 8, 7, 2])
    negatives = torch.randint(1, NUM_ITEMS, (5, 6))
    found = mix_in(negatives, users, matrix, 0.6, torch.Generator().manual_seed(3))
    place, chance = torch.rand(2, 5, 6, generator=torch.Generator().manual_seed(3)).double()
    taken = 0
    for row, user in enumerate(users.tolist()):
        for k in range(6):
            items, wanted = sorted(told.get(user, [])), negatives[row, k].item()
            if items and chance[row, k] < 0.6:
                wanted, taken = items[int(place[row, k] * len(items))], taken + 1
            assert found[row, k] == wanted
    assert 0 < taken < 18


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_share_of_the_negatives_are_dislikes_and_the_others_as_before(share) -> None:
    data = ragged()
    told = dislikes_of(data)
    config = options_for("CML", train_neg_sample_args={"sample_num": 4}, seed=5, disliked_share=share)
    seen = InteractionMatrix.of(data)
    mixed = TripletLoader(config, data, seen, 7, disliked=matrix_of(told))
    plain = TripletLoader(config, data, seen, 7)
    counts = Counter()
    for _ in range(30):
        for batch, other in zip(mixed, plain, strict=True):
            assert batch["user_id"].equal(other["user_id"])
            rows = zip(batch["user_id"].tolist(), batch["neg_item_id"], other["neg_item_id"], strict=True)
            for user, negatives, sampled in rows:
                changed = (negatives != sampled).sum().item()
                if user in told:
                    counts.update(item in told[user] for item in negatives.tolist())
                    assert share > 0 or changed == 0
                else:
                    assert changed == 0
                assert not set(negatives.tolist()) & set(data.items_of(user))
    if share == 1:
        assert not counts[False]
    if share == 0.5:  # and of the sampled ones some are dislikes by chance
        chances = {u: 0.5 + 0.5 * n / (NUM_ITEMS - 1 - len(data.items_of(u))) for u, n in COUNTS.items()}
        positives = data.inter_feat["user_id"].tolist()
        expected = sum(30 * 4 * positives.count(u) * chance for u, chance in chances.items())
        assert counts[True] == pytest.approx(expected, rel=0.02)


def test_an_epochs_dislikes_follow_from_seed_and_epoch() -> None:
    data = ragged()

    def negatives(epoch, seed=5):
        config = options_for("CML", train_neg_sample_args={"sample_num": 4}, seed=seed, disliked_share=0.5)
        loader = TripletLoader(
            config, data, InteractionMatrix.of(data), 7, disliked=matrix_of(dislikes_of(data))
        )
        loader.set_epoch(epoch)
        return [batch["neg_item_id"].tolist() for batch in loader]

    assert negatives(2) == negatives(2)
    assert negatives(2) != negatives(3)
    assert negatives(2) != negatives(2, seed=6)


# --- what they are ----------------------------------------------------------------------------------------

COLUMNS = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")


def rated(folder: Path, users: int = 20, items: int = 60, each: int = 50) -> list[tuple[str, str, int, int]]:
    """Write the data set `shop` with ratings 1 to 5, each at a time of its own, and return its rows."""
    draw = np.random.default_rng(3)
    rows = [
        (f"u{user}", f"i{item}", int(draw.integers(1, 6)))
        for user in range(users)
        for item in draw.permutation(items)[:each]
    ]
    timed = [(*row, int(time)) for row, time in zip(rows, draw.permutation(len(rows)), strict=True)]
    write(folder, timed)
    return timed


def write(folder: Path, rows: list[tuple], name: str = "shop", columns: tuple = COLUMNS) -> None:
    (folder / "shop").mkdir(exist_ok=True)
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
    (folder / "shop" / f"{name}.inter").write_text("\n".join(lines) + "\n")


@pytest.fixture
def shop(tmp_path):
    """Options of a run that takes ratings of 4 and 5 for positives."""
    return {
        "dataset": "shop", "data_path": str(tmp_path), "checkpoint_dir": str(tmp_path / "runs"),
        "load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}, "threshold": {"rating": 4},
        "embedding_size": 6, "epochs": 3, "train_batch_size": 16, "show_progress": False, "topk": [5],
    }  # fmt: skip


def told_to(options: dict) -> tuple[set, set]:
    """Return a run's dislikes, and what it trains on, as pairs of tokens."""
    parts = prepare("CML", **options, disliked="weighted")
    data = parts.train_data.dataset
    matrix = parts.train_data.disliked

    def tokens(users, items):
        names = (
            data.id2token(field, ids) for field, ids in ((data.uid_field, users), (data.iid_field, items))
        )
        return set(zip(*(one.tolist() for one in names), strict=True))

    trained = tokens(data.inter_feat[data.uid_field], data.inter_feat[data.iid_field])
    return tokens(matrix.users(), matrix.items), trained


def test_they_are_what_threshold_leaves_out_as_large_a_share_as_is_trained_on(tmp_path, shop) -> None:
    rows = rated(tmp_path)
    told, trained = told_to(shop)
    left = {row[:2] for row in rows if row[2] < 4}
    assert told < left
    assert not told & trained
    assert len(told) / len(left) == pytest.approx(0.8, abs=0.1)
    again, _ = told_to(shop)
    other, _ = told_to({**shop, "seed": 3})
    assert told == again != other


def test_ratings_between_are_neither_with_an_interval_of_two_parts(tmp_path, shop) -> None:
    rows = rated(tmp_path)
    told, _ = told_to({**shop, "val_interval": {"rating": "[1,2];[4,5]"}})
    assert {row[2] for row in rows if row[:2] in told} == {1, 2}


def test_in_order_of_time_they_are_no_later_than_what_is_trained_on(tmp_path, shop) -> None:
    rows = rated(tmp_path)
    told, trained = told_to({**shop, "eval_args": {"order": "TO"}})
    times = {row[:2]: row[3] for row in rows}
    last = {user: max(times[pair] for pair in trained if pair[0] == user) for user, _ in trained}
    assert told == {row[:2] for row in rows if row[2] < 4 and row[3] <= last.get(row[0], -1)}


def test_of_given_parts_they_are_the_first_ones(tmp_path, shop) -> None:
    rows = rated(tmp_path)
    for name, chosen in (("train", rows[::2]), ("test", rows[1::2])):
        write(tmp_path, chosen, f"shop.{name}")
    told, _ = told_to({**shop, "benchmark_filename": ["train", "test"]})
    assert told == {row[:2] for row in rows[::2] if row[2] < 4}


@pytest.mark.parametrize("mode", ["full", "labeled"])
def test_labels_say_it_too(tmp_path, shop, mode) -> None:
    rows = [(*row[:2], int(row[2] >= 4)) for row in rated(tmp_path)]
    write(tmp_path, rows, columns=("user_id:token", "item_id:token", "label:float"))
    options = {**shop, "threshold": None, "load_col": None, "eval_args": {"mode": mode}}
    if mode == "labeled":
        options["metrics"] = ["AUC"]
    told, trained = told_to(options)
    assert told <= {row[:2] for row in rows if row[2] == 0}
    assert trained <= {row[:2] for row in rows if row[2] == 1}
    assert len(told) / sum(row[2] == 0 for row in rows) == pytest.approx(0.8, abs=0.1)


def test_what_is_trained_on_is_no_dislike_and_no_value_says_nothing(tmp_path, shop) -> None:
    rows = rated(tmp_path)
    liked = [row for row in rows if row[2] >= 4]
    write(tmp_path, [*rows, *((*row[:2], 1, row[3]) for row in liked[:40]), ("u1", "i0", "", 5)])
    told, trained = told_to(shop)
    assert not told & trained
    assert told <= {row[:2] for row in rows if row[2] < 4} | {row[:2] for row in liked}


# --- runs -------------------------------------------------------------------------------------------------

WAYS = [
    {"disliked": "masked"},
    {"disliked": "weighted", "disliked_weight": 3.0},
    {"disliked": "weighted", "candidates": 9},
    {"objective": "triplet", "negatives": "disliked"},
]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_runs_are_resumed_to_the_same_result_and_loaded(tmp_path, shop, way) -> None:
    rated(tmp_path)
    whole = run("HLR", **shop, **way)
    (Path(whole.run_dir) / "result.json").unlink()
    short = run("HLR", **{**shop, "epochs": 2}, **way)
    resumed = run(resume=short.run_dir, epochs=3)
    assert resumed.test == whole.test
    assert resumed.valid == whole.valid
    without = {key: value for key, value in way.items() if "objective" in key or key == "candidates"}
    plain = prepare("HLR", **shop, **without)
    plain.trainer.fit(plain.train_data, plain.valid_data)
    assert not torch.equal(
        plain.model.item_embedding.weight, prepare_and_fit(shop, way).model.item_embedding.weight
    )
    assert len(load(whole.run_dir).recommend("u1", k=3)) == 3


def prepare_and_fit(shop: dict, way: dict):
    parts = prepare("HLR", **shop, **way)
    parts.trainer.fit(parts.train_data, parts.valid_data)
    return parts


def test_a_weight_of_one_is_no_weight(tmp_path, shop) -> None:
    rated(tmp_path)
    one, none = (prepare("CML", **shop, disliked=way, disliked_weight=1.0) for way in ("weighted", "ignored"))
    for parts in (one, none):
        parts.trainer.fit(parts.train_data, parts.valid_data)
    assert torch.equal(one.model.item_embedding.weight, none.model.item_embedding.weight)


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"threshold": None, "disliked": "masked"}, "disliked=masked .*needs dislikes.*--threshold="),
        ({"threshold": {"rating": 1}, "disliked": "weighted"}, "disliked=weighted .*needs dislikes"),
        ({"threshold": None, "objective": "triplet", "negatives": "disliked"}, "negatives=disliked .*needs dislikes"),
        ({"disliked": "hated"}, "disliked=hated .*must be one of ignored, masked, weighted"),
        ({"disliked": "weighted", "disliked_weight": 0}, "disliked_weight=0 .*must be a number > 0"),
        ({"objective": "triplet", "disliked_share": 1.5}, r"disliked_share=1.5 .*must be a number in \[0, 1\]"),
        ({"objective": "triplet", "disliked": "masked"}, "disliked .*give objective=softmax"),
        ({"negatives": "disliked"}, "negatives .*give objective=triplet"),
        (
            {"objective": "triplet", "negatives": "disliked", "train_neg_sample_args": {"distribution": "popularity"}},
            "negatives=disliked .*must be sampled unless train_neg_sample_args is uniform",
        ),
        (
            {"disliked": "masked", "eval_args": {"order": "TO"}, "normalize_field": ["timestamp"]},
            "normalize_field=.*disliked=masked",
        ),
    ],
)  # fmt: skip
def test_wrong_input_ends_in_one_sentence(tmp_path, shop, options, pattern, capsys) -> None:
    rated(tmp_path)
    with pytest.raises(InputError, match=pattern) as told:
        prepare("CML", **{**shop, **options})
    assert "\n" not in str(told.value)
    words = [f"--{key}={value}" for key, value in {**shop, **options}.items() if key != "normalize_field"]
    if "normalize_field" not in options:
        assert main(["train", "--model=CML", *words]) == 2
        assert capsys.readouterr().err.count("error:") == 1
