"""What r(u, v) of a metric model is the sum of: r = sum_s r_s over sources s, for one user and one item.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-6 and 9. Letters: those of `model/base.py`; S sources of one kind,
R slots of all memories.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from recbole_hlr.model import MetricRecommender
from recbole_hlr.model.adacml import AdaCML
from recbole_hlr.model.candidates import Listed, Users
from recbole_hlr.model.hlrpp import HLRPP
from recbole_hlr.model.lrml import LRML
from recbole_hlr.model.memory import UserAttentionRecommender
from recbole_hlr.model.relation import RelationMemory, attention_weights
from recbole_hlr.model.transcf import TransCF

CLOSE = 1e-4  # how far sums in float32 may be apart, beside what they sum up to


class Sources(NamedTuple):
    """Sources of r of one kind, the `part`: `ids` of S items or users, or texts, and `vectors (S, d)` r_s.

    `weights (S,)` are those of the attention, or of the mean; `slots (S, R)` those of each relation.
    """

    part: str
    ids: list[int] | list[str]
    weights: Tensor
    vectors: Tensor
    slots: Tensor | None = None


def sources_of(model: MetricRecommender, users: Users, items: Listed) -> list[Sources]:
    """Return the sources that r `(1, 1, d)` of one user and one item is the sum of; [] where r is 0.

    A model whose r is put together otherwise, one that is not of this package, has r as its one source.
    """
    r = model.translation(users, items)  # (1, 1, d)
    if r is None:
        return []
    found: list[Sources] = []
    if isinstance(model, UserAttentionRecommender):
        found = of_attention(model, users, items)
    elif isinstance(model, LRML):
        weights = items.relation(model.memory, users)[0, 0]  # (N,)
        names = [str(n + 1) for n in range(len(weights))]
        found = [Sources("slot", names, weights, weights.unsqueeze(1) * model.memory.values)]
    elif isinstance(model, AdaCML):
        ids, history_e = history_of(users)
        weights = attention_weights(history_e @ items.e[0, 0], model.attention_smoothing, dim=0)  # (H,)
        found = [Sources("history", ids.tolist(), weights, weights.unsqueeze(1) * history_e)]
    elif isinstance(model, TransCF):
        ids, _ = model.history.flat(users.ids)
        assert items.mean is not None
        weights = torch.full_like(ids, 1 / max(len(ids), 1), dtype=r.dtype)  # (H,)
        vectors = weights.unsqueeze(1) * model.item_embedding(ids) * items.mean[0, 0]  # (H, d)
        found = [Sources("history", ids.tolist(), weights, vectors)]
    total = sum((source.vectors.sum(dim=0) for source in found), torch.zeros_like(r[0, 0]))
    if (total - r[0, 0]).abs().max() > CLOSE * (1 + r.abs().max()):
        return [Sources("relation", [""], torch.ones(1), r[0])]
    return found


def history_of(users: Users) -> tuple[Tensor, Tensor]:
    """Return the history of one user as it is scored with: items `(H,)` and their vectors `(H, d)`."""
    assert users.history is not None
    real = users.history.mask[0]
    return users.history.items[0][real], users.history_e()[0][real]


def of_attention(model: UserAttentionRecommender, users: Users, items: Listed) -> list[Sources]:
    """Return the relations that HLR attends to, or HLR++ by both of its attentions (Eqs. 5-6, 9)."""
    memory, smoothing = model.memory, model.attention_smoothing
    p, q = users.e[0], items.e[0, 0]  # (d,)
    ids, history_e = history_of(users)
    attended = [Relations("history", ids, memory.pair_slots(q, history_e), memory)]
    if model.attend_user:
        direct = model.direct_memory or memory
        attended.append(Relations("user", users.ids, direct.pair_slots(q, p).unsqueeze(0), direct))
    found = attention(attended, p, smoothing, model.memories())
    if not isinstance(model, HLRPP):
        return found
    if model.item_attention == "audience":
        assert items.audience is not None
        real = items.audience.mask[0, 0]
        members, members_e = items.audience.members[0, 0][real], items.audience.known_e[0][real]
        attended = [Relations("audience", members, memory.pair_slots(p, members_e), memory)]
    else:
        attended = [Relations("item attention", ids, memory.pair_slots(p, history_e), memory)]
    if model.attend_target:
        attended.append(Relations("target", items.ids[0], memory.pair_slots(p, q).unsqueeze(0), memory))
    return found + attention(attended, q, smoothing, [memory])


class Relations(NamedTuple):
    """Relations of one kind that are attended to, `slots (S, N)` of a memory."""

    part: str
    ids: Tensor
    slots: Tensor
    memory: RelationMemory


def attention(
    attended: list[Relations], query: Tensor, smoothing: float, memories: list[RelationMemory]
) -> list[Sources]:
    """Return the sources of one attention over all that is `attended`, with `query (d,)` (Eqs. 5-6)."""
    relations = [one.slots @ one.memory.values for one in attended]  # (S, d) each
    weights = attention_weights(torch.cat(relations) @ query, smoothing, dim=0)
    found = []
    for one, relation, alpha in zip(
        attended, relations, weights.split(list(map(len, relations))), strict=True
    ):
        of_memory = [
            one.slots if memory is one.memory else torch.zeros_like(one.slots) for memory in memories
        ]
        vectors = alpha.unsqueeze(1) * relation  # (S, d)
        found.append(Sources(one.part, one.ids.tolist(), alpha, vectors, torch.cat(of_memory, dim=1)))
    return found
