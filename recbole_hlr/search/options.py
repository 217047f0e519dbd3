"""The options of a search itself, beside those of its runs."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any

import pandas as pd

from recbole_hlr.errors import InputError, invalid, nearest
from recbole_hlr.search.numbers import is_integer, is_number
from recbole_hlr.search.suggest import ALGORITHMS

SCHEDULERS = ("asha", "none")
# A resumed search may change these and no others.
CHANGEABLE = (
    "num_samples",
    "time_budget",
    "max_concurrent",
    "cpus_per_trial",
    "gpus_per_trial",
    "ray_address",
)
DEFAULT_SAMPLES = 32
SMALLEST_SHARE = 0.0001  # of a processor or GPU, as Ray counts them


def _integer(least: int) -> Callable[[Any], bool]:
    return lambda value: is_integer(value) and value >= least


def _is_share(value: Any) -> bool:
    return is_number(value) and value >= SMALLEST_SHARE


@dataclass
class SearchOptions:
    """How a search runs; None is for what follows from the space, the model or the machine."""

    algorithm: str | None = None  # random, grid, optuna; grid where the space is one, else random
    num_samples: int | None = None  # trials, the defaults included; all of a grid, else 32
    scheduler: str = "asha"  # or none
    grace_period: int = 10  # validated epochs that every trial gets
    reduction_factor: int = 3  # one trial in this number goes on at each rung
    max_concurrent: int | None = None  # trials at a time; as many as there are processors
    cpus_per_trial: float = 1
    gpus_per_trial: float | None = None  # one where a single run would use one
    time_budget: float | None = None  # seconds, resumed parts included
    ray_address: str | None = None  # of a running cluster, or auto


NAMES = tuple(field.name for field in fields(SearchOptions))
CHECKS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "algorithm": (f"one of {', '.join(ALGORITHMS)}", lambda v: v in (None, *ALGORITHMS)),
    "num_samples": ("an integer >= 1", lambda v: v is None or _integer(1)(v)),
    "scheduler": (f"one of {', '.join(SCHEDULERS)}", lambda v: v in SCHEDULERS),
    "grace_period": ("an integer >= 1", _integer(1)),
    "reduction_factor": ("an integer from 2 to 1000", lambda v: _integer(2)(v) and v <= 1000),
    "max_concurrent": ("an integer >= 1", lambda v: v is None or _integer(1)(v)),
    "cpus_per_trial": (f"a number >= {SMALLEST_SHARE}", _is_share),
    "gpus_per_trial": (
        f"0, a number from {SMALLEST_SHARE} to 1, or a whole one",
        lambda v: v is None or _is_gpus(v),
    ),
    "ray_address": ("auto or HOST:PORT", lambda v: v is None or (isinstance(v, str) and v != "")),
}


def _is_gpus(value: Any) -> bool:
    if not is_number(value) or (0 < value < SMALLEST_SHARE):
        return False
    return 0 <= value <= 1 or (value > 1 and float(value).is_integer())


def make_options(given: dict[str, Any], source: str) -> SearchOptions:
    """Return checked options of a search; `InputError` names the first wrong one."""
    values = {**{f.name: f.default for f in fields(SearchOptions)}, **given}
    unknown = [str(key) for key in values if key not in NAMES]
    if unknown:
        raise InputError(f"{unknown[0]} ({source}): is no option of a search{nearest(unknown[0], NAMES)}")
    for key, (allowed, check) in CHECKS.items():
        if not check(values[key]):
            raise invalid(key, values[key], source, allowed)
    if values["time_budget"] is not None:
        values["time_budget"] = seconds_of(values["time_budget"], source)
    return SearchOptions(**values)


def change_options(stored: dict[str, Any], given: dict[str, Any], source: str) -> SearchOptions:
    """Return a search's options with what a resume changes of them."""
    for key in given:
        if key not in CHANGEABLE and given[key] != stored.get(key):
            raise InputError(
                f"{key}={given[key]} ({source}): cannot change in a resumed search; "
                f"only {', '.join(CHANGEABLE)} can"
            )
    return make_options({**stored, **given}, source)


def as_content(options: SearchOptions) -> dict[str, Any]:
    """Return the plain mapping that `make_options` makes the options of."""
    return asdict(options)


def seconds_of(text: Any, source: str) -> float:
    """Return the seconds of a time budget: a number of them, or 90s, 30m, 2h, 1h30m."""
    try:
        number = isinstance(text, int | float) and not isinstance(text, bool)
        seconds = float(text) if number else pd.Timedelta(str(text)).total_seconds()
    except (ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise invalid("time_budget", text, source, "a time > 0, such as 90s, 30m or 2h")
    return seconds
