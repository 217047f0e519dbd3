"""What all metric recommenders share: tables, norm ball, distance, loss, and both ways of scoring.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230). Every model is score(u, v) = -||p_u + r(u, v) - q_v||^2; only the
translation r differs.

| letter | meaning | | name | shape, meaning |
|---|---|---|---|---|
| B | rows in a batch | | user_e | (B, d) embeddings p_u |
| C | candidate items per row | | item_e | (B, C, d) embeddings q_v |
| U, I | all users, all items, padding included | | history | items (B, H), mask True = real |
| H | history length | | history_e | (B, H, d) |
| N | memory slots | | keys, memories | (N, d): K and M of the paper |
| K | negatives per positive | | slots | (..., N, ...) softmax weights (Eq. 3) |
| d | embedding size | | translation | (B, C, d): r, what moves the user |
"""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_hlr.data.chunks import memory_budget, rows_within
from recbole_hlr.data.interactions import HistoryBatch, InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.host.compile import compiled
from recbole_hlr.model.relation import clip_norms
from recbole_hlr.objective.triplet import triplet_loss
from recbole_hlr.options.plain import complete
from recbole_hlr.protocols import Batch, InteractionData, Options


@dataclasses.dataclass
class Pairs:
    """Users with candidate items: all that a translation depends on."""

    users: Tensor  # (B,)
    items: Tensor  # (B, C)
    user_e: Tensor  # (B, d)
    item_e: Tensor  # (B, C, d)
    history: HistoryBatch | None  # (B, H)
    history_e: Tensor | None  # (B, H, d)

    def listed(self) -> tuple[Tensor, Tensor]:
        """Return the history `(B, H, d)` of a model that has one, and its mask `(B, H)`."""
        assert self.history is not None
        assert self.history_e is not None
        return self.history_e, self.history.mask

    def first(self) -> Pairs:
        """Return the pairs of column 0 alone."""
        return dataclasses.replace(self, items=self.items[:, :1], item_e=self.item_e[:, :1])


class MetricRecommender(GeneralRecommender):
    """Base of the metric models; a subclass supplies `translation`, and a faster `score_all` if it has one.

    Sees data only here: `dataset` gives the sizes and the training interactions.
    """

    USER_ID: str  # what the host's class sets, which declares no types
    ITEM_ID: str
    NEG_ITEM_ID: str
    n_users: int
    n_items: int
    device: torch.device

    input_type = InputType.PAIRWISE
    attends_to_history = False

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        complete(config, type(self))
        super().__init__(config, dataset)
        self._epoch, self._epoch_used = -1, True
        self._versions_read: list[int] | None = None  # of the weights, by a loss after which none was clipped
        self.seed = config["seed"]
        self.margin = config["margin"]
        self.max_norm = config["max_norm"]
        self.negative_reduction = config["negative_reduction"]
        self.negative_temperature = config["negative_temperature"]
        self.num_negatives = int(config["train_neg_sample_args"]["sample_num"])
        self.memory_budget = memory_budget(config["eval_memory"])
        self.share_negative_relation = False
        size = config["embedding_size"]
        self.user_embedding = nn.Embedding(self.n_users, size)
        self.item_embedding = nn.Embedding(self.n_items, size)
        for table in (self.user_embedding, self.item_embedding):
            nn.init.normal_(table.weight, std=size**-0.5)
            table.weight.requires_grad_(not config["freeze_embeddings"])
        if self.attends_to_history:
            self._build_history(config, dataset)
        self.compilation = config["compile"]
        self.num_positives = len(dataset.inter_feat[self.USER_ID])

    def _build_history(self, config: Options, dataset: InteractionData) -> None:
        self.max_history = config["max_history"]
        self.eval_cap = self.max_history if config["eval_history"] == "capped" else None
        self.history_sampling = config["history_sampling"]
        self.history = InteractionMatrix.of(dataset).to(self.device)
        self.attend_when_scoring(self.history)
        self.start_epoch(0)

    def attend_when_scoring(self, history: InteractionMatrix) -> None:
        """Let scoring attend to `history`: the training interactions, if nothing else is said."""
        self._eval_history = InteractionMatrix(history.indptr, history.items, self.n_items)
        self._eval_history.shuffle(generator_for(self.seed, Stream.SCORING_HISTORY), self.history_sampling)

    def start_epoch(self, epoch: int) -> None:
        """Draw the histories of `epoch` anew, from the seed and the epoch alone."""
        self._epoch, self._epoch_used = epoch, False
        if self.attends_to_history:
            self._generator = generator_for(self.seed, Stream.HISTORY, epoch)
            self.history.shuffle(self._generator, self.history_sampling)

    # --- the model -------------------------------------------------------------------------------

    @abstractmethod
    def translation(self, pairs: Pairs) -> Tensor | None:
        """Return r(u, v) `(B, C, d)`; None for zero."""

    def penalty(self, pairs: Pairs, distances: Tensor) -> Tensor | float:
        """Return what a model adds to the hinges of `pairs`, column 0 being the positives."""
        return 0.0

    def pairs(self, users: Tensor, items: Tensor, history: HistoryBatch | None) -> Pairs:
        """Return `users (B,)` with their candidates `items (B, C)`, embedded."""
        history_e = None if history is None else self.item_embedding(history.items)
        return Pairs(users, items, self.user_embedding(users), self.item_embedding(items), history, history_e)

    def distances(self, users: Tensor, items: Tensor, history: HistoryBatch | None) -> Tensor:
        """Return squared distances ||p_u + r - q_v||^2, `(B, C)`, of `users (B,)`, `items (B, C)`.

        With `share_negative_relation`, in training, column 0 lends its r to every column.
        """
        return self._distances(self.pairs(users, items, history))

    def _distances(self, pairs: Pairs) -> Tensor:
        shared = self.share_negative_relation and self.training
        translation = self.translation(pairs.first() if shared else pairs)
        user_e = pairs.user_e.unsqueeze(1)  # (B, 1, d)
        moved = user_e if translation is None else user_e + translation
        return (moved - pairs.item_e).square().sum(dim=-1)  # (B, C)

    def loss(
        self, users: Tensor, positives: Tensor, negatives: Tensor, history: HistoryBatch | None
    ) -> Tensor:
        """Return the hinge loss (Eq. 8) of `users (B,)`, `positives (B,)`, `negatives (B, K)`."""
        pairs = self.pairs(users, torch.cat([positives.unsqueeze(1), negatives], dim=1), history)
        return self._loss_of(pairs)

    @cached_property
    def _loss_of(self) -> Callable[[Pairs], Tensor]:
        epoch = 3 * self.num_positives * (1 + self.num_negatives) * self.pair_flops
        return compiled(self._loss, self.compilation, epoch, self.device)

    def _loss(self, pairs: Pairs) -> Tensor:
        distances = self._distances(pairs)  # (B, 1 + K)
        hinges = triplet_loss(
            distances[:, 0],
            distances[:, 1:],
            self.margin,
            self.negative_reduction,
            self.negative_temperature,
            self.n_items - 1,
        )
        return hinges + self.penalty(pairs, distances)

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Pull every row of both tables, unless they are frozen, back into the ball of radius `max_norm`."""
        self._versions_read = None
        for table in (self.user_embedding, self.item_embedding):
            # a sparse one is the optimizer's, which knows the rows it has moved
            if self.max_norm is not None and table.weight.requires_grad and not table.sparse:
                clip_norms(table.weight, self.max_norm, dim=1)

    # --- a trainer that takes steps and no more, such as the host's own ---------------------------

    def _versions(self) -> list[int]:
        return [weight._version for weight in self.parameters()]  # torch counts changes in place

    def _pull_in(self) -> None:
        """Clip the weights that a step has moved, before anything reads them."""
        if self._versions_read not in (None, self._versions()):
            self.clip_weights()

    def train(self, mode: bool = True) -> MetricRecommender:
        """Turn to training, where an epoch begins that nobody has started, or to scoring (torch)."""
        self._pull_in()
        if mode and self._epoch_used:
            self.start_epoch(self._epoch + 1)
        return super().train(mode)

    def state_dict(self, *args: object, **kwargs: object) -> dict[str, Tensor]:
        """Return the weights, all in the ball (torch)."""
        self._pull_in()
        return super().state_dict(*args, **kwargs)

    # --- the host's interface --------------------------------------------------------------------

    def calculate_loss(self, interaction: Batch) -> Tensor:
        """Return the loss of a batch of triplets, summed over its positives (host interface)."""
        self._pull_in()
        self._epoch_used, self._versions_read = True, self._versions()
        users, positives = interaction[self.USER_ID], interaction[self.ITEM_ID]
        negatives = interaction[self.NEG_ITEM_ID]
        if negatives.dim() == 1:  # the host's loader: row k * B + b is the k-th negative of row b
            negatives = negatives.view(self.num_negatives, -1).T  # (B, K)
            users, positives = users[: len(negatives)], positives[: len(negatives)]
        return self.loss(users, positives, negatives, self.training_history(users, positives))

    def validation_loss(self, interaction: Batch) -> Tensor:
        """Return the summed loss of validation triplets; the histories are those of scoring.

        As many rows at once as the memory budget allows: without a cap, histories have any length.
        """
        columns = (interaction[key] for key in (self.USER_ID, self.ITEM_ID, self.NEG_ITEM_ID))
        chunk = self._rows_within(self.pair_floats * (1 + self.num_negatives))
        losses = [
            self.loss(users, positives, negatives, self.evaluation_history(users))
            for users, positives, negatives in zip(*(c.split(chunk) for c in columns), strict=True)
        ]
        return torch.stack(losses).sum()

    def training_history(self, users: Tensor, positives: Tensor) -> HistoryBatch | None:
        """Return the histories of `users (B,)` without their `positives (B,)`, drawn for this epoch."""
        if not self.attends_to_history:
            return None
        offsets = None
        if self.history_sampling == "uniform":
            offsets = self.history.offsets(users, self._generator)
        return self.history.draw(users, self.max_history, exclude=positives, offsets=offsets)

    def evaluation_history(self, users: Tensor) -> HistoryBatch | None:
        """Return the histories of `users (B,)` that scoring attends to: fixed, given the seed."""
        return self._eval_history.draw(users, self.eval_cap) if self.attends_to_history else None

    @torch.no_grad()
    def predict(self, interaction: Batch) -> Tensor:
        """Return the scores `(B,)` of pairs, larger is better (host interface)."""
        users, items = interaction[self.USER_ID], interaction[self.ITEM_ID]
        chunk = self._rows_within(self.pair_floats)
        scores = [
            -self.distances(u, i.unsqueeze(1), self.evaluation_history(u)).squeeze(dim=1)
            for u, i in zip(users.split(chunk), items.split(chunk), strict=True)
        ]
        return torch.cat(scores)

    @torch.no_grad()
    def full_sort_predict(self, interaction: Batch) -> Tensor:
        """Return the scores `(B, I)` of users with all items, larger is better (host interface)."""
        return self.score_all(interaction[self.USER_ID])

    @torch.no_grad()
    def describe_translation(self, num_pairs: int = 2000) -> dict[str, float]:
        """Return how long r(u, v) is over random pairs, and how much it varies; {} for a model without one.

        `length` is the root of the mean of ||r||^2, `deviation` that of ||r - mean of r||^2. Where the
        deviation is 0, r is one vector for all pairs: CML with all users shifted by it.
        """
        self.eval()  # as it ranks
        generator = generator_for(self.seed, Stream.DESCRIBED_PAIRS)
        users, items = (
            torch.randint(1, ids, (num_pairs,), generator=generator).to(self.device)
            for ids in (self.n_users, self.n_items)
        )
        chunk = self._rows_within(self.pair_floats)
        found = []
        for user, item in zip(users.split(chunk), items.split(chunk), strict=True):
            r = self.translation(self.pairs(user, item.unsqueeze(1), self.evaluation_history(user)))
            if r is None:
                return {}
            found.append(r.squeeze(dim=1))
        r = torch.cat(found)  # (num_pairs, d)
        moments = {"length": r, "deviation": r - r.mean(dim=0)}
        return {name: value.square().sum(dim=1).mean().sqrt().item() for name, value in moments.items()}

    def score_all(self, users: Tensor) -> Tensor:
        """Return `(B, I)` scores of `users (B,)`: the pair scores of the full grid, in chunks."""
        items = torch.arange(self.n_items, device=users.device)
        chunk = self._rows_within(self.pair_floats)
        rows = []
        for user in users.split(1):
            history = self.evaluation_history(user)
            parts = [self.distances(user, i.unsqueeze(0), history) for i in items.split(chunk)]
            rows.append(-torch.cat(parts, dim=1))
        return torch.cat(rows)

    @property
    def rows_read(self) -> tuple[int, int] | None:
        """Rows of the users' and of the items' table that a positive reads at most; None: whole tables."""
        return 1, 1 + self.num_negatives + (self.max_history if self.attends_to_history else 0)

    @property
    def pair_flops(self) -> int:
        """Floating-point operations of one pair's distance, roughly: what compilation is weighed by."""
        return 4 * self.item_embedding.embedding_dim

    @property
    def pair_floats(self) -> int:
        """Floats that scoring one pair holds at once: what the memory budget is divided by."""
        return 4 * self.item_embedding.embedding_dim

    def _scoring_width(self, history: InteractionMatrix) -> int:
        longest = int(history.lengths.max())
        return longest if self.eval_cap is None else min(longest, self.eval_cap)

    def _rows_within(self, floats_per_row: int) -> int:
        item_bytes = self.item_embedding.weight.element_size()
        return rows_within(self.memory_budget, item_bytes * floats_per_row)
