"""The softmax over the catalogue: each positive against itself and all items that its user has not seen.

With logits l = s (b_v - ||p_u + r - q_v||^2) the loss of a user with the items P is

    n^(w - 1) sum_{i in P} log(1 + exp(t L - l_i)),  L = log sum_{j not in P} exp(l_j),  n = |P|,

which is the softmax cross-entropy of i against the items outside P, where t = 1. On the unit sphere it is a
cosine softmax with temperature 1 / (2 s): Wu et al., On the Effectiveness of Sampled Softmax Loss for Item
Recommendation, TOIS 2024 (doi 10.1145/3637061). t is that of the bilateral form: Wu et al., BSL:
Understanding and Improving Softmax Loss for Recommendation, ICDE 2024 (arXiv 2312.12882).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus
from torch.utils.checkpoint import checkpoint

LogitsOf = Callable[[slice], Tensor]  # places of candidates -> logits (B, V)


class Positives(NamedTuple):
    """The positives of a batch of users, user by user: `rows (n,)` of the batch and `ids (n,)` of items."""

    rows: Tensor
    ids: Tensor


def softmax_loss(
    logits: LogitsOf,
    blocks: Sequence[slice],
    positives: Positives,
    weights: Tensor,
    exponent: float = 1.0,
    recompute: bool = False,
    counted: Tensor | None = None,
) -> Tensor:
    """Return the loss of a batch of users over a catalogue, block by block, as a scalar.

    `blocks` are ranges of item ids that cover the catalogue, each id once. `weights (B,)` multiply the terms
    of a user's positives, `exponent` is t. With `recompute` no block outlives its turn: it is computed again
    for its gradient. With `counted (n,)` only those positives have a term; none of the others is a negative.

    Plain formula: one softmax over all candidates of a positive.
    Identity: log sum exp over blocks is log sum exp of theirs, and all positives of a user share theirs.
    What disappears: (n, I), and with `recompute` (B, I).
    """
    parts, own, order = [], [], []
    for block in blocks:
        inside = ((positives.ids >= block.start) & (positives.ids < block.stop)).nonzero().squeeze(dim=1)
        at = positives.rows[inside], positives.ids[inside] - block.start

        def part(block: slice = block, at: tuple[Tensor, Tensor] = at) -> tuple[Tensor, Tensor]:
            return split_off(logits(block), at)

        rest, found = checkpoint(part, use_reentrant=False, preserve_rng_state=False) if recompute else part()
        parts.append(rest)
        own.append(found)
        order.append(inside)
    rest = parts[0] if len(parts) == 1 else torch.stack(parts).logsumexp(dim=0)  # (B,)
    where = torch.cat(order)  # (n,)
    rows = positives.rows[where]
    terms = weights[rows].to(rest.dtype) * softplus(exponent * rest[rows] - torch.cat(own))
    return (terms if counted is None else terms[counted[where]]).sum()


def split_off(logits: Tensor, at: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Return the log sum exp `(B,)` of the logits elsewhere than `at`, and the logits `(n,)` there."""
    lowest = torch.finfo(logits.dtype).min / 4  # finite: where a user has seen a whole block, no NaN arises
    return logits.index_put(at, logits.new_tensor(lowest)).logsumexp(dim=1), logits[at]


def user_weights(lengths: Tensor, power: float) -> Tensor:
    """Return what the terms of users with `lengths (B,)` positives are multiplied by: n^(power - 1)."""
    return lengths.clamp(min=1).double().pow(power - 1)
