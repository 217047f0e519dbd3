"""The softmax over the catalogue: each positive against itself and all items that its user has not seen.

With logits l = s (b_v - ||p_u + r - q_v||^2) the loss of a user with the items P is

    n^(w - 1) sum_{i in P} log(1 + exp(t L - l_i)),  L = log sum_{j not in P} exp(l_j),  n = |P|,

which is the softmax cross-entropy of i against the items outside P, where t = 1. On the unit sphere it is a
cosine softmax with temperature 1 / (2 s): Wu et al., On the Effectiveness of Sampled Softmax Loss for Item
Recommendation, TOIS 2024 (doi 10.1145/3637061). t is that of the bilateral form: Wu et al., BSL:
Understanding and Improving Softmax Loss for Recommendation, ICDE 2024 (arXiv 2312.12882). Of what u is known
to dislike, exp(l_j) counts once, `disliked_weight` times, or not at all (`disliked`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

from recbole_hlr.data.chunks import memory_budget, spans
from recbole_hlr.data.interactions import DISLIKED, HELD_OUT, InteractionMatrix
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.objective.sample import Sample, Sampler, Seen, sample_size
from recbole_hlr.protocols import Batch, InteractionData, Options

if TYPE_CHECKING:
    from recbole_hlr.model.base import MetricRecommender
    from recbole_hlr.model.candidates import Shared, Users

SharedOf = Callable[[slice | Tensor], "Shared"]
DistancesOf = Callable[[slice], Tensor]  # places of candidates -> ||p + r - q||^2 - b, (B, V)
BLOCK = 2**26  # floats of a block that is trained on: 256 MiB, past which larger ones are no faster
WIDTH = 8  # items of a user that are laid out in one row: of the last row, half is padding on average


class Softmax(nn.Module):
    """Batches of users with all their items, against the catalogue or a sample of it."""

    pairs = None  # a batch reads whole tables
    drawn = 0  # negatives of a positive in `loss_of_all`, apart from the whole catalogue
    sampler: Sampler | None = None

    def __init__(self, config: Options, dataset: InteractionData) -> None:
        super().__init__()
        self.seed: int = config["seed"]
        self.scale: float = config["scale"]
        self.geometry: str = config["geometry"]
        self.item_bias: bool = config["item_bias"]
        self.user_weight: float = config["user_weight"]
        self.exponent: float = config["denominator_exponent"]
        self.train_memory = memory_budget(config["train_memory"])
        weights = {"ignored": None, "masked": 0.0, "weighted": config["disliked_weight"]}
        self.disliked_weight: float | None = weights[config["disliked"]]
        # s is `scale` times the square of this; None: s is `scale`
        self.root = nn.Parameter(torch.ones(())) if config["learn_scale"] else None
        count = sample_size(config["candidates"], dataset.item_num)
        if count is not None:
            trained = InteractionMatrix.of(dataset)
            popularity = torch.bincount(trained.items, minlength=trained.num_items)
            self.sampler = Sampler(count, config["candidate_distribution"], popularity.to(config["device"]))
        self.start_epoch(0)

    def start_epoch(self, epoch: int) -> None:
        """Draw the samples of `epoch` from the seed and the epoch alone."""
        self._generator = generator_for(self.seed, Stream.SAMPLED_CANDIDATES, epoch)

    def loss(self, model: MetricRecommender, batch: Batch) -> Tensor:
        """Return the loss of users with all their items; none of these is part of its own history."""
        ids, rows = batch[model.USER_ID].unique_consecutive(return_inverse=True)  # (B,), (n + m,)
        items, none = batch[model.ITEM_ID], None
        if self.disliked_weight is not None:
            told = batch[DISLIKED]
            none = rows[told], items[told]  # (m,)
            rows, items = rows[~told], items[~told]  # (n,)
        users = model.users(ids, model.training_history(ids), shared=True)
        users.without_target = True
        if self.sampler is None:
            return self.loss_of_all(model, users, rows, items, disliked=none)
        sample = self.sampler.draw(items, self._generator)
        seen = sample.seen(rows, items)
        rest, own = self._against(model, users, sample, seen, disliked=none and sample.seen(*none))
        if len(seen.rows) < len(rows):
            own = self._own_logits(model, users, rows, items)
        return softmax_loss(rest, own, rows, self.user_weight, self.exponent)

    def loss_of_all(
        self,
        model: MetricRecommender,
        users: Users,
        rows: Tensor,
        items: Tensor,
        shared: SharedOf | None = None,
        disliked: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Return the loss of `users` with all their `items (n,)`, of `rows (n,)`, against the catalogue.

        `shared` is in place of the model's own; `disliked` has rows `(m,)` and items `(m,)`.
        """
        none = disliked and Seen(disliked[0], disliked[1] - 1)
        rest, own = self._against(model, users, None, Seen(rows, items - 1), shared, none)
        return softmax_loss(rest, own, rows, self.user_weight, self.exponent)

    def validation_loss(self, model: MetricRecommender, batch: Batch) -> Tensor:
        """Return the loss of those items alone that are held out; the others are no negatives either.

        Always against the whole catalogue; the histories are those of scoring.
        """
        ids, rows = batch[model.USER_ID].unique_consecutive(return_inverse=True)  # (B,), (n,)
        users = model.users(ids, model.evaluation_history(ids), shared=True)
        rest, own = self._against(model, users, None, Seen(rows, batch[model.ITEM_ID] - 1))
        held_out = batch[HELD_OUT]
        return softmax_loss(rest, own[held_out], rows[held_out], self.user_weight, self.exponent)

    def _against(
        self,
        model: MetricRecommender,
        users: Users,
        sample: Sample | None,
        seen: Seen,
        shared: SharedOf | None = None,
        disliked: Seen | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return L `(B,)` over the catalogue or a sample of it, and the logits `(n,)` of what is seen."""
        total = model.n_items - 1 if sample is None else len(sample.ids)
        blocks, recompute = self.blocks(model, total, len(users), users.known)

        def distances(block: slice) -> Tensor:
            items = slice(block.start + 1, block.stop + 1) if sample is None else sample.ids[block]
            return self._scaled(model, model.distances(users, (shared or model.shared)(items)), items)

        log_weights = None if sample is None else sample.log_weights
        told = disliked and Disliked(disliked, self.disliked_weight or 0.0)
        return against(distances, blocks, seen, self.scale, log_weights, recompute, told)

    def _scaled(self, model: MetricRecommender, distances: Tensor, items: slice | Tensor) -> Tensor:
        """Return distances less the biases, times the learned part of s."""
        if model.item_bias is not None:
            distances = distances - model.item_bias[items]
        return distances if self.root is None else distances * self.root.square()

    def _own_logits(self, model: MetricRecommender, users: Users, rows: Tensor, items: Tensor) -> Tensor:
        """Return the logits `(n,)` of users' own `items (n,)`; `rows (n,)` ascend.

        Plain formula: (n, H, d) histories, one of each pair. With some of a user's items in a row of
        `WIDTH`, they share it.
        """
        lengths = torch.bincount(rows, minlength=len(users))  # (B,)
        pieces = (lengths + WIDTH - 1) // WIDTH  # (B,)
        number = torch.arange(len(rows), device=rows.device) - (lengths.cumsum(dim=0) - lengths)[rows]  # (n,)
        piece = (pieces.cumsum(dim=0) - pieces)[rows] + number // WIDTH  # (n,)
        owners = torch.repeat_interleave(torch.arange(len(users), device=rows.device), pieces)  # (P,)
        listed = items.new_zeros(len(owners), WIDTH)
        listed[piece, number % WIDTH] = items

        def logits(part: slice) -> Tensor:
            some = users.rows(owners[part])
            own = model.distances(some, model.listed(some.ids, listed[part]))
            return -self.scale * self._scaled(model, own, listed[part])

        width, recompute = self._room(model, len(listed), 4 * WIDTH * model.work.pair_floats)
        parts = [maybe_twice(partial(logits, part), recompute) for part in spans(len(listed), width)]
        return torch.cat(parts)[piece, number % WIDTH]

    def blocks(
        self, model: MetricRecommender, items: int, users: int, known: int
    ) -> tuple[list[slice], bool]:
        """Return blocks of the places of `items` for a batch of `users` who attend to `known` rows in all.

        Says too whether they must be computed twice, because `train_memory` does not hold them together.
        """
        per_item, per_pair = model.work.trained_floats(known)
        width, recompute = self._room(model, items, per_item + users * per_pair)
        return spans(items, width), recompute

    def _room(self, model: MetricRecommender, count: int, floats: int) -> tuple[int, bool]:
        """Return how many, of `count` of so many `floats`, at once, and whether all need more room."""
        room = self.train_memory // model.item_embedding.weight.element_size()
        return max(min(room // 2, BLOCK) // floats, 1), floats * count > room


def softmax_loss(rest: Tensor, own: Tensor, rows: Tensor, power: float, exponent: float = 1.0) -> Tensor:
    """Return the summed loss, a scalar, of positives with logits `own (n,)` of the users `rows (n,)`.

    `rest (B,)` is L of every user, `power` is w, `exponent` t.
    """
    weights = user_weights(torch.bincount(rows, minlength=len(rest)), power)  # (B,)
    return (weights[rows].to(own.dtype) * softplus(exponent * rest[rows] - own)).sum()


def against(
    distances: DistancesOf,
    blocks: Sequence[slice],
    seen: Seen,
    scale: float,
    log_weights: Tensor | None = None,
    recompute: bool = False,
    disliked: Disliked | None = None,
) -> tuple[Tensor, Tensor]:
    """Return L `(B,)`, over the candidates that a user has not seen, and the logits `(n,)` of those seen.

    `blocks` cut all places, each in one of them. Logits are -`scale` times distances, in L plus
    `log_weights (V,)` of a sample and the logarithm of the weight of what is `disliked`, of which nothing
    is seen. With `recompute` no block outlives its turn: its gradient makes it anew.

    Plain formula: one softmax over all candidates of a positive.
    Identity: log sum exp over blocks is log sum exp of theirs, and all positives of a user share theirs.
    What disappears: (n, I), and with `recompute` (B, I).
    """
    parts, own, order = [], [], []
    for block in blocks:
        at, inside = seen.within(block)
        told = disliked and Disliked(disliked.pairs.within(block)[0], disliked.weight)

        def part(block: slice = block, at: Seen = at, told: Disliked | None = told) -> tuple[Tensor, Tensor]:
            added = None if log_weights is None else log_weights[block]
            found: tuple[Tensor, Tensor] = SplitOff.apply(distances(block), scale, at, added, told)
            return found

        rest, found = maybe_twice(part, recompute)
        parts.append(rest)
        own.append(found)
        order.append(inside)
    if len(parts) == 1:
        return parts[0], own[0]
    logits = torch.cat(own)
    return torch.stack(parts).logsumexp(dim=0), torch.empty_like(logits).index_copy(
        0, torch.cat(order), logits
    )


def maybe_twice(part: Callable[[], Any], recompute: bool) -> Any:
    """Return `part()`, computed again for its gradient where `recompute`, so that nothing of it is kept."""
    return checkpoint(part, use_reentrant=False, preserve_rng_state=False) if recompute else part()


class Disliked(NamedTuple):
    """Different `pairs` of a user and a candidate that the user dislikes, and what these count, >= 0."""

    pairs: Seen
    weight: float


class SplitOff(torch.autograd.Function):
    """The log sum exp `(B,)` of l = -`scale` `distances (B, V)` elsewhere than at `seen`, and l `(n,)` there.

    Identity: the gradient of log sum exp is exp(l) / sum exp(l), and exp(l) is there already.
    What disappears: (B, V) masked, shifted and normalised; one matrix beside the distances is held.
    """

    @staticmethod
    def forward(
        ctx: Any,
        distances: Tensor,
        scale: float,
        seen: Seen,
        log_weights: Tensor | None,
        disliked: Disliked | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return both."""
        lowest = torch.finfo(distances.dtype).min / 4  # finite: where all is seen, no NaN arises
        logits = distances * -scale
        own = logits[seen.rows, seen.places]
        if log_weights is not None:
            logits += log_weights
        if disliked is not None:
            rows, places = disliked.pairs
            weight = disliked.weight
            logits[rows, places] = logits[rows, places] + math.log(weight) if weight else lowest
        logits[seen.rows, seen.places] = lowest
        highest = logits.amax(dim=1, keepdim=True)
        exp = logits.sub_(highest).exp_()
        total = exp.sum(dim=1)
        ctx.save_for_backward(exp, total, seen.rows, seen.places)
        ctx.scale = scale
        return total.log() + highest.squeeze(dim=1), own

    @staticmethod
    def backward(ctx: Any, of_rest: Tensor, of_own: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the distances."""
        exp, total, rows, places = ctx.saved_tensors
        gradient = exp * (of_rest * -ctx.scale / total).unsqueeze(1)
        gradient[rows, places] = of_own * -ctx.scale
        return gradient, None, None, None, None


def user_weights(lengths: Tensor, power: float) -> Tensor:
    """Return what the terms of users with `lengths (B,)` positives are multiplied by: n^(power - 1)."""
    return lengths.clamp(min=1).double().pow(power - 1)
