"""What a run came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_hlr.options.split import describe_split
from recbole_hlr.version import __version__

if TYPE_CHECKING:
    from recbole_hlr.train.trainer import RunTrainer


@dataclass
class RunResult:
    """What a run came to; metrics are unrounded, times in seconds.

    `best_epoch` counts from 0; it is the last, and `best_valid_score` None, where nothing was
    validated. `cohorts` is {metric: {mean, std}} over cohorts of test users, {} where there are none.
    `translation` has the `length` and the `deviation` of r(u, v) over pairs and in how many `directions` it
    varies, for a metric model with one.
    `interactions` has how many were `read`, `left_out` by each step of loading, and `kept`.
    `seconds` has `prepare`, `fit` (after a resume: of the resumed part) and `evaluate`; `device` is what
    it was computed on, such as `cpu, 2 threads`; `split` says in words how the data were split.
    """

    model: str
    dataset: str
    protocol: str
    seed: int
    valid_metric: str
    best_valid_score: float | None
    best_epoch: int
    epochs: int
    valid: dict[str, float]
    test: dict[str, float]
    cohorts: dict[str, dict[str, float]]
    parameters: int
    translation: dict[str, float]
    seconds: dict[str, float]
    device: str
    run_dir: str
    version: str
    interactions: dict[str, Any] = field(default_factory=dict)
    split: str = ""

    @classmethod
    def of(cls, trainer: RunTrainer, run_dir: Path, **measured: Any) -> RunResult:
        """Return the result of a trainer's run; `measured` has what it does not know itself."""
        config, records = trainer.config, trainer.epoch_records
        validated = trainer.best_epoch is not None
        return cls(
            model=config.model,
            dataset=config.dataset,
            protocol=config["protocol"],
            split=describe_split(config.requested, config["fold"]),
            seed=config["seed"],
            valid_metric=trainer.valid_metric,
            best_valid_score=float(trainer.best_valid_score) if validated else None,
            best_epoch=records[-1]["epoch"] if trainer.best_epoch is None else trainer.best_epoch,
            epochs=len(records),
            parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
            run_dir=str(run_dir),
            version=__version__,
            **measured,
        )
