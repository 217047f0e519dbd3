"""The options file of a benchmark: options of all cells, of a data set, of a model, of both.

    all: {epochs: 100}
    datasets: {ml-1m: {data_path: dataset}}
    models:
      BPR: {embedding_size: 100}
      HLR-50: {model: HLR, embedding_size: 50}    # a row of its own
    cells: {ml-1m/HLR: tuned/best.yaml}           # a file, or a list of files and mappings

The later sections win, and the command line wins over all. File names are relative to the options file.
"""

from __future__ import annotations

import re
from pathlib import Path

from recbole_hlr.errors import InputError
from recbole_hlr.options.yaml_values import as_list, load_yaml
from recbole_hlr.protocols import Values

SECTIONS = ("all", "datasets", "models", "cells")
# Where and with which seed and fold a run goes is the benchmark's: left out of files, refused in sections.
WHERE = ("seed", "folds", "fold", "checkpoint_dir", "show_progress", "user_metrics", "resume")


class Settings:
    """Options by section; `of(model, dataset)` are those of one cell."""

    def __init__(self, path: Path | None = None, sections: Values | None = None) -> None:
        self.path = path
        given = sections or {}
        for name, value in given.items():
            if name not in SECTIONS:
                raise InputError(f"{name} ({path}): must be one of the sections {', '.join(SECTIONS)}")
            if name != "all" and not isinstance(value, dict | None):
                raise InputError(f"{name} ({path}): must be a mapping of names to options or files")
        self.all = self._options(given.get("all"), "all")
        self.datasets = {
            str(name): self._options(value, f"datasets: {name}")
            for name, value in (given.get("datasets") or {}).items()
        }
        self.names: dict[str, str] = {}  # label → model, of the rows that have a name of their own
        models = {
            str(name): self._options(value, f"models: {name}")
            for name, value in (given.get("models") or {}).items()
        }
        for name, options in models.items():
            if "model" in options:
                self.names[name] = spelled(options.pop("model"))
                if not re.fullmatch(r"[\w+][\w+.-]*", name):
                    raise InputError(f"models: {name} ({path}): must be letters, digits and any of _ + . -")
        self.models = {self.label(name): options for name, options in models.items()}
        self.cells: dict[tuple[str, str], Values] = {}
        for name, value in (given.get("cells") or {}).items():
            dataset, slash, model = str(name).rpartition("/")
            if not slash:
                raise InputError(f"cells: {name} ({path}): must be DATASET/MODEL")
            self.cells[dataset, self.label(model)] = self._options(value, f"cells: {name}")

    @classmethod
    def read(cls, path: str | Path) -> Settings:
        """Return the sections of a file; `InputError` says what is wrong with it."""
        return cls(Path(path), load_yaml(path))

    def _options(self, value: object, where: str) -> Values:
        """Return the options of a section: a mapping, a file's name, or a list of these."""
        assert self.path is not None or value is None
        merged: Values = {}
        for part in as_list(value):
            if isinstance(part, str):
                own = load_yaml(self.path.parent / part)  # type: ignore[union-attr]
                part = {key: item for key, item in own.items() if key not in WHERE}
            if not isinstance(part, dict | None) or not all(isinstance(key, str) for key in part or {}):
                raise InputError(f"{where} ({self.path}): must be options or the name of a YAML file")
            merged.update(part or {})
        for key in (*WHERE, "dataset", *(() if where.startswith("models") else ("model",))):
            if key in merged:
                raise InputError(f"{where}: {key} ({self.path}): is the benchmark's to choose")
        return merged

    def label(self, name: str) -> str:
        """Return the name of a table's row: one of this file, or a model's as the paper spells it."""
        return name if name in self.names else spelled(name)

    def model(self, label: str) -> str:
        """Return the model of a row."""
        return self.names.get(label, label)

    def of(self, label: str, dataset: str) -> Values:
        """Return the options of a row on a data set."""
        return {
            **self.all,
            **self.datasets.get(dataset, {}),
            **self.models.get(label, {}),
            **self.cells.get((dataset, label), {}),
        }

    def unused(self, labels: list[str], datasets: list[str]) -> list[str]:
        """Return the sections that concern no cell of a benchmark."""
        return [
            *(f"datasets: {name}" for name in self.datasets if name not in datasets),
            *(f"models: {name}" for name in self.models if name not in labels),
            *(
                f"cells: {dataset}/{label}"
                for dataset, label in self.cells
                if dataset not in datasets or label not in labels
            ),
        ]


def spelled(name: object) -> str:
    """Return a model's name as the paper spells it; `InputError` where there is no such model."""
    if not isinstance(name, str):
        raise InputError(f"model={name}: must be the name of a model")
    from recbole_hlr.model import MODELS  # a report reads no name of a model that has no cell
    from recbole_hlr.model.guest import name_of
    from recbole_hlr.model.registry import find_model

    found = find_model(name)
    return next((name for name, model in MODELS.items() if model is found), name_of(found))
