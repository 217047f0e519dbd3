"""What values an option may take, and the sentence for one that it may not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from recbole_hlr.errors import invalid
from recbole_hlr.options.protocol import PROTOCOLS

MOST = 2**31 - 1  # of an integer
LARGEST = 1e37  # of a number: ten times it, as Adam's first step is of the learning rate, fits into float32


class Option(NamedTuple):
    """Allowed values of one option: `check` says whether a value is allowed, `allowed` says which are."""

    allowed: str
    check: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _number(allowed: str, check: Callable[[float], bool]) -> Option:
    return Option(f"a number {allowed}".strip(), lambda v: _is_number(v) and check(v))


def _integer(least: int, most: int = MOST) -> Option:
    limit = f"and < 2^{(most + 1).bit_length() - 1}" if most >= MOST else f"and <= {most}"
    return Option(
        f"an integer >= {least} {limit}",
        lambda v: isinstance(v, int) and not isinstance(v, bool) and least <= v <= most,
    )


def _choice(*names: str) -> Option:
    return Option("one of " + ", ".join(names), lambda v: isinstance(v, str) and v in names)


def _or_null(option: Option) -> Option:
    return Option(f"{option.allowed}, or null", lambda v: v is None or option.check(v))


def _mapping(allowed: str, check: Callable[[dict[str, Any]], bool]) -> Option:
    return Option(f"a mapping {allowed}", lambda v: isinstance(v, dict) and check(v))


def _is_eval_args(value: dict[str, Any]) -> bool:
    split, mode = value.get("split", {"RS": [8, 1, 1]}), value.get("mode", "full")
    modes = list(mode.values()) if isinstance(mode, dict) else [mode]
    if not isinstance(split, dict) or len(split) != 1:
        return False
    ratios, leave = split.get("RS"), split.get("LS")
    return (
        set(value) <= {"split", "group_by", "order", "mode"}
        and (
            leave in ("valid_and_test", "valid_only", "test_only")
            or (
                isinstance(ratios, list)
                and len(ratios) == 3
                and all(_is_number(r) and r >= 0 for r in ratios)
                and ratios[0] > 0
            )
        )
        and value.get("group_by", "user") in ("user", "none", None)
        and value.get("order", "RO") in ("RO", "TO")
        and (not isinstance(mode, dict) or set(mode) <= {"valid", "test"})
        and all(re.fullmatch(r"full|labeled|(uni|pop)[1-9]\d*", str(m)) for m in modes)
    )


def _is_negative_sampling(value: dict[str, Any]) -> bool:
    return (
        set(value) <= {"distribution", "sample_num", "alpha", "dynamic", "candidate_num"}
        and value.get("distribution", "uniform") in ("uniform", "popularity")
        and _integer(1).check(value.get("sample_num", 1))
        and _is_number(value.get("alpha", 1.0))
        and -10 <= value.get("alpha", 1.0) <= 10  # a popularity to the power of more is 0 or infinite
        and isinstance(value.get("dynamic", False), bool)
        and _integer(1 if value.get("dynamic") else 0).check(value.get("candidate_num", 0))
    )


def _is_topk(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(_integer(1).check(k) for k in values)


def _is_null(value: Any) -> bool:
    return value is None


def _is_gpu(value: Any) -> bool:
    return _integer(0).check(value) or (isinstance(value, str) and bool(re.fullmatch(r"[0-9]*", value)))


SWITCHES = ("compile", "lazy_adam")  # auto, on or off
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_TEXT = Option("a text that is not empty", lambda v: isinstance(v, str) and v != "")
_BOOL = Option("true or false", lambda v: isinstance(v, bool))
_POSITIVE = _number("> 0", lambda v: v > 0)
_NOT_NEGATIVE = _number(">= 0", lambda v: v >= 0)
_SIZE = _number("> 0 and <= 1e9", lambda v: 0 < v <= 1e9)

MODEL_OPTIONS: dict[str, Option] = {
    "margin": _POSITIVE,
    "max_norm": _or_null(_POSITIVE),
    "negative_reduction": _choice("mean", "hardest", "soft", "rank"),
    "negative_temperature": _POSITIVE,
    "num_memories": _integer(1),
    "max_history": _integer(1),
    "eval_history": _choice("capped", "all"),
    "history_sampling": _choice("uniform", "inverse_popularity"),
    "attend_user": _BOOL,
    "share_negative_relation": _BOOL,
    "attention_smoothing": _number("in (0, 1]", lambda v: 0 < v <= 1),
    "clip_memories": _BOOL,
    "direct_memory": _BOOL,
    "max_memory_norm": _or_null(_POSITIVE),
    "initial_key_norm": _POSITIVE,
    "item_attention": _choice("history", "audience"),
    "attend_target": _BOOL,
    "neighbour_weight": _NOT_NEGATIVE,
    "distance_weight": _NOT_NEGATIVE,
    "neighbour_refresh": _choice("batch", "epoch"),
    "pretrained_embeddings": _or_null(_TEXT),
    "freeze_embeddings": _BOOL,
    "regularization": _POSITIVE,
    "regularization_scaling": _number("in [0, 2]", lambda v: 0 <= v <= 2),
    "confidence_weight": _POSITIVE,
    "cg_steps": _integer(1),
}

RUN_OPTIONS: dict[str, Option] = {
    "protocol": _choice(*PROTOCOLS),
    "test_history": _choice("training", "training_and_validation"),
    "embedding_size": _integer(1),
    "epochs": _integer(1),
    "train_batch_size": _integer(1),
    "eval_batch_size": _integer(1, 2**63 - 1),  # users times items
    "eval_memory": _SIZE,
    **dict.fromkeys(SWITCHES, _choice("auto", "on", "off")),
    "matmul_precision": _choice("highest", "high", "medium"),
    "learning_rate": _POSITIVE,
    "learner": _choice("adam", "adamw", "sgd", "adagrad", "rmsprop"),
    "lr_scheduler": _or_null(_mapping("{name: ..., its arguments}", lambda v: "name" in v)),
    "weight_decay": _NOT_NEGATIVE,
    "clip_grad_norm": _or_null(
        _mapping(
            "{max_norm: > 0, norm_type: >= 1}",
            lambda v: (
                set(v) <= {"max_norm", "norm_type"}
                and _POSITIVE.check(v.get("max_norm"))
                and _is_number(v.get("norm_type", 2))
                and v.get("norm_type", 2) >= 1
            ),
        )
    ),
    "train_neg_sample_args": _or_null(
        _mapping(
            "{distribution: uniform | popularity, sample_num: an integer >= 1 and < 2^31, "
            "alpha: -10 to 10, dynamic: true | false, candidate_num: as sample_num if dynamic}",
            _is_negative_sampling,
        )
    ),
    "eval_args": _mapping(
        "{split: {RS: [8, 1, 1]} | {LS: valid_and_test}, group_by: user | none, "
        "order: RO | TO, mode: full | uni100 | pop100 | labeled}",
        _is_eval_args,
    ),
    "eval_step": _integer(0),
    "stopping_step": _integer(0),
    "topk": Option("an integer >= 1 or a list of them", _is_topk),
    "cohorts": _integer(0),
    "user_metrics": _BOOL,
    "metric_decimal_place": _integer(0, 16),
    "seed": Option("an integer from 0 to 4294967295", _integer(0, 2**32 - 1).check),
    "worker": _integer(0, 32),
    "loss_decimal_place": _integer(0, 16),
    "gpu_id": Option("the number of one GPU", _is_gpu),
    "transform": Option("null: RecBole's transforms are of sequences, of which there are none", _is_null),
    "checkpoint_dir": _TEXT,
    "show_progress": _BOOL,
    "tensorboard": _BOOL,
    "use_gpu": _BOOL,
    "shuffle": _BOOL,
    "reproducibility": _BOOL,
    "state": Option(f"one of {', '.join(LEVELS)}", lambda v: str(v).upper() in LEVELS),
}


# --- data: how files are read, filtered and split ------------------------------------------------------


def _is_encoding(value: Any) -> bool:
    try:
        return bool("name:type".encode(value))  # base64, hex and rot13 are codecs, but of no text
    except (LookupError, TypeError, ValueError):
        return False


def _is_separator(value: Any) -> bool:
    if not isinstance(value, str) or not value or set(value) & set('\n\r\0"'):
        return False
    try:
        return len(value) == 1 or not re.compile(value).match("")
    except re.error:
        return False


def _is_interval(value: Any) -> bool:
    parts = [re.fullmatch(rf"\s*[\[(]({_NUMBER}),({_NUMBER})[\])]\s*", p) for p in str(value).split(";")]
    return all(part is not None and float(part[1]) <= float(part[2]) for part in parts)


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_TEXT.check, value)) and len(set(value)) == len(value)


def _are_values(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str | int | float) for one in value)


def _of_columns(allowed: str, check: Callable[[Any], bool]) -> Option:
    """Return the option of a mapping {column: value}, where a value is allowed by `check`."""
    return _mapping(allowed, lambda v: all(map(_TEXT.check, v)) and all(map(check, v.values())))


_NUMBER = r"\s*[-+]?(?:\d+(?:\.\d*)?|inf)\s*"
_INTERVAL = Option('an interval such as "[10,inf)"', _is_interval)
_NAMES = Option("a list of different names", _is_names)
_SEPARATOR = Option("a text or a regular expression that matches more than nothing", _is_separator)
_COLUMNS = _of_columns("{suffix of a file: [columns]}", _is_names)

DATA_OPTIONS: dict[str, Option] = {
    "data_path": _TEXT,
    "encoding": _or_null(Option("the name of a text encoding", _is_encoding)),
    "field_separator": _SEPARATOR,
    "seq_separator": Option("a text that is not empty", _TEXT.check),
    **dict.fromkeys(("USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD", "NEG_PREFIX"), _TEXT),
    "TIME_FIELD": _or_null(_TEXT),
    "load_col": _or_null(
        _mapping(
            "{inter: [columns]} or {inter: '*'}",
            lambda v: (
                "inter" in v
                and all(map(_TEXT.check, v))
                and all(one == "*" or _is_names(one) for one in v.values())
            ),
        )
    ),
    "unload_col": _or_null(_COLUMNS),
    "unused_col": _or_null(_COLUMNS),
    "additional_feat_suffix": _or_null(
        Option("a name or a list of different names", lambda v: _TEXT.check(v) or _is_names(v))
    ),
    "benchmark_filename": _or_null(
        Option(
            "a list of different names, [train, valid, test] or [train, test]",
            lambda v: _is_names(v) and len(v) in (2, 3),
        )
    ),
    "rm_dup_inter": Option("first, last or false", lambda v: v in (None, "first", "last") or v is False),
    "val_interval": _or_null(
        _of_columns('{column: "[4,inf)"}, or {column: [values]}', lambda v: _are_values(v) or _is_interval(v))
    ),
    "filter_inter_by_user_or_item": _BOOL,
    "user_inter_num_interval": _or_null(_INTERVAL),
    "item_inter_num_interval": _or_null(_INTERVAL),
    "threshold": _or_null(
        Option(
            "a mapping {column: number} of one column",
            lambda v: isinstance(v, dict) and len(v) == 1 and _of_columns("", _is_number).check(v),
        )
    ),
    "seq_len": _or_null(_of_columns("{column: an integer >= 1}", _integer(1).check)),
    "alias_of_user_id": _or_null(_NAMES),
    "alias_of_item_id": _or_null(_NAMES),
    "numerical_features": _NAMES,
    "normalize_field": _or_null(_NAMES),
    "normalize_all": _or_null(_BOOL),
    "discretization": _or_null(
        _of_columns(
            "{column: {method: LD}} or {column: {method: ED, bucket: an integer >= 1}}",
            lambda v: (
                v == {"method": "LD"}
                or (
                    isinstance(v, dict)
                    and set(v) == {"method", "bucket"}
                    and v["method"] in ("ED", "LD")
                    and _integer(1).check(v["bucket"])
                )
            ),
        )
    ),
    "preload_weight": _or_null(_of_columns("{id column: column of numbers}", _TEXT.check)),
}


def spell_switches(values: dict[str, Any]) -> None:
    """Put the switches into words: YAML 1.1 reads a bare on or off as a truth value."""
    for key in SWITCHES:
        if isinstance(values[key], bool):
            values[key] = "on" if values[key] else "off"


def refuse_huge(values: dict[str, Any], sources: dict[str, str]) -> None:
    """Raise `InputError` for an option that is or holds a number too large for float32 or int64."""
    allowed = f"finite, at most {LARGEST} in size, and integers below 2^63"
    for key, value in values.items():
        for number in _numbers(value):
            if not abs(number) <= (LARGEST if isinstance(number, float) else 2**63 - 1):
                raise invalid(key, value, sources[key], allowed)


def _numbers(value: Any) -> Iterator[int | float]:
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _numbers(one)


def options_of(is_ours: bool) -> dict[str, Option]:
    """Return the options that are told here, those of models only for our models."""
    return {**RUN_OPTIONS, **DATA_OPTIONS, **(MODEL_OPTIONS if is_ours else {})}


def check_values(values: dict[str, Any], sources: dict[str, str], is_ours: bool) -> None:
    """Raise `InputError` for the first value outside its range; model options only of our models."""
    for key, option in options_of(is_ours).items():
        if key in values and not option.check(values[key]):
            raise invalid(key, values[key], sources[key], option.allowed)


_LIMITS: dict[str, Callable[[Any], bool]] = {
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
    """Return what may stand for a default: its kind, within a limit of `_LIMITS`; None where it has none."""
    if isinstance(default, bool):
        return _BOOL
    if isinstance(default, int) and (limit == "" or limit.startswith(">= ")):
        return _integer(int(limit.removeprefix(">= ") or -MOST))
    if isinstance(default, int | float):
        return _number(limit, _LIMITS[limit])
    if isinstance(default, str):
        return Option("a text", lambda v: isinstance(v, str))
    if not isinstance(default, list):
        return None
    element = option_like(default[0], limit) if default else None
    allowed = f"a list, each of it {element.allowed}" if element else "a list"
    return Option(
        allowed, lambda v: isinstance(v, list) and all(element is None or element.check(one) for one in v)
    )
