"""The models as their equations stand: plain loops in float64, for comparison only.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230). Nothing here is vectorised over users, items, histories or slots, and
nothing is shared with the package: a user, an item and a relation are vectors `(d,)`, a history is a
list of item ids, a memory a list of slots, the interactions a list of item ids for every user.

| letter | name | | letter | name |
|---|---|---|---|---|
| p_u | `p[u]` | | k_n, m_n | `keys[n]`, `memories[n]` |
| q_v | `q[v]` | | I_u | `history`: a draw of `interactions[u]` |
| | | | U_v | `audience(u, v)`: users whose interactions hold v |
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]


def relation(a: Tensor, b: Tensor, keys: Tensor, memories: Tensor) -> Tensor:
    """rel(a, b) = sum_n w_n m_n, w_n = softmax_n((a * b) . k_n) (Eqs. 2-4)."""
    joint = a * b  # (d,), Eq. 2
    exps = [torch.dot(joint, key).exp() for key in keys]
    weights = [exp / sum(exps) for exp in exps]  # Eq. 3
    return sum(weight * memory for weight, memory in zip(weights, memories, strict=True))  # (d,), Eq. 4


def attention(relations: list[Tensor], query: Tensor, smoothing: float) -> Tensor:
    """sum_j alpha_j r_j, alpha_j = exp(query . r_j) / (sum_k exp(query . r_k))^beta (Eqs. 5-6).

    The paper's beta is 1. Over nothing the sum is 0.
    """
    exps = [torch.dot(query, r).exp() for r in relations]
    total = sum(exps)
    terms = [exp / total**smoothing * r for exp, r in zip(exps, relations, strict=True)]
    return sum(terms, start=torch.zeros_like(query))  # (d,)


def mean(vectors: Iterable[Tensor], zero: Tensor) -> Tensor:
    """The mean of some vectors; of none, `zero`."""
    listed = list(vectors)
    return sum(listed) / len(listed) if listed else zero


def squared_distance(a: Tensor, b: Tensor) -> Tensor:
    """||a - b||^2 (Eq. 1)."""
    return torch.dot(a - b, a - b)


def hinges(positive: Tensor, negatives: list[Tensor], margin: float) -> list[Tensor]:
    """max(0, margin + d_pos - d_neg) for every negative (Eq. 8)."""
    return [torch.clamp(margin + positive - negative, min=0) for negative in negatives]


def triplet_loss(
    positive: Tensor,
    negatives: list[Tensor],
    margin: float,
    reduction: str,
    temperature: float,
    num_items: int,
) -> Tensor:
    """One positive's loss: Eq. 8 for one negative, joined by `reduction` for several."""
    values = hinges(positive, negatives, margin)
    if reduction == "mean":
        return sum(values) / len(values)
    if reduction == "hardest":
        return max(values)
    if reduction == "soft":
        exps = [math.exp(value.item() / temperature) for value in values]  # constants: no gradient
        return sum(exp / sum(exps) * value for exp, value in zip(exps, values, strict=True))
    if reduction == "rank":  # Hsieh et al., WWW 2017, Eq. 2: rank = num_items * (violating / drawn)
        violating = sum(value.item() > 0 for value in values)
        return math.log(1 + num_items * violating / len(values)) * max(values)
    raise ValueError(reduction)


def clip_rows(rows: Tensor, max_norm: float) -> Tensor:
    """Every row whose Euclidean norm exceeds `max_norm`, rescaled to that norm."""
    clipped = []
    for row in rows:
        norm = math.sqrt(torch.dot(row, row).item())
        clipped.append(row * (max_norm / norm) if norm > max_norm else row)
    return torch.stack(clipped)


class CML:
    """d(u, v) = ||p_u - q_v||^2 (Eq. 1); every other model moves p_u by its r(u, v)."""

    def __init__(
        self,
        weights: Weights,
        options: dict[str, Any],
        interactions: dict[int, list[int]],
        training: bool = False,
    ) -> None:
        self.weights, self.options = weights, options
        self.interactions, self.training = interactions, training
        self.p, self.q = weights["user_embedding.weight"], weights["item_embedding.weight"]

    def translation(self, u: int, v: int, history: list[int]) -> Tensor:
        """r = 0."""
        return torch.zeros_like(self.p[u])

    def penalty(self, u: int, i: int, negatives: list[int]) -> Tensor | float:
        """What a positive adds to the loss beside its hinges: nothing."""
        return 0.0

    def distance(self, u: int, v: int, history: list[int], lender: int | None = None) -> Tensor:
        """||p_u + r(u, v) - q_v||^2; with a `lender` its r(u, lender) in the place of v's own."""
        r = self.translation(u, v if lender is None else lender, history)
        return squared_distance(self.p[u] + r, self.q[v])

    def loss(self, triplets: list[tuple[int, int, list[int]]], histories: list[list[int]]) -> Tensor:
        """Sum over (u, i, negatives) of the triplet loss (Eq. 8), u's history being `histories[row]`."""
        options = self.options
        total = torch.zeros((), dtype=torch.float64)
        for (u, i, negatives), history in zip(triplets, histories, strict=True):
            lender = i if self.training and options.get("share_negative_relation") else None
            total = total + triplet_loss(
                self.distance(u, i, history),
                [self.distance(u, j, history, lender) for j in negatives],
                options["margin"],
                options["negative_reduction"],
                options["negative_temperature"],
                len(self.q) - 1,
            )
            total = total + self.penalty(u, i, negatives)
        return total

    def logit(self, u: int, v: int, history: list[int]) -> Tensor:
        """l = s (b_v - distance), v being no part of its own history."""
        score = -self.distance(u, v, [j for j in history if j != v])
        if self.options["item_bias"]:
            score = score + self.weights["item_bias"][v]
        scale = self.options["scale"]
        return score * (scale * self.weights["objective.root"] ** 2 if self.options["learn_scale"] else scale)

    def softmax_loss(
        self,
        rows: list[tuple[int, list[int], list[int]]],
        sample: dict[int, float] | None = None,
        disliked: dict[int, list[int]] | None = None,
    ) -> Tensor:
        """Sum over (u, positives, history) of n^(w - 1) sum_i log(1 + exp(t L - l_i)).

        L is the log of the sum of exp(l_j) over all items j but the positives and padding; or over those of a
        `sample`, each times what it has there; what u has `disliked` counts as the option says.
        """
        options, total = self.options, torch.zeros((), dtype=torch.float64)
        sample = dict.fromkeys(range(1, len(self.q)), 1.0) if sample is None else sample
        for u, positives, history in rows:
            rest = torch.zeros((), dtype=torch.float64)
            for j, times in sample.items():
                if j in (disliked or {}).get(u, []):
                    times = (
                        times
                        * {"ignored": 1, "masked": 0, "weighted": options["disliked_weight"]}[
                            options["disliked"]
                        ]
                    )
                if j not in positives:
                    rest = rest + times * torch.exp(self.logit(u, j, history))
            for i in positives:
                ratio = rest ** options["denominator_exponent"] / torch.exp(self.logit(u, i, history))
                total = total + len(positives) ** (options["user_weight"] - 1) * torch.log(1 + ratio)
        return total

    def clipped(self) -> Weights:
        """All weights after one pull into the ball: rows of both tables."""
        max_norm = self.options["max_norm"]
        tables = ("user_embedding.weight", "item_embedding.weight")
        return {**self.weights, **{name: clip_rows(self.weights[name], max_norm) for name in tables}}


class TransCF(CML):
    """r(u, v) = a_u * b_v, a_u the mean of q over u's items, b_v that of p over v's users; constants.

    `p_then` and `q_then` are the tables that the means are taken of: the current ones, unless changed.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.p_then, self.q_then = self.p.detach(), self.q.detach()

    def user_mean(self, u: int) -> Tensor:
        """a_u."""
        return mean((self.q_then[j] for j in self.interactions[u]), torch.zeros_like(self.q_then[0]))

    def item_mean(self, v: int) -> Tensor:
        """b_v."""
        users = [h for h, items in self.interactions.items() if v in items]
        return mean((self.p_then[h] for h in users), torch.zeros_like(self.p_then[0]))

    def translation(self, u: int, v: int, history: list[int]) -> Tensor:
        """a_u * b_v."""
        return self.user_mean(u) * self.item_mean(v)

    def penalty(self, u: int, i: int, negatives: list[int]) -> Tensor:
        """Both regularisers: distances to the means, and the distance of the positive."""
        of_user = squared_distance(self.p[u], self.user_mean(u))
        of_positive = squared_distance(self.q[i], self.item_mean(i))
        of_negatives = [squared_distance(self.q[j], self.item_mean(j)) for j in negatives]
        neighbours = of_user + of_positive + sum(of_negatives) / len(of_negatives)
        distance = self.distance(u, i, [])
        return self.options["neighbour_weight"] * neighbours + self.options["distance_weight"] * distance


class AdaCML(CML):
    """r(u, v) = sum_j alpha_j q_j, alpha = softmax_j(q_v . q_j), j in I_u."""

    def translation(self, u: int, v: int, history: list[int]) -> Tensor:
        """The attention over the history's vectors."""
        return attention([self.q[j] for j in history], self.q[v], self.options["attention_smoothing"])


class LRML(CML):
    """r(u, v) = rel(p_u, q_v) (Eqs. 2-4)."""

    def translation(self, u: int, v: int, history: list[int]) -> Tensor:
        """Eqs. 2-4."""
        return relation(self.p[u], self.q[v], *self.memory())

    def memory(self, name: str = "memory") -> tuple[Tensor, Tensor]:
        """K and M; with `centre_memories` M is the memories less their mean."""
        memories = self.weights[f"{name}.memories"]
        if self.options["centre_memories"]:
            memories = memories - sum(memories) / len(memories)
        return self.weights[f"{name}.keys"], memories

    def clipped(self) -> Weights:
        """Tables; with `clip_memories` also memories, slot by slot, and keys, dimension by dimension."""
        weights = super().clipped()
        if self.options["clip_memories"]:
            for name in [name for name in weights if name.endswith("memory.memories")]:
                weights[name] = self.bounded(weights[name], self.options["max_norm"])
            for name in [name for name in weights if name.endswith("memory.keys")]:
                weights[name] = clip_rows(weights[name].T, self.options["max_norm"]).T
        for name in [name for name in weights if name.endswith("memory.memories")]:
            weights[name] = self.bounded(weights[name], self.options["max_memory_norm"])
        return weights

    def bounded(self, memories: Tensor, length: float | None) -> Tensor:
        """Memories no longer than that; centred ones are made shorter all together.

        Orthogonal ones are (M M')^-1/2 M, that long or as long as they were.
        """
        if self.options["orthogonal_memories"]:
            values, vectors = torch.linalg.eigh(memories @ memories.T)
            lengths = memories.norm(dim=1) if length is None else length * torch.ones_like(values)
            return torch.diag(lengths) @ vectors @ torch.diag(values.rsqrt()) @ vectors.T @ memories
        if length is None:
            return memories
        if not self.options["centre_memories"]:
            return clip_rows(memories, length)
        memories = memories - sum(memories) / len(memories)
        return memories * min(1.0, length / max(float(memory.norm()) for memory in memories))


class HLR(LRML):
    """r(u, v) = sum_j alpha_j rel(q_v, q_j), alpha = softmax_j(p_u . rel(q_v, q_j)), j in I_u (Eqs. 5-6).

    `attend_user` (released code): rel(q_v, p_u) is one of the attended relations, read from a memory
    of its own with `direct_memory`.
    """

    def translation(self, u: int, v: int, history: list[int]) -> Tensor:
        """Eqs. 2-6."""
        return self.user_attention(u, v, history)

    def user_attention(self, u: int, v: int, history: list[int]) -> Tensor:
        """Eqs. 5-6."""
        relations = [relation(self.q[v], self.q[j], *self.memory()) for j in history]
        if self.options["attend_user"]:
            direct = self.memory("direct_memory" if self.options.get("direct_memory") else "memory")
            relations.append(relation(self.q[v], self.p[u], *direct))
        return attention(relations, self.p[u], self.options["attention_smoothing"])


class HLRPP(HLR):
    """r(u, v) = user attention (Eqs. 5-6) + item attention (Eq. 9).

    Item attention: sum_x beta_x rel(p_u, x), beta = softmax_x(q_v . rel(p_u, x)), over the vectors of
    I_u or of U_v; with `attend_target` q_v is one of them.
    """

    def translation(self, u: int, v: int, history: list[int]) -> Tensor:
        """Eq. 9."""
        return self.user_attention(u, v, history) + self.item_attention(u, v, history)

    def item_attention(self, u: int, v: int, history: list[int]) -> Tensor:
        """Section 3.3."""
        if self.options["item_attention"] == "history":
            attended = [self.q[j] for j in history]
        else:
            attended = [self.p[h] for h in self.audience(u, v)]
        if self.options["attend_target"]:
            attended.append(self.q[v])
        relations = [relation(self.p[u], x, *self.memory()) for x in attended]
        return attention(relations, self.q[v], self.options["attention_smoothing"])

    def audience(self, u: int, v: int) -> list[int]:
        """The users of v; in training u is none of them, be v its positive or not."""
        users = [h for h, items in self.interactions.items() if v in items]
        return [h for h in users if h != u] if self.training else users


# by class name; a model without a twin fails the tests
TWINS = {twin.__name__: twin for twin in (CML, TransCF, AdaCML, LRML, HLR, HLRPP)}
