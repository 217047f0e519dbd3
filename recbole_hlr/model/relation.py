"""The relation memory and the attention over relations, in slot space.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-6. K = `keys`, M = `memories`, N = number of slots.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RelationMemory(nn.Module):
    """Key-value memory: rel(a, b) = softmax((a * b) K^T) M (Eqs. 2-4), K and M of shape (N, d).

    A relation is stored as its slot weights w = softmax((a * b) K^T), N numbers instead of d.

    Plain formula: r_j = w_j M, logit_j = p . r_j, r = sum_j alpha_j r_j.
    Identity: p . (w_j M) = w_j . (M p) and sum_j alpha_j (w_j M) = (sum_j alpha_j w_j) M.
    What disappears: the relations (B, C, H, d); slot weights (B, C, N, H) remain, N / d of them.
    Caveat: none beyond rounding; `tests/test_models.py` compares with loops in float64.
    """

    def __init__(
        self,
        num_memories: int,
        embedding_size: int,
        key_norm: float = 1.0,
        centred: bool = False,
        orthogonal: bool = False,
    ) -> None:
        """Start with normal entries: memories of length 1 and keys of length `key_norm`, as expected.

        Where they are `centred`, M is `memories` less their mean: r has no part that all pairs share. Where
        they are `orthogonal`, `bound` keeps `memories` so: M cannot lose one of its N directions, or,
        centred, of its N - 1.
        """
        super().__init__()
        self.centred, self.orthogonal = centred, orthogonal
        self.keys = nn.Parameter(torch.empty(num_memories, embedding_size))
        self.memories = nn.Parameter(torch.empty(num_memories, embedding_size))
        for weight, norm in ((self.keys, key_norm), (self.memories, 1.0)):
            nn.init.normal_(weight, std=norm * embedding_size**-0.5)

    def slots(self, a: Tensor, b: Tensor) -> Tensor:
        """Return slot weights (Eq. 3) `(..., A, N, B)` of all pairs of `a (..., A, d)`, `b (..., B, d)`.

        The keys are folded into `a`, which should be the smaller side.
        """
        keyed = (a.unsqueeze(-2) * self.keys).flatten(-3, -2)  # (..., A N, d)
        logits = keyed @ b.transpose(-1, -2)  # (..., A N, B)
        return logits.unflatten(-2, (-1, len(self.keys))).softmax(dim=-2)  # (..., A, N, B)

    @property
    def values(self) -> Tensor:
        """M `(N, d)`."""
        return self.memories - self.memories.mean(dim=0) if self.centred else self.memories

    def queries(self, a: Tensor) -> Tensor:
        """Return M a `(N, A)` of `a (A, d)`: what slot weights are multiplied with for a . rel (Eq. 5)."""
        return self.values @ a.T

    def pair_slots(self, a: Tensor, b: Tensor) -> Tensor:
        """Return slot weights (Eq. 3) `(..., N)` of `a (..., d)` with `b (..., d)`, row by row."""
        return ((a * b) @ self.keys.T).softmax(dim=-1)

    @torch.no_grad()
    def clip(self, max_norm: float) -> None:
        """Pull the memories, slot by slot, and the keys, dimension by dimension, into the ball.

        The keys' axis is that of the released code (its `clip_ram`).
        """
        self.bound(max_norm)
        clip_norms(self.keys, max_norm, dim=0)

    @torch.no_grad()
    def bound(self, max_norm: float | None) -> None:
        """Pull the memories into the ball, slot by slot; centred ones all together, so that they stay so.

        Orthogonal ones become `max_norm` U V', with M = U S V': of all that are at right angles and of that
        length the nearest (Schoenemann, Psychometrika 1966, doi 10.1007/BF02289451); where there are more of
        them than dimensions, a tight frame, its rows made that long. Without a `max_norm` they keep their
        lengths.
        """
        if self.orthogonal:
            lengths = self.memories.norm(dim=1, keepdim=True) if max_norm is None else max_norm
            self.memories.copy_(lengths * at_right_angles(self.memories))
        elif max_norm is None:
            return
        elif self.centred:
            self.memories.copy_(self.values)
            self.memories.mul_((max_norm / self.memories.norm(dim=1).max()).clamp(max=1))
        else:
            clip_norms(self.memories, max_norm, dim=1)


def at_right_angles(rows: Tensor) -> Tensor:
    """Return the nearest `rows (N, d)` of length 1 at right angles; what is not finite as it is.

    An epoch's end tells of the latter.
    """
    if not rows.isfinite().all():
        return rows
    left, _, right = torch.linalg.svd(rows, full_matrices=False)
    return nn.functional.normalize(left @ right, dim=1)


def attention_weights(logits: Tensor, smoothing: float, dim: int) -> Tensor:
    """Return exp(l_j) / (sum_k exp(l_k))^smoothing along `dim`; a logit of -inf takes no part.

    With smoothing 1 this is a softmax (Eq. 6), but with nothing to attend to it gives zeros, not NaN.
    No maximum is subtracted: a logit is a convex combination of the entries of M p, or q_j . q_v in
    AdaCML. The norm balls, where they are on, keep both far from the 88 at which exp overflows in
    float32; with `max_norm: null` vectors would have to grow beyond a length of 9.
    """
    exp = logits.exp()
    return exp / divisor(exp.sum(dim=dim, keepdim=True), smoothing)


def attend(
    slots: Tensor,
    query: Tensor,
    mask: Tensor,
    smoothing: float,
    own: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the mixture `(B, C, N)` of the attention over a list of relations (Eqs. 5-6).

    `slots (B, C, N, H)`, or `(B, N, H)` where all candidates share them, are the relations of the
    list, `mask (B, C or 1, H)` tells which are real, `query (B, C or 1, N)` is M times the query.
    `own`, one more relation `(B, C, N)` and its query `(B, C or 1, N)`, joins the attended set; its
    part of the mixture `(B, C, N)` comes second.
    """
    listed = "bcnh" if slots.dim() == 4 else "bnh"
    logits = torch.einsum(f"bcn,{listed}->bch", query, slots).masked_fill(~mask, float("-inf"))
    if own is None:
        weights = attention_weights(logits, smoothing, dim=2)  # (B, C, H)
        return torch.einsum(f"bch,{listed}->bcn", weights, slots), None
    own_logits = (own[1] * own[0]).sum(dim=2, keepdim=True)  # (B, C, 1)
    weights = attention_weights(torch.cat([logits, own_logits], dim=2), smoothing, dim=2)
    mixture = torch.einsum(f"bch,{listed}->bcn", weights[..., :-1], slots)
    return mixture, weights[..., -1:] * own[0]


def attend_block(
    slots: Tensor,
    query: Tensor,
    hide: Tensor,
    smoothing: float,
    own: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return the mixture `(N, S, T)` of `attend` for S lists, each with all of T targets.

    `slots (S, H, N, T)`, or `(S, H, N, 1)` where the targets share them, `hide (S, H, 1 or T)` tells which
    take no part; `query`, and `own` with its query, are `(N, S, T)` with 1 for the S or T that they do not
    depend on.

    Compiled, the sums over slots are written out: slots stay in registers, and what is kept of a list
    is exp(logits) alone.
    """
    shared = slots.shape[3] == query.shape[1] == 1
    if torch.compiler.is_compiling():
        parts = slots.unbind(dim=2)  # N x (S, H, T or 1)
        logits = sum(q.unsqueeze(1) * part for q, part in zip(query, parts, strict=True))
    elif shared:
        logits = slots.squeeze(dim=3) @ query.squeeze(dim=1)  # (S, H, T)
    else:
        logits = (query.permute(1, 2, 0).unsqueeze(1) @ slots).squeeze(dim=2)  # (S, H, T)
    exp = logits.masked_fill(hide, float("-inf")).exp()  # (S, H, T)
    if torch.compiler.is_compiling():
        mixture = torch.stack([(exp * part).sum(dim=1) for part in parts])
    elif shared:
        mixture = (slots.squeeze(dim=3).transpose(1, 2) @ exp).transpose(0, 1)
    elif slots.requires_grad or exp.requires_grad:
        mixture = (slots * exp.unsqueeze(2)).sum(dim=1).transpose(0, 1)
    else:
        mixture = slots.mul_(exp.unsqueeze(2)).sum(dim=1).transpose(0, 1)
    return normalised(mixture, exp.sum(dim=1), smoothing, own)


def normalised(
    numerators: Tensor, totals: Tensor, smoothing: float, own: tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor | None]:
    """Return the mixture `(N, S, T)` of sums over lists, and the part of `own`, which joins them.

    `numerators (N, S, T)` are sum_j exp(l_j) w_j, `totals (S, T)` sum_j exp(l_j).
    """
    if own is not None:
        own_exp = (own[1] * own[0]).sum(dim=0).exp()  # (S, T)
        totals = totals + own_exp
    totals = divisor(totals, smoothing)
    return numerators / totals, None if own is None else own[0] * (own_exp / totals)


def divisor(totals: Tensor, smoothing: float) -> Tensor:
    """Return totals^smoothing; 1 where there is nothing to attend to, so that gradients stay finite too."""
    totals = totals + (totals == 0)
    return totals if smoothing == 1 else totals.pow(smoothing)


def rows_of(table: Tensor, positions: Tensor) -> Tensor:
    """Return `table[positions]`: whole rows are copied, which indexing does entry by entry."""
    return table.index_select(0, positions.flatten()).view(*positions.shape, *table.shape[1:])


def attend_table(
    table: Tensor,
    positions: Tensor,
    query: Tensor,
    hide: Tensor,
    smoothing: float,
    own: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return `attend_block` of the slots `table[positions]`, of `table (J, N, T)` and `positions (S, H)`."""
    return attend_block(rows_of(table, positions), query, hide, smoothing, own)


@torch.no_grad()
def clip_norms(weight: Tensor, max_norm: float, dim: int) -> None:
    """Rescale in place so that no Euclidean norm along `dim` exceeds `max_norm`.

    Only what is too long is written: of two large tables that is little.
    """
    vectors = weight if dim == 1 else weight.T  # (vectors, size)
    norms = vectors.norm(dim=1)  # (vectors,)
    long = (norms > max_norm).nonzero().squeeze(dim=1)
    vectors[long] *= (max_norm / norms[long]).unsqueeze(1)
