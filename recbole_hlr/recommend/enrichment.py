"""Which values of items, such as genres, are frequent among those that lean to a slot of a memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

FEWEST = 5  # items that a value must have to be tested


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
