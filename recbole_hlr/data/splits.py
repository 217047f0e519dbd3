"""Splits that RecBole does not have: folds, users who are held out, one cut in time.

What is ordered, and cut by ratios, is so by RecBole's own methods of a data set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from recbole_hlr.data.random import Stream, generator_for

if TYPE_CHECKING:
    from recbole_hlr.data.atomic import AtomicDataset


def is_own(data: AtomicDataset) -> bool:
    """Say whether a data set is split here, and not by RecBole."""
    parts, way = data.config["benchmark_filename"], data.config["eval_args"]["split"]
    return not parts and bool(data.config["folds"] or {"HU", "TS"} & set(way))


def split(data: AtomicDataset) -> list[AtomicDataset]:
    """Return the training, validation and test part of a data set that is loaded."""
    config, evaluation = data.config, data.config["eval_args"]
    data._change_feat_format()
    order(data)
    ((way, ratios),) = evaluation["split"].items()
    if way == "HU":
        return held_out(data, ratios, config["fold_in_share"], config["seed"])
    if way == "TS":
        return cut_in_time(data, ratios)
    return fold_of(data, config["folds"], config["fold"], ratios[:2], evaluation["group_by"] == "user")


def order(data: AtomicDataset) -> None:
    """Put the interactions into an order by chance, or by time where `eval_args` say so."""
    if data.config["eval_args"]["order"] == "TO":
        data.sort(by=data.time_field)
    else:
        data.shuffle()


def fold_of(
    data: AtomicDataset, folds: int, fold: int, ratios: Sequence[float], by_user: bool
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


def held_out(data: AtomicDataset, ratios: Sequence[float], share: float, seed: int) -> list[AtomicDataset]:
    """Return the interactions of training users, and what is to be found for validation and test users.

    `ratios` are of users. Of those held out, `share` of the interactions are what they are `known` by, and
    the rest is to be found; items that no training user has are left out. Liang et al., Variational
    Autoencoders for Collaborative Filtering, WWW 2018 (doi 10.1145/3178876.3186150), section 4.1.
    """
    users, items = data.inter_feat[data.uid_field], data.inter_feat[data.iid_field]  # (n,) each
    found = users.unique()
    mixed = found[torch.randperm(len(found), generator=generator_for(seed, Stream.HELD_OUT_USERS))]
    group_of = torch.empty(data.user_num, dtype=torch.int64)
    for group, members in enumerate(mixed.tensor_split(bounds(data, len(found), ratios))):
        group_of[members] = group
    groups = group_of[users]  # (n,)
    parts = [data.copy(data.inter_feat[groups == 0])]
    trained = torch.isin(items, items[groups == 0])  # (n,)
    for group in (1, 2):
        rows = groups == group
        data.account.leave_out("untrained", int((rows & ~trained).sum()))
        part = data.copy(data.inter_feat[rows & trained])
        known, part = part.split_by_ratio([share, round(1 - share, 12)], group_by=data.uid_field)
        part.known = known
        parts.append(part)
    return parts


def cut_in_time(data: AtomicDataset, ratios: Sequence[float]) -> list[AtomicDataset]:
    """Return three parts of interactions, ordered by time, with one cut for all: no two share a time.

    A cut is where the `ratios` have it, or before, where the interactions of one time begin. What users or
    items without a training interaction have later is left out.
    """
    users, items, times = (data.inter_feat[f] for f in (data.uid_field, data.iid_field, data.time_field))
    starts = [int((times < times[place]).sum()) if place < len(times) else place  # the first of its time
              for place in bounds(data, len(times), ratios)]  # fmt: skip
    first, *later = torch.arange(len(times)).tensor_split(starts)
    trained = torch.isin(users, users[first]) & torch.isin(items, items[first])  # (n,)
    data.account.leave_out("untrained", int((~trained[torch.cat(later)]).sum()))
    return [data.copy(data.inter_feat[rows]) for rows in (first, *(part[trained[part]] for part in later))]


def bounds(data: AtomicDataset, count: int, ratios: Sequence[float]) -> list[int]:
    """Return where RecBole cuts so many things by ratios."""
    return [int(end) for end in data._calcu_split_ids(tot=count, ratios=[r / sum(ratios) for r in ratios])]
