"""Sampled ranking: what is ranked, for whom, and that nothing but split and seed decides on it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.data.dataloader import NegSampleEvalDataLoader
from recbole.data.utils import create_samplers

from recbole_hlr import evaluate, prepare, run
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data import candidates, negatives
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.loaders import load_split
from recbole_hlr.data.negatives import draw_candidates
from recbole_hlr.data.random import Stream, generator_for
from tests.test_history import successive_draws

USERS, ITEMS = 7, 11
PHASES = ("valid", "test")


def ranked(loader) -> dict[int, list[int]]:
    """The items that are ranked for every user, in the loader's order."""
    found: dict[int, list[int]] = {}
    for pairs, *_ in loader:
        for user, item in zip(pairs["user_id"].tolist(), pairs["item_id"].tolist(), strict=True):
            found.setdefault(user, []).append(item)
    return found


def items_of(*parts) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for part in parts:
        feat = part.inter_feat
        for user, item in zip(feat["user_id"].tolist(), feat["item_id"].tolist(), strict=True):
            found.setdefault(user, set()).add(item)
    return found


# --- what is drawn ------------------------------------------------------------------------------------------

pairs = st.sets(st.tuples(st.integers(1, USERS - 1), st.integers(1, ITEMS - 1)))
numbers = st.lists(st.integers(0, 2 * ITEMS), min_size=USERS, max_size=USERS).filter(any)
weightings = st.none() | st.lists(st.sampled_from([0, 1, 5]), min_size=ITEMS, max_size=ITEMS)


@settings(max_examples=60, deadline=None)
@given(pairs, numbers, weightings, st.sampled_from([ITEMS, 3 * ITEMS]), st.integers(0, 9))
def test_as_many_distinct_unseen_items_as_are_asked_for_or_there_are(
    seen, asked, weights, block, seed
) -> None:
    users, items = torch.tensor(sorted(seen), dtype=torch.int64).view(-1, 2).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(negatives, "_BLOCK", block)
        found = draw_candidates(
            InteractionMatrix.from_pairs(users, items, USERS, ITEMS),
            torch.tensor(asked),
            None if weights is None else torch.tensor(weights),
            generator_for(seed, Stream.TEST_CANDIDATES),
        )
    for user in range(USERS):
        drawn = found.items[found.indptr[user] : found.indptr[user + 1]].tolist()
        free = {i for i in range(1, ITEMS) if (user, i) not in seen and (weights is None or weights[i])}
        assert len(drawn) == len(set(drawn)) == min(asked[user], len(free))
        assert set(drawn) <= free


@pytest.mark.parametrize("weights", [None, [0, 1, 2, 3, 6, 9]])
def test_chances_are_those_of_successive_draws(weights) -> None:
    draws, seen = 4000, 5
    users = torch.arange(1, draws + 1)
    history = InteractionMatrix.from_pairs(users, torch.full((draws,), seen), draws + 1, 6)
    asked = torch.full((draws + 1,), 2)
    asked[0] = 0
    weighted = None if weights is None else torch.tensor(weights)
    found = draw_candidates(history, asked, weighted, generator_for(3, Stream.TEST_CANDIDATES))
    counts = Counter(map(tuple, found.items.view(draws, 2).tolist()))
    expected: Counter = Counter()
    chances = {i: 1 if weights is None else weights[i] for i in range(1, 5)}
    for pair, chance in successive_draws(chances, 2).items():
        expected[tuple(sorted(pair))] += chance
    assert set(counts) == set(expected)
    for pair, chance in expected.items():
        spread = (draws * chance * (1 - chance)) ** 0.5
        assert abs(counts[pair] - draws * chance) < 4 * spread, (pair, counts[pair], draws * chance)


def test_popularity_is_that_of_the_interactions_so_far(toy, monkeypatch) -> None:
    weights = []

    def spy(seen, asked, given, generator):
        weights.append(given.tolist())
        return draw_candidates(seen, asked, given, generator)

    monkeypatch.setattr(candidates, "draw_candidates", spy)
    parts = prepare("CML", **toy, eval_args={"mode": "pop3"})
    held = [parts.train_data.dataset, parts.valid_data._dataset, parts.test_data._dataset]
    for given_weights, known in zip(weights, (held[:2], held), strict=True):
        counts = Counter(item for part in known for item in part.inter_feat["item_id"].tolist())
        assert given_weights == [counts[item] for item in range(parts.dataset.item_num)]


# --- who ranks what -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["uni4", "pop4"])
def test_split_and_seed_alone_decide(toy, mode) -> None:
    """Not the model, its loader, epochs, what was evaluated before, or the size of the batches."""
    toy.pop("embedding_size")
    found = []
    for model, more in (
        ("CML", {}),
        ("BPR", {"eval_batch_size": 40}),
        ("HLR", {"lr_scheduler": {"name": "ExponentialLR", "gamma": 0.9}}),
        ("ItemKNN", {}),
        ("MF-ALS", {"eval_memory": 1e-6}),
        ("CML", {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 2}}),
    ):
        torch.manual_seed(len(found))
        parts = prepare(model, **toy, **more, eval_args={"mode": mode})
        before = [ranked(parts.valid_data), ranked(parts.test_data)]
        parts.trainer.fit(parts.train_data, parts.valid_data)
        assert [ranked(parts.valid_data), ranked(parts.test_data)] == before
        found.append(before)
    assert all(one == found[0] for one in found)
    assert found[0][0] != found[0][1]
    other = prepare("CML", **{**toy, "seed": 5}, eval_args={"mode": mode})
    same = prepare("ItemKNN", **{**toy, "seed": 5}, eval_args={"mode": mode})
    assert ranked(other.test_data) == ranked(same.test_data) != found[0][1]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("mode", ["uni2", "uni100", "pop100"])
def test_positives_and_others_that_the_user_has_not_seen(toy, mode, phase) -> None:
    parts = prepare("CML", **toy, eval_args={"mode": mode, "split": {"RS": [5, 2, 3]}})
    held = [parts.train_data.dataset, parts.valid_data._dataset, parts.test_data._dataset]
    n = 1 + PHASES.index(phase)
    seen, positives = items_of(*held[: n + 1]), items_of(held[n])
    found = ranked(getattr(parts, f"{phase}_data"))
    assert set(found) == set(positives)
    for user, items in found.items():
        wanted = positives[user]
        assert set(items[: len(wanted)]) == wanted
        others = items[len(wanted) :]
        unseen = set(range(1, parts.dataset.item_num)) - seen[user]
        assert len(others) == len(set(others)) == min(int(mode[3:]) * len(wanted), len(unseen))
        assert set(others) <= unseen


def test_batches_are_the_hosts_where_every_user_has_enough_items(toy) -> None:
    """But for what is drawn: columns, rows, labels, positives."""
    options = {**toy, "eval_args": {"mode": "uni2"}, "load_col": {"inter": ["user_id", "item_id", "rating"]}}
    ours = prepare("CML", **options).test_data
    config = HLRConfig("CML", options=options)
    data = load_split(config)
    theirs = NegSampleEvalDataLoader(config, data.parts[2], create_samplers(config, *data[:2])[2])
    (found, *index), (expected, *wanted) = next(iter(ours)), next(iter(theirs))
    assert set(found.columns) == set(expected.columns)
    for name in ("user_id", "rating", "label"):
        assert found[name].equal(expected[name][: len(found[name])]), name
        assert found[name].dtype == expected[name].dtype
    assert len(found) == len(expected)
    for one, other in zip(index, wanted, strict=True):
        assert one.equal(other)
        assert one.dtype == other.dtype


@pytest.mark.parametrize("model", ["HLR", "BPR"])
def test_metrics_of_ragged_rows_against_plain_loops(toy, model) -> None:
    options = {**toy, "metrics": ["Recall", "MRR", "GAUC"], "topk": [3], "valid_metric": "MRR@3"}
    parts = prepare(model, **options, eval_args={"mode": "uni4", "split": {"RS": [4, 2, 4]}})
    found = parts.trainer.evaluate(parts.test_data)
    lists = ranked(parts.test_data)
    positives = items_of(parts.test_data._dataset)
    assert len({len(items) / len(positives[user]) for user, items in lists.items()}) > 1, "nobody is short"
    recall, first, above = [], [], []
    for user, items in lists.items():
        pairs = {"user_id": torch.full((len(items),), user), "item_id": torch.tensor(items)}
        scores = dict(zip(items, parts.model.predict(pairs).tolist(), strict=True))
        order = sorted(items, key=lambda item: -scores[item])
        hits = [item in positives[user] for item in order]
        recall.append(sum(hits[:3]) / len(positives[user]))
        first.append(next((1 / rank for rank, hit in enumerate(hits[:3], 1) if hit), 0))
        others = [item for item in items if item not in positives[user]]
        if others:
            pairs_right = [scores[p] > scores[o] for p in positives[user] for o in others]
            above.append((np.mean(pairs_right), len(positives[user])))
    assert found["recall@3"] == pytest.approx(np.mean(recall))
    assert found["mrr@3"] == pytest.approx(np.mean(first))
    values, weights = zip(*above, strict=True)
    assert found["gauc"] == pytest.approx(np.average(values, weights=weights))


def test_values_per_user_and_cohorts(toy) -> None:
    result = run("CML", **toy, user_metrics=True, cohorts=2, eval_args={"mode": "uni3"})
    table = pd.read_parquet(f"{result.run_dir}/users.parquet")
    assert table["ndcg@10"].mean() == pytest.approx(result.test["ndcg@10"])
    again = evaluate(result.run_dir, cohorts=2)
    assert (again.test, again.cohorts, again.valid) == (result.test, result.cohorts, result.valid)


def test_ratings_of_sampled_pairs(toy) -> None:
    rated = {"metrics": ["AUC", "LogLoss"], "valid_metric": "AUC", "eval_args": {"mode": "uni3"}}
    result = run("BPR", **toy, **rated)
    assert 0 < result.test["auc"] < 1
    assert evaluate(result.run_dir).test == result.test


def test_a_killed_run_ranks_the_same_when_it_goes_on(toy) -> None:
    options = {**toy, "eval_args": {"mode": "pop3"}}
    short = run("BPR", **{**options, "epochs": 1})
    assert run(resume=short.run_dir, epochs=3).test == run("BPR", **options).test
