"""HLR and HLR++ as their equations stand: every relation is a vector of d numbers, for comparison of times.

Tran et al., RecSys 2021 (doi 10.1145/3460231.3474230), Eqs. 2-9, released form of the item attention. Plain
autograd and the memory that the equations ask for; the float64 loops that results are tested against
are in tests/reference.py.
"""

import torch
from torch import Tensor


def relation(a: Tensor, b: Tensor, keys: Tensor, memories: Tensor) -> Tensor:
    """Return rel(a, b) (Eqs. 2-4) of broadcast `a (..., d)`, `b (..., d)`: `(..., d)`."""
    return ((a * b) @ keys.T).softmax(dim=-1) @ memories


def attention(query: Tensor, relations: Tensor, mask: Tensor) -> Tensor:
    """Return sum_j softmax_j(query . r_j) r_j (Eqs. 5-6): `query (..., d)`, `relations (..., H, d)`."""
    logits = (relations @ query.unsqueeze(-1)).squeeze(dim=-1)  # (..., H)
    weights = logits.masked_fill(~mask, float("-inf")).softmax(dim=-1).nan_to_num()
    return (weights.unsqueeze(-1) * relations).sum(dim=-2)  # (..., d)


def translation(
    user_e: Tensor, item_e: Tensor, history_e: Tensor, mask: Tensor, memory: torch.nn.Module, plus: bool
) -> Tensor:
    """Return r(u, v) `(B, C, d)` of HLR or HLR++; `history_e (B, H, d)`, `item_e (B, C, d)`."""
    keys, memories, history = memory.keys, memory.memories, history_e.unsqueeze(1)  # (B, 1, H, d)
    user, mask = user_e[:, None, None], mask.unsqueeze(1)  # (B, 1, 1, d), (B, 1, H)
    relations = relation(item_e.unsqueeze(2), history, keys, memories)  # (B, C, H, d)
    moved = attention(user_e.unsqueeze(1), relations, mask)  # (B, C, d)
    if not plus:
        return moved
    shape = (*item_e.shape[:2], *history_e.shape[1:])
    relations = relation(user, history, keys, memories).expand(shape)  # (B, C, H, d)
    return moved + attention(item_e, relations, mask)


def distances(
    user_e: Tensor, item_e: Tensor, history_e: Tensor, mask: Tensor, memory: torch.nn.Module, plus: bool
) -> Tensor:
    """Return ||p_u + r(u, v) - q_v||^2 `(B, C)` (Eq. 7)."""
    r = translation(user_e, item_e, history_e, mask, memory, plus)
    return (user_e.unsqueeze(1) + r - item_e).square().sum(dim=-1)
