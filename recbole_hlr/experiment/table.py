"""A table in memory in the place of a data set: its interactions become an atomic file beside the runs.

A run on a table is a run on that file, so that it is resumed, evaluated and loaded as any other. The file is
named after what is in it: the same table is the same data set.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv

from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.convert.check import Rule, wrong_ids
from recbole_hlr.data.source import TABLE_PREFIX
from recbole_hlr.data.typed import as_text, holds_texts
from recbole_hlr.errors import InputError, fixed, shown
from recbole_hlr.files import writable
from recbole_hlr.options.command_line import parse_arguments
from recbole_hlr.protocols import Given, Values

FOLDER = "tables"  # in checkpoint_dir
WHAT = f"dataset ({KEYWORDS})"


class Columns(NamedTuple):
    """Columns of texts, and for each, by `kinds`, whether it is of tokens or of numbers."""

    texts: pa.Table
    kinds: dict[str, str]


def on_disk(
    model: str | type | None,
    dataset: Any,
    config_files: Sequence[str | Path],
    arguments: Sequence[str] | Given,
    options: Values,
) -> tuple[str | None, Values]:
    """Return the name of a data set and options; of a table, those that read the file that is written of it.

    A table is one of pandas, or of a library with the Arrow interface. It lies in `tables` in
    `checkpoint_dir`. Raises `InputError`.
    """
    if not is_table(dataset):
        return dataset, options
    command = dict(arguments) if isinstance(arguments, Mapping) else parse_arguments(arguments)
    for key in ("data_path", "dataset", "benchmark_filename"):
        if options.get(key) is not None or command.get(key) is not None:
            value = options.get(key, command.get(key))
            raise InputError(
                f"{key}={shown(value)}", "cannot be given with a table as the data set", option=key
            )
    config = HLRConfig(model, "table", config_files, options, command)
    fields = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    found = columns_of(dataset, fields)
    folder = Path(config["checkpoint_dir"], FOLDER)
    loaded = [name for name, kind in found.kinds.items() if name in fields or kind == "float"]
    more: Values = {"data_path": str(folder), "field_separator": "\t", "encoding": None}
    if "load_col" not in config.external_config_dict:
        more["load_col"] = {"inter": loaded}
    return written(found, folder), {**options, **more}


def again(dataset: Any, stored: Given, run_dir: Path) -> Any:
    """Return the name of the table of a run that is resumed, whose file is there then.

    What is no table is returned as it is. Raises `InputError` for a table other than the run's.
    """
    if not is_table(dataset):
        return dataset
    fields = (stored["USER_ID_FIELD"], stored["ITEM_ID_FIELD"])
    found = columns_of(dataset, fields)
    if not str(stored["dataset"]).startswith(TABLE_PREFIX):
        raise fixed("dataset", "a table", KEYWORDS, f"the run {run_dir}, which has {stored['dataset']}")
    return written(found, Path(stored["data_path"]), stored["dataset"])


def is_table(dataset: Any) -> bool:
    """Say whether what is given for a data set is a table."""
    return isinstance(dataset, pd.DataFrame) or hasattr(dataset, "__arrow_c_stream__")


def columns_of(table: Any, fields: Sequence[str]) -> Columns:
    """Return the columns of a table; `fields` are those of ids, which become texts. Raises `InputError`."""
    if isinstance(table, pd.DataFrame):
        table = table.reset_index(drop=True)
        for field in fields:
            if field in table and table[field].dtype == object:
                table[field] = texts_of(table[field])
    try:
        found = pa.Table.from_pandas(table) if isinstance(table, pd.DataFrame) else pa.table(table)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputError(f"{WHAT}: cannot be read as a table ({str(error).splitlines()[0]})") from None
    missing = [field for field in fields if found.column_names.count(field) != 1]
    if missing:
        there = shown(", ".join(found.column_names))
        raise InputError(
            f"{WHAT}: must have one column {missing[0]}; it has {there} (options USER_ID_FIELD and "
            "ITEM_ID_FIELD name them)"
        )
    if not found.num_rows:
        raise InputError(f"{WHAT}: has no row")
    texts, kinds = {}, {}
    for name in found.column_names:
        texts[name], kinds[name] = text_column(name, found.column(name), name in fields)
    return Columns(pa.table(texts), kinds)


def texts_of(ids: pd.Series) -> pd.Series:
    """Return ids of any type, which may be mixed, as texts; each distinct one is looked at once."""
    codes, distinct = pd.factorize(ids)
    names = np.array([*(text_of(one) for one in distinct), None], dtype=object)
    return pd.Series(names[codes], dtype=object)  # -1, of a missing one, is the last


def text_of(one: object) -> str:
    """Return an id as a text: a whole number without a point."""
    return str(int(one)) if isinstance(one, float) and one.is_integer() else str(one)


def text_column(name: str, column: pa.ChunkedArray, is_id: bool) -> tuple[pa.ChunkedArray, str]:
    """Return a column as texts, and its kind in an atomic file. Raises `InputError`."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    texts = holds_texts(kind)
    numbers = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    moments = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    truths = pa.types.is_boolean(kind)
    if not re.fullmatch(r"[^\x00-\x1f:]+", name) or not (texts or numbers or moments or truths):
        raise InputError(
            f"{WHAT}: its column {shown(name)!r} is of {kind}; must be of numbers, times or texts, with a "
            "name without a colon: leave it out"
        )
    if pa.types.is_dictionary(column.type):  # of views of texts Arrow takes none
        kind = pa.large_string() if texts else kind
        column = pa.chunked_array(
            [chunk.dictionary.cast(kind).take(chunk.indices) for chunk in column.chunks], kind
        )
    if (truths and not is_id) or pa.types.is_decimal(kind):
        column = column.cast(pa.int8() if truths else pa.float64())
    parts = [as_text(chunk) for chunk in column.chunks]
    found = pa.chunked_array(parts, pa.string())
    if is_id:
        refuse_ids(name, found, column)
    return found, "token" if is_id or texts else "float"


def refuse_ids(name: str, texts: pa.ChunkedArray, given: pa.ChunkedArray) -> None:
    """Raise `InputError` for the first id that would not load back as itself; a missing one is none."""
    wrong = wrong_ids(texts.combine_chunks(), Rule()) & given.is_valid().to_numpy()
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"{WHAT}: {name}={texts[row].as_py()!r} in row {row}: must be {Rule().ids_allowed}")


def written(found: Columns, folder: Path, expected: str | None = None) -> str:
    """Write a table's atomic file into `folder`, whole or not at all, and return the name of its data set.

    Raises `InputError` where that is not the one `expected`.
    """
    unfinished = folder / f".{uuid.uuid4().hex}.tmp"
    header = "\t".join(f"{name}:{kind}" for name, kind in found.kinds.items())
    options = csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none")
    with writable(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with unfinished.open("wb") as file:
                file.write(f"{header}\n".encode())
                csv.write_csv(found.texts, file, options)
            name = TABLE_PREFIX + digest(unfinished)
            if expected not in (None, name):
                raise InputError(f"{WHAT}: is not the table that the run was started with, {expected}")
            target = folder / name / f"{name}.inter"
            target.parent.mkdir(exist_ok=True)
            unfinished.replace(target)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{WHAT}: has a text that cannot stand in an atomic file ({shown(error)}); "
                "leave the column out, or take tabs, quotes and line breaks out of it"
            ) from None
        finally:
            unfinished.unlink(missing_ok=True)
    return name


def digest(file: Path) -> str:
    """Return what tells files apart, in twelve letters."""
    found = hashlib.sha256()
    with file.open("rb") as content:
        while part := content.read(2**20):
            found.update(part)
    return found.hexdigest()[:12]
