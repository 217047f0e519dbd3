"""What a checkpoint holds: made of a trainer, checked field by field, and given back to one.

`state_dict` is that of the best epoch and stands, with an empty `other_parameter`, where the host's
`Trainer.evaluate(model_file=...)` looks for it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from recbole_hlr.errors import InputError
from recbole_hlr.options.kinds import is_count, is_number, is_text
from recbole_hlr.protocols import Values
from recbole_hlr.train.contents import (
    Check,
    is_bytes,
    is_config,
    is_data,
    is_epochs,
    is_optimizer,
    is_random,
    is_state,
    is_stored_whole,
    maps,
    or_none,
)
from recbole_hlr.train.matching import refuse_other_optimizer
from recbole_hlr.train.snapshot import (
    load_model_state,
    model_state,
    random_state,
    set_random_state,
    to_plain,
)
from recbole_hlr.version import __version__

if TYPE_CHECKING:
    from recbole_hlr.train.trainer import RunTrainer


def state_of(trainer: RunTrainer, data: Values) -> Values:
    """Return everything that a checkpoint holds, as plain values; `data` is what `stored_data` returned."""
    last = model_state(trainer.model)
    done = trainer.epoch_records[-1]["epoch"] if trainer.epoch_records else -1
    generator = getattr(trainer.train_loader, "generator", None)
    best = trainer.best_state or last
    return {
        "version": __version__,
        "config": trainer.config.requested,
        "data": data,
        "epoch": done,
        "cur_step": trainer.cur_step,
        "best_valid_score": float(trainer.best_valid_score),
        "best_valid_result": trainer.best_valid_result,
        "best_epoch": done if trainer.best_epoch is None else trainer.best_epoch,
        "validated": trainer.best_epoch is not None,
        "stopped": trainer.stopped,
        "state_dict": best["state_dict"],  # for the host
        "other_parameter": {},  # for the host
        "best": best,
        "last": None if trainer.best_epoch == done else last,
        "optimizer": to_plain(trainer.optimizer.state_dict()),
        "schedule": to_plain(trainer.schedule.state_dict()) if trainer.schedule else None,
        "random": random_state(),
        "loader": generator.get_state() if generator is not None else None,
        "epochs": trainer.epoch_records,
    }


def take_back(trainer: RunTrainer, state: Values, train_data: Any) -> None:
    """Put a trainer, its loader and the random generators back to the moment at which `state` was taken."""
    trainer.epoch_records = state["epochs"]
    trainer.start_epoch = state["epoch"] + 1
    trainer.cur_step, trainer.best_valid_score = state["cur_step"], state["best_valid_score"]
    trainer.best_valid_result = state["best_valid_result"]
    if state["validated"]:
        trainer.best_state, trainer.best_epoch = state["best"], state["best_epoch"]
    trainer.stopped = state["stopped"] and trainer.cur_step > trainer.stopping_step
    load_model_state(trainer.model, state["last"] or state["best"])
    refuse_other_optimizer(trainer.optimizer, state["optimizer"])
    try:
        trainer.optimizer.load_state_dict(state["optimizer"])
        if trainer.schedule is not None:
            trainer.schedule.load_state_dict(state["schedule"])
        if state["loader"] is not None:
            train_data.generator.set_state(state["loader"])
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
        raise InputError(f"the checkpoint does not fit the trainer of the run: {error!r}") from error
    set_random_state(state["random"])


FIELDS: dict[str, tuple[str, Check]] = {
    "version": ("a text", is_text),
    "config": ("the options of a run", is_config),
    "data": ("the ids and interactions of a data set", is_data),
    "epochs": ("one record for every epoch", is_epochs),
    "epoch": ("an integer >= 0", is_count),
    "cur_step": ("an integer >= 0", is_count),
    "best_epoch": ("an integer >= 0", is_count),
    "best_valid_score": ("a number", lambda v: is_number(v) and not math.isnan(v)),
    "best_valid_result": ("metrics and their values, or null", or_none(maps(is_number))),
    "validated": ("true or false", lambda v: isinstance(v, bool)),
    "stopped": ("true or false", lambda v: isinstance(v, bool)),
    "best": ("the state of a model", is_state),
    "last": ("the state of a model, or null", or_none(is_state)),
    "optimizer": ("the state of an optimizer", is_optimizer),
    "schedule": ("the state of a schedule, or null", or_none(lambda v: isinstance(v, dict))),
    "random": ("the states of all random generators", is_random),
    "loader": ("the state of a random generator, or null", or_none(is_bytes)),
}


def what_is_wrong(content: Values) -> str | None:
    """Return which field of a checkpoint is missing or wrong and what it must be, or None."""
    if not is_stored_whole(content):
        return "it must hold plain values and dense tensors alone"
    for key, (needed, check) in FIELDS.items():
        if key not in content:
            return f"it has no {key}"
        if not check(content[key]):
            return f"its {key} must be {needed}"
    if "updated_from" in content and not is_text(content["updated_from"]):
        return "its updated_from must be a text"
    epochs = content["epochs"]
    if not content["epoch"] == epochs[-1]["epoch"] >= content["best_epoch"]:
        return "its epoch must be the last of its epochs, and its best_epoch one of them"
    best = epochs[content["best_epoch"]]
    noted = content["best_valid_result"], content["best_valid_score"]
    found = best.get("valid"), best.get("valid_score")
    if content["validated"] and repr(noted) != repr(found):  # NaN is no other than NaN
        return "its best_valid_result and best_valid_score must be those of its best_epoch"
    return None
