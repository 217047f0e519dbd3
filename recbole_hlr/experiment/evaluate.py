"""Evaluation of a run that has ended or was interrupted, from its run directory alone."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.console import interactive_logging
from recbole_hlr.data.account import Account
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.loaders import EvaluationLoader, evaluation_loader
from recbole_hlr.data.stored import refuse_other_data, stored_data
from recbole_hlr.errors import InputError
from recbole_hlr.experiment.assemble import Experiment, assemble, describe_data
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.given import called, test_part_of
from recbole_hlr.experiment.result import RunResult
from recbole_hlr.experiment.resume import open_run, refuse_changes, refuse_edited, refuse_updated
from recbole_hlr.experiment.run import details, evaluate_test, measured_test
from recbole_hlr.host.device import describe_device
from recbole_hlr.host.shortage import shortage_told
from recbole_hlr.metrics.definitions import LOSS, chosen_by
from recbole_hlr.metrics.evaluator import refuse_empty_cohorts
from recbole_hlr.options.command_line import COMMAND_LINE, parse_arguments
from recbole_hlr.options.table import EVALUATE_KEYS
from recbole_hlr.options.yaml_values import plain
from recbole_hlr.protocols import Values
from recbole_hlr.train import checkpoint
from recbole_hlr.train.state import take_back

log = logging.getLogger("recbole_hlr")


@alone("evaluate()")
def evaluate(
    run_dir: str | Path, *, test_file: object = None, arguments: Sequence[str] = (), **options: Any
) -> RunResult:
    """Return the metrics of a run's best state on its validation and test part; write nothing.

    With a `test_file`, a table with a column of users and one of items or the path of a file that holds
    one, its interactions stand in place of the test part; what was trained on is what a user is known by,
    and is not ranked. `test_part_of` in `experiment/given.py` says which of them are left out.

    The options are those of the run; only `EVALUATE_KEYS` may be given anew, of `eval_args` the mode.
    What the result says of the training stays: `valid_metric`, `best_valid_score`, `best_epoch`;
    valid_metric=loss adds the validation loss. `seconds` has no `fit`. Raises `InputError` for wrong
    input and for data that are not those of the run.
    """
    started = time.perf_counter()
    command, options = parse_arguments(arguments), plain(options)
    test_file = command.pop("test_file", test_file)
    folder = open_run(run_dir, command.get("config_files"))
    content = checkpoint.load(folder.checkpoint)
    refuse_updated(folder, content, "evaluate")
    config = HLRConfig(None, None, [folder.config])
    refuse_edited(folder, config, content["config"])
    stored = config.requested
    names = {key: command.pop(key, options.pop(key, None)) for key in ("model", "dataset")}
    for values, source in ((options, KEYWORDS), (command, COMMAND_LINE)):
        merge_mode(values, stored["eval_args"], source)
    changed = {**options, **command}
    if "valid_metric" not in changed and stored["valid_metric"].lower() != LOSS:
        asked = (changed.get(key, stored[key]) for key in ("metrics", "topk"))
        options["valid_metric"] = chosen_by(stored["valid_metric"], *asked)
    options["user_metrics"] = stored["user_metrics"] = False  # nothing is written
    given = HLRConfig(None, None, [folder.config], options, command)
    refuse_changes(stored, names, given, EVALUATE_KEYS, "an evaluation")
    interactive_logging()
    experiment = assemble(
        stored["model"], stored["dataset"], [folder.config], command, options, taken_up=True
    )
    data = stored_data(experiment.train_data.dataset, experiment.config.dataset)
    refuse_other_data(content["data"], data, folder.path)
    log.info("device: %s", describe_device(experiment.config["device"]))
    log.info("%s", describe_data(experiment))
    take_back(experiment.trainer, content, experiment.train_data)
    experiment.trainer.restore_best()
    if test_file is not None:
        test_file = Path(test_file) if isinstance(test_file, str) else test_file
        experiment.test_data, account = tested_on(test_file, experiment)
    prepared = time.perf_counter()
    with shortage_told(experiment.config, experiment.dataset):
        measured = measure(experiment, test_file is None)
    seconds = {"prepare": prepared - started, "evaluate": time.perf_counter() - prepared}
    result = RunResult.of(experiment.trainer, folder.path, **measured, seconds=seconds, **details(experiment))
    if test_file is not None:
        result.interactions["test_file"] = account.as_dict()
        result.split += f"; tested on {called(test_file)}"
    return replace(result, valid_metric=stored["valid_metric"].lower())


def tested_on(given: object, experiment: Experiment) -> tuple[EvaluationLoader | None, Account]:
    """Return the loader of interactions that are tested on, and the account of them. Raises `InputError`."""
    config, train = experiment.config, experiment.train_data.dataset
    history = InteractionMatrix.of(train)
    if config["eval_args"]["mode"]["test"] == "labeled":
        raise InputError(
            f"test_file={called(given)}: cannot be given with mode: labeled, which ranks nothing"
        )
    part, account = test_part_of(given, config, experiment.dataset, history)
    refuse_empty_cohorts(config, part)
    return evaluation_loader(config, "test", part, [train], history), account


def measure(experiment: Experiment, own_test: bool = True) -> Values:
    """Return `test`, `cohorts` and `valid` of a `RunResult`; `test_history` is for its `own_test` part."""
    config, trainer, valid_data = experiment.config, experiment.trainer, experiment.valid_data
    progress = config["show_progress"]
    if own_test:
        found = evaluate_test(experiment, progress)
    else:
        found = trainer.evaluation(experiment.test_data, progress)
    test = measured_test(found, config)
    valid = trainer.evaluate(valid_data, load_best_model=False, show_progress=progress) or {}
    if valid_data is not None and trainer.valid_metric == LOSS:
        valid = {**trainer.validate(valid_data)[1], **valid}
    return {**test, "valid": valid}


def merge_mode(values: Values, stored: Values, source: str) -> None:
    """Put the mode that `values` ask for into the run's `eval_args`, of which nothing else may change."""
    given = values.get("eval_args")
    if not isinstance(given, dict):
        return
    if any(value != stored.get(key) for key, value in given.items() if key != "mode"):
        raise InputError(
            f"eval_args={given}",
            "only its mode can change in an evaluation",
            place=source,
            option="eval_args",
            value=given,
        )
    values["eval_args"] = {**stored, **given}
