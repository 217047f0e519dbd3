"""The columns of a data set: what a header must be, and the options that name columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from recbole.utils import FeatureType

from recbole_hlr.errors import InputError
from recbole_hlr.protocols import RunConfig

if TYPE_CHECKING:
    from recbole_hlr.data.atomic import AtomicDataset

NUMBERS = (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
KINDS = {  # options that name columns, and of which kinds these may be
    "val_interval": (FeatureType.TOKEN, FeatureType.FLOAT),
    "threshold": (FeatureType.FLOAT,),
    "numerical_features": NUMBERS,
    "normalize_field": NUMBERS,
    "discretization": NUMBERS,
    "alias_of_user_id": (FeatureType.TOKEN, FeatureType.TOKEN_SEQ),
    "alias_of_item_id": (FeatureType.TOKEN, FeatureType.TOKEN_SEQ),
}


def check_header(filepath: str, header: str, config: RunConfig, suffix: str) -> list[str]:
    """Return the loaded columns, `name:type`, of a file `.suffix`; `InputError` where its header is wrong."""
    separator, kinds = config["field_separator"], [kind.value for kind in FeatureType]
    if header.startswith("\ufeff"):
        raise InputError(f"{filepath}: begins with a byte order mark; set --encoding=utf-8-sig")
    if not header:
        raise InputError(
            f"{filepath}, line 1: is empty; must be name:type of every column, separated by {separator!r}"
        )
    columns = header.split(separator)
    for column in columns:
        if column.count(":") != 1 or column.split(":")[1] not in kinds:
            raise InputError(
                f"{filepath}, line 1: column {column!r} must be name:type, separated by "
                f"{separator!r}, with type one of {', '.join(kinds)}"
            )
    names = [column.split(":")[0] for column in columns]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise InputError(f"{filepath}, line 1: column {twice[0]} is given twice; must be given once")
    load, unload = ((config[key] or {}).get(suffix) or [] for key in ("load_col", "unload_col"))
    if load and load != "*" and unload:
        raise InputError(
            f"unload_col={config['unload_col']}",
            f"must be null where load_col names the columns of .{suffix}; give --load_col=null too, or "
            "load_col alone",
            place=config.sources["unload_col"],
            option="unload_col",
            value=config["unload_col"],
        )
    load = names if load == "*" or config["load_col"] is None else load
    missing = [name for name in (*load, *unload) if name not in names]
    if missing:
        raise InputError(
            f"{filepath}: has no column {', '.join(missing)}; it has {', '.join(names)} "
            "(options USER_ID_FIELD, ITEM_ID_FIELD and load_col name the columns)"
        )
    loaded = [column for column, name in zip(columns, names, strict=True) if name in {*load} - {*unload}]
    check_ids(filepath, loaded, config, suffix)
    return loaded


def check_ids(filepath: str, loaded: Sequence[str], config: RunConfig, suffix: str) -> None:
    """Raise `InputError` where the ids of a file `.suffix` are not loaded or are no tokens."""
    kinds = dict(column.split(":") for column in loaded)
    for key, suffixes in (("USER_ID_FIELD", ("inter", "user")), ("ITEM_ID_FIELD", ("inter", "item"))):
        name = config[key]
        if suffix in suffixes and name not in kinds:
            raise InputError(
                f"{filepath}: its column {name} ({key}) is not loaded; must be (load_col, unload_col)"
            )
        if name in kinds and kinds[name] != FeatureType.TOKEN.value:
            raise InputError(
                f"{filepath}, line 1: column {name}:{kinds[name]} must be {name}:token, for it holds ids"
            )


def check_options(data: AtomicDataset) -> None:
    """Raise `InputError` for an option that names a column which is not loaded, or is of another kind."""
    for option, kinds in KINDS.items():
        for column in data.config[option] or ():
            kind = data.field2type.get(column)
            if kind is None:
                raise not_loaded(data, f"{option}={data.config[option]} ({_source(data, option)})", column)
            if kind not in kinds:
                allowed = " or ".join(one.value for one in kinds)
                raise _wrong(
                    data, option, f"must name columns of type {allowed}, and {column} is {kind.value}"
                )
    _check_intervals(data)
    _check_labels_and_times(data)
    _check_unused(data)


def not_loaded(data: AtomicDataset, given: str, column: str, option: str | None = None) -> InputError:
    """Return the error of what is `given` and needs a column, which an `option` may name.

    It says how to load the column, if a file has it.
    """
    loaded, shown = ", ".join(data.field2type), f"{option}={column}" if option else column
    for suffix, names in data.names.items():
        if column in names:
            wanted = [*(data.config["load_col"] or {}).get(suffix, ()), column]
            return InputError(
                f"{given}: needs the column {shown}, which is not loaded (loaded are {loaded}); give "
                f"--load_col={{{suffix}: [{', '.join(wanted)}]}}"
            )
    return InputError(
        f"{given}: needs the column {shown}, which is not loaded; loaded are {loaded} (option load_col)"
    )


def _check_intervals(data: AtomicDataset) -> None:
    for column, wanted in (data.config["val_interval"] or {}).items():
        kind = data.field2type[column]
        if (kind == FeatureType.FLOAT) == isinstance(wanted, list):
            number = kind == FeatureType.FLOAT
            allowed = 'an interval such as "[4,inf)"' if number else "a list of values"
            given = f"val_interval={{{column}: {wanted}}} ({_source(data, 'val_interval')})"
            raise InputError(f"{given}: must be {allowed}, for the column is {kind.value}")


def _check_labels_and_times(data: AtomicDataset) -> None:
    config, types = data.config, data.field2type
    label, time = config["LABEL_FIELD"], config["TIME_FIELD"]
    ordered = config["eval_args"]["order"] == "TO" and not config["benchmark_filename"]
    for key, name, wanted in (
        ("LABEL_FIELD", label, True),
        ("TIME_FIELD", time, ordered or config["rm_dup_inter"]),
    ):
        if name in config["numerical_features"]:
            raise _wrong(data, "numerical_features", f"must not name {name}, the column of {key}")
        if wanted and types.get(name, FeatureType.FLOAT) != FeatureType.FLOAT:
            raise _wrong(data, key, f"must be a column {name}:float, and is {name}:{types[name].value}")
    if config["threshold"] and [label] != list(config["threshold"]) and label in types:
        raise _wrong(
            data, "threshold", f"makes labels of its own, so that {label} must not be loaded too (load_col)"
        )
    for name in config["threshold"] or ():
        if name not in data.inter_feat:
            raise _wrong(data, "threshold", f"must name a column of the interactions, and {name} is none")
    if config["NEG_PREFIX"] + config["ITEM_ID_FIELD"] in types:
        raise _wrong(data, "NEG_PREFIX", "must make no name of a loaded column")


def _check_unused(data: AtomicDataset) -> None:
    for suffix, columns in (data.config["unused_col"] or {}).items():
        if suffix not in data.loaded:
            raise _wrong(data, "unused_col", f"must name files that are loaded, and .{suffix} is not")
        for column in columns:
            if column not in [name.split(":")[0] for name in data.loaded[suffix]]:
                raise _wrong(data, "unused_col", f"must name loaded columns; {column} is none of .{suffix}")
            if column in (data.uid_field, data.iid_field, data.label_field):
                raise _wrong(data, "unused_col", f"must not name {column}, which every run uses")


def _wrong(data: AtomicDataset, option: str, allowed: str) -> InputError:
    value = data.config[option]
    return InputError(f"{option}={value}", allowed, place=_source(data, option), option=option, value=value)


def _source(data: AtomicDataset, option: str) -> str:
    return data.config.sources[option]
