"""RecBole's evaluator, unrounded, with values per user and per cohort of users."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import numpy as np
import pandas as pd
import torch
from recbole.evaluator import DataStruct, Evaluator, metric_information
from torch import Tensor

from recbole_hlr.data.loaders import EvaluationLoader
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.errors import InputError, invalid
from recbole_hlr.metrics.definitions import has_user_values
from recbole_hlr.protocols import InteractionData, Options, RunConfig

EXACT = 17  # decimal places to which the host "rounds" a metric: none
COHORT_USERS = 10_000  # most users of a cohort, as in the authors' settings


Unranked: TypeAlias = tuple[slice | Tensor, int | Tensor]  # indices of scores that are not ranked


class Measured(dict[str, float]):
    """All metrics of an evaluation by name, and what was `collected` for them."""

    def __init__(self, metrics: Mapping[str, float], collected: DataStruct) -> None:
        super().__init__(metrics)
        self.collected = collected


class UserEvaluator(Evaluator):
    """RecBole's evaluator, unrounded; of a ranking it measures every user, and cohorts of users, too."""

    def __init__(self, config: Options) -> None:
        super().__init__(config)
        for metric in self.metric_class.values():
            metric.decimal_place = EXACT

    def evaluate(self, dataobject: DataStruct) -> Measured:
        """Return all metrics (host hook, RecBole 1.2.0 and 1.2.1)."""
        return Measured(super().evaluate(dataobject), dataobject)

    def user_values(self, collected: DataStruct) -> dict[str, np.ndarray]:
        """Return {name@K: `(users,)`}, float64, whose means are the metrics.

        Only metrics of hits that are means over all users: no PaperNDCG, coverage, popularity, GAUC.
        """
        values = {}
        for name, metric in self.metric_class.items():
            if has_user_values(name):
                wanted = len(inspect.signature(metric.metric_info).parameters)
                table = metric.metric_info(*metric.used_info(collected)[:wanted])  # (users, L)
                values.update({f"{name}@{k}": table[:, k - 1].astype(np.float64) for k in metric.topk})
        return values

    def cohorts(self, collected: DataStruct, count: int, seed: int) -> dict[str, dict[str, float]]:
        """Return {metric: {mean, std}} over `count` cohorts of the users that were `collected`.

        As in the authors' code every metric, coverage and popularity included, is computed for the
        users of each cohort alone; `std` divides by `count`.
        """
        needs = {need for name in self.metrics for need in metric_information[name]}
        users = len(collected.get(next(need for need in needs if need.startswith("rec."))))
        results = []
        for rows in cohort_rows(users, count, seed):
            part = DataStruct()
            for need in needs:
                value = collected.get(need)
                part.set(need, value[rows] if need.startswith("rec.") else value)
            results.append(super().evaluate(part))
        table = pd.DataFrame(results).astype(np.float64)  # (cohorts, metrics)
        return {
            name: {"mean": float(column.mean()), "std": float(column.std(ddof=0))}
            for name, column in table.items()
        }


class Evaluation:
    """One evaluation of a part of the data: its `metrics`, and from what it collected those of its users.

    What a ranking collects has one row per user, in the order of the loader's `uid_list`.
    """

    def __init__(self, evaluator: UserEvaluator, measured: Measured, loader: EvaluationLoader) -> None:
        self.evaluator, self.collected, self.loader = evaluator, measured.collected, loader
        self.metrics = {name: float(value) for name, value in measured.items()}

    def per_user(self) -> pd.DataFrame:
        """Return the metrics of every user beside the data set's own id, in a column `user`.

        Raises `InputError` where no metric is a mean over users.
        """
        values = self.evaluator.user_values(self.collected)
        if not values:
            raise InputError(
                f"metrics={', '.join(self.evaluator.metrics)}: none of them is a mean over users"
            )
        dataset = self.loader._dataset
        users = dataset.id2token(dataset.uid_field, np.asarray(self.loader.uid_list))
        return pd.DataFrame({"user": users, **values})

    def cohorts(self, count: int, seed: int) -> dict[str, dict[str, float]]:
        """Return {metric: {mean, std}} over `count` cohorts of the users, drawn by the seed."""
        return self.evaluator.cohorts(self.collected, count, seed)


def refuse_not_finite(scores: Tensor, model: str, when: str = "", unranked: Iterable[Unranked] = ()) -> None:
    """Raise `InputError` where scores that are to be ranked are NaN or infinite.

    `unranked` are the indices of those whose value does not matter.
    """
    if scores.numel() and all(bound.isfinite() for bound in scores.aminmax()):  # in one pass, without a copy
        return
    wrong = ~scores.isfinite()
    for index in unranked:
        wrong[index] = False
    if wrong.any():
        raise InputError(
            f"model={model}: {int(wrong.sum())} of its scores{when} are not finite, such as "
            f"{scores[wrong][0].item()}; must be, to be ranked: check the options, or lower learning_rate"
        )


def cohort_rows(users: int, count: int, seed: int) -> list[Tensor]:
    """Return the rows of `count` cohorts of shuffled users, of equal size (give or take one).

    No cohort has more than `COHORT_USERS`; users beyond that are in none.
    """
    order = torch.randperm(users, generator=generator_for(seed, Stream.COHORTS))  # (users,)
    return list(order[: count * COHORT_USERS].tensor_split(count))


def refuse_empty_cohorts(config: RunConfig, test: InteractionData) -> None:
    """Raise `InputError` where there are more cohorts than users in a test part that is not empty."""
    users = len(test.inter_feat[test.uid_field].unique())
    if 0 < users < config["cohorts"]:
        allowed = f"at most {users}, the users of the test part"
        raise invalid("cohorts", config["cohorts"], config.sources["cohorts"], allowed)
