"""The paper's metrics, as its authors' released code computes them, for RecBole's evaluator.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230). Symbols: h_j = 1 where rank j of a user's list is a hit, R the user's
held-out items, K the cut. The released code's Precision, Recall and global NDCG are RecBole's own.
Importing this module adds the metrics to RecBole's table in place, under their own names.
"""

from __future__ import annotations

import numpy as np
from recbole.evaluator.base_metric import AbstractMetric, TopkMetric
from recbole.evaluator.collector import DataStruct
from recbole.evaluator.metrics import NDCG, Recall
from recbole.evaluator.register import metric_information, metric_types, metrics_dict, smaller_metrics
from recbole.utils import EvaluatorType

from recbole_hlr.options.yaml_values import as_list
from recbole_hlr.protocols import Options

LOSS = "loss"  # valid_metric: the triplet loss on the validation interactions


class HitMetric(TopkMetric):
    """A metric of hits, reported under its class's name.

    `metric_info(pos_index (U, L), pos_len (U,))` returns the values at every cut, `(rows, L)`; L is the
    largest of `topk`, and the mean over rows is reported. Host hook of RecBole 1.2: `calculate_metric`.
    """

    mean_over_users = True  # one row per user, all of them

    def calculate_metric(self, dataobject: DataStruct) -> dict[str, float]:
        """Return {name@K: value} for every cut."""
        return self.topk_result(type(self).__name__.lower(), self.metric_info(*self.used_info(dataobject)))


class PaperMRR(HitMetric):
    """Sum of 1/j over ALL hits, so that it can exceed 1 (RecBole's MRR takes the first hit alone)."""

    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray | None = None) -> np.ndarray:
        """Return sum_{j<=K} h_j / j, `(U, L)`."""
        ranks = np.arange(1, pos_index.shape[1] + 1)  # (L,)
        return np.cumsum(pos_index / ranks, axis=1)  # (U, L)


class PaperMAP(HitMetric):
    """Average precision divided by K, whatever |R| (RecBole's MAP divides by min(|R|, K))."""

    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray | None = None) -> np.ndarray:
        """Return (1/K) sum_{j<=K} h_j precision@j, `(U, L)`."""
        ranks = np.arange(1, pos_index.shape[1] + 1)  # (L,)
        precision = np.cumsum(pos_index, axis=1) / ranks  # (U, L)
        return np.cumsum(pos_index * precision, axis=1) / ranks  # (U, L)


class PaperHitRate(HitMetric, Recall):
    """Hits divided by |R|: the same as Recall (RecBole's Hit is 1 where there is any hit)."""


class PaperNDCG(HitMetric, NDCG):
    """The released code's local NDCG: DCG@K over the DCG@K of the list's own hits, sorted to its top.

    The list has L places, hits beyond K count for the ideal; users without a hit in the list are left
    out of the mean, which is therefore none over all users. 0 where nobody has a hit.
    """

    mean_over_users = False

    def metric_info(self, pos_index: np.ndarray, pos_len: np.ndarray | None = None) -> np.ndarray:
        """Return the values of the users with a hit, `(users with a hit, L)`."""
        hits = pos_index.sum(axis=1)  # (U,)
        some = hits > 0  # (U,)
        if not some.any():
            return np.zeros((1, pos_index.shape[1]))  # (1, L)
        return super().metric_info(pos_index[some], hits[some])


class DistinctItemMetric(AbstractMetric):
    """A metric of the distinct items that are recommended to anyone, reported under its class's name.

    The lists are those of RecBole's collector: one that is longer than a user's candidates ends with
    padding, which is left out here, or with items that the user has seen.
    """

    metric_type = EvaluatorType.RANKING

    def __init__(self, config: Options) -> None:
        super().__init__(config)
        self.topk = config["topk"]

    def calculate_metric(self, dataobject: DataStruct) -> dict[str, float]:
        """Return {name@K: value} for every cut."""
        lists = dataobject.get("rec.items").numpy()  # (U, L)
        distinct = {k: np.setdiff1d(lists[:, :k], 0) for k in self.topk}
        values = {k: self.value(items, dataobject) for k, items in distinct.items()}
        name = type(self).__name__.lower()
        return {f"{name}@{k}": round(value, self.decimal_place) for k, value in values.items()}

    def value(self, items: np.ndarray, dataobject: DataStruct) -> float:
        """Return the value for the distinct items `(n,)` of all lists."""
        raise NotImplementedError


class MedianPopularity(DistinctItemMetric):
    """Median over the distinct recommended items of their interactions in the training part, 0 for none.

    The paper's MMR. RecBole's AveragePopularity is the mean over users of the mean over their lists.
    """

    metric_need = ("rec.items", "data.count_items")
    smaller = True  # as RecBole has it of AveragePopularity

    def value(self, items: np.ndarray, dataobject: DataStruct) -> float:
        """Return the median of the items' popularity."""
        counts = dataobject.get("data.count_items")
        return float(np.median([counts.get(item, 0) for item in items.tolist()]))


class CatalogueCoverage(DistinctItemMetric):
    """Share of the catalogue that is recommended to anyone.

    RecBole's ItemCoverage divides by one more, for it counts the padding item.
    """

    metric_need = ("rec.items", "data.num_items")

    def value(self, items: np.ndarray, dataobject: DataStruct) -> float:
        """Return the number of items over the size of the catalogue."""
        return len(items) / (dataobject.get("data.num_items") - 1)


PAPER_METRICS = (PaperMRR, PaperMAP, PaperHitRate, PaperNDCG, MedianPopularity, CatalogueCoverage)

for _metric in PAPER_METRICS:
    _name = _metric.__name__.lower()
    metrics_dict[_name] = _metric
    metric_information[_name] = _metric.metric_need
    metric_types[_name] = _metric.metric_type
    if _metric.smaller and _name not in smaller_metrics:
        smaller_metrics.append(_name)


def has_user_values(name: str) -> bool:
    """Say whether a metric is the mean of a value that every user has."""
    metric = metrics_dict[name.lower()]
    return issubclass(metric, TopkMetric) and getattr(metric, "mean_over_users", True)


def reported(metrics: object, cuts: object) -> list[str]:
    """Return the names under which `metrics` are reported: name@K, or the name where there is no cut."""
    names = []
    for name in (str(metric).lower() for metric in as_list(metrics)):
        has_cut = metric_types.get(name) == EvaluatorType.RANKING and name != "gauc"
        names += [f"{name}@{k}" for k in as_list(cuts)] if has_cut else [name]
    return names


def chosen_by(valid: str, metrics: object, cuts: object) -> str:
    """Return the metric that picks the best epoch where `valid` is not reported: the same at another cut.

    Where none of its name is reported, the first that is.
    """
    names = reported(metrics, cuts)
    same = [name for name in names if name.partition("@")[0] == valid.lower().partition("@")[0]]
    return valid if valid.lower() in names else next(iter((*same, *names)), valid)
