"""How a run goes on from its directory, and what must not have changed there in the meantime."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.stored import refuse_other_data, stored_data
from recbole_hlr.errors import InputError, RunInterrupted, fixed
from recbole_hlr.experiment.assemble import Experiment, start_from_pretrained
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.files import locked
from recbole_hlr.model.guest import name_of
from recbole_hlr.model.registry import find_model
from recbole_hlr.options.table import RESUME_KEYS
from recbole_hlr.options.yaml_values import dump_yaml, load_yaml
from recbole_hlr.protocols import Values
from recbole_hlr.train import checkpoint
from recbole_hlr.train.state import take_back


def take_up(experiment: Experiment, run_dir: RunDir | None) -> Values:
    """Go on from the checkpoint of `run_dir`, or start where there is none; return its `stored_data`."""
    data = stored_data(experiment.train_data.dataset, experiment.config.dataset)
    if run_dir is not None and run_dir.checkpoint.exists():
        state = checkpoint.load(run_dir.checkpoint)
        refuse_updated(run_dir, state, "resume")
        refuse_edited(run_dir, experiment.config, state["config"])
        refuse_other_data(state["data"], data, run_dir.path)
        take_back(experiment.trainer, state, experiment.train_data)
    else:
        start_from_pretrained(experiment)
    return data


@contextlib.contextmanager
def kept_to_this_process(run_dir: RunDir) -> Iterator[None]:
    """Keep a run directory to this process; Ctrl-C, whenever it comes, says how to go on."""
    try:
        with locked(run_dir.path, "run"):
            yield
    except KeyboardInterrupt:
        raise RunInterrupted(str(run_dir.path)) from None


def open_run(path: str | Path, config_files: object) -> RunDir:
    """Return the directory of a run, whose options no configuration file can replace."""
    run_dir = RunDir.open(path)
    if config_files:
        raise InputError(f"config_files: cannot be given with the run {path}, whose config.yaml is taken")
    return run_dir


def refuse_updated(run_dir: RunDir, content: Values, verb: str) -> None:
    """Raise `InputError` for a run that `update` made: its interactions are no longer those of a data set."""
    if "updated_from" in content:
        raise InputError(
            f"{run_dir.path}: was made by an update, with interactions that its data set does not have; "
            f"{verb} the run that it was made from, {content['updated_from']}"
        )


def refuse_edited(run_dir: RunDir, config: HLRConfig, trained: Values) -> None:
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


def changed(written: Values, options: Values, trained: Values) -> list[str]:
    """Return what differs between a run's `written` options, in full in `options`, and `trained` ones."""
    now = {**options, **written}
    compared = (written.keys() | (trained.keys() & now.keys())) - {"checkpoint_dir"}
    return [
        f"{key}={now[key]} ({trained.get(key)})"
        for key in sorted(compared - (RESUME_KEYS & written.keys()))
        if dump_yaml(now[key]) != dump_yaml(trained.get(key))
    ]


def refuse_changes(stored: Values, names: Values, given: HLRConfig, free: frozenset[str], what: str) -> None:
    """Raise `InputError` for a name, or an option that is not `free`, that makes it another run."""
    for key, value in names.items():
        asked = find_model(value) if key == "model" and isinstance(value, str) else value
        if value is not None and (name_of(asked) if isinstance(asked, type) else asked) != stored[key]:
            raise InputError(f"{key}={value}: cannot change in {what}; it is {stored[key]}")
    for key in set(given.variable_config_dict) | set(given.cmd_config_dict):
        if key not in free and given.requested.get(key) != stored.get(key):
            raise fixed(key, given.requested.get(key), given.sources[key], what, sorted(free))
