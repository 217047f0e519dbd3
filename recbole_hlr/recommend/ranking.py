"""Scores, the best of them as a table, and into what blocks users are cut."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_hlr.data.chunks import users_per_block
from recbole_hlr.protocols import Recommender

ROW_PAIRS = 8  # pairs of a user and an item whose scores take the memory of a row of a table


def rows_per_block(eval_memory: float, items: int, k: int) -> int:
    """Return for how many users `eval_memory` GiB hold the scores of `items`, and tables of `k` rows each."""
    return users_per_block(eval_memory, items + ROW_PAIRS * k)


@torch.no_grad()
def scores_of(model: Recommender, users: Tensor, items: int) -> Tensor:
    """Return the scores `(B, I)` of `users (B,)`, B > 0, with all `items`, padding included.

    As RecBole's trainer (1.2.0 and 1.2.1) does, pair by pair where a model has no `full_sort_predict`.
    """
    batch = Interaction({model.USER_ID: users}).to(model.device)
    try:
        return model.full_sort_predict(batch).view(len(users), items)
    except NotImplementedError:
        every = torch.arange(items)  # (I,)
        pairs = (Interaction({model.USER_ID: user.repeat(items), model.ITEM_ID: every}) for user in users)
        return torch.stack([model.predict(one.to(model.device)).view(items) for one in pairs])


def best_of(
    names: dict[str, np.ndarray], scores: Tensor, k: int, found: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Return a table of the best `k` items by `scores (B, I)`; a score of -inf is no item.

    Its columns are `names`, one, `(B,)`; rank, from 1; `found`, of every item `(I,)`; and score.
    """
    best = scores.topk(k, dim=1)
    return table_of(names, best.values, best.indices, found)


def table_of(
    names: dict[str, np.ndarray], scores: Tensor, ids: Tensor, found: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Return the same table of items `ids (B, k)` whose `scores (B, k)` descend, those of -inf left out."""
    values, items = scores.cpu().numpy(), ids.cpu().numpy()
    rows, places = np.nonzero(values > -np.inf)
    return pd.DataFrame(
        {
            **{column: of_rows[rows] for column, of_rows in names.items()},
            "rank": places + 1,
            **{column: of_items[items[rows, places]] for column, of_items in found.items()},
            "score": values[rows, places].astype(np.float64),
        }
    )
