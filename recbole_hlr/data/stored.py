"""What a checkpoint keeps of the data: the tokens of all ids, and the training interactions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from recbole.data.dataset import Dataset

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.errors import InputError
from recbole_hlr.protocols import NamedData, Values


def stored_data(train: NamedData, name: str) -> Values:
    """Return what a checkpoint keeps of the data set `name` and its training part `train`."""
    history = InteractionMatrix.of(train)
    return {
        "dataset": name,
        "user_field": train.uid_field,
        "item_field": train.iid_field,
        "user_tokens": [str(token) for token in train.field2id_token[train.uid_field]],
        "item_tokens": [str(token) for token in train.field2id_token[train.iid_field]],
        "indptr": history.indptr.cpu(),
        "items": history.items.cpu(),
    }


def refuse_other_data(stored: Values, now: Values, run_dir: Path) -> None:
    """Raise `InputError` where the data are no longer those that a run was started with."""
    same = all(
        torch.equal(value, now[key]) if isinstance(value, torch.Tensor) else value == now[key]
        for key, value in stored.items()
    )
    if not same:
        raise InputError(
            f"{run_dir}: the data set {stored['dataset']} is not the one that this run was started with"
        )


def digest(parts: Sequence[Dataset]) -> str:
    """Return what tells data apart: of the tokens of users and items, and of all columns of all parts."""
    found = hashlib.sha256()
    for field in (parts[0].uid_field, parts[0].iid_field):
        found.update("\n".join(map(str, parts[0].field2id_token[field])).encode("utf-8", "surrogatepass"))
    for part in parts:
        for name in sorted(part.inter_feat.columns):
            column = part.inter_feat[name].contiguous()
            found.update(f"{name} {tuple(column.shape)} {column.dtype}".encode())
            found.update(column.numpy().tobytes())
    return found.hexdigest()


class StoredData:
    """What a model asks of its training data, from a checkpoint: sizes and interactions."""

    def __init__(self, data: Values) -> None:
        self.user_tokens, self.item_tokens = data["user_tokens"], data["item_tokens"]
        self.uid_field, self.iid_field = data["user_field"], data["item_field"]
        self.user_num, self.item_num = len(self.user_tokens), len(self.item_tokens)
        self.history = InteractionMatrix(data["indptr"], data["items"], self.item_num)
        self.inter_feat = {self.uid_field: self.history.users(), self.iid_field: self.history.items}

    def num(self, field: str) -> int:
        """Return the number of ids of a field, padding included."""
        return {self.uid_field: self.user_num, self.iid_field: self.item_num}[field]
