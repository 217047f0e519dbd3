"""Everything that exists only because of a version of the host or of its needs, with the reason.

Hosts: RecBole 1.2.0 and 1.2.1, torch >= 2.6, numpy 2, scipy >= 1.13.
"""

from __future__ import annotations

import contextlib
import copy
import multiprocessing
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from recbole.config import Config

# RecBole 1.2 reads these keys but gives them no default in its YAML files.
KEYS_WITHOUT_DEFAULT = frozenset(
    {
        "model",
        "dataset",
        "encoding",
        "additional_feat_suffix",
    }
)

# RecBole 1.2 names this option and reads it nowhere.
UNREAD_KEYS = frozenset({"config_file"})

# RecBole 1.2: options of a run in several processes.
PROCESS_KEYS = frozenset({"nproc", "ip", "port", "world_size", "group_offset", "offset", "local_rank"})

# RecBole 1.2: models that cannot run here, with the reason.
REFUSED_MODELS = {"RaCT": "is not run here: its pre-training exchanges checkpoints that torch >= 2.6 refuses"}

# RecBole 1.2: options that make it read or write pickled data sets, which could run any code.
PICKLE_KEYS = ("save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path")

# RecBole 1.2: values of a Config that follow from others; some are not plain, so that no checkpoint
# that torch >= 2.6 loads can hold them.
DERIVED_KEYS = frozenset(
    {
        "MODEL_TYPE", "MODEL_INPUT_TYPE", "eval_type", "device", "single_spec", "local_rank",
        "valid_metric_bigger", "valid_neg_sample_args", "test_neg_sample_args",
    }
)  # fmt: skip

_BUILDING = threading.RLock()


def set_numpy_aliases() -> None:
    """Give numpy the names that RecBole 1.2 still uses (`np.float`, ...), gone since numpy 1.24 / 2.0.

    Those with an underscore are what its `Config` makes the others of.
    """
    for name, value in {
        "bool": np.bool_, "int": np.int_, "float": np.float64, "complex": np.complex128,
        "object": np.object_, "str": np.str_, "long": np.int_, "unicode": np.str_,
        "float_": np.float64, "complex_": np.complex128, "unicode_": np.str_,
    }.items():  # fmt: skip
        if name not in vars(np):
            setattr(np, name, value)


def set_dok_update() -> None:
    """Give scipy's `dok_matrix` its `_update` back, gone since scipy 1.13.

    RecBole 1.2's LightGCN, NGCF, NCL, GCMC, SpectralCF and SGL fill their graphs with it.
    """
    from scipy.sparse import dok_matrix

    if not hasattr(dok_matrix, "_update"):
        dok_matrix._update = lambda matrix, data: matrix._dict.update(data)


class NoTensorboard:
    """Stands where RecBole's trainer wants a TensorBoard writer and none is asked for."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **kwargs: None


@contextlib.contextmanager
def no_folders(config: Config) -> Iterator[Config]:
    """Yield a copy of `config` by which RecBole 1.2's `Trainer.__init__` makes no folders while this lasts.

    It makes `checkpoint_dir` and `log_tensorboard`, whether wanted or not; trainers get no TensorBoard
    while this lasts, one thread after the other.
    """
    from recbole.trainer import trainer

    with _BUILDING:
        writer = trainer.get_tensorboard
        trainer.get_tensorboard = lambda logger: NoTensorboard()
        try:
            yield with_values(config, checkpoint_dir=os.curdir)
        finally:
            trainer.get_tensorboard = writer


def with_values(config: Config, **values: object) -> Config:
    """Return a copy of a config with other values, for a class of RecBole 1.2 that reads them there."""
    other = copy.copy(config)
    other.final_config_dict = {**config.final_config_dict, **values}
    return other


def fork_workers(loader: object) -> None:
    """Let the processes of `worker` be forked where another way of starting them is the default.

    RecBole 1.2's loaders hold a `torch.Generator`, which torch 2 does not bring to a process that is
    spawned.
    """
    from torch.utils.data import DataLoader

    if not isinstance(loader, DataLoader):
        return
    if loader.num_workers and "fork" in multiprocessing.get_all_start_methods():
        loader.multiprocessing_context = "fork"


def quiet_host() -> None:
    """Hide the warnings that RecBole 1.2 raises on current pandas and torch, from now on."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"recbole\.")
    warnings.filterwarnings("ignore", category=UserWarning, module=r"recbole\.model")
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"tensorboard")


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Do what `quiet_host` does, for as long as the host is at work in the caller's own process."""
    with warnings.catch_warnings():
        quiet_host()
        yield
