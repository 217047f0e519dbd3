"""Which numbers and values can stand in a search space."""

from __future__ import annotations

import json
from typing import Any

from recbole_hlr.options.kinds import is_finite, is_integer

LISTS = ("choice", "grid")
RANGES = {"uniform": 2, "loguniform": 2, "quniform": 3, "randint": 2}  # with the numbers that each takes
LARGEST = 2**53  # of the integers in a range: up to it, Optuna's floats hold them all


def is_kept(value: Any) -> bool:
    """Say whether a value comes back from a journal as it was: no NaN, no date, nothing within itself."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError, RecursionError):
        return False


def rule_of(kind: str, numbers: Any) -> str:
    """Return what must hold of that which follows a kind and does not, or an empty text."""
    if not isinstance(numbers, list) or not numbers:
        return "be a list that is not empty"
    if kind in LISTS:
        return "" if is_kept(numbers) else "hold finite numbers, texts, true, false, null, lists or mappings"
    if len(numbers) != RANGES[kind]:
        return f"have {RANGES[kind]} numbers"
    if not all(map(is_finite, numbers)):
        return "hold numbers"
    if kind == "randint" and not all(map(is_integer, numbers)):
        return "hold integers"
    if any(is_integer(n) and abs(n) > LARGEST for n in numbers):
        return f"hold integers of at most {LARGEST}"
    return rule_of_ends(kind, *numbers)


def rule_of_ends(kind: str, low: float, high: float, step: float = 0) -> str:
    """Return what must hold of the ends and the step of a range and does not, or an empty text."""
    if low >= high:
        return "have its first number below the second"
    if not is_finite(high - low):
        return "have a width that a float can hold"
    if kind == "loguniform" and low <= 0:
        return "have both numbers > 0"
    if kind == "quniform" and not 0 < step <= high - low <= LARGEST * step:
        return "have a step > 0, at most the width and at least 2**-53 of it"
    return ""
