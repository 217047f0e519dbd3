"""Splits that RecBole does not have: folds of each user's interactions.

What is ordered, and cut by ratios, is so by RecBole's own methods of a data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from recbole_hlr.data.atomic import AtomicDataset


def is_own(data: AtomicDataset) -> bool:
    """Say whether a data set is split here, and not by RecBole."""
    return bool(data.config["folds"])


def split(data: AtomicDataset) -> list[AtomicDataset]:
    """Return the training, validation and test part of a data set that is loaded."""
    data._change_feat_format()
    order(data)
    evaluation = data.config["eval_args"]
    ratios, by_user = evaluation["split"]["RS"], evaluation["group_by"] == "user"
    return fold_of(data, data.config["folds"], data.config["fold"], ratios[:2], by_user)


def order(data: AtomicDataset) -> None:
    """Put the interactions into an order by chance, or by time where `eval_args` say so."""
    if data.config["eval_args"]["order"] == "TO":
        data.sort(by=data.time_field)
    else:
        data.shuffle()


def fold_of(
    data: AtomicDataset, folds: int, fold: int, ratios: list[float], by_user: bool
) -> list[AtomicDataset]:
    """Return what is left by one of `folds`, cut by the two `ratios`, and that `fold`, from 1, as test part.

    Each user's interactions are dealt out one by one, so that no two folds differ by more than one of them.
    """
    users = data.inter_feat[data.uid_field]  # (n,)
    in_fold = dealt(users if by_user else torch.zeros_like(users), folds) == fold - 1  # (n,)
    group = data.uid_field if by_user else None
    train, valid = data.copy(data.inter_feat[~in_fold]).split_by_ratio(ratios, group_by=group)
    return [train, valid, data.copy(data.inter_feat[in_fold])]


def dealt(owners: Tensor, hands: int) -> Tensor:
    """Return the hand `(n,)`, from 0, that each thing gets, where those of an owner are dealt out in turn."""
    turns = torch.empty_like(owners)
    turns[owners.argsort(stable=True)] = torch.arange(len(owners)) % hands
    return turns
