"""What is kept of every test user: metrics, the length of the training history, and the split they are of."""

from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.loaders import interactions
from recbole_hlr.protocols import Loader, RankedLoader


def describe_users(
    table: pd.DataFrame, train: Loader, valid: Loader | None, test: RankedLoader
) -> pd.DataFrame:
    """Return the table of `Evaluation.per_user` on `test` with a column `history` and with `attrs["split"]`.

    `history` counts a user's interactions in the loader `train`, or what a held-out one is known by. Two runs
    on one data set have the same `attrs["split"]` if and only if the same interactions are in each of their
    parts.
    """
    known = getattr(test, "known", None) or InteractionMatrix.of(train.dataset)
    lengths = known.lengths.cpu().numpy()  # (U,)
    table.insert(1, "history", lengths[np.asarray(test.uid_list)])
    digest = hashlib.sha256()
    for part in (train, valid, test):
        digest.update(b"part")
        if part is not None:
            users, items = (column.numpy().astype("<i8") for column in interactions(part.dataset))
            digest.update(np.sort(users * part.dataset.item_num + items).tobytes())
    table.attrs["split"] = digest.hexdigest()
    return table
