"""Values of items, such as genres: of a column of an `.item` file or of any table with ids of items."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from recbole_hlr.data.ids import token_of
from recbole_hlr.data.reader import read_header
from recbole_hlr.data.tables import column_of, read_table
from recbole_hlr.errors import InputError
from recbole_hlr.recommend.titles import item_file

if TYPE_CHECKING:
    from recbole_hlr.recommend.fitted import FittedRecommender

Metadata: TypeAlias = Mapping[str, object] | str | None  # by the ids of items, or FILE:COLUMN, or COLUMN


def metadata_of(metadata: Metadata, fitted: FittedRecommender) -> dict[str, list[str]]:
    """Return the values of items by their ids: a mapping's, or those of `FILE:COLUMN`.

    Of a COLUMN alone the file is the data set's own. Raises `InputError` where either is missing, and where
    no item of the run has a value.
    """
    if metadata is None:
        return {}
    if isinstance(metadata, str):
        name, _, column = metadata.rpartition(":")
        file = Path(name).expanduser() if name else item_file(fitted.config)
        if file is None:
            raise InputError(
                f"metadata={metadata}: there is no .item file beside the data; must be FILE:COLUMN"
            )
        encoding = "utf-8" if name else fitted.config["encoding"] or "utf-8"
        metadata = column_by_id(file, column, fitted.data.iid_field, encoding)
    values = {token: words_of(value) for token, value in metadata.items()}
    if not any(values.get(token) for token in fitted.data.item_tokens[1:]):
        raise InputError("metadata: no item of the run has a value; must be by the ids of the run's items")
    return values


def column_by_id(path: Path, column: str, item_field: str, encoding: str) -> dict[str, object]:
    """Return a column of a file by the items' ids: a list of words where it is a `:token_seq`."""
    table = read_table(path, encoding)
    if table.column_names.count(column) != 1:
        raise InputError(f"{path}: must have one column {column}; it has {', '.join(table.column_names)}")
    ids, values = column_of(table, (item_field, "item"), path), table.column(column).to_pylist()
    if path.suffix != ".parquet" and f"{column}:token_seq" in read_header(str(path), encoding)[0].split("\t"):
        values = [(value or "").split() for value in values]
    return {token_of(one, f"{path}, ids"): value for one, value in zip(ids, values, strict=True)}


def words_of(value: object) -> list[str]:
    """Return the values of an item as texts, the empty ones left out."""
    several = value if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    return [str(one) for one in several if one is not None and one == one and str(one)]
