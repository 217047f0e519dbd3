"""RecBole's atomic files, read in compiled code; what is wrong with one is said with its name and line."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas._libs.parsers import STR_NA_VALUES
from pyarrow import csv
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_hlr.errors import InputError

MISSING = sorted(STR_NA_VALUES)  # what RecBole takes for a missing value


class AtomicDataset(Dataset):
    """RecBole's data set (1.2.0 and 1.2.1), reading and splitting ten million interactions in seconds."""

    def _load_feat(self, filepath: str, source: Any) -> Any:
        separator, encoding = self.config["field_separator"], self.config["encoding"] or "utf-8"
        try:
            with open(filepath, encoding=encoding) as file:
                header = file.readline().rstrip("\n")
        except UnicodeDecodeError as error:
            raise InputError(f"{filepath}: is not {encoding} text ({error.reason}); set --encoding") from None
        except OSError as error:
            raise InputError(f"{filepath}: cannot be read ({error.strerror})") from None
        self._check_header(filepath, header, separator, source)
        plain = source == FeatureSource.INTERACTION and "_seq" not in header and len(separator) == 1
        try:
            if plain:
                return self._load_interactions(filepath, header, separator, encoding)
            return super()._load_feat(filepath, source)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{filepath}: {wrong_number(filepath, separator, encoding) or error}") from error

    def _load_interactions(self, filepath: str, header: str, separator: str, encoding: str) -> Any:
        """Return the table of an interaction file.

        The host reads only the header, which tells it the columns and their types: its own way, pandas'
        Python engine, takes minutes and gigabytes for ten million lines. Equal ids share one text.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "header.inter")
            path.write_text(header + "\n", encoding=encoding)
            empty = super()._load_feat(str(path), FeatureSource.INTERACTION)
        if empty is None:
            return None
        kinds = {f"{name}:{self.field2type[name].value}": self.field2type[name] for name in empty.columns}
        table = read_columns(filepath, list(kinds), separator, encoding)
        texts = [name for name, kind in kinds.items() if kind != FeatureType.FLOAT]
        return table.astype(dict.fromkeys(texts, object)).set_axis(empty.columns, axis=1)

    def _check_header(self, filepath: str, header: str, separator: str, source: Any) -> None:
        """Raise `InputError` where a column of a header `name:type ...` is wrong or missing."""
        if header.startswith("\ufeff"):
            raise InputError(f"{filepath}: begins with a byte order mark; set --encoding=utf-8-sig")
        kinds = [kind.value for kind in FeatureType]
        columns = header.split(separator)
        for column in columns:
            if column.count(":") != 1 or column.split(":")[1] not in kinds:
                raise InputError(
                    f"{filepath}, line 1: column {column!r} must be name:type, separated by "
                    f"{separator!r}, with type one of {', '.join(kinds)}"
                )
        names = [column.split(":")[0] for column in columns]
        wanted = (self.config["load_col"] or {}).get(getattr(source, "value", source)) or []
        missing = [name for name in wanted if wanted != "*" and name not in names]
        if missing:
            raise InputError(
                f"{filepath}: has no column {', '.join(missing)}; it has {', '.join(names)} "
                "(options USER_ID_FIELD, ITEM_ID_FIELD and load_col name the columns)"
            )

    def _filter_by_field_value(self) -> None:
        """Refuse thresholds that the host would pass over in silence, then apply them."""
        for column, wanted in (self.config["val_interval"] or {}).items():
            kind = self.field2type.get(column)
            number = kind in (FeatureType.FLOAT, FeatureType.FLOAT_SEQ)
            if kind is not None and number == isinstance(wanted, list):
                allowed = 'an interval such as "[4,inf)"' if number else "a list of values"
                raise InputError(
                    f"val_interval={{{column}: {wanted}}} ({self.config.sources['val_interval']}): must be "
                    f"{allowed}, for the column is {kind.value}"
                )
        super()._filter_by_field_value()

    def _grouped_index(self, group_by_list: Any) -> list[list[int]]:
        """Return the places of each value, in order of first appearance, without a loop over places."""
        codes, values = pd.factorize(np.asarray(group_by_list))
        ends = np.bincount(codes, minlength=len(values)).cumsum()
        parts = np.split(codes.argsort(kind="stable"), ends)  # and an empty one at the end
        return [part.tolist() for part in parts[:-1]]


def read_columns(filepath: str, columns: list[str], separator: str, encoding: str) -> pd.DataFrame:
    """Return columns of a delimited file without quoting: `:float` as numbers, others as categories.

    Raises `InputError` for a line with too many or too few values and for text that is not `encoding`,
    `ValueError` for a value that is no number.
    """
    wrong: list[csv.InvalidRow] = []

    def refuse(row: csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    text = pa.dictionary(pa.int32(), pa.string())
    try:
        table = csv.read_csv(
            pa.OSFile(os.fsencode(filepath)),  # the bytes of a path may be no text
            csv.ReadOptions(use_threads=False, encoding=encoding),  # one thread: it counts the lines
            csv.ParseOptions(delimiter=separator, quote_char=False, invalid_row_handler=refuse),
            csv.ConvertOptions(
                include_columns=columns,
                column_types={name: pa.float64() if name.endswith(":float") else text for name in columns},
                null_values=MISSING,
                strings_can_be_null=True,
            ),
        )
    except UnicodeDecodeError as error:
        raise InputError(f"{filepath}: is not {encoding} text ({error.reason}); set --encoding") from None
    except pa.ArrowInvalid as error:
        if wrong:
            raise InputError(
                f"{filepath}, line {wrong[0].number}: has {wrong[0].actual_columns} columns; "
                f"must have {wrong[0].expected_columns} as the header has"
            ) from None
        if "UTF8" in str(error):
            raise InputError(f"{filepath}: is not {encoding} text; set --encoding") from None
        raise
    return table.unify_dictionaries().to_pandas()


def wrong_number(filepath: str, separator: str, encoding: str) -> str | None:
    """Return where in an atomic file the first float column holds something that is no number."""
    table = pd.read_csv(filepath, sep=separator, dtype=str, encoding=encoding, engine="python")
    for column in table.columns[table.columns.str.endswith(":float")]:
        wrong = pd.to_numeric(table[column], errors="coerce").isna() & table[column].notna()
        if wrong.any():
            row = int(wrong.to_numpy().argmax())
            return f"line {row + 2}: {column.split(':')[0]}={table[column].iloc[row]} must be a number"
    return None
