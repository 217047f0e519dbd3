"""The paper's metrics against plain loops, against the released code's values, and beside RecBole's."""

import importlib
import json
import math
import random
import statistics
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from recbole.evaluator import Collector, metric_information, metric_types, metrics_dict, smaller_metrics
from recbole.evaluator import metrics as host_metrics

from recbole_hlr import run
from recbole_hlr.host import recbole as compat
from recbole_hlr.metrics.evaluator import Evaluation, UserEvaluator

compat.set_numpy_aliases()
GOLDEN = Path(__file__).resolve().parents[2] / "shared" / "golden" / "metrics.json"
NAMES = ["PaperMRR", "PaperMAP", "PaperHitRate", "PaperNDCG", "MedianPopularity", "CatalogueCoverage"]
HOST = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "ItemCoverage", "AveragePopularity"]


# --- plain loops: one user's list of items, that user's held-out items, the cut -------------------------


def dcg(hits: list[int], k: int) -> float:
    return sum(h / math.log2(rank + 1) for rank, h in enumerate(hits[:k], start=1))


def hits_of(items: list[int], wanted: set[int]) -> list[int]:
    return [int(item in wanted) for item in items]


def plain_mrr(items: list[int], wanted: set[int], k: int) -> float:
    return sum(1 / (items.index(item) + 1) for item in wanted if item in items[:k])


def plain_map(items: list[int], wanted: set[int], k: int) -> float:
    total = 0.0
    for rank in range(1, k + 1):
        if items[rank - 1] in wanted:
            total += len(wanted & set(items[:rank])) / rank
    return total / k


def plain_hit_rate(items: list[int], wanted: set[int], k: int) -> float:
    return len(wanted & set(items[:k])) / len(wanted)


def plain_local_ndcg(items: list[int], wanted: set[int], k: int) -> float | None:
    hits = hits_of(items, wanted)
    return dcg(hits, k) / dcg(sorted(hits, reverse=True), k) if any(hits) else None


def plain_mean_popularity(items: list[int], counts: dict[int, int], k: int) -> float:
    return sum(counts.get(item, 0) for item in items[:k]) / k


USER_TWINS = {"papermrr": plain_mrr, "papermap": plain_map, "paperhitrate": plain_hit_rate}


# --- lists through RecBole's collector and evaluator ------------------------------------------------------


class Lists:
    """Lists of items (ids from 1), held-out items, and popularity; `size` items besides padding."""

    def __init__(self, lists, wanted, counts, size: int, topk: list[int]) -> None:
        self.lists, self.wanted, self.counts = lists, wanted, Counter(counts)
        self.size, self.topk = size, topk

    def evaluation(self, metrics: list[str]) -> Evaluation:
        """Scores with which every user gets that user's list, two users at a time."""
        config = {
            "metrics": metrics,
            "topk": self.topk,
            "metric_decimal_place": 4,
            "device": torch.device("cpu"),
            "eval_args": {"mode": {"valid": "full", "test": "full"}},
            "ITEM_ID_FIELD": "item_id",
            "USER_ID_FIELD": "user_id",
        }
        collector, evaluator = Collector(config), UserEvaluator(config)
        dataset = SimpleNamespace(num=lambda field: self.size + 1, item_counter=self.counts)
        collector.data_collect(SimpleNamespace(dataset=dataset))
        for start in range(0, len(self.lists), 2):
            rows = self.lists[start : start + 2]
            scores = torch.full((len(rows), self.size + 1), -5.0)
            scores[:, 0] = -torch.inf
            for row, items in enumerate(rows):
                scores[row, items] = -torch.arange(len(items), dtype=torch.float32) / 100
            pairs = [(row, i) for row, held in enumerate(self.wanted[start : start + 2]) for i in held]
            users, items = torch.tensor(pairs).T
            collector.eval_batch_collect(scores, None, users, items)
        return Evaluation(evaluator, evaluator.evaluate(collector.get_data_struct()), None)


def random_lists(seed: int, users: int = 7, size: int = 23) -> Lists:
    draw = random.Random(seed)
    items = range(1, size + 1)
    lists = [draw.sample(items, 9) for _ in range(users)]
    wanted = [set(draw.sample(items, draw.choice([1, 2, 5, 14]))) for _ in range(users)]
    wanted[3] = set(items) - set(lists[3])  # without any hit
    counts = {item: draw.randrange(1, 40) for item in draw.sample(items, size - 4)}
    return Lists(lists, wanted, counts, size, [9, 1, 4])


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_hits_against_plain_loops(seed):
    given = random_lists(seed)
    evaluation = given.evaluation(NAMES[:4])
    found = evaluation.metrics
    per_user = evaluation.evaluator.user_values(evaluation.collected)
    assert set(per_user) == {f"{name}@{k}" for name in USER_TWINS for k in given.topk}
    for k in given.topk:
        for name, twin in USER_TWINS.items():
            values = [twin(*pair, k) for pair in zip(given.lists, given.wanted, strict=True)]
            assert per_user[f"{name}@{k}"] == pytest.approx(values, abs=1e-14)
            assert found[f"{name}@{k}"] == pytest.approx(statistics.fmean(values), abs=1e-14)
        local = [plain_local_ndcg(*pair, k) for pair in zip(given.lists, given.wanted, strict=True)]
        assert None in local
        expected = statistics.fmean(value for value in local if value is not None)
        assert found[f"paperndcg@{k}"] == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_items_against_plain_loops(seed):
    given = random_lists(seed)
    found = given.evaluation([*NAMES[4:], "ItemCoverage", "AveragePopularity"]).metrics
    for k in given.topk:
        distinct = {item for items in given.lists for item in items[:k]}
        median = statistics.median(given.counts[item] for item in distinct)
        mean = statistics.fmean(plain_mean_popularity(items, given.counts, k) for items in given.lists)
        assert found[f"medianpopularity@{k}"] == median
        assert found[f"cataloguecoverage@{k}"] == pytest.approx(len(distinct) / given.size, abs=1e-14)
        assert found[f"averagepopularity@{k}"] == pytest.approx(mean, abs=1e-12)
        # RecBole 1.2 counts padding as an item, which is why CatalogueCoverage exists
        assert found[f"itemcoverage@{k}"] == pytest.approx(len(distinct) / (given.size + 1), abs=1e-14)


def test_lists_longer_than_the_candidates():
    """Padding, with which such a list ends, is no item."""
    lists = Lists([[1, 2, 0], [2, 1, 0]], [{1}, {2}], {1: 4, 2: 8}, 3, [3])
    found = lists.evaluation(NAMES[4:]).metrics
    assert found == {"medianpopularity@3": 6.0, "cataloguecoverage@3": 2 / 3}


def test_nobody_has_a_hit():
    """Zeros, and nobody is divided by: the released code's mean would be over no user."""
    nothing = Lists([[1, 2, 3], [3, 4, 5]], [{7}, {8, 9}], {}, 9, [3])
    with np.errstate(all="raise"):
        found = nothing.evaluation(NAMES[:5]).metrics
    assert set(found.values()) == {0.0}


# --- the released code's values -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden() -> SimpleNamespace:
    if not GOLDEN.is_file():
        pytest.skip("../shared/golden/metrics.json is absent")
    data = json.loads(GOLDEN.read_text())
    popularity = Counter(item for items in data["train"].values() for item in items)
    assert [popularity[item] for item in range(data["n_items"])] == data["item_popularity"]
    lists = Lists(
        [[item + 1 for item in items] for items in data["reco"].values()],
        [{item + 1 for item in data["ref"][user]} for user in data["reco"]],
        {item + 1: count for item, count in popularity.items()},
        data["n_items"],
        [1, 3, 5, 10],
    )
    evaluation = lists.evaluation([*NAMES, *HOST])
    per_user = evaluation.evaluator.user_values(evaluation.collected)
    return SimpleNamespace(data=data, found=evaluation.metrics, per_user=per_user, lists=lists)


OFFICIAL = {
    "ndcg_local": "paperndcg",
    "ndcg_global": "ndcg",
    "mrr": "papermrr",
    "map": "papermap",
    "precision": "precision",
    "recall": "recall",
    "hitrate": "paperhitrate",
}


def test_every_official_value(golden):
    assert len(golden.data["official"]) == 4 * len(OFFICIAL)
    for key, value in golden.data["official"].items():
        name, k = key.split("@")
        assert golden.found[f"{OFFICIAL[name]}@{k}"] == pytest.approx(value, abs=1e-14), key


def test_the_official_popularity(golden):
    assert golden.found["medianpopularity@10"] == golden.data["official_median_popularity"]


def test_every_official_value_per_user(golden):
    """NDCG is a pair: local, global; the local one has no value of users without a hit, there 0."""
    assert len(golden.data["official_per_user"]) == 12
    for key, values in golden.data["official_per_user"].items():
        name, k = key.split("@")
        if name == "ndcg":
            local, values = zip(*values, strict=True)
            pairs = zip(golden.lists.lists, golden.lists.wanted, strict=True)
            twin = [plain_local_ndcg(*pair, int(k)) or 0.0 for pair in pairs]
            assert twin == pytest.approx(local, abs=1e-14), key
            name = "ndcg_global"
        found = golden.per_user[f"{OFFICIAL[name]}@{k}"]
        assert found == pytest.approx(values, abs=1e-14), key


def test_every_value_of_the_host(golden):
    assert len(golden.data["recbole"]) == 25
    for key, value in golden.data["recbole"].items():
        assert golden.found[key] == pytest.approx(value, abs=1e-11), key


# --- registration -----------------------------------------------------------------------------------------


def test_registered_once_and_beside_the_host_s_own():
    """Also when the module is imported anew."""
    from recbole.config import configurator

    module = importlib.reload(importlib.import_module("recbole_hlr.metrics.definitions"))
    assert [metric.__name__ for metric in module.PAPER_METRICS] == NAMES
    assert configurator.metric_types is metric_types  # changed in place: the host reads the same tables
    assert sorted(set(smaller_metrics)) == sorted(smaller_metrics)
    assert "medianpopularity" in smaller_metrics
    assert "cataloguecoverage" not in smaller_metrics
    own = {name.lower() for name in NAMES}
    assert set(metrics_dict) == set(metric_types) == set(metric_information)
    assert own <= set(metrics_dict)
    for name in set(metrics_dict) - own:
        assert metrics_dict[name] is getattr(host_metrics, metrics_dict[name].__name__)
        assert metric_information[name] == metrics_dict[name].metric_need


def test_as_options_of_a_run(toy):
    result = run("CML", **toy, metrics=[*NAMES, *HOST], valid_metric="PaperMRR@5", topk=[5, 10])
    assert result.valid_metric == "papermrr@5"
    assert result.best_valid_score == result.valid["papermrr@5"] > 0
    assert set(result.test) == {f"{name.lower()}@{k}" for name in (*NAMES, *HOST) for k in (5, 10)}
    assert result.test["paperhitrate@10"] == result.test["recall@10"]
    assert result.test["papermrr@10"] >= result.test["mrr@10"]
    assert result.test["papermap@10"] <= result.test["map@10"]


def test_less_popular_is_better(toy):
    result = run("CML", **toy, metrics="MedianPopularity", valid_metric="MedianPopularity@10")
    lines = [json.loads(line) for line in Path(result.run_dir, "metrics.jsonl").read_text().splitlines()]
    assert result.best_valid_score == min(line["valid_score"] for line in lines)
