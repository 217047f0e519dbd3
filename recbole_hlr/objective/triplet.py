"""The triplet loss of metric learning, for one or several negatives.

Hinge and sum over the batch: Tran et al., RecSys 2021 (doi 10.1145/3460231.3474230), Eq. 8.
Rank weights: Hsieh et al., Collaborative Metric Learning, WWW 2017 (doi 10.1145/3038912.3052639), Eq. 2.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Reduction = Literal["mean", "hardest", "soft", "rank"]


def triplet_loss(
    positive: Tensor,
    negative: Tensor,
    margin: float,
    reduction: Reduction,
    temperature: float,
    num_items: int,
) -> Tensor:
    """Return the sum over positives of their hinges max(0, margin + d_pos - d_neg), as a scalar.

    `positive (B,)` and `negative (B, K)` are squared distances. `reduction` joins the K hinges of
    a positive: their mean; the hardest; their average under softmax(hinge / temperature) weights,
    which take no gradient; the hardest times log(1 + estimated rank), the rank being the share of
    violating negatives times `num_items`.
    """
    hinges = (margin + positive.unsqueeze(1) - negative).relu()  # (B, K)
    if reduction == "mean":
        return hinges.mean(dim=1).sum()
    if reduction == "soft":
        weights = (hinges.detach() / temperature).softmax(dim=1)
        return (weights * hinges).sum()
    hardest = hinges.amax(dim=1)  # (B,)
    if reduction == "rank":
        violations = (hinges > 0).to(hinges.dtype).mean(dim=1)
        hardest = hardest * torch.log1p(violations * num_items)
    return hardest.sum()
