"""What a split is, in words: every result and every table says which one it is of."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_hlr.options.protocol import BOTH
from recbole_hlr.protocols import Given

LEFT_OUT = {  # of leave-one-out
    "valid_and_test": "to validate and one to test",
    "valid_only": "to validate",
    "test_only": "to test",
}


def describe_split(options: Given, fold: int | None = None) -> str:
    """Return what a run's `options`, as its config.yaml has them, split its data into.

    With a number of folds, `fold` is the one that is meant, None all of them. Options that say nothing of a
    split give ''.
    """
    if options.get("benchmark_filename"):
        said = f"parts as given: {', '.join(options['benchmark_filename'])}"
    elif "split" in options.get("eval_args", {}):
        said = cut(options, fold)
    else:
        return ""
    return f"{said}; validation learned from, too" if options.get("train_on") == BOTH else said


def cut(options: Given, fold: int | None) -> str:
    """Return the same for data that are split here."""
    evaluation = options["eval_args"]
    ((way, how),) = evaluation["split"].items()
    by_time = evaluation.get("order") == "TO"
    chance = "by time" if by_time else "at random"
    what = "each user's interactions" if evaluation.get("group_by", "user") == "user" else "all interactions"
    if options.get("folds"):
        which = f"{options['folds']} folds" if fold is None else f"fold {fold} of {options['folds']}"
        return f"{which} of {what}, at random; the rest {percent(how[:2])}"
    if way == "HU":
        known = f"{100 * options['fold_in_share']:.3g} % of their interactions"
        return f"{percent(how)} of users; those held out are known by {known}, {chance}"
    if way == "TS":
        return f"one cut in time for all: {percent(how)} of all interactions"
    if way == "LS":
        return f"one interaction of each user {LEFT_OUT[how]}, {'the last' if by_time else 'at random'}"
    return f"{percent(how)} of {what}, {chance}"


def percent(ratios: Sequence[float]) -> str:
    """Return ratios as parts of a hundred."""
    return " / ".join(f"{100 * ratio / sum(ratios):.3g}" for ratio in ratios) + " %"
