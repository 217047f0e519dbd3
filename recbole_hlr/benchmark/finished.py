"""A finished cell, read from its run directory and looked through for damage."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow as pa

from recbole_hlr.benchmark.cells import Cell, Damaged, is_finished, parse_json, read_text
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.options.kinds import is_count, is_number, is_text
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.protocols import Values

Shape = dict[str, Callable[[Any], bool]]


def is_stored(value: Any) -> bool:
    """Say whether a value is a number as a run writes them: finite or not, and no endless integer."""
    return is_number(value) and not abs(value) >= 2**63


def is_stored_count(value: Any) -> bool:
    """Say whether a value is an integer >= 0, and no endless one."""
    return is_stored(value) and is_count(value)


def are_metrics(value: Any) -> bool:
    """Say whether a value is {metric: number}."""
    return isinstance(value, dict) and all(map(is_stored, value.values()))


RESULT: Shape = {  # what a table needs of `result.json`, and of a line of `metrics.jsonl`
    "protocol": is_text,
    "valid_metric": is_text,
    "version": is_text,
    "best_epoch": is_stored_count,
    "epochs": is_stored_count,
    "parameters": is_stored_count,
    "test": lambda value: are_metrics(value) and bool(value) and all(map(math.isfinite, value.values())),
    "seconds": lambda value: are_metrics(value) and "evaluate" in value,
}
EPOCH: Shape = {"epoch": is_stored_count, "train_seconds": is_stored}
VALIDATED: Shape = {"valid_score": is_stored, "valid": are_metrics}


@dataclass
class Finished:
    """A finished cell: its `result.json`, its `metrics.jsonl` and, once wanted, its users and options."""

    cell: Cell
    run_dir: RunDir
    result: SimpleNamespace
    epochs: list[Values]

    @classmethod
    def read(cls, cell: Cell) -> Finished | None:
        """Return a cell with what its run left, None where it is not finished; raises `Damaged`."""
        run_dir = cell.run_dir()
        if run_dir is None or not is_finished(run_dir):
            return None
        result = parse_json(run_dir.result, read_text(run_dir.result))
        refuse_other_shape(run_dir.result, result, RESULT)
        epochs = []
        for line in read_text(run_dir.metrics).splitlines():
            epoch = parse_json(run_dir.metrics, line)
            refuse_other_shape(run_dir.metrics, epoch, EPOCH)
            if "valid_score" in epoch:
                refuse_other_shape(run_dir.metrics, epoch, VALIDATED)
            epochs.append(epoch)
        users, test = read_users(run_dir), result["test"]
        shared = [name for name in test if name in users]
        if not shared:
            raise Damaged(f"{run_dir.result}: has no metric that {run_dir.users.name} has")
        for name in shared:
            if not math.isclose(test[name], users[name].mean(), rel_tol=1e-5, abs_tol=1e-9):
                raise Damaged(
                    f"{run_dir.result}: {name}={test[name]} is not the mean of {run_dir.users.name}"
                )
        return cls(cell, run_dir, SimpleNamespace(**result), epochs)

    @cached_property
    def users(self) -> pd.DataFrame:
        """One row per test user."""
        return read_users(self.run_dir)

    @cached_property
    def options(self) -> Values:
        """All options of the run."""
        return load_yaml(self.run_dir.config)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of training, validation left out, and of ranking the test part."""
        training = sum(epoch["train_seconds"] for epoch in self.epochs)
        return {"train_seconds": training, "evaluate_seconds": self.result.seconds["evaluate"]}


def refuse_other_shape(file: Path, value: object, shape: Shape) -> None:
    """Raise `Damaged` where a value of `file` is no mapping with what `shape` asks for."""
    if not isinstance(value, dict):
        raise Damaged(f"{file}: must hold a mapping, not a {type(value).__name__}")
    for key, check in shape.items():
        if key not in value or not check(value[key]):
            what = f"{key}={value[key]}" if key in value else f"{key} is missing"
            raise Damaged(f"{file}: {what:.200}; it is not what a run writes")


def read_users(run_dir: RunDir) -> pd.DataFrame:
    """Return one row per test user: `user`, `history` and metrics; raises `Damaged`."""
    try:
        table = pd.read_parquet(run_dir.users, page_checksum_verification=True)
    except (OSError, ValueError, LookupError, TypeError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise Damaged(f"{run_dir.users}: cannot be read as parquet ({reason})") from None
    numbers = table.drop(columns="user", errors="ignore")
    if (
        not {"user", "history"} < set(table.columns)
        or not len(table)
        or table["user"].duplicated().any()
        or not isinstance(table.attrs.get("split"), str)
        or not all(map(pd.api.types.is_numeric_dtype, numbers.dtypes))
    ):
        raise Damaged(f"{run_dir.users}: must hold a split's test users, each with a history and metrics")
    return table
