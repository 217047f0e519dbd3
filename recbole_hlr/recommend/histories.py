"""What a person gives as histories: of many users in one table, or by their names."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor

from recbole_hlr.data.ids import Ids, flattened, told
from recbole_hlr.data.interactions import InteractionMatrix

log = logging.getLogger("recbole_hlr")


def histories_of(
    given: object, users: Ids, items: Ids, unknown: str
) -> tuple[np.ndarray, Tensor, InteractionMatrix]:
    """Return the names `(n,)` of users, in their order, their rows `(n,)` and the histories in these rows.

    A user without an item that the run knows has row 0, which is empty, and a message names it. `given`
    are lists of items by the users' names, or a table with a column of users and one of items, or the
    `Path` of a file that holds one. `unknown` is about items: as for `Ids.find`. Raises `InputError`.
    """
    owners, tokens, names = flattened(given, users, items)
    _, numbers = items.find(tokens, unknown)
    row_of = {name: row for row, name in enumerate(names, 1)}
    rows = torch.tensor([row_of[owner] for owner in owners], dtype=torch.int64)
    known = numbers > 0
    history = InteractionMatrix.from_pairs(rows[known], numbers[known], len(names) + 1, len(items.tokens))
    empty = [name for name, length in zip(names, history.lengths[1:].tolist(), strict=True) if not length]
    if empty:
        log.warning(
            "%d user(s) without an item that the run knows get the items with the most interactions: %s",
            len(empty),
            told(empty),
        )
    every = torch.arange(1, len(names) + 1)
    return np.array(names, dtype=object), every * (history.lengths[1:] > 0), history
