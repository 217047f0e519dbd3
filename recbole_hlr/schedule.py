"""Learning-rate schedules: those of `torch.optim.lr_scheduler`, by name, stepped once an epoch."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch.optim import lr_scheduler

from recbole_hlr.errors import InputError
from recbole_hlr.options import nearest

_SCHEDULES = {
    name: value
    for name, value in inspect.getmembers(lr_scheduler, inspect.isclass)
    if issubclass(value, lr_scheduler.LRScheduler)
    and name not in ("LRScheduler", "_LRScheduler")
    and name not in ("LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler")  # take objects
}


def build_schedule(
    options: dict[str, Any], optimizer: torch.optim.Optimizer, larger_is_better: bool = True
) -> lr_scheduler.LRScheduler:
    """Return the schedule `options["name"]` with the other options as its arguments.

    `exponential`, `Exponential` and `ExponentialLR` are the same name. ReduceLROnPlateau follows the
    validation score, in the direction in which it is better. Raises `InputError`.
    """
    arguments = {key: value for key, value in options.items() if key != "name"}
    name = find_schedule(str(options["name"]))
    if name == "ReduceLROnPlateau":
        arguments.setdefault("mode", "max" if larger_is_better else "min")
    try:
        return _SCHEDULES[name](optimizer, **arguments)
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"lr_scheduler {name} with {arguments}: {error}") from None


def find_schedule(asked: str) -> str:
    """Return the class's name that is meant; `InputError` where it is none."""
    short = {name.removesuffix("LR").casefold(): name for name in _SCHEDULES}
    name = short.get(asked.removesuffix("LR").casefold())
    if name is None:
        known = ", ".join(sorted(_SCHEDULES))
        raise InputError(f"lr_scheduler name={asked}: must be one of {known}{nearest(asked, short.values())}")
    return name


def cycles_momentum(options: dict[str, Any] | None) -> bool:
    """Say whether a schedule changes Adam's betas too, as OneCycleLR and CyclicLR do unless told not to."""
    if options is None:
        return False
    parameters = inspect.signature(_SCHEDULES[find_schedule(str(options["name"]))]).parameters
    return "cycle_momentum" in parameters and bool(options.get("cycle_momentum", True))


def check_schedule(options: dict[str, Any] | None, source: str, epochs: int) -> None:
    """Raise `InputError` for a schedule that cannot be built or stepped, before any work is done."""
    if options is None:
        return
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    try:
        schedule = build_schedule(options, optimizer)
        for _ in range(epochs):
            optimizer.step()
            step_schedule(schedule, 0.0)
    except InputError as error:
        raise InputError(f"{error} ({source})") from None
    except (TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(
            f"lr_scheduler={options} ({source}): cannot be stepped {epochs} times: {error}"
        ) from None


def step_schedule(schedule: lr_scheduler.LRScheduler, valid_score: float | None) -> None:
    """Step at the end of an epoch; ReduceLROnPlateau looks at the validation score, if there is one."""
    if not isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
        schedule.step()
    elif valid_score is not None:
        schedule.step(valid_score)
