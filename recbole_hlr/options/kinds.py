"""Kinds of options: which values one may take, and how a sentence says so. What a number is, is said here."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

from recbole_hlr.protocols import Check

MOST = 2**31 - 1  # of an integer
LARGEST = 1e37  # of a number: ten times it, as Adam's first step is of the learning rate, fits into float32
ON_UNKNOWN = ("raise", "warn", "ignore")  # what may be done about an id that a run does not have
ON_UNKNOWN_USER = (*ON_UNKNOWN, "popular")  # and about one of a user, who may get what is popular


class Option(NamedTuple):
    """Allowed values of one option: `check` says whether a value is allowed, `allowed` says which are."""

    allowed: str
    check: Check


def is_number(value: object) -> TypeGuard[int | float]:
    """Say whether a value is a number of any size, infinite or none (NaN), and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_finite(value: object, most: float = sys.float_info.max) -> TypeGuard[int | float]:
    """Say whether a value is a number that a float can hold, of at most `most` in size."""
    return is_number(value) and abs(value) <= most  # math.isfinite fails at integers of 400 digits


def is_integer(value: object, least: float = -math.inf, most: float = math.inf) -> TypeGuard[int]:
    """Say whether a value is an integer from `least` to `most`, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_count(value: object) -> bool:
    """Say whether a value is an integer >= 0."""
    return is_integer(value, 0)


def is_text(value: object) -> bool:
    """Say whether a value is a text."""
    return isinstance(value, str)


def is_named(value: object) -> bool:
    """Say whether a value is a text that is not empty."""
    return isinstance(value, str) and value != ""


def is_option_number(value: object) -> bool:
    """Say whether a value is a number with which a run can compute."""
    return is_finite(value, LARGEST)


def number(allowed: str, check: Callable[[float], bool]) -> Option:
    """Return the kind of numbers that `check` admits."""
    return Option(f"a number {allowed}".strip(), lambda v: is_option_number(v) and check(v))


def integer(least: int, most: int = MOST) -> Option:
    """Return the kind of integers from `least` to `most`."""
    limit = f"and < 2^{(most + 1).bit_length() - 1}" if most >= MOST else f"and <= {most}"
    return Option(f"an integer >= {least} {limit}", lambda v: is_integer(v, least, most))


def choice(*names: str) -> Option:
    """Return the kind of one of these texts."""
    return Option("one of " + ", ".join(names), lambda v: isinstance(v, str) and v in names)


def or_null(option: Option) -> Option:
    """Return a kind that may also be null."""
    return Option(f"{option.allowed}, or null", lambda v: v is None or option.check(v))


def unless_null(option: Option) -> Option:
    """Return a kind that is null where the option is left out, of which its sentence does not speak."""
    return Option(option.allowed, lambda v: v is None or option.check(v))


def mapping(allowed: str, check: Check) -> Option:
    """Return the kind of mappings that `check` admits."""
    return Option(f"a mapping {allowed}", lambda v: isinstance(v, dict) and check(v))


TEXT = Option("a text that is not empty", is_named)
BOOL = Option("true or false", lambda v: isinstance(v, bool))
POSITIVE = number("> 0", lambda v: v > 0)
NOT_NEGATIVE = number(">= 0", lambda v: v >= 0)

LIMITS: dict[str, Check] = {
    "": lambda v: True,
    "> 0": lambda v: v > 0,
    ">= 0": lambda v: v >= 0,
    ">= 1": lambda v: v >= 1,
    ">= 2": lambda v: v >= 2,
    "in [0, 1)": lambda v: 0 <= v < 1,
    "in [0, 1]": lambda v: 0 <= v <= 1,
    "in [-1, 1]": lambda v: -1 <= v <= 1,
}


def option_like(default: Any, limit: str = "") -> Option | None:
    """Return what may stand for a default: its kind, within a limit of `LIMITS`; None where it has none."""
    if isinstance(default, bool):
        return BOOL
    if isinstance(default, int) and (limit == "" or limit.startswith(">= ")):
        return integer(int(limit.removeprefix(">= ") or -MOST))
    if isinstance(default, int | float):
        return number(limit, LIMITS[limit])
    if isinstance(default, str):
        return Option("a text", is_text)
    if not isinstance(default, list):
        return None
    element = option_like(default[0], limit) if default else None
    allowed = f"a list, each of it {element.allowed}" if element else "a list"
    return Option(
        allowed, lambda v: isinstance(v, list) and all(element is None or element.check(one) for one in v)
    )
