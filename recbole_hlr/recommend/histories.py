"""What a person gives as histories: of many users in one table, or by their names."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.errors import InputError
from recbole_hlr.recommend.ids import Ids, told
from recbole_hlr.recommend.tables import column_of, read_table, shortly

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


def flattened(given: object, users: Ids, items: Ids) -> tuple[list[str], list[str], list[str]]:
    """Return the users and the items of all interactions, and the names of all users, each once."""
    if isinstance(given, Mapping):
        names = users.tokens_of(list(given))
        lists = [items.tokens_of(one) for one in given.values()]
        owners = [name for name, one in zip(names, lists, strict=True) for _ in one]
        return owners, [item for one in lists for item in one], list(dict.fromkeys(names))
    what = given if isinstance(given, Path) else "histories"
    table = table_of(given)
    if len(table.column_names) < 2:
        raise InputError(f"{what}: must have the columns {users.columns[0]} and {items.columns[0]}")
    owners = users.tokens_of(column_of(table, users.columns, what))
    return owners, items.tokens_of(column_of(table, items.columns, what)), list(dict.fromkeys(owners))


def table_of(given: Any) -> pa.Table:
    """Return a table of any library, or of a file, as pyarrow's; `InputError` for what is none."""
    if isinstance(given, Path):
        return read_table(given)
    try:
        return pa.Table.from_pandas(given) if isinstance(given, pd.DataFrame) else pa.table(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(
            "histories: must be lists of items by users' names, or a table with a column of users and one of "
            f"items ({shortly(error)})"
        ) from None
