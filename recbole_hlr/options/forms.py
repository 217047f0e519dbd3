"""Kinds of the options that are more than a number or a word: mappings, lists, columns, intervals, times."""

from __future__ import annotations

import math
import re
from typing import Any

from recbole_hlr.options.kinds import (
    POSITIVE,
    TEXT,
    Option,
    integer,
    is_finite,
    is_named,
    is_number,
    is_option_number,
    mapping,
)
from recbole_hlr.protocols import Check, Values

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SMALLEST_SHARE = 0.0001  # of a processor or GPU, as Ray counts them
_is_count = integer(1).check
_BOUND = r"\s*[-+]?(?:\d+(?:\.\d*)?|inf)\s*"


# --- training and evaluation -----------------------------------------------------------------------------


def _is_eval_args(value: Values) -> bool:
    split, mode = value.get("split", {"RS": [8, 1, 1]}), value.get("mode", "full")
    modes = list(mode.values()) if isinstance(mode, dict) else [mode]
    if not isinstance(split, dict) or len(split) != 1:
        return False
    leave = split.get("LS")
    ratios = next((split[way] for way in ("RS", "HU", "TS") if way in split), None)
    return (
        set(value) <= {"split", "group_by", "order", "mode"}
        and (
            leave in ("valid_and_test", "valid_only", "test_only")
            or (
                isinstance(ratios, list)
                and len(ratios) == 3
                and all(is_option_number(r) and r >= 0 for r in ratios)
                and ratios[0] > 0
            )
        )
        and value.get("group_by", "user") in ("user", "none", None)
        and value.get("order", "RO") in ("RO", "TO")
        and (not isinstance(mode, dict) or set(mode) <= {"valid", "test"})
        and all(re.fullmatch(r"full|labeled|(uni|pop)[1-9]\d*", str(m)) for m in modes)
    )


def _is_negative_sampling(value: Values) -> bool:
    return (
        set(value) <= {"distribution", "sample_num", "alpha", "dynamic", "candidate_num"}
        and value.get("distribution", "uniform") in ("uniform", "popularity")
        and _is_count(value.get("sample_num", 1))
        and is_option_number(value.get("alpha", 1.0))
        and -10 <= value.get("alpha", 1.0) <= 10  # a popularity to the power of more is 0 or infinite
        and isinstance(value.get("dynamic", False), bool)
        and integer(1 if value.get("dynamic") else 0).check(value.get("candidate_num", 0))
    )


def _is_clipping(value: Values) -> bool:
    return (
        set(value) <= {"max_norm", "norm_type"}
        and POSITIVE.check(value.get("max_norm"))
        and is_option_number(value.get("norm_type", 2))
        and value.get("norm_type", 2) >= 1
    )


def _is_topk(value: object) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(map(_is_count, values))


def _is_gpu(value: object) -> bool:
    return integer(0).check(value) or (isinstance(value, str) and bool(re.fullmatch(r"[0-9]*", value)))


EVAL_ARGS = mapping(
    "{split: {RS | HU | TS: [8, 1, 1]} | {LS: valid_and_test}, group_by: user | none, "
    "order: RO | TO, mode: full | uni100 | pop100 | labeled}",
    _is_eval_args,
)
NEGATIVES = mapping(
    "{distribution: uniform | popularity, sample_num: an integer >= 1 and < 2^31, "
    "alpha: -10 to 10, dynamic: true | false, candidate_num: as sample_num if dynamic}",
    _is_negative_sampling,
)
CLIPPING = mapping("{max_norm: > 0, norm_type: >= 1}", _is_clipping)
SCHEDULE = mapping("{name: ..., its arguments}", lambda v: "name" in v)
TOPK = Option("an integer >= 1 or a list of them", _is_topk)
GPU = Option("the number of one GPU", _is_gpu)
LEVEL = Option(f"one of {', '.join(LEVELS)}", lambda v: str(v).upper() in LEVELS)
NO_TRANSFORM = Option(
    "null: RecBole's transforms are of sequences, of which there are none", lambda v: v is None
)


# --- data: how files are read, filtered and split --------------------------------------------------------


def _is_encoding(value: object) -> bool:
    try:
        # base64, hex and rot13 are codecs, but of no text
        return isinstance(value, str) and bool("name:type".encode(value))
    except (LookupError, TypeError, ValueError):
        return False


def _is_separator(value: object) -> bool:
    if not isinstance(value, str) or not value or set(value) & set('\n\r\0"'):
        return False
    try:
        return len(value) == 1 or not re.compile(value).match("")
    except re.error:
        return False


def _is_interval(value: object) -> bool:
    parts = [re.fullmatch(rf"\s*[\[(]({_BOUND}),({_BOUND})[\])]\s*", p) for p in str(value).split(";")]
    return all(part is not None and float(part[1]) <= float(part[2]) for part in parts)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(map(is_named, value)) and len(set(value)) == len(value)


def _are_values(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str | int | float) for one in value)


def _is_load_col(value: dict[Any, Any]) -> bool:
    return (
        "inter" in value
        and all(map(is_named, value))
        and all(one == "*" or _is_names(one) for one in value.values())
    )


def _is_discretization(value: object) -> bool:
    if value == {"method": "LD"}:
        return True
    if not isinstance(value, dict) or set(value) != {"method", "bucket"}:
        return False
    return value["method"] in ("ED", "LD") and _is_count(value["bucket"])


def of_columns(allowed: str, check: Check) -> Option:
    """Return the kind of a mapping {column: value}, where a value is allowed by `check`."""
    return mapping(allowed, lambda v: all(map(is_named, v)) and all(map(check, v.values())))


_is_threshold = of_columns("", is_option_number).check

ENCODING = Option("the name of a text encoding", _is_encoding)
SEPARATOR = Option("a text or a regular expression that matches more than nothing", _is_separator)
INTERVAL = Option('an interval such as "[10,inf)"', _is_interval)
INTERVALS = of_columns(
    '{column: "[4,inf)"}, or {column: [values]}', lambda v: _are_values(v) or _is_interval(v)
)
NAMES = Option("a list of different names", _is_names)
COLUMNS = of_columns("{suffix of a file: [columns]}", _is_names)
LOAD_COL = mapping("{inter: [columns]} or {inter: '*'}", _is_load_col)
SUFFIXES = Option("a name or a list of different names", lambda v: TEXT.check(v) or _is_names(v))
PARTS = Option(
    "a list of different names, [train, valid, test] or [train, test]",
    lambda v: _is_names(v) and len(v) in (2, 3),
)
DUPLICATES = Option("first, last or false", lambda v: v in (None, "first", "last") or v is False)
THRESHOLD = Option(
    "a mapping {column: number} of one column",
    lambda v: isinstance(v, dict) and len(v) == 1 and _is_threshold(v),
)
LENGTHS = of_columns("{column: an integer >= 1}", _is_count)
DISCRETIZATION = of_columns(
    "{column: {method: LD}} or {column: {method: ED, bucket: an integer >= 1}}", _is_discretization
)
WEIGHTS = of_columns("{id column: column of numbers}", is_named)


# --- search and benchmark --------------------------------------------------------------------------------


def seconds_in(value: object) -> float:
    """Return the seconds of a time: a number of them, or 90s, 30m, 2h, 1h30m; NaN where it is none."""
    import pandas as pd  # slow, and the help of a command needs the table of options alone

    try:
        return float(value) if is_number(value) else pd.Timedelta(str(value)).total_seconds()
    except (ValueError, OverflowError):
        return math.nan


def _is_gpus(value: object) -> bool:
    if not is_finite(value) or (0 < value < SMALLEST_SHARE):
        return False
    return 0 <= value <= 1 or (value > 1 and float(value).is_integer())


TIME = Option("a time > 0, such as 90s, 30m or 2h", lambda v: 0 < seconds_in(v) < math.inf)
SHARE = Option(f"a number >= {SMALLEST_SHARE}", lambda v: is_finite(v) and v >= SMALLEST_SHARE)
GPUS = Option(f"0, a number from {SMALLEST_SHARE} to 1, or a whole one", _is_gpus)
ADDRESS = Option("auto or HOST:PORT", is_named)
