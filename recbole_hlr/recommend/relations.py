"""What a relation memory has learned, measured over pairs of a user and an item that it was trained on.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-6: r(u, v) = c(u, v) M. Every pair stands as it was trained: the item is
no part of its user's history. Letters: P pairs, R slots of all memories, d.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.data.random import Stream, generator_for
from recbole_hlr.errors import InputError
from recbole_hlr.files import write_text
from recbole_hlr.model.candidates import Listed, Users
from recbole_hlr.model.memory import MemoryRecommender, UserAttentionRecommender
from recbole_hlr.recommend.explaining import of_attention
from recbole_hlr.recommend.metadata import Metadata, metadata_of

if TYPE_CHECKING:
    from recbole_hlr.recommend.fitted import FittedRecommender, Titles

PAIRS, POINTS = 20_000, 2_000  # at most: pairs that are measured, and of them points of the map
SHORT, ALIKE = 0.01, 0.05  # below these shares r is too short to matter, or one vector for all pairs
FEWEST = 5  # items that a value must have to be tested


@dataclass(frozen=True)
class Relations:
    """What `FittedRecommender.relations` found; `write` makes a page of it.

    Of so many `pairs` `length` is the root of the mean of ||r||^2, `deviation` that of ||r - mean of r||^2,
    `distance` that of ||p - q||^2; `verdict` says in words whether the memory has collapsed. `slots`,
    `typical`, `enrichment` by values of `metadata` and `points` of a map are tables; `axes` are the shares
    of r's variance along the two axes of the map.
    """

    model: str
    dataset: str
    pairs: int
    of: int
    length: float
    deviation: float
    distance: float
    verdict: str
    metadata: str
    slots: pd.DataFrame
    typical: pd.DataFrame
    enrichment: pd.DataFrame
    points: pd.DataFrame
    axes: tuple[float, float]

    def write(self, path: str | Path) -> None:
        """Write all of it as one HTML page that needs no network."""
        from recbole_hlr.recommend.relations_page import page

        write_text(Path(path), page(self))


class Pairs(NamedTuple):
    """Pairs `users (P,)`, `items (P,)`, their slot weights `c (P, R)` and ||p - q||^2 `squared (P,)`."""

    users: Tensor
    items: Tensor
    c: Tensor
    squared: Tensor


@torch.no_grad()
def relations(fitted: FittedRecommender, metadata: Metadata, k: int, titles: Titles) -> Relations:
    """Return what `FittedRecommender.relations` does."""
    model, config = fitted.model, fitted.config
    if not isinstance(model, MemoryRecommender):
        raise InputError(
            f"model={config.model}: has no relation memory; must be one that has, such as HLR, HLR++ or LRML"
        )
    values = metadata_of(metadata, fitted)
    found = measured(model, *trained_pairs(fitted))
    rows = model.rows().double().cpu()  # (R, d)
    r = found.c @ rows  # (P, d)
    length, deviation = root_mean(r), root_mean(r - r.mean(dim=0))
    distance = found.squared.mean().sqrt().item()
    described = fitted._described("item", titles)
    lean = found.c - found.c.mean(dim=0)  # (P, R)
    slots = slots_of(found.c, rows, lean)
    points, axes = on_a_map(r[:POINTS])
    of_points = slice(len(points))
    return Relations(
        model=config.model,
        dataset=config.dataset,
        pairs=len(r),
        of=len(fitted.data.history.items),
        length=length,
        deviation=deviation,
        distance=distance,
        verdict=verdict(slots, rows, length, deviation, distance, axes[0]),
        metadata=metadata.rpartition(":")[2] if isinstance(metadata, str) else "metadata" if values else "",
        slots=slots,
        typical=typical(model, found, k, fitted._users.tokens, described),
        enrichment=enriched(found.items, lean, [values.get(one, []) for one in fitted.data.item_tokens]),
        points=points.assign(
            user=fitted._users.tokens[found.users[of_points]],
            **{name: texts[found.items[of_points]] for name, texts in described.items()},
            slot=lean[of_points].argmax(dim=1).numpy() + 1,
            value=[
                next(iter(values.get(fitted.data.item_tokens[v], [])), "") for v in found.items[of_points]
            ],
        ),
        axes=axes,
    )


# --- pairs ----------------------------------------------------------------------------------------------


def trained_pairs(fitted: FittedRecommender) -> tuple[Tensor, Tensor]:
    """Return users and items `(P,)` of training interactions, drawn from the run's seed."""
    history = fitted.data.history
    generator = generator_for(fitted.config["seed"], Stream.DESCRIBED_PAIRS)
    drawn = torch.randperm(len(history.items), generator=generator)[:PAIRS]
    return history.users()[drawn], history.items[drawn]


def measured(model: MemoryRecommender, users: Tensor, items: Tensor) -> Pairs:
    """Return the slot weights of pairs, a block at a time."""
    chunk = model.rows_within(model.work.pair_floats)
    mixtures, distances = [], []
    for u, v in zip(users.split(chunk), items.split(chunk), strict=True):
        batch, listed = as_trained(model, u.to(model.device), v.to(model.device))
        mixtures.append(model.mixture(batch, listed).squeeze(dim=1).double().cpu())
        distances.append(listed.squared(batch.e).squeeze(dim=1).double().cpu())
    return Pairs(users, items, torch.cat(mixtures), torch.cat(distances))


def as_trained(model: MemoryRecommender, users: Tensor, items: Tensor) -> tuple[Users, Listed]:
    """Return `users (B,)` and `items (B, 1)` of pairs, neither being among what the other attends to."""
    history = model.evaluation_history(users)
    if history is not None:
        history = HistoryBatch(history.items, history.mask & (history.items != items.unsqueeze(1)))
    listed = model.listed(users, items.unsqueeze(1))
    if listed.audience is not None:
        others = listed.audience.members != users.view(-1, 1, 1)  # (B, 1, A)
        listed.audience = listed.audience._replace(mask=listed.audience.mask & others)
    return model.users(users, history), listed


def root_mean(vectors: Tensor) -> float:
    """Return the root of the mean of the squared lengths of `vectors (n, d)`."""
    return vectors.square().sum(dim=1).mean().sqrt().item()


# --- slots ----------------------------------------------------------------------------------------------


def slots_of(c: Tensor, rows: Tensor, lean: Tensor) -> pd.DataFrame:
    """Return of every slot its share of all weights, how many pairs lean to it, and the length of its row."""
    pairs = torch.bincount(lean.argmax(dim=1), minlength=len(rows))
    share = c.mean(dim=0) / c.mean(dim=0).sum().clamp(min=torch.finfo(c.dtype).tiny)
    return pd.DataFrame(
        {
            "slot": np.arange(1, len(rows) + 1),
            "share": share.numpy(),
            "smallest": c.amin(dim=0).numpy(),
            "largest": c.amax(dim=0).numpy(),
            "pairs": pairs.numpy(),
            "length": rows.norm(dim=1).numpy(),
        }
    )


def verdict(
    slots: pd.DataFrame, rows: Tensor, length: float, deviation: float, distance: float, axis: float
) -> str:
    """Return in words whether a memory tells pairs apart, by `SHORT` and `ALIKE`.

    `axis` is the share of r's variance along the one direction in which it varies most.
    """
    told = "This memory has collapsed"
    apart = f"{share(length, distance)} as long as users and their items are apart"
    if length < SHORT * distance:
        return f"{told}: r is {apart}, too short to move anybody; the model ranks as CML does."
    varies = f"{share(deviation, length)} of its length"
    if deviation < ALIKE * length:
        alike = root_mean(rows - rows.mean(dim=0)) < ALIKE * root_mean(rows)
        why = (
            "all slots hold nearly one vector" if alike else "all pairs have nearly one mixture of the slots"
        )
        return (
            f"{told}: r deviates by {varies} from one vector for all pairs, for {why}; the model is CML with "
            "all users shifted by it."
        )
    best = slots.loc[slots["share"].idxmax()]
    told = (
        f"This memory has not collapsed: r is {apart}, and varies by {varies} from pair to pair; slot "
        f"{best['slot']:.0f} has most weight, {share(best['share'], 1)}."
    )
    if axis > 1 - ALIKE and len(rows) > 2:
        told += f" But r varies along one direction alone ({share(axis, 1)} of its variance)."
    idle = slots.loc[slots["share"] < ALIKE / len(slots), "slot"]
    return told + (f" Hardly used: slot {', '.join(map(str, idle))}." if len(idle) else "")


def share(part: float, whole: float) -> str:
    """Return a part of a whole in per cent."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.3g} %" if percent >= 10 else f"{percent:.2g} %"


def typical(
    model: MemoryRecommender, pairs: Pairs, k: int, users: np.ndarray, items: dict[str, np.ndarray]
) -> pd.DataFrame:
    """Return the `k` pairs that every slot has most weight in, each item once.

    Of an attention over a history, `through` is the item of it that brings the pair most of that weight.
    """
    tables = []
    for n in range(pairs.c.shape[1]):
        order = pairs.c[:, n].argsort(descending=True, stable=True).numpy()  # (P,)
        _, first = np.unique(pairs.items.numpy()[order], return_index=True)
        kept = order[np.sort(first)[:k]]
        u, v = pairs.users[kept], pairs.items[kept]
        found = {"slot": n + 1, "rank": range(1, len(kept) + 1), "user": users[u]}
        found |= {name: texts[v] for name, texts in items.items()}
        if isinstance(model, UserAttentionRecommender):
            texts = items.get("title", items["item"])
            by_way = [through(model, *pair, n) for pair in zip(u, v, strict=True)]
            found["through"] = [texts[j] if j else "" for j in by_way]
        tables.append(pd.DataFrame({**found, "weight": pairs.c[kept, n].numpy()}))
    return pd.concat(tables, ignore_index=True)


def through(model: UserAttentionRecommender, u: Tensor, v: Tensor, n: int) -> int:
    """Return the item of u's history that brings a pair most of its weight in slot n; 0 for none."""
    sources = of_attention(model, *as_trained(model, u.view(1).to(model.device), v.view(1).to(model.device)))
    history = next(source for source in sources if source.part == "history")
    assert history.slots is not None
    brought = history.weights * history.slots[:, n]  # (H,)
    return int(history.ids[int(brought.argmax())]) if brought.any() else 0


# --- metadata -------------------------------------------------------------------------------------------


def enriched(items: Tensor, lean: Tensor, values: list[list[str]]) -> pd.DataFrame:
    """Return which `values` of items are frequent among those that lean to a slot, the least probable first.

    `items (P,)` and `lean (P, R)` are those of pairs, `values` those of every item, from padding on. An item
    counts once, for the slot to which its pairs lean on average: pairs of one item are no independent
    evidence. `p` is that of the hypergeometric test, one-sided, `adjusted` by Benjamini and Hochberg.
    """
    from scipy.stats import false_discovery_control, hypergeom

    counts = torch.bincount(items, minlength=len(values)).clamp(min=1)  # (I,)
    sums = torch.zeros(len(values), lean.shape[1], dtype=lean.dtype).index_add_(0, items, lean)
    slot_of = (sums / counts.unsqueeze(1)).argmax(dim=1).numpy() + 1  # (I,)
    there = [v for v in items.unique().tolist() if values[v]]
    table = pd.DataFrame({"slot": slot_of[there], "value": [sorted(set(values[v])) for v in there]})
    frequent = table.explode("value").groupby("value").filter(lambda rows: len(rows) >= FEWEST)
    of_slot, of_value = table["slot"].value_counts(), frequent["value"].value_counts()
    found = frequent.value_counts(["slot", "value"]).rename("items").reset_index()
    found["of"], found["with_value"] = found["slot"].map(of_slot), found["value"].map(of_value)
    found["lift"] = found["items"] * len(table) / (found["of"] * found["with_value"])
    found["p"] = hypergeom.sf(found["items"] - 1, len(table), found["with_value"], found["of"])
    tests = of_slot.size * of_value.size  # those of values that a slot has none of are 1
    padded = np.concatenate([found["p"], np.ones(tests - len(found))])
    found["adjusted"] = false_discovery_control(padded)[: len(found)] if tests else []
    return found.sort_values(["p", "slot", "value"], kind="stable", ignore_index=True)


def on_a_map(r: Tensor) -> tuple[pd.DataFrame, tuple[float, float]]:
    """Return r `(n, d)` along the two axes of most variance, x and y, and their shares of it."""
    centred = r - r.mean(dim=0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    shares = sizes.square() / sizes.square().sum().clamp(min=torch.finfo(r.dtype).tiny)
    x, y = (left[:, axis] * sizes[axis] if axis < len(sizes) else torch.zeros(len(r)) for axis in (0, 1))
    return pd.DataFrame({"x": x.numpy(), "y": y.numpy()}), (
        shares[0].item(),
        shares[1].item() if len(shares) > 1 else 0.0,
    )
