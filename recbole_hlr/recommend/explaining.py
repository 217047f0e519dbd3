"""Why an item has its score: what each part of the model contributes, so that the parts add up to the score.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-7 and 9. Of every metric model r(u, v) = sum_s r_s over sources s, such
as the items j of a history with r_j = alpha_j rel(q_v, q_j), and

    score = -||p + r - q||^2 + b = -||p - q||^2 + sum_s (2 (q - p) - r) . r_s + b.

Each source has half of every cross term -2 r_s . r_t, so that its contribution is its Shapley value where
all weights stay as they are. Hu, Koren and Volinsky, ICDM 2008 (doi 10.1109/ICDM.2008.22), section 5, MF-ALS.
Letters: those of `model/base.py`; S sources of one kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_hlr.data.ids import Ids
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.errors import InputError
from recbole_hlr.model import MetricRecommender
from recbole_hlr.model.lrml import LRML
from recbole_hlr.model.mfals import MFALS
from recbole_hlr.recommend.sources import CLOSE, Sources, sources_of

if TYPE_CHECKING:
    from recbole_hlr.recommend.fitted import FittedRecommender, Titles

COLUMNS = ["part", "id", "title", "weight", "slots", "squared_distance", "contribution"]
OF_USERS = ("user", "audience")  # the parts whose ids are those of users
NAMED_SLOT = 0.1  # the weight from which on a slot is named


def explain(fitted: FittedRecommender, user: object, item: object, k: int, titles: Titles) -> pd.DataFrame:
    """Return what `FittedRecommender.explain` does."""
    model, name = fitted.model, fitted.config.model
    if not isinstance(model, MetricRecommender | MFALS):
        raise InputError(
            f"model={name}: cannot be explained; must be a metric model, such as HLR or CML, or MF-ALS"
        )
    (user_id, u), (item_id, v) = one_of(fitted._users, user), one_of(fitted._items, item)
    if not fitted.data.history.lengths[u]:
        raise InputError(f"user {user_id}: has no item in the training part by which a score is explained")
    attrs = {"user": user_id, "item": item_id, **standing(fitted, u, v)}
    with torch.no_grad():
        if isinstance(model, MFALS):
            table = of_factors(model, u, v, k, attrs["score"])
        else:
            table, distances = of_distance(model, u, v, k, fitted.data.history)
            attrs |= distances
    total = table["contribution"].sum()
    if abs(total - attrs["score"]) > CLOSE * (1 + abs(total)):
        raise InputError(f"model={name}: cannot be explained, for its score is not -||p + r - q||^2")
    table = named(table, fitted._users.tokens, fitted._described("id", titles))
    table.attrs = attrs
    return table


def one_of(ids: Ids, given: object) -> tuple[str, int]:
    """Return the token and the number of the one id that is given; `InputError` where it is not one."""
    tokens, numbers = ids.find(given)
    if len(tokens) != 1:
        raise InputError(f"{ids.what}: must be one id, not {len(tokens)}")
    return tokens[0], int(numbers[0])


def standing(fitted: FittedRecommender, u: int, v: int) -> dict[str, Any]:
    """Return the score of an item as `recommend` has it, and its rank of so many items not seen."""
    (scores,) = fitted._scores(torch.tensor([u])).cpu()  # (I,)
    seen, _ = fitted.data.history.flat(torch.tensor([u]))
    others = torch.ones(len(scores), dtype=torch.bool)
    others[0] = others[seen] = others[v] = False
    rank = 1 + int((scores[others] > scores[v]).sum())
    return {
        "score": scores[v].item(),
        "rank": rank,
        "of": int(others.sum()) + 1,
        "seen": bool((seen == v).any()),
    }


# --- metric models --------------------------------------------------------------------------------------


def of_distance(
    model: MetricRecommender, u: int, v: int, k: int, history: InteractionMatrix
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Return the parts of a metric model's score, and the squared distances without r and with it."""
    user, item = (torch.tensor([one], device=model.device) for one in (u, v))
    users, items = model.users(user, model.evaluation_history(user)), model.listed(user, item.unsqueeze(1))
    found = sources_of(model, users, items)
    p, q = users.e[0].double(), items.e[0, 0].double()  # (d,)
    r = sum((source.vectors.double().sum(dim=0) for source in found), torch.zeros_like(p))  # (d,)
    push = 2 * (q - p) - r  # (d,)
    parts = [frame("base", contribution=[-(p - q).square().sum().item()])]
    rows = [of_sources(source, source.vectors.double() @ push) for source in found]
    if rows:
        parts += largest(pd.concat(rows, ignore_index=True), k)
    if model.item_bias is not None:
        parts.append(frame("bias", contribution=[model.item_bias[v].item()]))
    if type(model).translation is MetricRecommender.translation or isinstance(model, LRML):
        parts.append(neighbours(model.item_embedding.weight, history.flat(torch.tensor([u]))[0], q, k))
    table, ways = pd.concat(parts, ignore_index=True), {"distance": p - q, "moved_distance": p + r - q}
    return table, {name: way.square().sum().item() for name, way in ways.items()}


def neighbours(table: Tensor, history: Tensor, q: Tensor, k: int) -> pd.DataFrame:
    """Return the `k` items of a `history (H,)` nearest to q `(d,)`; the score does not ask for them."""
    ids = history.to(table.device)
    distances = (table[ids].double() - q).square().sum(dim=1)  # (H,)
    near = distances.topk(min(k, len(ids)), largest=False)
    return frame("neighbour", id=ids[near.indices].tolist(), squared_distance=near.values.tolist())


# --- MF-ALS ---------------------------------------------------------------------------------------------


def of_factors(model: MFALS, u: int, v: int, k: int, score: float) -> pd.DataFrame:
    """Return the parts of p . q of MF-ALS: of each item j of the history c q_v^T A^-1 q_j.

    A = Q^T Q + (c - 1) sum_j q_j q_j^T + lambda_u I (Hu et al., section 5). They add up to the score that u
    has with p solved for; the fit solves for users before it does for items, so that its p has a little else.
    """
    items, _ = model.history.flat(torch.tensor([u], device=model.device))  # (H,)
    table = model.item_embedding.weight.double()  # (I, d)
    own, c = table[items], model.confidence_weight  # (H, d)
    left = table.T @ table + (c - 1) * own.T @ own  # (d, d)
    left.diagonal().add_(model.user_regularization[u - 1])
    contributions = c * own @ torch.linalg.solve(left, table[v])  # (H,)
    found = frame("history", id=items.tolist(), contribution=contributions.tolist())
    rest = frame("unsolved", contribution=[score - contributions.sum().item()])
    return pd.concat([*largest(found, k), rest], ignore_index=True)


# --- tables ---------------------------------------------------------------------------------------------


def frame(part: str, **columns: Sequence[object]) -> pd.DataFrame:
    """Return rows of one part; an id is the number of an item or a user, or a text as it is shown."""
    table = pd.DataFrame({"id": "", **columns})
    return table.assign(part=part).astype({"id": object})


def of_sources(source: Sources, contributions: Tensor) -> pd.DataFrame:
    """Return the rows of sources with their `contributions (S,)`."""
    numbers = {"weight": source.weights.tolist(), "contribution": contributions.tolist()}
    rows = frame(source.part, id=source.ids, **numbers)
    return rows if source.slots is None else rows.assign(slots=[*map(in_words, source.slots.tolist())])


def in_words(weights: list[float]) -> str:
    """Return the slots, from 1, that have most of the weights: three at most."""
    order = sorted(range(len(weights)), key=lambda n: -weights[n])[:3]
    return ", ".join(
        f"{n + 1}: {weights[n]:.2f}" for n in order if weights[n] >= min(NAMED_SLOT, max(weights))
    )


def largest(rows: pd.DataFrame, k: int) -> list[pd.DataFrame]:
    """Return the `k` rows that contribute most, for or against, and one row for all others."""
    rows = rows.sort_values("contribution", key=lambda column: -column.abs(), kind="stable")
    others = rows[k:]
    if others.empty:
        return [rows]
    sums = {name: [others[name].sum()] for name in ("weight", "contribution") if name in others}
    return [rows[:k], frame("rest", id=[f"{len(others)} others"], **sums)]


def named(table: pd.DataFrame, users: np.ndarray, items: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return a table with ids and titles of the data set: tokens `users (U,)`, and what tells of `items`."""
    ids = [
        users[one] if part in OF_USERS else one for part, one in zip(table["part"], table["id"], strict=True)
    ]
    for column, texts in items.items():
        others = ids if column == "id" else [""] * len(ids)
        table[column] = [
            texts[one] if isinstance(one, int) else other for one, other in zip(ids, others, strict=True)
        ]
    shown = table[[name for name in COLUMNS if name in table]]
    return shown.fillna({"slots": ""}) if "slots" in shown else shown
