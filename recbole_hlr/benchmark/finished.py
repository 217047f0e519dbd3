"""A finished cell, read from its run directory."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pandas as pd

from recbole_hlr.benchmark.cells import Cell
from recbole_hlr.rundir import RunDir
from recbole_hlr.values import load_yaml


@dataclass
class Finished:
    """A finished cell: its `result.json`, its `metrics.jsonl` and, once wanted, its users and options."""

    cell: Cell
    run_dir: RunDir
    result: Any
    epochs: list[dict[str, Any]]

    @classmethod
    def read(cls, cell: Cell) -> Finished:
        """Read the files of a finished cell."""
        run_dir = cell.run_dir()
        assert run_dir is not None
        lines = run_dir.metrics.read_text(encoding="utf-8").splitlines()
        return cls(
            cell,
            run_dir,
            SimpleNamespace(**json.loads(run_dir.result.read_text(encoding="utf-8"))),
            [json.loads(line) for line in lines],
        )

    @cached_property
    def users(self) -> pd.DataFrame:
        """One row per test user."""
        return pd.read_parquet(self.run_dir.users)

    @cached_property
    def options(self) -> dict[str, Any]:
        """All options of the run."""
        return load_yaml(self.run_dir.config)

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of training, validation left out, and of ranking the test part."""
        training = sum(epoch["train_seconds"] for epoch in self.epochs)
        return {"train_seconds": training, "evaluate_seconds": self.result.seconds["evaluate"]}
