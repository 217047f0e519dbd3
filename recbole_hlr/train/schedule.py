"""Learning-rate schedules: those of `torch.optim.lr_scheduler`, by name, stepped once an epoch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable

import torch
from torch.optim import lr_scheduler

from recbole_hlr.errors import InputError, nearest, shown
from recbole_hlr.options.kinds import LARGEST, MOST
from recbole_hlr.options.yaml_values import as_list
from recbole_hlr.protocols import Given, Options

_SCHEDULES = {
    name: value
    for name, value in inspect.getmembers(lr_scheduler, inspect.isclass)
    if issubclass(value, lr_scheduler.LRScheduler)
    and name not in ("LRScheduler", "_LRScheduler")
    and name not in ("LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler")  # take objects
}


_STEPS = 200
_EPOCHS = (
    "milestones",
    "step_size",
    "step_size_down",
    "step_size_up",
    "steps_per_epoch",
    "T_0",
    "T_max",
    "T_mult",
    "total_iters",
    "total_steps",
)  # arguments that count epochs


def build_schedule(
    options: Given, optimizer: torch.optim.Optimizer, larger_is_better: bool = True
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
        raise InputError(f"lr_scheduler {name} with {shown(arguments)}: {error}") from None


def find_schedule(asked: str) -> str:
    """Return the class's name that is meant; `InputError` where it is none."""
    short = {name.removesuffix("LR").casefold(): name for name in _SCHEDULES}
    name = short.get(asked.removesuffix("LR").casefold())
    if name is None:
        known = ", ".join(sorted(_SCHEDULES))
        raise InputError(f"lr_scheduler name={asked}: must be one of {known}{nearest(asked, short.values())}")
    return name


def cycles_momentum(options: Given | None) -> bool:
    """Say whether a schedule changes Adam's betas too, as OneCycleLR and CyclicLR do unless told not to."""
    if options is None:
        return False
    parameters = inspect.signature(_SCHEDULES[find_schedule(str(options["name"]))]).parameters
    return "cycle_momentum" in parameters and bool(options.get("cycle_momentum", True))


def check_schedule(options: Given | None, source: str, epochs: int, learning_rate: float) -> None:
    """Raise `InputError` for a schedule that cannot be built or stepped, before any work is done.

    Its first `_STEPS` epochs are stepped through; of the later ones, where there is a closed form, a few
    are looked at.
    """
    if options is None:
        return
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=learning_rate)
    try:
        check_arguments(options)
        schedule = build_schedule(options, optimizer)
        for epoch in range(1, min(epochs, _STEPS) + 1):
            optimizer.step()
            step_schedule(schedule, 0.0)
            check_rates(epoch, (group["lr"] for group in optimizer.param_groups))
        if epochs > getattr(schedule, "total_steps", epochs):
            raise ValueError(f"it ends after {schedule.total_steps}")  # type: ignore[attr-defined]
        closed_form = getattr(schedule, "_get_closed_form_lr", None)
        while closed_form is not None and epoch < epochs:
            epoch = min(2 * epoch, epochs)
            schedule.last_epoch = epoch
            check_rates(epoch, closed_form())
    except InputError as error:
        raise InputError(str(error), place=source, option="lr_scheduler", value=options) from None
    except (TypeError, ValueError, ArithmeticError) as error:
        raise InputError(
            f"lr_scheduler={shown(options)}",
            f"cannot be stepped {epochs} times: {error}",
            place=source,
            option="lr_scheduler",
            value=options,
        ) from None


def check_arguments(options: Given) -> None:
    """Raise `ValueError` for an argument that is not plain, or a number of epochs that is none."""
    for key, value in options.items():
        for one in as_list(value):
            if key in _EPOCHS and one is not None and (type(one) is not int or not 1 <= one <= MOST):
                raise ValueError(f"{key}={shown(value)} must be of integers >= 1 and < 2^31")
            if isinstance(one, dict | list) or (isinstance(one, int | float) and not 0 <= one < math.inf):
                raise ValueError(f"{key}={shown(value)} must be finite and >= 0")


def check_rates(epoch: int, rates: Iterable[float]) -> None:
    """Raise `ValueError` for a learning rate that is none."""
    for rate in rates:
        if not 0 <= rate <= LARGEST:
            raise ValueError(f"the learning rate is {rate} after epoch {epoch}")


def step_schedule(schedule: lr_scheduler.LRScheduler, valid_score: float | None) -> None:
    """Step at the end of an epoch; ReduceLROnPlateau looks at the validation score, if there is one."""
    if not isinstance(schedule, lr_scheduler.ReduceLROnPlateau):
        schedule.step()
    elif valid_score is not None:
        schedule.step(valid_score)


def has_plain_adam(config: Options) -> bool:
    """Say whether training takes Adam's own steps: no other gradients, none rescaled, constant betas."""
    others = config["weight_decay"] or config["clip_grad_norm"] or config["enable_scaler"]
    return config["learner"].lower() == "adam" and not others and not cycles_momentum(config["lr_scheduler"])
