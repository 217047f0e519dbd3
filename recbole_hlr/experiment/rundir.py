"""One folder per run: config.yaml, metrics.jsonl, result.json, model.pth, log.txt, perhaps users.parquet.

One that `update` made has config.yaml, model.pth and update.json.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import pandas as pd

from recbole_hlr.errors import InputError
from recbole_hlr.files import is_file, unwritten, writable, write_text, write_whole
from recbole_hlr.options.yaml_values import load_yaml

UNFINISHED = ".new-"  # begins the name of a folder that is being made
LONG_AGO = 3600  # seconds after which it is taken for one that was killed


class RunDir:
    """Paths and files of one run; every file is written whole or not at all."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.config = self.path / "config.yaml"
        self.metrics = self.path / "metrics.jsonl"
        self.result = self.path / "result.json"
        self.users = self.path / "users.parquet"
        self.checkpoint = self.path / "model.pth"
        self.log = self.path / "log.txt"
        self.update = self.path / "update.json"

    @classmethod
    def create(
        cls,
        parent: str | Path,
        name: str,
        config: str,
        file: str = "config.yaml",
        fill: Callable[[Path], object] | None = None,
    ) -> RunDir:
        """Make a new folder `parent/name-time`, which appears with its `file` and what `fill` wrote."""
        with writable(f"checkpoint_dir={parent}"):
            Path(parent).mkdir(parents=True, exist_ok=True)
            remove_unfinished(Path(parent))
            hidden = Path(tempfile.mkdtemp(prefix=UNFINISHED, dir=parent))
        try:
            hidden.chmod(0o755)
            write_text(hidden / file, config)
            if fill is not None:
                fill(hidden)
            stem = f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
            for number in range(1, 10_000):
                path = Path(parent) / (stem if number == 1 else f"{stem}-{number}")
                try:
                    os.rename(hidden, path)
                except OSError as error:
                    if not path.exists():
                        raise InputError(unwritten(path, error)) from error
                else:  # the name was free; a run of the same second may have taken it
                    return cls(path)
        finally:
            shutil.rmtree(hidden, ignore_errors=True)
        raise InputError(f"checkpoint_dir={parent}: no free name for {stem}")

    @classmethod
    def open(cls, path: str | Path) -> RunDir:
        """Return an existing run folder; `InputError` where it is none."""
        run_dir = cls(path)
        if not is_file(run_dir.config) or not {"model", "dataset"} <= set(load_yaml(run_dir.config)):
            raise InputError(f"{path}: is no run directory (it has no config.yaml of a run)")
        return run_dir

    @classmethod
    def inside(cls, folder: Path) -> list[RunDir]:
        """Return the run folders in a folder, as a benchmark's cell is one; those not yet made are hidden."""
        return sorted(
            (cls(file.parent) for file in folder.glob("[!.]*/config.yaml")), key=lambda run: run.path
        )

    def write_metrics(self, records: list[dict[str, object]]) -> None:
        """Write one JSON line per epoch."""
        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_text(self.metrics, lines)

    def write_users(self, table: pd.DataFrame) -> None:
        """Write one row per test user; before `result.json`, which says that all is there."""
        # Given a file, pandas takes its name, which may be no text.
        content = table.to_parquet(index=False, write_page_checksum=True)
        write_whole(self.users, lambda file: file.write(content))

    def write_result(self, result: dict[str, object]) -> None:
        """Write the result of a finished run."""
        text = json.dumps(result, indent=2, ensure_ascii=False) + "\n"
        write_text(self.result, text)

    @contextlib.contextmanager
    def logging(self, early: Sequence[logging.LogRecord] = ()) -> Iterator[None]:
        """Send everything that is logged to `log.txt` while the run lasts, and to no other run's.

        What was said before the folder was there, `early`, comes first.
        """
        try:
            handler = LogFile(self.log, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise InputError(unwritten(self.log, error)) from None
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        with contextlib.closing(handler), attached(handler):
            for record in early:
                handler.handle(record)
            yield


@contextlib.contextmanager
def attached(handler: logging.Handler) -> Iterator[None]:
    """Let a handler have everything that is logged, from INFO on, while this lasts."""
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(min(level, logging.INFO))
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(handler)


def remove_unfinished(parent: Path) -> None:
    """Remove the folders of runs that were killed before they had their config.yaml, which takes moments."""
    for hidden in parent.glob(f"{UNFINISHED}*"):
        with contextlib.suppress(OSError):
            if time.time() - hidden.stat().st_mtime > LONG_AGO:
                shutil.rmtree(hidden, ignore_errors=True)


class LogFile(logging.FileHandler):
    """A log.txt that cannot be written, as on a full disk, ends the run like every file of it."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Raise `InputError` where the disk is full; `logging` would print a traceback."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            raise InputError(unwritten(self.baseFilename, error)) from error
        super().handleError(record)

    def close(self) -> None:
        """Close the file; that its last lines cannot be written was said when they came."""
        with contextlib.suppress(OSError):
            super().close()


class Collector(logging.Handler):
    """Keeps messages for a `log.txt` that is yet to be."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one message."""
        self.records.append(record)
