"""Whether a stored state is that of this model and of this optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recbole_hlr.errors import InputError

MACHINE = frozenset({"params", "foreach", "fused", "capturable"})  # of a parameter group: no option of a run


def refuse_other_model(model: nn.Module, state: dict[str, Any]) -> None:
    """Raise `InputError` where names, shapes or kinds of a state are not those of the model."""
    own, given = model.state_dict(), state["state_dict"]
    for key in (*own, *given):
        if key not in own or key not in given:
            raise InputError(f"the checkpoint does not fit the model: {key} is in one of them alone")
        is_there, fits = ((tuple(tensor.shape), tensor.dtype) for tensor in (given[key], own[key]))
        if is_there != fits:
            raise InputError(
                f"the checkpoint does not fit the model: {key} is {shown(is_there)}, must be {shown(fits)}"
            )
    known = set(vars(model)) | set(model.other_parameter())  # type: ignore[operator]
    unknown = {*state["other_parameter"], *state["counters"]} - known
    if unknown:
        raise InputError(f"the checkpoint does not fit the model, which has no {min(unknown)}")


def shown(tensor: tuple[tuple[int, ...], torch.dtype]) -> str:
    """Return a shape and a kind for a message."""
    return f"{tensor[0]} of {str(tensor[1]).removeprefix('torch.')}"


def refuse_other_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Raise `InputError` where a stored state is not what the `state_dict` of this optimizer can be."""
    own, given = optimizer.param_groups, state["param_groups"]
    weights = [weight for group in own for weight in group["params"]]
    if [len(group["params"]) for group in own] != [len(group["params"]) for group in given]:
        raise InputError("the checkpoint does not fit the optimizer: it has other parameters")
    for ours, theirs in zip(own, given, strict=True):
        for key, value in ours.items():
            if key not in MACHINE and not is_like(theirs.get(key), value):
                raise InputError(
                    f"the checkpoint does not fit the optimizer: {key} is {theirs.get(key)}, here {value}"
                )
    for number, entries in state["state"].items():
        shape = tuple(weights[number].shape) if number in range(len(weights)) else None
        for key, entry in entries.items():
            if entry is not None and not (isinstance(entry, Tensor) and tuple(entry.shape) in ((), shape)):
                raise InputError(
                    f"the checkpoint does not fit the optimizer: {key} of parameter {number} is not of the "
                    f"shape {shape}"
                )


def is_like(value: Any, own: Any) -> bool:
    """Say whether a value of a parameter group could be its own: schedules change numbers, nothing else."""
    if isinstance(own, tuple):
        same = isinstance(value, tuple) and len(value) == len(own)
        return same and all(map(is_like, value, own))
    if isinstance(own, int | float) and not isinstance(own, bool):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return bool(value == own)
