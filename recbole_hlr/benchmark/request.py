"""What a benchmark was asked for."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recbole_hlr.benchmark.settings import Settings
from recbole_hlr.errors import InputError
from recbole_hlr.files import exists
from recbole_hlr.options.check import check_values
from recbole_hlr.options.command_line import COMMAND_LINE, file_names, parse_arguments
from recbole_hlr.options.table import BENCHMARK_KEYS, BENCHMARK_OPTIONS, RUN_OPTIONS
from recbole_hlr.options.yaml_values import plain
from recbole_hlr.protocols import Given, Values

MOST_SEEDS = 1000  # each is a run of every model on every data set
RESERVED = {
    "model": "is given as --models",
    "dataset": "is given as --datasets",
    "seed": "is given as --seeds",
    "fold": "is given as --folds, all of them",
    "checkpoint_dir": "is given as --out",
    "resume": "is of no use; the same command goes on",
    "user_metrics": "is always true in a benchmark",
}


@dataclass
class Request:
    """Models (labels), data sets, seeds and folds, where the cells go, how they run, what all of them get.

    `options` and `config_files` are those of every run. `report` asks for the tables alone.
    """

    models: list[str]
    datasets: list[str]
    seeds: list[int]
    folds: list[int]
    out: Path
    jobs: int | None = None
    ray_address: str | None = None
    baseline: str | None = None
    report: bool = False
    settings: Settings = field(default_factory=Settings)
    config_files: list[str] = field(default_factory=list)
    options: Values = field(default_factory=dict)

    @classmethod
    def of(cls, arguments: Sequence[str] = (), given: Given | None = None) -> Request:
        """Return the request of a command line and of keyword arguments, which it overrides."""
        words = [word for word in arguments if word != "--report"]
        values = {**plain(dict(given or {})), **parse_arguments(words)}
        own = {key: values.pop(key) for key in BENCHMARK_KEYS if key in values}
        for key in values:
            if key in RESERVED:
                raise InputError(key, RESERVED[key], place=COMMAND_LINE, option=key)
        folds = values.get("folds")
        check_values({"folds": folds}, {"folds": COMMAND_LINE}, RUN_OPTIONS)
        check_values(own, dict.fromkeys(own, COMMAND_LINE), BENCHMARK_OPTIONS)
        settings = Settings.read(own["options"]) if own.get("options") else Settings()
        config_files = file_names(values.pop("config_files", None))
        baseline, out = own.get("baseline"), Path(own.get("out") or "bench").expanduser()
        exists(out)  # or it could not be, in a sentence
        only_report = "--report" in arguments or own.get("report", False)

        def label(name: str) -> str:  # a report needs no options file
            there = only_report and any(out.glob(f"*/{glob.escape(name)}/*/cell.json"))
            return name if there else settings.label(name)

        for name in names(own.get("datasets")):
            if name.startswith(".") or set(name) & set("/\\"):
                raise InputError(
                    f"datasets={name}",
                    "must be names of folders in data_path",
                    place=COMMAND_LINE,
                    option="datasets",
                    value=name,
                )
        return cls(
            models=list(dict.fromkeys(map(label, names(own.get("models"))))),
            datasets=list(dict.fromkeys(names(own.get("datasets")))),
            seeds=seeds(own.get("seeds", 1 if folds else 5)),
            folds=list(range(1, folds + 1)) if folds else [0],
            out=out,
            jobs=own.get("jobs"),
            ray_address=own.get("ray_address"),
            baseline=label(baseline) if baseline else None,
            report=only_report,
            settings=settings,
            config_files=config_files,
            options=values,
        )


def names(value: object) -> list[str]:
    """Return the names of a list, or of a text with commas."""
    parts = value if isinstance(value, list) else str(value or "").split(",")
    return [str(part).strip() for part in parts if str(part).strip()]


def seeds(value: object) -> list[int]:
    """Return the seeds: 1 to a number, or those of a list or of a text with commas."""
    given = str(value)
    if re.fullmatch("[1-9][0-9]{0,3}", given) and not isinstance(value, list) and int(given) <= MOST_SEEDS:
        return list(range(1, int(given) + 1))
    listed = names(value) if isinstance(value, list) or "," in given else []
    found = [int(name) for name in listed if re.fullmatch("[0-9]{1,10}", name) and int(name) < 2**32]
    if not found or len(found) < len(listed) or len(found) > MOST_SEEDS:
        shown = given if len(given) <= 40 else f"{given[:37]}..."
        raise InputError(
            f"seeds={shown}",
            f"must be a number of seeds from 1 to {MOST_SEEDS}, or as many different seeds from 0 to "
            "4294967295 with commas",
            place=COMMAND_LINE,
            option="seeds",
            value=value,
        )
    return list(dict.fromkeys(found))
