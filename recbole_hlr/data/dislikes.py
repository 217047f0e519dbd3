"""What users are known to dislike: rows that `threshold` or a label leaves out of the positives.

They are no interactions: no filter counts them, no split deals them out. Those of the time, or of the share,
of the training part are learned from where an option of the objective asks for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.errors import InputError, invalid
from recbole_hlr.options.protocol import SOFTMAX
from recbole_hlr.protocols import RunConfig

if TYPE_CHECKING:
    from recbole_hlr.data.atomic import AtomicDataset

PART, TIME = "part", "time"


def dislikes(data: AtomicDataset, left_out: pd.Series) -> pd.DataFrame:
    """Return users, items, times and given parts, where there are any, of the rows that are `left_out`.

    Users and items are categories, which are small to keep and to send.
    A row without a value in the column of `threshold` says nothing.
    """
    for column in data.config["threshold"] or ():
        left_out = left_out & data.inter_feat[column].notna()
    rows = data.inter_feat[left_out]
    found = rows[[data.uid_field, data.iid_field]].astype("category")
    if data.time_field in rows:
        found[TIME] = rows[data.time_field]
    if data.benchmark_filename_list is not None:
        found[PART] = np.searchsorted(np.cumsum(data.file_size_list), rows.index, side="right")
    return found


def of_label_0(part: AtomicDataset) -> pd.DataFrame:
    """Return users and items of the rows of label 0 of a built training part, as `dislikes` does."""
    rows = part.inter_feat[part.inter_feat[part.label_field] == 0]
    found = {field: part.id2token(field, rows[field]) for field in (part.uid_field, part.iid_field)}
    return pd.DataFrame(found, dtype="category").assign(**{PART: 0})


def asks_for_dislikes(config: RunConfig) -> str | None:
    """Return the option by which a run learns from dislikes; None where it does not."""
    if not config.metric:
        return None
    key, without = ("disliked", "ignored") if config["objective"] == SOFTMAX else ("negatives", "sampled")
    return None if config[key] == without else key


def disliked_in_training(config: RunConfig, parts: Sequence[AtomicDataset]) -> InteractionMatrix | None:
    """Return what every user dislikes, as far as it is known when the training part is; None if nobody asks.

    Of given parts it is the first one's. With `order: TO` it is no later than the user's last interaction
    in the training part, otherwise as large a share as that part has of the user's interactions, drawn from
    the seed. A pair that is trained on is no dislike. Raises `InputError` for none.
    """
    option = asks_for_dislikes(config)
    if option is None:
        return None
    rows, trained = parts[0].disliked, InteractionMatrix.of(parts[0])
    if rows is not None:
        users, items = (ids_of(parts[0], field, rows) for field in (parts[0].uid_field, parts[0].iid_field))
        known = (users > 0) & (items > 0) & known_then(config, option, parts, trained, users, rows)
        shape = trained.num_users, trained.num_items
        found = InteractionMatrix.from_pairs(users[known], items[known], *shape).without(trained)
        if len(found.items):
            return found
    raise InputError(
        f"{option}={config[option]}",
        "needs dislikes, and the training part's users have none; give --threshold={rating: 4}, whose rows "
        "below it are dislikes, or load a column LABEL_FIELD of 0 and 1",
        place=config.sources[option],
        option=option,
        value=config[option],
    )


def ids_of(data: AtomicDataset, field: str, rows: pd.DataFrame) -> torch.Tensor:
    """Return the ids `(n,)` of a column of categories, 0 for those that the data no longer have."""
    known, column = data.field2token_id[field], rows[field].cat
    ids = np.array([known.get(name, 0) for name in column.categories], dtype=np.int64)
    return torch.as_tensor(ids[column.codes])


def known_then(
    config: RunConfig,
    option: str,
    parts: Sequence[AtomicDataset],
    trained: InteractionMatrix,
    users: torch.Tensor,
    rows: pd.DataFrame,
) -> torch.Tensor:
    """Say which of the dislikes `rows` of `users (n,)` are known when the training part is."""
    if PART in rows:
        return torch.as_tensor(rows[PART].to_numpy() == 0)
    if config["eval_args"]["order"] == "TO":
        refuse_scaled_times(config, option, parts[0].time_field)
        of_training = parts[0].inter_feat
        last = torch.full((trained.num_users,), -torch.inf, dtype=torch.float64)
        times = of_training[parts[0].time_field].double()
        last.scatter_reduce_(0, of_training[parts[0].uid_field], times, "amax")
        return torch.as_tensor(rows[TIME].to_numpy(np.float64)) <= last[users]
    chance = trained.lengths / InteractionMatrix.of(*parts).lengths.clamp(min=1)  # (U,)
    drawn = torch.rand(len(users), generator=generator_for(config["seed"], Stream.DISLIKED))
    return drawn < chance[users]


def refuse_scaled_times(config: RunConfig, option: str, field: str) -> None:
    """Raise `InputError` where times of the training part are no longer those of the dislikes."""
    for key in ("normalize_field", "normalize_all"):
        if config[key] is True or field in (config[key] or ()):
            allowed = f"without {field} with {option}={config[option]} and order: TO, which compare times"
            raise invalid(key, config[key], config.sources[key], allowed)
