"""The loader of full-ranking evaluation, on compressed sparse rows.

RecBole's own keeps Python sets of every user's items, three of them, and one small tensor per user:
gigabytes and minutes on ten million interactions. What it yields is the same.
"""

from __future__ import annotations

import logging

import numpy as np
import torch
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.protocols import Options

Batch = tuple[Interaction, tuple[Tensor, Tensor], Tensor, Tensor]


class RankingLoader(FullSortEvalDataLoader):
    """RecBole's `FullSortEvalDataLoader` (1.2.0 and 1.2.1) for general recommenders, without sets.

    Ranks all items for every user of the part `dataset`; of what a user has `seen`, its own
    positives apart, nothing is ranked. Users who were held out of training are `known` by interactions.
    """

    known: InteractionMatrix | None = None

    def __init__(
        self, config: Options, dataset: Dataset, positives: InteractionMatrix, seen: InteractionMatrix
    ) -> None:
        self.logger = logging.getLogger()
        self.uid_field, self.iid_field = dataset.uid_field, dataset.iid_field
        dataset.sort(by=self.uid_field, ascending=True)
        self.positives = positives
        self.history = seen.without(positives)
        self.uid_list = positives.lengths.nonzero().squeeze(dim=1)  # (users,)
        self.user_df = dataset.join(Interaction({self.uid_field: self.uid_list}))
        self.sample_size = len(self.uid_list)
        self.is_sequential = False
        AbstractDataLoader.__init__(self, config, dataset, None, shuffle=False)

    # --- what RecBole's `case_study` and others read of its loader, cut out when asked for ------------

    @property
    def uid2history_item(self) -> Rows:
        """The items that are not ranked for a user."""
        return Rows(self.history)

    @property
    def uid2positive_item(self) -> Rows:
        """The items that a user has in this part."""
        return Rows(self.positives)

    @property
    def uid2items_num(self) -> np.ndarray:
        """How many those are, `(U,)`."""
        return self.positives.lengths.numpy()

    def collate_fn(self, index: list[int]) -> Batch:
        """Return users, the (row, item) indices `(n,)` that are not ranked, and those of positives."""
        rows = torch.tensor(index)
        users = self.uid_list[rows]  # (B,)
        return self.user_df[rows], _indices(self.history, users), *_indices(self.positives, users)


class Rows:
    """The lists of all users, indexed as the array of one tensor per user that RecBole keeps."""

    def __init__(self, lists: InteractionMatrix) -> None:
        self.lists = lists

    def __len__(self) -> int:
        return self.lists.num_users

    def __getitem__(self, users: int | np.ndarray | slice) -> Tensor | np.ndarray:
        """Return the items `(n,)` of one user, or an array of those of several."""
        chosen = np.arange(len(self))[users]
        if np.ndim(chosen) == 0:
            return self.lists.items[self.lists.indptr[chosen] : self.lists.indptr[chosen + 1]]
        found = np.empty(chosen.shape, dtype=object)
        for place, user in np.ndenumerate(chosen):
            found[place] = self[user]
        return found


def _indices(lists: InteractionMatrix, users: Tensor) -> tuple[Tensor, Tensor]:
    items, _ = lists.flat(users)
    return torch.repeat_interleave(torch.arange(len(users)), lists.lengths[users]), items
