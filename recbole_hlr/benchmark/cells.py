"""The cells of a benchmark: OUT/<data set>/<model>/<seed>/ with `cell.json` and one run directory each.

With folds the last folder is <seed>-fold<fold>.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_hlr.errors import InputError
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.files import writable, write_text
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.protocols import Values

TEXTS = ("command", "failure", "trace")  # what `cell.json` says of a cell


class Damaged(InputError):
    """A file of a cell that cannot be read, or does not hold what was written: the file, and why."""


@dataclass(frozen=True)
class Cell:
    """One model (by its label) on one data set with one seed, and one fold if there are; its folder."""

    dataset: str
    model: str
    seed: int
    out: Path = field(compare=False)
    fold: int = 0  # 0: the data are split once for each seed

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        fold = f"-fold{self.fold}" if self.fold else ""
        return self.out / self.dataset / self.model / f"{self.seed}{fold}"

    @property
    def repeat(self) -> tuple[int, int]:
        """Seed and fold: what two models have in common whose users are compared."""
        return self.seed, self.fold

    def __str__(self) -> str:
        fold = f", fold {self.fold}" if self.fold else ""
        return f"{self.dataset}, {self.model}, seed {self.seed}{fold}"

    def run_dir(self) -> RunDir | None:
        """Return the cell's run, finished or not.

        Raises `InputError` where there are several, `Damaged` where its `config.yaml` cannot be read.
        """
        found = RunDir.inside(self.folder)
        if len(found) > 1:
            raise InputError(f"{self.folder}: holds {len(found)} runs; must hold one, delete the others")
        if not found:
            return None
        try:
            run_dir = RunDir.open(found[0].path)
            if not isinstance(load_yaml(run_dir.config).get("protocol"), str):
                raise InputError(f"{run_dir.config}: has no protocol, as a run's has")
        except InputError as error:
            raise Damaged(str(error)) from None
        return run_dir

    def record(self) -> Values:
        """Return what `write` wrote, {} where it did not yet; raises `Damaged`."""
        file = self.folder / "cell.json"
        text = read_text(file, missing="")
        if not text and not file.exists():
            return {}
        record = parse_json(file, text)
        texts = isinstance(record, dict) and all(isinstance(record.get(key), str | None) for key in TEXTS)
        if not texts or not record.get("command"):
            raise Damaged(f"{file}: must hold the cell's command, and why it failed if it did")
        return record

    def has_record(self) -> bool:
        """Say whether `cell.json` is there and whole."""
        try:
            return bool(self.record())
        except Damaged:
            return False

    def write(self, **record: object) -> None:
        """Write what is known of the cell beside its run: its command, why it failed."""
        with writable(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        write_text(self.folder / "cell.json", text)


def read_text(file: Path, missing: str | None = None) -> str:
    """Return a file's text, `missing`, if given, where there is no such file; raises `Damaged`."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError) and missing is not None:
            return missing
        raise Damaged(f"{file}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def parse_json(file: Path, text: str) -> Any:
    """Return the value of a text of `file`; raises `Damaged`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{file}: is not the JSON that was written ({error})") from None


def is_finished(run_dir: RunDir | None) -> bool:
    """Say whether a run ended and left what a table needs."""
    return run_dir is not None and run_dir.result.is_file() and run_dir.users.is_file()


def stored_cells(out: Path) -> list[Cell]:
    """Return all cells below a benchmark's folder."""
    named = [
        (folder, re.fullmatch("([0-9]{1,10})(?:-fold([1-9][0-9]{0,3}))?", folder.name))
        for folder in sorted(out.glob("[!.]*/[!.]*/*"))
    ]
    return [
        Cell(folder.parents[1].name, folder.parent.name, int(name[1]), out, int(name[2] or 0))
        for folder, name in named
        if name
    ]


@dataclass
class Task:
    """A cell and everything that a process needs to run it; `failure` says why it cannot be run."""

    cell: Cell
    model: str
    options: Values
    config_files: list[str]
    command: str
    directory: str  # the working directory, to which file names are relative
    effective: Values  # all options, as the run's config.yaml has them; {} if there is a failure
    finished: bool = False
    failure: str | None = None
