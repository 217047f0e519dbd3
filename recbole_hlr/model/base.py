"""What all metric recommenders share: tables, norm ball, the one distance, the loss, the ways of scoring.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230). Every model is score(u, v) = -||p_u + r(u, v) - q_v||^2; only the
translation r differs.

| letter | meaning | | name | shape, meaning |
|---|---|---|---|---|
| B | rows in a batch | | user_e | (B, d) embeddings p_u |
| C, V | candidate items: of each row, of all rows | | item_e | (B, C, d) or (V, d) embeddings q_v |
| U, I | all users, all items, padding included | | history | items (B, H), mask True = real |
| H | history length | | history_e | (B, H, d) |
| N | memory slots | | keys, memories | (N, d): K and M of the paper |
| K | negatives per positive | | slots | (..., N, ...) softmax weights (Eq. 3) |
| d | embedding size | | translation | (B, C, d): r, what moves the user |
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import InputType
from torch import Tensor, nn

from recbole_hlr.data.chunks import memory_budget, rows_within
from recbole_hlr.data.interactions import HistoryBatch, InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.host.compile import Compiled, compiled
from recbole_hlr.model.candidates import (
    Candidates,
    Kernels,
    Listed,
    Shared,
    Users,
    windows,
)
from recbole_hlr.model.others import with_users
from recbole_hlr.model.relation import clip_norms
from recbole_hlr.model.sphere import along_sphere, onto_sphere
from recbole_hlr.model.work import Work
from recbole_hlr.objective.softmax import Softmax
from recbole_hlr.objective.triplet import Triplets
from recbole_hlr.options.plain import complete
from recbole_hlr.options.protocol import SOFTMAX
from recbole_hlr.protocols import Batch, InteractionData, Options


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
        self.max_norm = config["max_norm"]
        self.memory_budget = memory_budget(config["eval_memory"])
        self.objective: Softmax | Triplets
        if config["objective"] == SOFTMAX:
            self.objective = Softmax(config, dataset)
        else:
            self.objective = Triplets(config)
        self.geometry = self.objective.geometry
        self.item_bias = nn.Parameter(torch.zeros(self.n_items)) if self.objective.item_bias else None
        self.share_negative_relation = False
        size = config["embedding_size"]
        self.user_embedding = nn.Embedding(self.n_users, size)
        self.item_embedding = nn.Embedding(self.n_items, size)
        for table in (self.user_embedding, self.item_embedding):
            nn.init.normal_(table.weight, std=size**-0.5)
            table.weight.requires_grad_(not config["freeze_embeddings"])
        self.project()
        if self.attends_to_history:
            self._build_history(config, dataset)
        self.compilation = config["compile"]
        self.num_positives = len(dataset.inter_feat[self.USER_ID])

    def project(self) -> None:
        """Put every row of both tables, frozen or not, onto the sphere, where vectors are to stay on one."""
        if self.geometry == "sphere":
            for table in (self.user_embedding, self.item_embedding):
                self.keep_within(table.weight)

    def keep_within(self, vectors: Tensor) -> None:
        """Pull `vectors (T, d)` in place onto the sphere, or into the ball, of radius `max_norm`."""
        if self.max_norm is None:
            return
        if self.geometry == "sphere":
            onto_sphere(vectors, self.max_norm)
        else:
            clip_norms(vectors, self.max_norm, dim=1)

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

    def of_others(self, history: InteractionMatrix) -> MetricRecommender:
        """Return this model for other users, who have `history`, their vectors 0.

        All else is shared. What scoring attends to of a history follows from its items and the seed alone.
        """
        other = with_users(self, history.num_users)
        if self.attends_to_history:
            other._eval_history = InteractionMatrix(history.indptr, history.items, self.n_items)
            generator = generator_for(self.seed, Stream.SCORING_HISTORY)
            other._eval_history.order_alike(generator, self.history_sampling, self.history.items)
        return other

    def start_epoch(self, epoch: int) -> None:
        """Draw the histories of `epoch` anew, from the seed and the epoch alone."""
        self._epoch, self._epoch_used = epoch, False
        self.objective.start_epoch(epoch)
        if self.attends_to_history:
            self._generator = generator_for(self.seed, Stream.HISTORY, epoch)
            self.history.shuffle(self._generator, self.history_sampling)

    # --- the model -------------------------------------------------------------------------------

    def translation(self, users: Users, items: Listed) -> Tensor | None:
        """Return r(u, v) `(B, C, d)` as a vector of each pair; None for zero."""
        return None

    def distances(self, users: Users, items: Candidates) -> Tensor:
        """Return squared distances ||p_u + r - q_v||^2, `(B, C)` of listed items, `(B, V)` of shared ones.

        A model whose r has a form, such as a mixture of few rows, need not make the vectors r.
        """
        listed = items if isinstance(items, Listed) else items.listed(len(users))
        r = self.translation(users, listed.first() if listed is items and self.lends else listed)
        return items.squared(users.e) if r is None else listed.squared(users.e.unsqueeze(1) + r)

    @property
    def lends(self) -> bool:
        """Whether the positive, in column 0 of listed items, lends its r to the negatives."""
        return self.share_negative_relation and self.training

    def penalty(self, users: Users, items: Listed, distances: Tensor) -> Tensor | float:
        """Return what a model adds to the hinges of listed `items`, column 0 being the positives."""
        return 0.0

    def own_penalty(self, users: Users, positives: Tensor, distances: Tensor) -> Tensor | float:
        """Return the penalty of `users (n,)` with their `positives (n,)`, without what negatives add."""
        if type(self).penalty is MetricRecommender.penalty:
            return 0.0
        pairs = self.listed(users.ids, torch.stack([positives, positives], dim=1))
        return self.penalty(users, pairs, torch.stack([distances, distances], dim=1))

    def users(self, ids: Tensor, history: HistoryBatch | None, shared: bool = False) -> Users:
        """Return `ids (B,)` as users who attend to `history`, to be held against listed or `shared` items."""
        users = Users(ids, self.embedded(self.user_embedding, ids), self.n_users, history)
        if history is not None and shared:
            known, users.positions = history.items.unique(return_inverse=True)  # (J,), (B, H)
            users.known_e = self.embedded(self.item_embedding, known)
        elif history is not None:
            users.known_e = self.embedded(self.item_embedding, history.items)
        return users

    def listed(self, users: Tensor, items: Tensor) -> Listed:
        """Return `items (B, C)`, of each of `users (B,)` its own."""
        return Listed(items, self.embedded(self.item_embedding, items))

    def shared(self, items: slice | Tensor) -> Shared:
        """Return a block of the catalogue, or some of its items `(V,)`."""
        ids = torch.arange(items.start, items.stop, device=self.device) if isinstance(items, slice) else items
        return Shared(ids, self.embedded(self.item_embedding, items), self.n_items, kernels=self.kernels)

    def embedded(self, table: nn.Embedding, rows: Tensor | slice) -> Tensor:
        """Return the vectors of `rows (...)`; on the sphere their gradients are those along it."""
        vectors = table.weight[rows] if isinstance(rows, slice) else table(rows)  # (..., d)
        return along_sphere(vectors) if self.geometry == "sphere" else vectors

    def scores(self, users: Users, items: Candidates) -> Tensor:
        """Return -||p_u + r - q_v||^2, with `item_bias` plus b_v, shaped as distances; without gradient."""
        scores = self.distances(users, items).clamp_(min=0).neg_()
        return scores if self.item_bias is None else scores + self.item_bias[items.ids]

    def pair_distances(self, users: Tensor, items: Tensor, history: HistoryBatch | None) -> Tensor:
        """Return the distances `(B, C)` of `users (B,)` with `items (B, C)`."""
        return self.distances(self.users(users, history), self.listed(users, items))

    def loss(
        self, users: Tensor, positives: Tensor, negatives: Tensor, history: HistoryBatch | None
    ) -> Tensor:
        """Return the hinge loss (Eq. 8) of `users (B,)`, `positives (B,)`, `negatives (B, K)`."""
        items = torch.cat([positives.unsqueeze(1), negatives], dim=1)
        return self._loss_of(self.users(users, history), self.listed(users, items))

    @cached_property
    def _loss_of(self) -> Callable[[Users, Listed], Tensor]:
        assert isinstance(self.objective, Triplets)
        epoch = 3 * self.num_positives * self.objective.pairs * self.work.pair_flops
        return compiled(self._loss, self.compilation, epoch, self.device)

    def _loss(self, users: Users, items: Listed) -> Tensor:
        distances = self.distances(users, items)  # (B, 1 + K)
        assert isinstance(self.objective, Triplets)
        return self.objective.hinges(distances, self.n_items - 1) + self.penalty(users, items, distances)

    @torch.no_grad()
    def clip_weights(self) -> None:
        """Pull every row of both tables, unless they are frozen, back into the ball of radius `max_norm`."""
        self._versions_read = None
        for table in (self.user_embedding, self.item_embedding):
            # a sparse one is the optimizer's, which knows the rows it has moved
            if table.weight.requires_grad and not table.sparse:
                self.keep_within(table.weight)

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
        """Return the summed loss of a batch: triplets, or users with all their items (host interface)."""
        self._pull_in()
        self._epoch_used, self._versions_read = True, self._versions()
        return self.objective.loss(self, interaction)

    def validation_loss(self, interaction: Batch) -> Tensor:
        """Return the summed loss of a validation batch; the histories are those of scoring."""
        return self.objective.validation_loss(self, interaction)

    def training_history(self, users: Tensor, positives: Tensor | None = None) -> HistoryBatch | None:
        """Return the histories of `users (B,)`, without their `positives (B,)`, drawn for this epoch."""
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
        chunk = self.rows_within(self.work.pair_floats)
        scores = [
            self.scores(self.users(u, self.evaluation_history(u)), self.listed(u, i.unsqueeze(1))).squeeze(
                dim=1
            )
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
        deviation is 0, r is one vector for all pairs: CML with all users shifted by it. `directions` is the
        participation ratio (tr S)^2 / tr S^2 of r's covariance S: 1 where r varies along a line, n where it
        does so alike along n directions, and 0 for one vector.
        """
        self.eval()  # as it ranks
        generator = generator_for(self.seed, Stream.DESCRIBED_PAIRS)
        users, items = (
            torch.randint(1, ids, (num_pairs,), generator=generator).to(self.device)
            for ids in (self.n_users, self.n_items)
        )
        chunk = self.rows_within(self.work.pair_floats)
        found = []
        for user, item in zip(users.split(chunk), items.split(chunk), strict=True):
            pairs = self.users(user, self.evaluation_history(user)), self.listed(user, item.unsqueeze(1))
            r = self.translation(*pairs)
            if r is None:
                return {}
            found.append(r.squeeze(dim=1))
        r = torch.cat(found)  # (num_pairs, d)
        apart = (r - r.mean(dim=0)).double()
        length, deviation = (value.square().sum(dim=1).mean().sqrt().item() for value in (r, apart))
        covariance = apart.T @ apart / len(apart)  # (d, d)
        varies = deviation > torch.finfo(r.dtype).eps * len(apart) * length
        directions = deviation**4 / covariance.square().sum().item() if varies else 0.0
        return {"length": length, "deviation": deviation, "directions": directions}

    # --- all items -------------------------------------------------------------------------------

    @torch.no_grad()
    def score_all(self, users: Tensor) -> Tensor:
        """Return `(B, I)` scores of `users (B,)`, block by block, within the memory budget."""
        groups = users.split(self.rows_within(self.work.user_floats))
        return torch.cat([self._score_all(self.ranked(group)) for group in groups])

    def ranked(self, users: Tensor) -> Users:
        """Return `users (B,)` for whom all items are ranked."""
        return self.users(users, self.evaluation_history(users), shared=True)

    def _score_all(self, users: Users) -> Tensor:
        scores = users.e.new_empty(len(users), self.n_items)
        per_item, per_user, per_pair = self.work.block_floats(users.known)
        most_items, floats = self.block_size
        width = min(self.rows_within(per_item + per_pair), most_items, self.n_items)
        count = self.rows_within(per_user + per_pair * width)
        count = max(min(count, floats // (per_pair * width)), 1)
        for window in windows(self.n_items, width):
            items = self.shared(window)
            for rows in windows(len(users), count):
                scores[rows, window] = self.scores(users.rows(rows), items)
        return scores

    @property
    def block_size(self) -> tuple[int, int]:
        """The items of a block, and the floats that its users may hold at once: some of a core's cache."""
        if self.device.type != "cpu":
            return 2048, 2**28
        if not self.work.mixes:
            return self.n_items, 2**28
        fused = isinstance(self.kernels.attend_table, Compiled) and self.work.attentions and self.work.N
        return (32, 2**23) if fused else (256, 2**20)  # fused, a table of few items stays in the cache

    @cached_property
    def kernels(self) -> Kernels:
        """The sums over blocks of items, compiled where that pays."""
        flops = self.n_users * self.n_items * self.work.block_flops
        plain: Iterable[Callable[..., Any]] = Kernels()
        return Kernels(*(compiled(one, self.compilation, flops, self.device) for one in plain))

    @property
    def work(self) -> Work:
        """The sizes that the cost of a distance follows from."""
        return Work(self.item_embedding.embedding_dim)

    @property
    def rows_read(self) -> tuple[int | None, int | None]:
        """Rows of the users' and of the items' table that one of a batch reads at most; None: all of them.

        One of a batch is a positive, or, with the softmax, a user.
        """
        if self.objective.pairs is None:
            return 1, None
        return 1, self.objective.pairs + (self.max_history if self.attends_to_history else 0)

    def _scoring_width(self, history: InteractionMatrix) -> int:
        longest = int(history.lengths.max())
        return longest if self.eval_cap is None else min(longest, self.eval_cap)

    def rows_within(self, floats_per_row: int) -> int:
        """Return how many rows of so many floats `eval_memory` holds, at least one."""
        item_bytes = self.item_embedding.weight.element_size()
        return rows_within(self.memory_budget, item_bytes * floats_per_row)
