"""What a relation memory has learned, measured over pairs of a user and an item that it was trained on.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), Eqs. 2-6: r(u, v) = c(u, v) M. Every pair stands as it was trained: the item is
no part of its user's history. Letters: P pairs, R slots of all memories, d.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from recbole_hlr.errors import InputError
from recbole_hlr.files import write_text
from recbole_hlr.model.memory import MemoryRecommender, UserAttentionRecommender
from recbole_hlr.recommend.enrichment import enriched
from recbole_hlr.recommend.metadata import Metadata, metadata_of
from recbole_hlr.recommend.pairs import Pairs, as_trained, measured, trained_pairs
from recbole_hlr.recommend.sources import of_attention

if TYPE_CHECKING:
    from recbole_hlr.recommend.fitted import FittedRecommender, Titles

POINTS = 2_000  # pairs on the map, at most
SHORT, ALIKE = 0.01, 0.05  # below these shares r is too short to matter, or one vector for all pairs


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


def root_mean(vectors: Tensor) -> float:
    """Return the root of the mean of the squared lengths of `vectors (n, d)`."""
    return vectors.square().sum(dim=1).mean().sqrt().item()


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
