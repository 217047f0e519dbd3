"""What a model has learned and where the random generators stand, as plain values and CPU tensors."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import nn

from recbole_hlr.model.registry import is_ours
from recbole_hlr.protocols import Values
from recbole_hlr.train.matching import refuse_other_kind, refuse_other_model


def to_plain(value: Any) -> Any:
    """Return a copy of `value` made of plain values and CPU tensors; `from_plain` is its inverse."""
    if isinstance(value, torch.Tensor):
        return value.detach().cpu().clone()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return {"__array__": torch.from_numpy(np.array(value, order="C"))}
    if sparse.issparse(value):
        rows = sparse.csr_array(value)
        parts = {key: torch.from_numpy(np.array(getattr(rows, key))) for key in ("data", "indices", "indptr")}
        return {"__csr__": parts, "shape": list(rows.shape)}
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(to_plain(item) for item in value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a {type(value).__name__} cannot be stored in a checkpoint")


def from_plain(value: Any) -> Any:
    """Return what `to_plain` was given (a sparse matrix comes back in CSR form)."""
    if isinstance(value, dict):
        if "__array__" in value:
            return value["__array__"].numpy()
        if "__csr__" in value:
            parts = {key: part.numpy() for key, part in value["__csr__"].items()}
            return sparse.csr_matrix((parts["data"], parts["indices"], parts["indptr"]), value["shape"])
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(from_plain(item) for item in value)
    return value


def model_state(model: nn.Module) -> Values:
    """Return what a model has learned: parameters, the host's `other_parameter`, its counters.

    Counters are plain attributes, such as MultiVAE's count of updates; the plugin's models have none.
    """
    counted = {} if is_ours(type(model)) else vars(model)
    counters = {key: value for key, value in counted.items() if type(value) in (bool, int, float)}
    return {
        "state_dict": to_plain(dict(model.state_dict())),
        "other_parameter": to_plain(model.other_parameter()),  # type: ignore[operator]
        "counters": counters,
    }


def load_model_state(model: nn.Module, state: Values, counters: bool = True) -> None:
    """Give a model what `model_state` returned; `counters` only where training goes on.

    Raises `InputError` for the state of another model, or of one with other options.
    """
    refuse_other_model(model, state)
    other = from_plain(state["other_parameter"])
    refuse_other_kind(model, {**other, **state["counters"]})
    model.load_state_dict(state["state_dict"])
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for key, value in other.items():
        setattr(model, key, value.to(device) if isinstance(value, torch.Tensor) else value)
    if counters:
        for key, value in state["counters"].items():
            if key != "training":
                setattr(model, key, value)


def random_state() -> Values:
    """Return the states of all global generators, as plain values."""
    name, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.array(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_random_state(state: Values) -> None:
    """Put all global generators into the states that `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
