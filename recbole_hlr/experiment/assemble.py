"""From options to the parts of a run, ready to be fitted: configuration, data, model, trainer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import GeneralRecommender
from recbole.utils import get_trainer, init_seed

from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.console import interactive_logging, set_console_level
from recbole_hlr.data.atomic import AtomicDataset
from recbole_hlr.data.chunks import pairs_per_batch
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.loaders import (
    EvaluationLoader,
    SplitData,
    TrainingLoader,
    build_loaders,
    interactions,
    load_split,
)
from recbole_hlr.data.random import Stream
from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.data.user_rows import UserLoader
from recbole_hlr.errors import InputError, invalid
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.pretrained import start_from
from recbole_hlr.experiment.table import on_disk
from recbole_hlr.host import recbole as compat
from recbole_hlr.host.device import refuse_missing_gpu
from recbole_hlr.host.memory import keep_freed_memory
from recbole_hlr.host.shortage import shortage_told
from recbole_hlr.metrics.definitions import LOSS
from recbole_hlr.metrics.evaluator import refuse_empty_cohorts
from recbole_hlr.options.host import check_sizes
from recbole_hlr.options.protocol import SOFTMAX
from recbole_hlr.protocols import Given, InteractionData, Values
from recbole_hlr.train.metric import MetricTrainer
from recbole_hlr.train.trainer import RunTrainer

log = logging.getLogger("recbole_hlr")


@dataclass
class Experiment:
    """The parts of a run, ready to be fitted; `valid_data` or `test_data` is None where it is empty."""

    config: HLRConfig
    dataset: AtomicDataset
    train_data: TrainingLoader
    valid_data: EvaluationLoader | None
    test_data: EvaluationLoader | None
    model: GeneralRecommender
    trainer: RunTrainer


@alone("prepare()")
def prepare(
    model: str | type | None = None,
    dataset: str | Any | None = None,
    *,
    config_files: Sequence[str | Path] = (),
    arguments: Sequence[str] | Given = (),
    data: SplitData | None = None,
    **options: Any,
) -> Experiment:
    """Return everything a run needs, before its first step. Nothing is written, but of a table its file.

    `dataset` is the name of a folder in `data_path`, or a table of pandas, polars or Arrow: `on_disk`.
    `options` are keyword arguments in place of a configuration file, `arguments` a command line;
    `data` is what `load_split` returned for the same data, split and seed, and spares doing it again.
    Fit one experiment at a time in a process: all draw from its global random numbers.
    Raises `InputError` for wrong input.
    """
    interactive_logging()
    dataset, options = on_disk(model, dataset, config_files, arguments, options)
    experiment = assemble(model, dataset, config_files, arguments, options, data)
    start_from_pretrained(experiment)
    return experiment


@compat.quietly()
def assemble(
    model: str | type | None,
    dataset: str | None,
    config_files: Sequence[str | Path],
    arguments: Sequence[str] | Given,
    options: Values,
    data: SplitData | None = None,
    taken_up: bool = False,
) -> Experiment:
    """Return what `prepare` returns, without the tables of `pretrained_embeddings`.

    A run that is `taken_up` may have asked, in its config.yaml, for a GPU that another machine had.
    """
    config = HLRConfig(model, dataset, config_files, options, arguments)
    here = {**config.variable_config_dict, **config.cmd_config_dict}
    refuse_missing_gpu(config, here if taken_up else config.external_config_dict)
    set_console_level(config["state"].upper())
    for key, value in config.external_config_dict.items():
        log.debug("%s=%s (%s)", key, value, config.sources[key])
    if data is not None and not isinstance(data, SplitData):
        raise invalid("data", type(data).__name__, KEYWORDS, "what load_split returns")
    with shortage_told(config):
        data = data or load_split(config)
    refuse_empty_cohorts(config, data.parts[2])
    with shortage_told(config, data.dataset):
        return build(config, data)


def build(config: HLRConfig, data: SplitData) -> Experiment:
    """Return loaders, model and trainer of a data set that is split."""
    train_data, valid_data, test_data = build_loaders(config, data)
    init_seed(config["seed"], config["reproducibility"])
    check_sizes(config, train_data.dataset)
    built = build_model(config, train_data.dataset)
    try:
        trainer = trainer_class(config)(config, built)
    except ImportError as error:
        raise missing_package(config.model, error) from error
    torch.set_float32_matmul_precision(config["matmul_precision"])
    if config["device"].type == "cpu":
        keep_freed_memory()
    trainer.test_batch_size = pairs_per_batch(config, train_data.dataset.item_num)
    trainer.eval_collector.data_collect(train_data)  # what metrics ask of the training part
    if config["valid_metric"].lower() == LOSS and valid_data is not None:
        seen = InteractionMatrix.of(train_data.dataset, valid_data.dataset)
        part, size = valid_data.dataset, config["train_batch_size"]
        if config["objective"] == SOFTMAX:
            trainer.loss_data = UserLoader(config, part, seen, size, False, InteractionMatrix.of(part))
        else:
            trainer.loss_data = TripletLoader(config, part, seen, size, False, Stream.VALIDATION_NEGATIVES)
    return Experiment(config, data.dataset, train_data, valid_data, test_data, built, trainer)


def start_from_pretrained(experiment: Experiment) -> None:
    """Give the model the tables of `pretrained_embeddings`, where that is given."""
    config = experiment.config
    if config.metric and config["pretrained_embeddings"]:
        loaders = (experiment.valid_data, experiment.test_data)
        held_out = [loader.dataset for loader in loaders if loader is not None]
        start_from(experiment.model, config["pretrained_embeddings"], experiment.train_data.dataset, held_out)


def build_model(config: HLRConfig, data: InteractionData) -> GeneralRecommender:
    """Return the model on its device; `InputError` where a package is missing."""
    try:
        return config.model_class(config, data).to(config["device"])
    except ImportError as error:
        raise missing_package(config.model, error) from error


def missing_package(model: str, error: ImportError) -> InputError:
    """Return the error of a model, or of an option of its run, that needs a package of its own."""
    needed = f"needs the package {error.name}, which is not installed" if error.name else str(error)
    return InputError(f"model={model}: {needed}")


def trainer_class(config: HLRConfig) -> type[RunTrainer]:
    """Return the trainer of a model; the host's own, made resumable, for the host's models."""
    if config.metric:
        return MetricTrainer
    if config.ours:
        from recbole_hlr.train.als import ALSTrainer

        return ALSTrainer
    host = get_trainer(config["MODEL_TYPE"], config["model"])
    return type(f"Run{host.__name__}", (RunTrainer, host), {})


def describe_data(experiment: Experiment) -> str:
    """Return one line on the data: users, items (padding not counted), interactions of each part."""
    data, config = experiment.dataset, experiment.config
    sizes = [
        len(interactions(part.dataset)[0]) if part is not None else 0
        for part in (experiment.train_data, experiment.valid_data, experiment.test_data)
    ]
    parts = [getattr(part, "known", None) for part in (experiment.valid_data, experiment.test_data)]
    known = sum(len(part.items) for part in parts if part is not None)
    return (
        f"{config.model} on {config.dataset}: {data.user_num - 1} users, {data.item_num - 1} items, "
        f"{sizes[0]} + {sizes[1]} + {sizes[2]} interactions (training + validation + test)"
        + (f", and {known} that held-out users are known by" if known else "")
    )
