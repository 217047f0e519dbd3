"""Where a data set's files lie, and what its options come to before anything is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from recbole_hlr.errors import InputError
from recbole_hlr.files import is_folder
from recbole_hlr.options.table import WHOLE_DATA
from recbole_hlr.protocols import Given, Values

IN_WHEEL = "ml-100k"  # RecBole 1.2 has a copy of its own, and reads this name from there alone
EVERY_COUNT = "[0,inf)"  # RecBole's default interval of counts, which leaves nothing out
SPLITTING = ("split", "order", "group_by")  # the entries of eval_args that say how data are split
TABLE_PREFIX = "table-"  # of the names of data sets that were tables in memory
FIELDS = ("USER_ID_FIELD", "ITEM_ID_FIELD", "LABEL_FIELD", "TIME_FIELD")


def interaction_files(folder: str | Path, name: str, parts: list[str] | None) -> list[Path]:
    """Return the interaction files of a data set: one, or one for each of `benchmark_filename`."""
    return [Path(folder, f"{name}.{part}inter") for part in [f"{part}." for part in parts or []] or [""]]


def has_own_copy(data_path: str, name: str, parts: list[str] | None) -> bool:
    """Say whether a data set is to be read from `data_path`, though RecBole has a copy of that name."""
    if name != IN_WHEEL:
        return False
    return parts is not None or is_folder(Path(data_path, name))  # RecBole's copy is in one part


def settle(values: Values, given: Given, defaults: Given, sources: Mapping[str, str]) -> None:
    """Set what data options come to, so that none is recorded that does nothing.

    `rm_dup_inter: false` is null. With `benchmark_filename` a filter of the whole data set, which would
    change the given parts, is none: `InputError` where it was `given`, not by a shipped file. Nor is a
    shipped `val_interval` of columns that are not loaded, nor what `eval_args` says of splitting.
    """
    refuse_equal_fields(values, sources)
    if values["val_interval"]:  # a list is one of tokens, which are texts in a file
        values["val_interval"] = {
            column: [str(token) for token in wanted] if isinstance(wanted, list) else wanted
            for column, wanted in values["val_interval"].items()
        }
    values["rm_dup_inter"] = values["rm_dup_inter"] or None
    if values["benchmark_filename"] is None:
        return
    for key in WHOLE_DATA:
        if key in given and values[key] not in (None, EVERY_COUNT):
            raise InputError(
                f"{key}={values[key]}",
                "must be null with benchmark_filename, for it looks at the whole data set and would change "
                "the given parts; filter before the data are split",
                place=sources[key],
                option=key,
                value=values[key],
            )
        values[key] = None
    drop_splitting(values, given, defaults, sources)
    columns = (values["load_col"] or {}).get("inter", "*")
    if "val_interval" not in given and values["val_interval"] and columns != "*":
        there = {key: wanted for key, wanted in values["val_interval"].items() if key in columns}
        values["val_interval"] = there or None


def drop_splitting(values: Values, given: Given, defaults: Given, sources: Mapping[str, str]) -> None:
    """Leave in `eval_args` what holds for parts that are given; `InputError` for a way to split them."""
    usual = defaults["eval_args"]
    for key, value in given.get("eval_args", {}).items():
        if key in SPLITTING and value != usual.get(key):
            raise InputError(
                f"eval_args={{{key}: {value}}}",
                "must be left out with benchmark_filename, for the parts are given and nothing is split",
                place=sources["eval_args"],
                option="eval_args",
                value={key: value},
            )
    values["eval_args"] = {key: value for key, value in values["eval_args"].items() if key not in SPLITTING}


def refuse_equal_fields(values: Given, sources: Mapping[str, str]) -> None:
    """Raise `InputError` where two of the columns of user, item, label and time have one name."""
    names: dict[str, str] = {}
    for key in FIELDS:
        other = names.setdefault(values[key], key)
        if other != key:
            raise InputError(
                f"{key}={values[key]}",
                f"must differ from {other}, which is another column",
                place=sources[key],
                option=key,
                value=values[key],
            )
    if values["NEG_PREFIX"] + values["ITEM_ID_FIELD"] in names:
        raise InputError(
            f"NEG_PREFIX={values['NEG_PREFIX']}",
            f"makes the item of a negative {values['NEG_PREFIX'] + values['ITEM_ID_FIELD']}, which must be "
            "no other column",
            place=sources["NEG_PREFIX"],
            option="NEG_PREFIX",
            value=values["NEG_PREFIX"],
        )
