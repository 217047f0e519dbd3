"""Interactions as they stand in a data set's files: no filter, no change of ids, all columns."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from recbole_hlr.data.atomic import AtomicDataset
from recbole_hlr.data.packed import laid_out
from recbole_hlr.host.recbole import with_values

if TYPE_CHECKING:
    from recbole_hlr.config.config import HLRConfig


class AsRead(AtomicDataset):
    """RecBole's data set (1.2.0 and 1.2.1) that ends with reading: `inter_feat` is the table of the file."""

    def __init__(self, config: HLRConfig) -> None:
        super().__init__(with_values(config, load_col={"inter": "*"}, unload_col=None))

    def _load_data(self, token: str, dataset_path: str) -> None:
        with laid_out(Path(dataset_path), token) as (folder, self._lying):
            self._load_inter_feat(token, str(folder))

    def _init_alias(self) -> None:
        """Leave columns as they are."""

    def _data_processing(self) -> None:
        """Leave interactions as they are."""
