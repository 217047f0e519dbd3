"""The options of a search itself, beside those of its runs."""

from __future__ import annotations

from dataclasses import dataclass, fields

from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner

from recbole_hlr.errors import UnknownOption, fixed
from recbole_hlr.options.check import check_values
from recbole_hlr.options.forms import seconds_in
from recbole_hlr.options.table import CHANGEABLE, SEARCH_OPTIONS
from recbole_hlr.protocols import Values

DEFAULT_SAMPLES = 32


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


def make_options(given: Values, source: str) -> SearchOptions:
    """Return checked options of a search; `InputError` names the first wrong one."""
    values = {**{f.name: f.default for f in fields(SearchOptions)}, **given}
    unknown = [str(key) for key in values if key not in NAMES]
    if unknown:
        raise UnknownOption.of(unknown[0], source, "a search", NAMES)
    check_values(values, dict.fromkeys(values, source), SEARCH_OPTIONS)
    if values["time_budget"] is not None:
        values["time_budget"] = seconds_in(values["time_budget"])
    return SearchOptions(**values)


def change_options(stored: Values, given: Values, source: str) -> SearchOptions:
    """Return a search's options with what a resume changes of them."""
    for key in given:
        if key not in CHANGEABLE and given[key] != stored.get(key):
            raise fixed(key, given[key], source, "a resumed search", CHANGEABLE)
    return make_options({**stored, **given}, source)


def pruner_of(options: SearchOptions, eval_step: int, longest: int) -> BasePruner:
    """Return what stops early trials that validate every `eval_step` epochs, `longest` times at most."""
    if options.scheduler == "none":
        return NopPruner()
    return SuccessiveHalvingPruner(
        min_resource=min(options.grace_period, longest) * eval_step, reduction_factor=options.reduction_factor
    )
