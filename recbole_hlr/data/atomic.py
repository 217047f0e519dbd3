"""RecBole's data set on atomic files that are read in compiled code, with an account of what is left out."""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from recbole.data.dataset import Dataset
from recbole.utils import FeatureSource, FeatureType

from recbole_hlr.data import splits
from recbole_hlr.data.account import Account
from recbole_hlr.data.columns import check_header, check_options
from recbole_hlr.data.dislikes import dislikes
from recbole_hlr.data.labels import positives, uses_labels
from recbole_hlr.data.packed import PARQUET, SUFFIXES, laid_out, lying, unpack
from recbole_hlr.data.reader import read_columns, read_header, refuse_long_rows, wrong_number
from recbole_hlr.data.source import interaction_files
from recbole_hlr.data.typed import as_file
from recbole_hlr.errors import InputError
from recbole_hlr.options.table import FILTERS

log = logging.getLogger("recbole_hlr")


class AtomicDataset(Dataset):
    """RecBole's data set (1.2.0 and 1.2.1), reading and splitting ten million interactions in seconds.

    `account` says how many interactions were read, left out by what, and kept.
    """

    file_size_list: list[int]  # rows of each part of `benchmark_filename`
    disliked: pd.DataFrame | None = None  # what `threshold` or the label leaves out, as `dislikes` has it
    _lying: Mapping[str, Path] = MappingProxyType(
        {}
    )  # the files that others, laid out for the host, stand for
    known: AtomicDataset | None = None  # of a part of held-out users: the interactions that they are known by

    def _from_scratch(self) -> None:
        self.logger = log  # what the host says while it loads is a run's, and its user's
        self.account = Account()
        super()._from_scratch()

    @cached_property
    def names(self) -> dict[str, list[str]]:
        """The columns of every file that was read, by its suffix."""
        return {}

    @cached_property
    def loaded(self) -> dict[str, list[str]]:
        """Of these the columns that are loaded, as name:type."""
        return {}

    # --- reading -------------------------------------------------------------------------------------

    def _load_data(self, token: str, dataset_path: str) -> None:
        with laid_out(Path(dataset_path), token) as (folder, self._lying):
            super()._load_data(token, str(folder))
        self.account.read = len(self.inter_feat)
        check_options(self)
        label = self.config["LABEL_FIELD"]
        if label in self.names["inter"] and label not in self.field2type and not self.config["threshold"]:
            log.warning(
                "%s: the column %s (LABEL_FIELD) is not loaded: rows of every label are taken for "
                "interactions; load it with load_col for those of label 1 alone",
                self.dataset_name, label,
            )  # fmt: skip

    def _load_feat(self, laid: str, source: FeatureSource | str) -> pd.DataFrame | None:
        """Return the table of a file that is `laid` out; in sentences it is the file that it stands for."""
        suffix = getattr(source, "value", source)
        if suffix not in (self.config["load_col"] or {suffix: "*"}):
            return None
        filepath = str(lying(self._lying.get(laid, Path(laid))))
        separator, encoding = self.config["field_separator"], self.config["encoding"] or "utf-8"
        ids = (self.config["USER_ID_FIELD"], self.config["ITEM_ID_FIELD"])
        header, has_rows = read_header(filepath, encoding, separator, ids)
        columns = check_header(filepath, header, self.config, suffix)
        self._take_note(filepath, header, columns, suffix)
        plain = source == FeatureSource.INTERACTION and "_seq" not in header and _is_byte(separator)
        if not has_rows:
            self._refuse_or_warn_of_no_row(filepath, plain and Path(laid).name)
        if not plain:
            refuse_long_rows(filepath, separator, encoding, len(header.split(separator)))
        try:
            if plain:
                return self._load_interactions(filepath, header, separator, encoding)
            return super()._load_feat(self._unpacked(filepath, laid), source)
        except InputError:
            raise
        except ValueError as error:
            raise InputError(f"{filepath}: {wrong_number(filepath, separator, encoding) or error}") from error

    def _unpacked(self, filepath: str, laid: str) -> str:
        """Return a file that the host can read: itself or, where it is packed, what is laid out for it."""
        if not filepath.endswith(SUFFIXES):
            return filepath
        if filepath.endswith(PARQUET):
            config = self.config
            ids = (config["USER_ID_FIELD"], config["ITEM_ID_FIELD"])
            between = (config["field_separator"], config["seq_separator"])
            as_file(Path(filepath), Path(laid), *between, config["encoding"] or "utf-8", ids)
        else:
            unpack(Path(filepath), Path(laid))
        return laid

    def _refuse_or_warn_of_no_row(self, filepath: str, name: str | bool) -> None:
        """Raise `InputError`, but for a part after the training part, which may be empty."""
        files = interaction_files(
            *(self.config[key] for key in ("data_path", "dataset", "benchmark_filename"))
        )
        if name not in [file.name for file in files[1:]]:
            raise InputError(f"{filepath}: has a header and no row below it")
        log.warning("%s: has a header and no row below it", filepath)

    def _take_note(self, filepath: str, header: str, columns: list[str], suffix: str) -> None:
        """Keep the columns of a file; raise `InputError` for one that is another file's too."""
        before = self.loaded.setdefault(suffix, columns)
        if sorted(before) != sorted(columns):
            raise InputError(
                f"{filepath}: its columns {', '.join(columns)} must be those of the part before it, "
                f"{', '.join(before)}"
            )
        self.names[suffix] = [column.split(":")[0] for column in header.split(self.config["field_separator"])]
        ids = {"user": self.config["USER_ID_FIELD"], "item": self.config["ITEM_ID_FIELD"]}
        for other, theirs in self.loaded.items():
            shared = {c.split(":")[0] for c in theirs} & {c.split(":")[0] for c in columns}
            shared -= {ids.get(suffix), ids.get(other)}
            if other != suffix and shared:
                raise InputError(
                    f"{filepath}: column {min(shared)} is loaded from the .{other} file too; must be loaded "
                    "from one of them (option load_col)"
                )

    def _load_interactions(self, filepath: str, header: str, separator: str, encoding: str) -> pd.DataFrame:
        """Return the table of an interaction file.

        The host reads only the header, which tells it the columns and their types: its own way, pandas'
        Python engine, takes minutes and gigabytes for ten million lines. Equal ids share one text.
        """
        try:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder, "header.inter")
                path.write_text(header + "\n", encoding=encoding)
                empty = super()._load_feat(str(path), FeatureSource.INTERACTION)
        except OSError as error:
            raise InputError(
                f"{filepath}: a copy of its header cannot be written ({error.strerror}); set TMPDIR to a "
                "folder that can be written"
            ) from None
        kinds = {f"{name}:{self.field2type[name].value}": self.field2type[name] for name in empty.columns}
        ids = (self.config["USER_ID_FIELD"], self.config["ITEM_ID_FIELD"])
        table = read_columns(filepath, list(kinds), separator, encoding, ids)
        texts = [name for name, kind in kinds.items() if kind != FeatureType.FLOAT]
        return table.astype(dict.fromkeys(texts, object)).set_axis(empty.columns, axis=1)

    # --- filtering: the host's steps, in its order, each entered in the account ------------------------

    def _remap_ID_all(self) -> None:
        """Filter the parts of `benchmark_filename` as the host filters a whole data set, then remap."""
        if self.benchmark_filename_list is not None:
            self._data_filtering()
        super()._remap_ID_all()

    def _filter_nan_user_or_item(self) -> None:
        """Leave out rows without an id; the host's own step takes their labels for places (1.2)."""
        for feat, fields in (
            (self.user_feat, [self.uid_field]),
            (self.item_feat, [self.iid_field]),
            (self.inter_feat, [self.uid_field, self.iid_field]),
        ):
            if feat is None:
                continue
            missing = feat.index[feat[fields].isna().any(axis=1)]
            if missing.empty:
                continue
            if feat is self.inter_feat:
                self.account.leave_out("missing_id", len(missing))
            log.warning(
                "%s: %d rows without %s are left out, the first is row %d of those read (NA, nan, null "
                "and the like are no ids)",
                self.dataset_name, len(missing), " or ".join(fields), missing[0] + 1,
            )  # fmt: skip
            feat.drop(missing, inplace=True)

    def _remove_duplication(self) -> None:
        with self.account.step("rm_dup_inter", self):
            super()._remove_duplication()

    def _filter_by_field_value(self) -> None:
        with self.account.step("val_interval", self):
            super()._filter_by_field_value()
        if any(uses_labels(self.config)):
            return
        found = positives(self.config, self.inter_feat)
        if found:
            reason, kept = found
            self.disliked = dislikes(self, ~kept)
            with self.account.step(reason, self):
                self.inter_feat.drop(self.inter_feat.index[~kept], inplace=True)

    def _filter_inter_by_user_or_item(self) -> None:
        with self.account.step("filter_inter_by_user_or_item", self):
            super()._filter_inter_by_user_or_item()

    def _filter_by_inter_num(self) -> None:
        with self.account.step("inter_num_interval", self):
            super()._filter_by_inter_num()

    def _reset_index(self) -> None:
        """Refuse filters that leave nothing; count what is left of each part before rows are renumbered."""
        if self.inter_feat.empty:
            given = ", ".join(f"{key}={self.config[key]}" for key in FILTERS if self.config[key] is not None)
            raise InputError(
                f"dataset={self.dataset_name}: no interaction is left after filtering with {given}; loosen "
                f"these options ({self.account})"
            )
        if self.benchmark_filename_list is not None:
            ends = np.cumsum(self.file_size_list)
            part = np.searchsorted(ends, self.inter_feat.index, side="right")
            self.file_size_list = np.bincount(part, minlength=len(ends)).tolist()
        super()._reset_index()

    # --- splitting -----------------------------------------------------------------------------------

    def build(self) -> list[Dataset]:
        """Split as the host does, or as `splits` do; the second of two given parts is the test part.

        Nothing is validated then.
        """
        parts: list[Dataset] = splits.split(self) if splits.is_own(self) else super().build()
        if len(parts) == 2:
            parts.insert(1, parts[0].copy(parts[0].inter_feat[:0]))
        return parts

    def _grouped_index(self, group_by_list: Sequence[object]) -> list[list[int]]:
        """Return the places of each value, in order of first appearance, without a loop over places."""
        codes, values = pd.factorize(np.asarray(group_by_list))
        ends = np.bincount(codes, minlength=len(values)).cumsum()
        parts = np.split(codes.argsort(kind="stable"), ends)  # and an empty one at the end
        return [part.tolist() for part in parts[:-1]]


def _is_byte(separator: str) -> bool:
    return re.fullmatch(r"[\x00-\x7f]", separator) is not None
