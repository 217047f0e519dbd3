"""Checkpoints: plain values and tensors only, written whole or not at all, and checked when they are read.

`torch.load(path, weights_only=True)` reads them. `state_dict` is that of the best epoch and stands, with
an empty `other_parameter`, where the host's `Trainer.evaluate(model_file=...)` looks for it.
"""

from __future__ import annotations

import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import nn

from recbole_hlr.errors import InputError
from recbole_hlr.files import uninterrupted, write_whole
from recbole_hlr.model.registry import is_ours
from recbole_hlr.train.contents import digest, what_is_wrong
from recbole_hlr.train.matching import refuse_other_kind, refuse_other_model

FORMAT = 2
FORMATS = (1, 2)  # that are read; 1, of version 0.2, has no digest


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


def model_state(model: nn.Module) -> dict[str, Any]:
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


def load_model_state(model: nn.Module, state: dict[str, Any], counters: bool = True) -> None:
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


def random_state() -> dict[str, Any]:
    """Return the states of all global generators, as plain values."""
    name, keys, *rest = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.array(keys).astype(np.int64)), *rest],
        "python": random.getstate(),
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put all global generators into the states that `random_state` returned."""
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))


class Noting:
    """A file for torch's writer, C++ in which an `OSError` of `write` becomes a `RuntimeError`: keeps it."""

    def __init__(self, file: Any) -> None:
        self.file, self.flush = file, file.flush
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, and keep what goes wrong."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically; `InputError` where the disk is full."""

    def write(file: Any) -> None:
        noting: Any = Noting(file)
        try:
            torch.save({"format": FORMAT, **content, "digest": digest(content)}, noting)
        except RuntimeError:
            if noting.error is not None:
                raise noting.error from None
            raise

    write_whole(path, write)


def load(path: Path) -> dict[str, Any]:
    """Read a checkpoint, plain values only; `InputError` for what is none, is damaged or was changed."""
    content = read(path)
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or number not in FORMATS:
        raise InputError(f"{path}: is no checkpoint of recbole_hlr in format {FORMAT}")
    wrong = what_is_wrong(content)
    if wrong:
        raise InputError(f"{path}: is a damaged checkpoint: {wrong}")
    written = {key: value for key, value in content.items() if key not in ("format", "digest")}
    if number > 1 and repr(content.get("digest")) != repr(digest(written)):  # it may be a tensor
        raise InputError(f"{path}: is a damaged checkpoint: it holds other values than were written")
    return content


def read(path: Path) -> Any:
    """Return what a file of `torch.save` holds, plain values only; its checksums must be right."""
    try:
        with uninterrupted(), open(path, "rb") as file:
            with zipfile.ZipFile(file) as archive:  # torch does not look at the checksums
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except Exception as error:  # zipfile and torch raise many kinds for a damaged or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as a checkpoint ({reason})") from error
