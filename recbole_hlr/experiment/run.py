"""One run, in visible steps: configuration, data, model, trainer, result."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from recbole.utils import get_trainer, init_seed

from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.console import interactive_logging, set_console_level, shows_progress
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.loaders import SplitData, build_loaders, interactions, load_split
from recbole_hlr.data.random import Stream
from recbole_hlr.data.stored import refuse_other_data, stored_data
from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.errors import InputError, RunInterrupted, invalid
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.pretrained import start_from
from recbole_hlr.experiment.result import RunResult
from recbole_hlr.experiment.rundir import Collector, RunDir, attached
from recbole_hlr.files import locked, uninterrupted, write_text
from recbole_hlr.host import recbole as compat
from recbole_hlr.host.device import describe_device, refuse_missing_gpu
from recbole_hlr.host.memory import keep_freed_memory
from recbole_hlr.host.shortage import shortage_told
from recbole_hlr.metrics.definitions import LOSS
from recbole_hlr.metrics.evaluator import refuse_empty_cohorts
from recbole_hlr.metrics.per_user import describe_users
from recbole_hlr.model.registry import find_model
from recbole_hlr.options.command_line import (
    parse_arguments,
)
from recbole_hlr.options.host import check_sizes
from recbole_hlr.options.protocol import PAPER, describe_settings
from recbole_hlr.options.yaml_values import (
    dump_yaml,
    load_yaml,
)
from recbole_hlr.train import checkpoint
from recbole_hlr.train.metric import MetricTrainer
from recbole_hlr.train.trainer import RunTrainer
from recbole_hlr.version import __version__

log = logging.getLogger("recbole_hlr")
RESUME_KEYS = frozenset(
    {
        "epochs",
        "stopping_step",
        "data_path",
        "use_gpu",
        "gpu_id",
        "show_progress",
        "state",
        "eval_memory",
    }
)


@dataclass
class Experiment:
    """The parts of a run, ready to be fitted; `valid_data` or `test_data` is None where it is empty."""

    config: HLRConfig
    dataset: Any
    train_data: Any
    valid_data: Any
    test_data: Any
    model: Any
    trainer: RunTrainer


@alone("prepare()")
def prepare(
    model: str | type | None = None,
    dataset: str | None = None,
    *,
    config_files: Sequence[str | Path] = (),
    arguments: Sequence[str] | Mapping[str, Any] = (),
    data: SplitData | None = None,
    **options: Any,
) -> Experiment:
    """Return everything a run needs, before its first step. Nothing is written.

    `options` are keyword arguments in place of a configuration file, `arguments` a command line;
    `data` is what `load_split` returned for the same data, split and seed, and spares doing it again.
    Fit one experiment at a time in a process: all draw from its global random numbers.
    Raises `InputError` for wrong input.
    """
    interactive_logging()
    experiment = assemble(model, dataset, config_files, arguments, options, data)
    start_from_pretrained(experiment)
    return experiment


@compat.quietly()
def assemble(
    model: str | type | None,
    dataset: str | None,
    config_files: Sequence[str | Path],
    arguments: Sequence[str] | Mapping[str, Any],
    options: dict[str, Any],
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
    trainer.eval_collector.data_collect(train_data)  # what metrics ask of the training part
    if config["valid_metric"].lower() == LOSS and valid_data is not None:
        seen = InteractionMatrix.of(train_data.dataset, valid_data.dataset)
        trainer.valid_triplets = TripletLoader(
            config, valid_data.dataset, seen, config["train_batch_size"], False, Stream.VALIDATION_NEGATIVES
        )
    return Experiment(config, data.dataset, train_data, valid_data, test_data, built, trainer)


def start_from_pretrained(experiment: Experiment) -> None:
    """Give the model the tables of `pretrained_embeddings`, where that is given."""
    config = experiment.config
    if config.metric and config["pretrained_embeddings"]:
        loaders = (experiment.valid_data, experiment.test_data)
        held_out = [loader.dataset for loader in loaders if loader is not None]
        start_from(experiment.model, config["pretrained_embeddings"], experiment.train_data.dataset, held_out)


def take_up(experiment: Experiment, run_dir: RunDir | None) -> dict[str, Any]:
    """Go on from the checkpoint of `run_dir`, or start where there is none; return its `stored_data`."""
    data = stored_data(experiment.train_data.dataset, experiment.config.dataset)
    if run_dir is not None and run_dir.checkpoint.exists():
        state = checkpoint.load(run_dir.checkpoint)
        refuse_edited(run_dir, experiment.config, state["config"])
        refuse_other_data(state["data"], data, run_dir.path)
        experiment.trainer.load_state(state, experiment.train_data)
    else:
        start_from_pretrained(experiment)
    return data


def build_model(config: HLRConfig, data: Any) -> Any:
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


@alone("run()")
def run(
    model: str | type | None = None,
    dataset: str | None = None,
    *,
    config_files: Sequence[str | Path] = (),
    arguments: Sequence[str] = (),
    resume: str | Path | None = None,
    **options: Any,
) -> RunResult:
    """Prepare, fit, evaluate, and write the run directory; `resume` continues one that was interrupted.

    A resumed run takes its options from the run directory; of others, only `RESUME_KEYS` may be given.
    """
    command = parse_arguments(arguments)
    resume = resume or command.pop("resume", None)
    if resume is None:
        return _run(None, model, dataset, config_files, command, options)
    run_dir = open_run(resume, config_files or command.get("config_files"))
    with resumable(run_dir):
        stored = load_yaml(run_dir.config)
        names = {"model": command.pop("model", model), "dataset": command.pop("dataset", dataset)}
        given = HLRConfig(None, None, [run_dir.config], options, command)
        refuse_changes(stored, names, given, RESUME_KEYS, "a resumed run")
        return _run(run_dir, stored["model"], stored["dataset"], [run_dir.config], command, options)


@contextlib.contextmanager
def resumable(run_dir: RunDir) -> Iterator[None]:
    """Keep a run directory to this process; Ctrl-C, whenever it comes, says how to go on."""
    try:
        with locked(run_dir.path, "run"):
            yield
    except KeyboardInterrupt:
        raise RunInterrupted(str(run_dir.path)) from None


def open_run(path: str | Path, config_files: Any) -> RunDir:
    """Return the directory of a run, whose options no configuration file can replace."""
    run_dir = RunDir.open(path)
    if config_files:
        raise InputError(f"config_files: cannot be given with the run {path}, whose config.yaml is taken")
    return run_dir


def refuse_edited(run_dir: RunDir, config: HLRConfig, trained: dict[str, Any]) -> None:
    """Raise `InputError` where a run's config.yaml is not what its checkpoint was `trained` with.

    What it does not have is at its default, as in `config`; a version may have more of them, or write the
    same otherwise. What may change in a resumed run may be edited, too, but is not to be missing.
    """
    written = load_yaml(run_dir.config)
    edited = changed(written, config.requested, trained)
    if edited:
        same = {key: value for key, value in trained.items() if key not in ("model", "dataset")}
        settled = HLRConfig(config.model_class, config.dataset, options=same).requested
        edited = changed(written, config.requested, {**trained, **settled}) and edited
    if edited:
        raise InputError(
            f"{run_dir.config}: is not as the run left it; has {', '.join(edited)}, must have what the "
            "brackets say, by which model.pth was trained: put it back, or start another run"
        )


def changed(written: dict[str, Any], options: dict[str, Any], trained: dict[str, Any]) -> list[str]:
    """Return what differs between a run's `written` options, in full in `options`, and `trained` ones."""
    now = {**options, **written}
    compared = (written.keys() | (trained.keys() & now.keys())) - {"checkpoint_dir"}
    return [
        f"{key}={now[key]} ({trained.get(key)})"
        for key in sorted(compared - (RESUME_KEYS & written.keys()))
        if dump_yaml(now[key]) != dump_yaml(trained.get(key))
    ]


def refuse_changes(
    stored: dict[str, Any], names: dict[str, Any], given: HLRConfig, free: frozenset[str], what: str
) -> None:
    """Raise `InputError` for a name, or an option that is not `free`, that makes it another run."""
    for key, value in names.items():
        asked = find_model(value) if key == "model" and isinstance(value, str) else value
        if value is not None and getattr(asked, "__name__", asked) != stored[key]:
            raise InputError(f"{key}={value}: cannot change in {what}; it is {stored[key]}")
    for key in set(given.variable_config_dict) | set(given.cmd_config_dict):
        if key not in free and given.requested.get(key) != stored.get(key):
            raise InputError(
                f"{key}={given.requested.get(key)} ({given.sources[key]}): cannot change in {what}; "
                f"only {', '.join(sorted(free))} can"
            )


@compat.quietly()
def _run(
    run_dir: RunDir | None,
    model: str | type | None,
    dataset: str | None,
    config_files: Sequence[str | Path],
    arguments: Mapping[str, Any],
    options: dict[str, Any],
) -> RunResult:
    started = time.perf_counter()
    interactive_logging()  # before the collector below, which is a handler too
    early = Collector()
    with attached(early):
        experiment = assemble(model, dataset, config_files, arguments, options, taken_up=run_dir is not None)
        data = take_up(experiment, run_dir)
    config = experiment.config
    if run_dir is not None:
        write_text(run_dir.config, str(config))  # with what may change in a resumed run
        return perform(experiment, run_dir, data, early.records, started)
    try:
        with uninterrupted():
            run_dir = RunDir.create(config["checkpoint_dir"], f"{config.model}-{config.dataset}", str(config))
        with resumable(run_dir):
            return perform(experiment, run_dir, data, early.records, started)
    except KeyboardInterrupt:
        if run_dir is None:
            raise
        raise RunInterrupted(str(run_dir.path)) from None


def perform(
    experiment: Experiment,
    run_dir: RunDir,
    data: dict[str, Any],
    early: Sequence[logging.LogRecord],
    started: float,
) -> RunResult:
    """Do the work of a run in its directory; `data` is of `stored_data`, `early` what was logged before."""
    config, trainer = experiment.config, experiment.trainer
    with shortage_told(config, experiment.dataset), run_dir.logging(early):
        if config["tensorboard"]:
            from torch.utils.tensorboard import SummaryWriter

            trainer.tensorboard = SummaryWriter(str(run_dir.path / "tensorboard"))
        trainer.on_epoch_end = saver(run_dir, config, data)
        log.info("run directory: %s", run_dir.path)
        log.info("device: %s", describe_device(config["device"]))
        log.info("%s", describe_data(experiment))
        if config["protocol"] == PAPER:
            log.info("%s", describe_settings(config.model, config.dataset))
        if trainer.epoch_records:
            run_dir.write_metrics(trainer.epoch_records)
            log.info("resumed after epoch %d", trainer.epoch_records[-1]["epoch"])
        try:
            return finish(experiment, run_dir, time.perf_counter() - started)
        except ImportError as error:  # some of the host's models import at their first step
            raise missing_package(config.model, error) from error
        finally:
            trainer.tensorboard.close()


def saver(run_dir: RunDir, config: HLRConfig, data: dict[str, Any]) -> Callable[[RunTrainer], None]:
    """Return what writes a run's checkpoint and metrics after an epoch; `data` is of `stored_data`."""

    def save(trainer: RunTrainer) -> None:
        content = {
            "version": __version__,
            "config": config.requested,
            "data": data,
            **trainer.state(),
        }
        checkpoint.save(run_dir.checkpoint, content)
        run_dir.write_metrics(trainer.epoch_records)

    return save


def finish(experiment: Experiment, run_dir: RunDir, prepared: float) -> RunResult:
    """Fit, evaluate and write `result.json`."""
    config, trainer = experiment.config, experiment.trainer
    progress = config["show_progress"] and shows_progress()
    fitting = time.perf_counter()
    _, valid = trainer.fit(experiment.train_data, experiment.valid_data, show_progress=progress)
    evaluating = time.perf_counter()
    test, cohorts = evaluate_test(experiment)
    if config["user_metrics"] and test:
        table = trainer.evaluator.per_user(experiment.test_data)
        parts = (experiment.train_data, experiment.valid_data, experiment.test_data)
        run_dir.write_users(describe_users(table, *parts))
    if valid is None or set(valid) == {LOSS}:
        more = trainer.evaluate(experiment.valid_data, load_best_model=False)
        valid = {**(valid or {}), **(more or {})}
    seconds = {
        "prepare": prepared,
        "fit": evaluating - fitting,
        "evaluate": time.perf_counter() - evaluating,
    }
    result = RunResult.of(
        trainer, run_dir.path, valid=dict(valid), test=test, cohorts=cohorts, seconds=seconds,
        interactions=experiment.dataset.account.as_dict(),
    )  # fmt: skip
    run_dir.write_result(asdict(result))
    return result


def evaluate_test(
    experiment: Experiment, show_progress: bool = False
) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Return the test metrics, and {metric: {mean, std}} over cohorts; {} for what there is not."""
    trainer, config = experiment.trainer, experiment.config
    with attending_for_test(experiment):
        test = trainer.evaluate(experiment.test_data, load_best_model=False, show_progress=show_progress)
    if not test or not config["cohorts"]:
        return test or {}, {}
    return test, trainer.evaluator.cohorts(config["cohorts"], config["seed"])


@contextlib.contextmanager
def attending_for_test(experiment: Experiment) -> Iterator[None]:
    """Let a model with a history attend, while this lasts, to what `test_history` says."""
    model, train, valid = experiment.model, experiment.train_data, experiment.valid_data
    wider = experiment.config["test_history"] == "training_and_validation" and valid is not None
    if not wider or not getattr(model, "attends_to_history", False):
        yield
        return
    model.attend_when_scoring(InteractionMatrix.of(train.dataset, valid.dataset).to(model.device))
    try:
        yield
    finally:
        model.attend_when_scoring(model.history)


def describe_data(experiment: Experiment) -> str:
    """Return one line on the data: users, items (padding not counted), interactions of each part."""
    data, config = experiment.dataset, experiment.config
    sizes = [
        len(interactions(part.dataset)[0]) if part is not None else 0
        for part in (experiment.train_data, experiment.valid_data, experiment.test_data)
    ]
    return (
        f"{config.model} on {config.dataset}: {data.user_num - 1} users, {data.item_num - 1} items, "
        f"{sizes[0]} + {sizes[1]} + {sizes[2]} interactions (training + validation + test)"
    )
