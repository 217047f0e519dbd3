"""Whether values are what their options may be: those told in the table, and those of RecBole's models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from recbole_hlr.errors import invalid
from recbole_hlr.options.host import host_option, without_default
from recbole_hlr.options.kinds import LARGEST, Option, option_like
from recbole_hlr.options.table import DATA_OPTIONS, MODEL_OPTIONS, RUN_OPTIONS, SWITCHES
from recbole_hlr.protocols import Given, Values

BY_METRICS = ("metrics", "valid_metric")  # depend on the metrics that there are


def told_options(is_ours: bool) -> dict[str, Option]:
    """Return the options that the table tells, those of models only for our models."""
    return {**RUN_OPTIONS, **DATA_OPTIONS, **(MODEL_OPTIONS if is_ours else {})}


def untold(defaults: Given, is_ours: bool) -> Values:
    """Return those of the defaults that alone say what their options may be."""
    told = {*told_options(is_ours), *BY_METRICS}
    return {key: default for key, default in defaults.items() if key not in told}


def options_of(
    model: str, defaults: Given, is_ours: bool, limits: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Option]:
    """Return what the options of a model may be: those told in the table, and the kinds of its defaults.

    `limits` are the ranges of those numbers of which no table knows.
    """
    kinds = {
        key: option_like(default, limits[key]) if key in limits else host_option(model, key, default)
        for key, default in {**untold(defaults, is_ours), **without_default(model)}.items()
    }
    return {**told_options(is_ours), **{key: option for key, option in kinds.items() if option is not None}}


def check_values(values: Given, sources: Mapping[str, str], options: Mapping[str, Option]) -> None:
    """Raise `InputError` for the first value that its option may not have."""
    for key, option in options.items():
        if key in values and not option.check(values[key]):
            raise invalid(key, values[key], sources[key], option.allowed)


def spell_switches(values: Values) -> None:
    """Put the switches into words: YAML 1.1 reads a bare on or off as a truth value."""
    for key in SWITCHES:
        if isinstance(values[key], bool):
            values[key] = "on" if values[key] else "off"


def refuse_huge(values: Given, sources: Mapping[str, str]) -> None:
    """Raise `InputError` for an option that is or holds a number too large for float32 or int64."""
    allowed = f"finite, at most {LARGEST} in size, and integers below 2^63"
    for key, value in values.items():
        for number in _numbers(value):
            if not abs(number) <= (LARGEST if isinstance(number, float) else 2**63 - 1):
                raise invalid(key, value, sources[key], allowed)


def _numbers(value: object) -> Iterator[int | float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _numbers(one)
