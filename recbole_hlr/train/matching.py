"""Whether a stored state is that of this model and of this optimizer."""

from __future__ import annotations

import inspect
import math
import numbers
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from recbole_hlr.errors import InputError
from recbole_hlr.protocols import Values

MACHINE = frozenset({"params", "foreach", "fused", "capturable"})  # of a parameter group: no option of a run


def refuse_other_model(model: nn.Module, state: Values) -> None:
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


def refuse_other_kind(model: nn.Module, values: Values) -> None:
    """Raise `InputError` where attributes are of another kind than the model's own, unless that is None."""
    for key, value in values.items():
        own = getattr(model, key, None)
        if own is not None and kind_of(value) != kind_of(own):
            raise InputError(
                f"the checkpoint does not fit the model: {key} is {' of '.join(map(str, kind_of(value)))}, "
                f"must be {' of '.join(map(str, kind_of(own)))}"
            )


def kind_of(value: Any) -> tuple[object, ...]:
    """Return what two values of an attribute have in common: for arrays and tensors the shape, too."""
    if isinstance(value, Tensor | np.ndarray) or sparse.issparse(value):
        return tuple(value.shape), str(value.dtype).removeprefix("torch.")
    if not isinstance(value, bool) and isinstance(value, numbers.Real):
        return ("a number",)
    return (type(value).__name__,)


def shown(tensor: tuple[tuple[int, ...], torch.dtype]) -> str:
    """Return a shape and a kind for a message."""
    return f"{tensor[0]} of {str(tensor[1]).removeprefix('torch.')}"


def refuse_other_optimizer(optimizer: torch.optim.Optimizer, state: Values) -> None:
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
        if number not in range(len(weights)):
            raise InputError(f"the checkpoint does not fit the optimizer: it has no parameter {number}")
        for key, fits in needed(optimizer, given, number).items() if entries else ():
            entry, shape = entries.get(key), tuple(weights[number].shape) if fits.dim() else ()
            like = isinstance(entry, Tensor) and entry.is_floating_point() == fits.is_floating_point()
            if not like or tuple(entry.shape) != shape or (not shape and not 0 <= entry < math.inf):
                raise InputError(
                    f"the checkpoint does not fit the optimizer: {key} of parameter {number} is not of the "
                    f"shape {shape}, or is no count"
                )


def needed(optimizer: torch.optim.Optimizer, groups: list[Values], number: int) -> dict[str, Tensor]:
    """Return what an optimizer keeps of a parameter of one number: what torch's own keeps after a step.

    Raises `InputError` where torch does not take the options of the parameter's group.
    """
    kind: Any = next(one for one in type(optimizer).__mro__ if one.__module__.startswith("torch.optim"))
    sizes = [group for group in groups for _ in group["params"]]
    taken = inspect.signature(kind).parameters.keys() - MACHINE
    weight = nn.Parameter(torch.zeros(1))
    weight.grad = torch.zeros(1)
    try:
        one = kind([weight], **{key: value for key, value in sizes[number].items() if key in taken})
    except ValueError as error:
        raise InputError(f"the checkpoint does not fit the optimizer: {error}") from error
    one.step()
    return {key: value for key, value in one.state[weight].items() if value is not None}


def is_like(value: object, own: object) -> bool:
    """Say whether a value of a parameter group could be its own: schedules change numbers, nothing else."""
    if isinstance(own, tuple):
        return isinstance(value, tuple) and len(value) == len(own) and all(map(is_like, value, own))
    if isinstance(own, int | float) and not isinstance(own, bool):
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is type(own) and bool(value == own)
