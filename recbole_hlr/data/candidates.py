"""Sampled ranking: every user's candidates, drawn once, from the split and the seed alone.

RecBole's own loader draws them anew in every evaluation from the global generator, so that no two models
rank the same, and with repetition, so that fewer than were asked for remain.
"""

from __future__ import annotations

import torch
from recbole.data.dataloader.abstract_dataloader import AbstractDataLoader
from recbole.data.dataset import Dataset
from recbole.data.interaction import Interaction
from recbole.utils import FeatureSource, FeatureType
from torch import Tensor

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.negatives import draw_candidates
from recbole_hlr.protocols import Given, Options

Batch = tuple[Interaction, Tensor, Tensor, Tensor]


class CandidateLoader(AbstractDataLoader):
    """Yields what RecBole's `NegSampleEvalDataLoader` (1.2.0 and 1.2.1) yields, with fixed candidates.

    Ranks, for every user of the part `dataset`, its items there and `sample_num` others for each of
    them, which the user has not `seen`: that part and those before it. `distribution` is uniform or
    popularity, that of the interactions in `seen`. A user with fewer such items gets them all. Users who
    were held out of training are `known` by interactions.
    """

    known: InteractionMatrix | None = None

    def __init__(
        self,
        config: Options,
        dataset: Dataset,
        seen: InteractionMatrix,
        sampling: Given,
        generator: torch.Generator,
    ) -> None:
        dataset.sort(by=dataset.uid_field, ascending=True)
        self.label_field = config["LABEL_FIELD"]
        dataset.set_field_property(self.label_field, FeatureType.FLOAT, FeatureSource.INTERACTION, 1)
        users = dataset.inter_feat[dataset.uid_field]  # (n,) ascending
        self.counts = torch.bincount(users, minlength=dataset.user_num)  # (U,)
        self.starts = self.counts.cumsum(dim=0) - self.counts  # (U,)
        self.uid_list = self.counts.nonzero().squeeze(dim=1)  # (users,)
        self.sample_size = len(self.uid_list)
        weights = None
        if sampling["distribution"] == "popularity":
            weights = torch.bincount(seen.items, minlength=seen.num_items)  # (I,)
        self.candidates = draw_candidates(seen, self.counts * sampling["sample_num"], weights, generator)
        super().__init__(config, dataset, None, shuffle=False)

    def _init_batch_size_and_step(self) -> None:
        items = self._dataset.item_num  # the host's trainer puts a batch's scores into (users, I)
        self.step = max(self.config["eval_batch_size"] // items, 1)
        self.set_batch_size(self.step * items)

    def collate_fn(self, index: list[int]) -> Batch:
        """Return the pairs `(n,)` to score, user by user, positives first, and the row of each.

        Then the rows of the positives, and their items.
        """
        users = self.uid_list[torch.tensor(index)]  # (B,)
        positives = self.counts[users]  # (B,)
        sizes = positives + self.candidates.lengths[users]  # (B,)
        row = torch.arange(len(users)).repeat_interleave(sizes)  # (n,)
        place = torch.arange(len(row)) - (sizes.cumsum(dim=0) - sizes)[row]  # (n,) from 0 in each row
        is_positive = place < positives[row]  # (n,)
        pairs = self._dataset.inter_feat[self.starts[users][row] + place % positives[row]]
        pairs[self._dataset.iid_field][~is_positive] = self.candidates.flat(users)[0]
        pairs = self._dataset.join(pairs)
        pairs.update(Interaction({self.label_field: is_positive.float()}))
        return pairs, row, row[is_positive], pairs[self._dataset.iid_field][is_positive]
