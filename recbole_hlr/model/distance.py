"""Squared distances of many users to many items, by matrix products; rounding may leave them below 0."""

from __future__ import annotations

import torch
from torch import Tensor


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ||a_i - b_j||^2, `(A, B)`, of `a (A, d)` and `b (B, d)`, by one matrix product."""
    products = torch.addmm(b.square().sum(dim=1), a, b.T, alpha=-2)  # (A, B)
    return products.add_(a.square().sum(dim=1, keepdim=True))


def moved_distances(user_e: Tensor, item_e: Tensor, mixture: Tensor, readout: Tensor) -> Tensor:
    """Return ||p + c X - q||^2, `(B, V)`, of `user_e (B, d)`, `item_e (V, d)`.

    `readout` X is `(R, d)` with `mixture (R, B, V)`, or `(B, R, d)` with `mixture (B, R, V)`.
    """
    if readout.dim() == 2:
        of_users = (readout @ user_e.T).unsqueeze(2)  # (R, B, 1)
        linear = of_users - (readout @ item_e.T).unsqueeze(1)  # (R, B, V)
        quadratic = ((readout @ readout.T) @ mixture.flatten(1)).view_as(mixture)  # (R, B, V)
        change = (mixture * (2 * linear + quadratic)).sum(dim=0)  # (B, V)
    else:
        linear = readout @ user_e.unsqueeze(2) - readout @ item_e.T  # (B, R, V)
        quadratic = (readout @ readout.transpose(1, 2)) @ mixture  # (B, R, V)
        change = (mixture * (2 * linear + quadratic)).sum(dim=1)  # (B, V)
    return squared_distances(user_e, item_e).add_(change)
