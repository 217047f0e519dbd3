"""The cells of a benchmark: OUT/<data set>/<model>/<seed>/ with `cell.json` and one run directory each."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recbole_hlr.errors import InputError
from recbole_hlr.files import write_text
from recbole_hlr.rundir import RunDir


@dataclass(frozen=True)
class Cell:
    """One model (by its label) on one data set with one seed, and its folder."""

    dataset: str
    model: str
    seed: int
    out: Path = field(compare=False)

    @property
    def folder(self) -> Path:
        """The cell's folder."""
        return self.out / self.dataset / self.model / str(self.seed)

    def __str__(self) -> str:
        return f"{self.dataset}, {self.model}, seed {self.seed}"

    def run_dir(self) -> RunDir | None:
        """Return the cell's run, finished or not; `InputError` where there are several."""
        found = RunDir.inside(self.folder)
        if len(found) > 1:
            raise InputError(f"{self.folder}: holds {len(found)} runs; must hold one, delete the others")
        return RunDir.open(found[0].path) if found else None

    def record(self) -> dict[str, Any]:
        """Return what `write` wrote."""
        try:
            return json.loads((self.folder / "cell.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def write(self, **record: Any) -> None:
        """Write what is known of the cell beside its run: its command, why it failed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
        write_text(self.folder / "cell.json", text)


def is_finished(run_dir: RunDir | None) -> bool:
    """Say whether a run ended and left what a table needs."""
    return run_dir is not None and run_dir.result.is_file() and run_dir.users.is_file()


def stored_cells(out: Path) -> list[Cell]:
    """Return all cells below a benchmark's folder."""
    return [
        Cell(file.parents[2].name, file.parents[1].name, int(file.parent.name), out)
        for file in sorted(out.glob("*/*/*/cell.json"))
        if file.parent.name.isdigit()
    ]
