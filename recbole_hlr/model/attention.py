"""The attention over relations that are rows of one table, with a gradient that holds no slot weights.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 5-6, as two sums over a list: numerators sum_j exp(l_j) w_j and totals
sum_j exp(l_j), l_j = y . w_j. S lists of H table rows, T targets, N slots.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from recbole_hlr.data.chunks import spans
from recbole_hlr.model.relation import normalised, rows_of

CHUNK = 2**18  # slot weights that are gathered at a time: some of a core's cache


class Hidden(NamedTuple):
    """Which entries of lists take no part: those not in `mask (S, H)`, and a target that is itself an entry.

    `columns (S, H)` says which of the targets an entry is, -1 for none; None lets targets be attended to.
    """

    mask: Tensor
    columns: Tensor | None = None

    def of(self, targets: int) -> Tensor:
        """Return all of it as `(S, H, 1)`, or `(S, H, T)` where targets are left out."""
        hide = ~self.mask.unsqueeze(2)
        if self.columns is None:
            return hide
        return hide | (self.columns.unsqueeze(2) == torch.arange(targets, device=hide.device))

    def clear(self, weights: Tensor, rows: slice) -> None:
        """Set to zero, of `weights (s, H, T)` of some lists, those that take no part."""
        weights.mul_(self.mask[rows].to(weights.dtype).unsqueeze(2))
        if self.columns is not None:
            own = self.columns[rows]
            lists, places = (own >= 0).nonzero(as_tuple=True)
            weights[lists, places, own[lists, places]] = 0


def columns_of(members: Tensor, targets: Tensor, ids: int) -> Tensor:
    """Return the place of each of `members (S, H)`, below `ids`, among `targets (T,)`; -1 for none."""
    places = torch.full((ids,), -1, dtype=torch.int64, device=targets.device)
    places[targets] = torch.arange(len(targets), device=targets.device)
    return places[members]


class AttendedSums(torch.autograd.Function):
    """Numerators `(S, N, T)` and totals `(S, T)` of lists `positions (S, H)` of rows of `table (J, N, T)`.

    `query (S, N)` is M times the query. Plain formula: slots (S, H, N, T) gathered, kept for the gradient.
    Identity: d sum_j e_j w_j = sum_j e_j dw_j + (dl_j e_j) w_j, from slots that are gathered again.
    What disappears: (S, H, N, T); a few lists' slots live at a time, in the cache.
    """

    @staticmethod
    def forward(
        ctx: Any, table: Tensor, query: Tensor, positions: Tensor, hidden: Hidden
    ) -> tuple[Tensor, Tensor]:
        """Return both sums."""
        ctx.save_for_backward(table, query, positions)
        ctx.hidden = hidden
        numerators = table.new_empty(len(positions), *table.shape[1:])
        totals = table.new_empty(len(positions), table.shape[2])
        for rows in chunks(table, positions):
            slots, exp = gathered(table, query, positions, hidden, rows)
            torch.sum(exp, dim=1, out=totals[rows])
            torch.sum(slots.mul_(exp.unsqueeze(2)), dim=1, out=numerators[rows])
        return numerators, totals

    @staticmethod
    def backward(ctx: Any, of_numerators: Tensor, of_totals: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of table, unless it is fixed, and query."""
        table, query, positions = ctx.saved_tensors
        to_query = torch.empty_like(query)
        to_table = torch.zeros_like(table) if ctx.needs_input_grad[0] else None
        for rows in chunks(table, positions):
            slots, exp = gathered(table, query, positions, ctx.hidden, rows)
            to_exp = of_totals[rows].unsqueeze(1).expand_as(exp).clone()  # (s, H, T)
            for n in range(table.shape[1]):
                to_exp.addcmul_(slots[:, :, n], of_numerators[rows, n].unsqueeze(1))
            to_logits = to_exp.mul_(exp)
            to_query[rows] = (slots @ to_logits.unsqueeze(3)).sum(dim=1).squeeze(dim=2)
            if to_table is None:
                continue
            torch.mul(query[rows, None, :, None], to_logits.unsqueeze(2), out=slots)
            slots.addcmul_(exp.unsqueeze(2), of_numerators[rows].unsqueeze(1))
            to_table.index_add_(0, positions[rows].flatten(), slots.flatten(0, 1))
        return to_table, to_query, None, None


def chunks(table: Tensor, positions: Tensor) -> list[slice]:
    """Return which lists are taken at a time."""
    count = max(CHUNK // (max(positions.shape[1], 1) * table[0].numel()), 1)
    return spans(len(positions), count)


def gathered(
    table: Tensor, query: Tensor, positions: Tensor, hidden: Hidden, rows: slice
) -> tuple[Tensor, Tensor]:
    """Return the slots `(s, H, N, T)` of some lists, and exp of their logits `(s, H, T)`."""
    slots = rows_of(table, positions[rows])
    exp = (query[rows, None, None] @ slots).squeeze(dim=2).exp_()
    hidden.clear(exp, rows)
    return slots, exp


def attend_table_trained(
    table: Tensor,
    positions: Tensor,
    query: Tensor,
    hidden: Hidden,
    smoothing: float,
    own: tuple[Tensor, Tensor] | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Return `attend_table`, with a gradient: `query (N, S, 1)`; `own` and its query are `(N, S, T or 1)`."""
    numerators, totals = AttendedSums.apply(table, query.squeeze(dim=2).T, positions, hidden)
    return normalised(numerators.transpose(0, 1), totals, smoothing, own)
