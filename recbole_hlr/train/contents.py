"""Whether a value read from a checkpoint is of the kind that its field needs, so that none can surprise."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_hlr.options.kinds import is_count, is_number, is_text

Check = Callable[[Any], bool]


def digest(value: Any, crc: int = 0) -> int:
    """Return a checksum of plain values and tensors: their kinds, order and shapes count."""
    if isinstance(value, Tensor):
        crc = zlib.crc32(f"{value.dtype}{tuple(value.shape)}".encode(), crc)
        return zlib.crc32(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data, crc)
    if isinstance(value, dict):
        return digest(list(value.values()), zlib.crc32(repr(list(value)).encode(), crc))
    nested = isinstance(value, list | tuple) and any(
        isinstance(v, Tensor | dict | list | tuple) for v in value
    )
    if not nested:
        return zlib.crc32(repr(value).encode(), crc)
    crc = zlib.crc32(f"{type(value).__name__}{len(value)}".encode(), crc)
    for item in value:
        crc = digest(item, crc)
    return crc


def maps(check: Check) -> Check:
    """Return the check of a mapping from texts to what `check` admits."""
    return lambda value: (
        isinstance(value, dict) and all(isinstance(k, str) and check(v) for k, v in value.items())
    )


def is_stored_whole(value: Any, depth: int = 20) -> bool:
    """Say whether `value` is what `snapshot.to_plain` returns; at no depth may it contain itself."""
    if isinstance(value, dict | list | tuple):
        parts = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(is_stored_whole(part, depth - 1) for part in parts)
    return value is None or isinstance(value, bool | int | float | str) or _is_tensor(value)


def _is_tensor(value: Any) -> bool:
    """Say whether `value` is a tensor whose numbers are there, one after the other."""
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not (value.is_quantized or value.is_nested or value.is_conj())
    )


def or_none(check: Check) -> Check:
    """Return the check of what `check` admits, or None."""
    return lambda value: value is None or check(value)


def _is_plain(value: Any) -> bool:
    """Say whether YAML could hold a value."""
    if isinstance(value, dict):
        return all(map(_is_plain, value.values()))
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def is_config(value: Any) -> bool:
    """Say whether `value` is the options of a run, in full: a model and a data set are among them."""
    return maps(_is_plain)(value) and all(is_text(value.get(key)) for key in ("model", "dataset"))


def is_state(value: Any) -> bool:
    """Say whether `value` is what `snapshot.model_state` returns."""
    return (
        isinstance(value, dict)
        and maps(_is_tensor)(value.get("state_dict"))
        and maps(_is_stored)(value.get("other_parameter"))
        and maps(lambda v: isinstance(v, bool | int | float))(value.get("counters"))
    )


def _is_stored(value: Any) -> bool:
    """Say whether `snapshot.from_plain` can take an attribute of a model back."""
    if isinstance(value, dict) and "__array__" in value:
        return _is_tensor(value["__array__"])
    if not isinstance(value, dict) or "__csr__" not in value:
        return True
    parts, shape = value["__csr__"], value.get("shape")
    if not (isinstance(shape, list) and len(shape) == 2 and all(map(is_count, shape))):
        return False
    return (
        maps(_is_tensor)(parts)
        and {"data", "indices", "indptr"} <= set(parts)
        and _is_rows(parts["indptr"], parts["indices"], shape[0], shape[1])
        and parts["data"].shape == parts["indices"].shape
    )


def _is_rows(indptr: Tensor, columns: Tensor, num_rows: int, num_columns: int) -> bool:
    """Say whether `indptr (R + 1,)` and `columns (nnz,)` are compressed sparse rows of that size."""
    kinds = (torch.int32, torch.int64)
    return bool(
        all(_is_tensor(t) and t.dtype in kinds and t.dim() == 1 for t in (indptr, columns))
        and len(indptr) == num_rows + 1
        and indptr[0] == 0
        and indptr[-1] == len(columns)
        and (indptr.diff() >= 0).all()
        and ((columns >= 0) & (columns < num_columns)).all()
    )


def is_data(value: Any) -> bool:
    """Say whether `value` is what `data.stored.stored_data` returns."""
    names = ("dataset", "user_field", "item_field")
    if not isinstance(value, dict) or not all(is_text(value.get(name)) for name in names):
        return False
    for tokens in (value.get("user_tokens"), value.get("item_tokens")):
        if not isinstance(tokens, list) or not all(map(is_text, tokens)):
            return False
        if len(tokens) < 2 or len(set(tokens)) < len(tokens):
            return False
    indptr: Any = value.get("indptr")
    items: Any = value.get("items")
    size = len(value["user_tokens"]), len(value["item_tokens"])
    if not _is_rows(indptr, items, *size) or not indptr.dtype == items.dtype == torch.int64:
        return False
    users = torch.repeat_interleave(indptr.diff())
    return bool(
        (items > 0).all()
        and indptr[1] == 0  # padding has no interaction
        and ((users * size[1] + items).diff() > 0).all()
    )


def is_epochs(value: Any) -> bool:
    """Say whether `value` has one record for every epoch, from the first on."""
    return isinstance(value, list) and bool(value) and all(_is_epoch(v, n) for n, v in enumerate(value))


def _is_epoch(value: Any, number: int) -> bool:
    validated = isinstance(value, dict) and {"valid", "valid_score", "valid_seconds"} & set(value)
    return (
        isinstance(value, dict)
        and is_count(value.get("epoch"))
        and value["epoch"] == number
        and all(is_number(value.get(key)) for key in ("train_loss", "learning_rate", "train_seconds"))
        and (not validated or all(is_number(value.get(key)) for key in ("valid_score", "valid_seconds")))
        and (not validated or maps(is_number)(value.get("valid")))
    )


def is_random(value: Any) -> bool:
    """Say whether `snapshot.set_random_state` can take the states of all generators back."""
    try:
        name, keys, *rest = value["numpy"]
        np.random.RandomState(0).set_state((name, keys.numpy().astype(np.uint32), *rest))
        torch.Generator().set_state(value["torch"])
        version, internal, gauss = value["python"]
        random.Random(0).setstate((version, tuple(internal), gauss))
        return isinstance(value["cuda"], list) and all(map(is_bytes, value["cuda"]))
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, OverflowError, IndexError):
        return False


def is_bytes(value: Any) -> bool:
    """Say whether `value` is a row of bytes, as torch's generators have their state."""
    return _is_tensor(value) and value.dtype == torch.uint8 and value.dim() == 1


def _is_group_value(value: Any) -> bool:
    return _is_plain(list(value) if isinstance(value, tuple) else value)


def is_optimizer(value: Any) -> bool:
    """Say whether `value` is what an optimizer's `state_dict` returns, of whichever optimizer."""
    if not isinstance(value, dict) or not isinstance(value.get("state"), dict):
        return False
    groups, states = value.get("param_groups"), value["state"].values()
    return (
        isinstance(groups, list)
        and all(maps(_is_group_value)(group) and isinstance(group.get("params"), list) for group in groups)
        and all(map(maps(lambda v: v is None or _is_tensor(v) or is_number(v)), states))
    )
