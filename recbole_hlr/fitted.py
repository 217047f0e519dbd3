"""A fitted model taken from a run directory, ready to recommend; the data set is not needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from recbole.model.abstract_recommender import GeneralRecommender

from recbole_hlr import checkpoint
from recbole_hlr.config import HLRConfig
from recbole_hlr.data.stored import StoredData
from recbole_hlr.device import refuse_missing_gpu
from recbole_hlr.errors import InputError
from recbole_hlr.exclusive import alone
from recbole_hlr.rundir import RunDir


class FittedRecommender:
    """The best state of a run: `model`, its `config`, and the data set's own user and item ids."""

    def __init__(self, model: GeneralRecommender, config: HLRConfig, data: StoredData) -> None:
        self.model, self.config, self.data = model, config, data
        self._user_ids = {token: i for i, token in enumerate(data.user_tokens)}

    def recommend(self, users: Sequence[Any], k: int = 10, exclude_seen: bool = True) -> pd.DataFrame:
        """Return the best `k` items of each user: columns user, rank (from 1), item, score.

        `users` is a list of ids as in the data set's files. Items of the training part are left out
        unless `exclude_seen` is false. Raises `InputError` for a user who is not in the data.
        """
        if isinstance(users, str):
            raise InputError(f"users={users}: must be a list of ids, as in [{users!r}]")
        if not isinstance(k, int) or k < 1:
            raise InputError(f"k={k}: must be an integer >= 1")
        for user in users:
            if str(user) not in self._user_ids or str(user) == self.data.user_tokens[0]:
                raise InputError(f"user {user}: is not among the {len(self._user_ids) - 1} users of the run")
        ids = torch.tensor(
            [self._user_ids[str(user)] for user in users], dtype=torch.int64, device=self.model.device
        )
        scores = self.model.full_sort_predict({self.model.USER_ID: ids})  # (B, I)
        scores[:, 0] = -torch.inf
        if exclude_seen:
            seen = self.data.history.draw(ids.cpu(), cap=None)
            rows, columns = seen.mask.nonzero(as_tuple=True)
            scores[rows, seen.items[rows, columns]] = -torch.inf
        best = scores.topk(min(k, scores.shape[1] - 1), dim=1)
        table = [
            (user, rank, self.data.item_tokens[item], score)
            for user, items, values in zip(users, best.indices.tolist(), best.values.tolist(), strict=True)
            for rank, (item, score) in enumerate(zip(items, values, strict=True), start=1)
            if score > -torch.inf
        ]
        return pd.DataFrame(table, columns=["user", "rank", "item", "score"])


@alone("load()")
def load(run_dir: str | Path, **options: Any) -> FittedRecommender:
    """Return the fitted recommender of a run directory; `InputError` for a host model's run.

    `options` replace those of the run, such as `use_gpu` or `eval_memory`.
    """
    content = checkpoint.load(RunDir.open(run_dir).checkpoint)
    stored = {**content["config"], **options}
    config = HLRConfig(stored.pop("model"), stored.pop("dataset"), options=stored)
    refuse_missing_gpu(config, options)
    if not config.ours:
        raise InputError(
            f"{run_dir}: {config.model} is RecBole's own; only this package's models load without data"
        )
    data = StoredData(content["data"])
    model = config.model_class(config, data).to(config["device"])
    checkpoint.load_model_state(model, content["best"], counters=False)
    return FittedRecommender(model.eval(), config, data)
