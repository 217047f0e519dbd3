"""A fitted model taken from a run directory, ready to recommend; the data set is not needed."""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import SupportsIndex

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.data.chunks import users_per_block
from recbole_hlr.data.stored import StoredData
from recbole_hlr.errors import InputError, fixed
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.host.device import refuse_missing_gpu
from recbole_hlr.metrics.evaluator import refuse_not_finite
from recbole_hlr.options.table import LOAD_KEYS
from recbole_hlr.options.yaml_values import plain
from recbole_hlr.protocols import Recommender
from recbole_hlr.train import checkpoint
from recbole_hlr.train.snapshot import load_model_state


class FittedRecommender:
    """The best state of a run: `model`, its `config`, and the data set's own user and item ids."""

    def __init__(self, model: Recommender, config: HLRConfig, data: StoredData) -> None:
        self.model, self.config, self.data = model, config, data
        self._user_ids = {token: i for i, token in enumerate(data.user_tokens) if i}

    def recommend(
        self, users: str | int | Iterable[object], k: int = 10, exclude_seen: bool = True
    ) -> pd.DataFrame:
        """Return the best `k` items of each user: columns user, rank (from 1), item, score.

        `users` is an id as in the data set's files, or an iterable of them, such as a list, an array, a
        tensor or a column; an integer stands for its digits. Items of the training part are left out
        unless `exclude_seen` is false. Users are ranked in blocks that `eval_memory` has room for.
        Raises `InputError` for a user who is not in the data, and for scores that are not finite.
        """
        most = whole_number(k)
        if most is None or most < 1:
            raise InputError(f"k={reprlib.repr(k)}: must be an integer >= 1")
        if not isinstance(exclude_seen, bool | np.bool_):
            raise InputError(f"exclude_seen={reprlib.repr(exclude_seen)}: must be true or false")
        names = tokens_of(users)
        ids = torch.tensor([self._id_of(name) for name in names], dtype=torch.int64)  # (n,)
        blocks = ids.split(users_per_block(self.config["eval_memory"], self.data.item_num)) if names else ()
        most = min(most, self.data.item_num - 1)
        best = [self._best(block, most, bool(exclude_seen)) for block in blocks]
        scores = np.concatenate([np.empty((0, most)), *(values for values, _ in best)])  # (n, k)
        items = np.concatenate([np.empty((0, most), dtype=np.int64), *(items for _, items in best)])
        rows, columns = np.nonzero(scores > -np.inf)
        return pd.DataFrame(
            {
                "user": np.array(names, dtype=object)[rows],
                "rank": columns + 1,
                "item": np.array(self.data.item_tokens, dtype=object)[items[rows, columns]],
                "score": scores[rows, columns],
            }
        )

    def _id_of(self, name: str) -> int:
        if name not in self._user_ids:
            raise InputError(f"user {name}: is not among the {len(self._user_ids)} users of the run")
        return self._user_ids[name]

    def _best(self, users: Tensor, k: int, exclude_seen: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and ids `(B, k)` of the best items of `users (B,)`; a score of -inf is no item."""
        scores = self.model.full_sort_predict({self.model.USER_ID: users.to(self.model.device)})  # (B, I)
        refuse_not_finite(scores, self.config.model, unranked=[(slice(None), 0)])
        scores[:, 0] = -torch.inf
        if exclude_seen:
            seen, _ = self.data.history.flat(users)  # (n,)
            rows = torch.repeat_interleave(self.data.history.lengths[users])  # (n,)
            scores[rows, seen] = -torch.inf
        best = scores.topk(k, dim=1)
        return best.values.cpu().numpy(), best.indices.cpu().numpy()


def whole_number(value: object) -> int | None:
    """Return an integer of any type, numpy's and torch's included, as Python's; None for all else."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        return None
    return operator.index(value)


def tokens_of(users: object) -> list[str]:
    """Return one id, or an iterable of ids, as the data set's tokens; `InputError` for what is no id."""
    users = users.tolist() if hasattr(users, "tolist") else users
    if isinstance(users, Iterable) and not isinstance(users, str | bytes):
        return [token_of(user) for user in users]
    return [token_of(users)]


def token_of(user: object) -> str:
    """Return an id as the data set's token: a text as it is, an integer by its digits."""
    token = user if isinstance(user, str) else whole_number(user)
    if token is None:
        raise InputError(
            f"users: {reprlib.repr(user)} is no id; must be a text or an integer, as in the data set's files"
        )
    return str(token)


@alone("load()")
def load(run_dir: str | Path, **options: object) -> FittedRecommender:
    """Return the fitted recommender of a run directory; `InputError` for a host model's run.

    `options` replace those of the run; only `LOAD_KEYS` may, for others would make it another model.
    """
    content = checkpoint.load(RunDir.open(run_dir).checkpoint)
    stored = content["config"]
    for key, value in plain(options).items():
        if key not in LOAD_KEYS and (key not in stored or value != stored[key]):
            raise fixed(key, value, KEYWORDS, "a run that is loaded", sorted(LOAD_KEYS))
    config = HLRConfig(stored["model"], stored["dataset"], options={**stored, **options})
    refuse_missing_gpu(config, options)
    if not config.ours:
        raise InputError(
            f"{run_dir}: {config.model} is RecBole's own; only this package's models load without data"
        )
    data = StoredData(content["data"])
    model = config.model_class(config, data).to(config["device"])
    load_model_state(model, content["best"], counters=False)
    return FittedRecommender(model.eval(), config, data)
