"""RecBole's own ways of training, made to work with the plugin's models and on today's packages.

RecBole looks models and special trainers up by name, so that names are all that those need. What else
RecBole 1.2.0 and 1.2.1 lack on numpy 2, torch >= 2.6, scipy >= 1.13 and Ray 2.60 no name can supply.
Importing this package must not take the seconds that importing RecBole takes: each module of RecBole in
`COMPLETIONS` is completed right after its own import, or at once where it has been imported before.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

from recbole_hlr.errors import InputError

if TYPE_CHECKING:
    from recbole.trainer import Trainer

    from recbole_hlr.model.mfals import MFALS
    from recbole_hlr.protocols import Options

MODEL_NAMES = ("CML", "LRML", "TransCF", "AdaCML", "HLR", "HLR++", "HLRPP", "MF-ALS", "MFALS")


def __getattr__(name: str) -> type:
    """Return the model of a name: where RecBole's `get_model` looks for HLR's module, it finds this one."""
    if name not in MODEL_NAMES:
        spelled = [known for known in MODEL_NAMES if known.casefold() == name.casefold()]
        raise AttributeError(f"{name}: is not known" + "".join(f"; did you mean {one}?" for one in spelled))
    from recbole_hlr.model import MODELS

    return MODELS[name]


def register() -> None:
    """Make the models known to RecBole by name, and complete its modules as they are imported."""
    for name in MODEL_NAMES:
        sys.modules[f"recbole.model.general_recommender.{name.lower()}"] = sys.modules[__name__]
    if Completer not in sys.meta_path:
        sys.meta_path.insert(0, Completer)
    for name, complete in COMPLETIONS.items():
        if name in sys.modules:
            complete(sys.modules[name])


class Completer:
    """Finds the modules in `COMPLETIONS` where Python does, and completes them once they are imported."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec of such a module; None for any other (hook of `sys.meta_path`)."""
        complete = COMPLETIONS.get(name)
        spec = PathFinder.find_spec(name, path, target) if complete else None
        if complete is None or spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_complete(module: ModuleType) -> None:
            execute(module)
            complete(module)

        spec.loader.exec_module = execute_and_complete  # type: ignore[method-assign]
        return spec


def complete_config(module: ModuleType) -> None:
    """Give numpy the names that `Config` and the data sets use; let torch read what checkpoints hold."""
    from recbole_hlr.host import recbole as compat

    compat.set_numpy_aliases()
    importlib.import_module("recbole_hlr.options.plain")


def complete_models(module: ModuleType) -> None:
    """Give scipy the method with which LightGCN and others fill their graphs."""
    from recbole_hlr.host import recbole as compat

    compat.set_dok_update()


def complete_trainers(module: ModuleType) -> None:
    """Let `Trainer` write checkpoints that it can read again; add MF-ALS's trainer by name."""
    module.Trainer._save_checkpoint = save_checkpoint
    for name in ("MFALS", "MF-ALS"):
        setattr(module, f"{name}Trainer", alternating_trainer)


def complete_quick_start(module: ModuleType) -> None:
    """Let `load_data_and_model` say what reads a run directory, and `objective_function` report to Ray.

    Ray takes the metrics as one mapping since 2.7, where RecBole gives them as keywords.
    """
    host_init_logger = module.init_logger

    def init_logger(config: object) -> None:
        if isinstance(config, dict):  # only a checkpoint of this package holds its options so
            raise InputError(
                "load_data_and_model: the file is model.pth of a run directory; must be a checkpoint of "
                "RecBole's own Trainer: use recbole_hlr.load(RUN_DIR) instead, or, for the data as well, "
                'recbole_hlr.prepare(config_files=["RUN_DIR/config.yaml"]) and its '
                "trainer.evaluate(test_data, model_file=RUN_DIR/model.pth)"
            )
        host_init_logger(config)

    def report(**metrics: float) -> None:
        from ray import tune

        tune.report(metrics)

    module.init_logger = init_logger  # type: ignore[attr-defined]
    module.tune = SimpleNamespace(report=report)  # type: ignore[attr-defined]


COMPLETIONS: dict[str, Callable[[ModuleType], None]] = {
    "recbole.config.configurator": complete_config,
    "recbole.model.general_recommender": complete_models,
    "recbole.trainer": complete_trainers,
    "recbole.quick_start.quick_start": complete_quick_start,
}


def alternating_trainer(config: Options, model: MFALS) -> Trainer:
    """Return what trains MF-ALS, as RecBole's `get_trainer` wants it."""
    from recbole_hlr.train.als import ALSEpoch

    return ALSEpoch(config, model)


def save_checkpoint(trainer: Trainer, epoch: int, verbose: bool = True, **kwargs: str) -> None:
    """Write what `Trainer._save_checkpoint` (RecBole 1.2.0 and 1.2.1) writes, so that torch >= 2.6 reads it.

    The host pickles its `Config` by protocol 4, which `torch.load` refuses since then, so that neither
    `evaluate` nor `resume_checkpoint` nor `load_data_and_model` would find its best state again.
    """
    import torch

    from recbole_hlr.options.plain import StoredConfig

    config, model = trainer.config, trainer.model
    if not config["single_spec"] and config["local_rank"] != 0:
        return
    other = model.other_parameter()
    unread = [key for key, value in other.items() if not isinstance(value, torch.Tensor | int | float)]
    if unread:
        raise InputError(
            f"model={config['model']}: its {unread[0]} cannot be read back from a checkpoint by "
            "torch >= 2.6; must be trained with saved=False, or by recbole_hlr.run"
        )
    file = kwargs.get("saved_model_file", trainer.saved_model_file)
    content = {
        "config": StoredConfig(config.parameters, config.final_config_dict),
        "epoch": epoch,
        "cur_step": trainer.cur_step,
        "best_valid_score": float(trainer.best_valid_score),
        "state_dict": model.state_dict(),
        "other_parameter": other,
        "optimizer": trainer.optimizer.state_dict(),
    }
    torch.save(content, file)
    if verbose:
        trainer.logger.info(f"Saving current: {file}")
