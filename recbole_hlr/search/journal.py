"""The record of a search: one JSON line when a trial is suggested and one when it ends, in their order."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from recbole_hlr.errors import InputError

OPEN, DONE, STOPPED, FAILED, LOST, CUT = "unfinished", "done", "stopped", "failed", "lost", "cut"
# stopped: by the scheduler. lost: its process or machine died, more than once. cut: by the end of the
# time budget. Lost, cut and unfinished trials go on when the search is resumed.
ENDED = (DONE, STOPPED, FAILED)


@dataclass
class Trial:
    """One trial: its number, from 1, its values, its state, and the running best of its validation score.

    `curve[i]` is the best score up to the i-th validated epoch, which is `epochs[i]`.
    """

    number: int
    values: dict[str, Any]
    status: str = OPEN
    curve: list[float] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    reason: str = ""
    seconds: float = 0.0

    @property
    def score(self) -> float | None:
        """The best validation score, or None before the first."""
        return self.curve[-1] if self.curve else None

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the best score, the first of equals."""
        return self.epochs[self.curve.index(self.curve[-1])] if self.curve else None

    def report(self, epoch: int, score: float) -> None:
        """Add a validated epoch; one that a restarted trial reports again is left as it is."""
        if not self.epochs or epoch > self.epochs[-1]:
            self.epochs.append(epoch)
            self.curve.append(score)


def best_of(trials: list[Trial], larger_is_better: bool) -> Trial | None:
    """Return the trial with the best validation score, the first of equals; failed ones never win."""
    candidates = [trial for trial in trials if trial.curve and trial.status != FAILED]
    sign = 1 if larger_is_better else -1
    return max(candidates, key=lambda trial: (sign * trial.curve[-1], -trial.number), default=None)


class Journal:
    """The trials of a search and the file that brings them back after any kind of end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trials: list[Trial] = []
        self.ended: list[Trial] = []  # in the order in which they ended
        self.seconds = 0.0  # of search before this process
        whole = self._read() if path.exists() else 0
        self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
        self._lock()
        os.ftruncate(self._file, whole)  # half a line, where a process was killed while it wrote

    def trial(self, number: int) -> Trial:
        """Return a trial by its number."""
        return self.trials[number - 1]

    def asked(self, number: int, values: dict[str, Any], seconds: float) -> Trial:
        """Record that trial `number` was suggested."""
        trial = Trial(number, values)
        self.trials.append(trial)
        self._write({"event": "asked", "number": number, "values": values, "elapsed": seconds})
        return trial

    def end(self, trial: Trial, seconds: float) -> None:
        """Record how a trial ended."""
        line = {key: value for key, value in asdict(trial).items() if key != "values"}
        self._write({"event": "ended", **line, "elapsed": seconds})
        if trial.status in ENDED:
            self.ended.append(trial)

    def close(self) -> None:
        """Close the file and let another process continue the search."""
        os.close(self._file)

    def _write(self, line: dict[str, Any]) -> None:
        os.write(self._file, (json.dumps(line) + "\n").encode())
        os.fsync(self._file)

    def _read(self) -> int:
        """Bring the trials back; return how many bytes of the file are whole lines."""
        whole = 0
        for number, line in enumerate(self.path.read_bytes().splitlines(keepends=True), start=1):
            if not line.endswith(b"\n"):
                break
            try:
                self._replay(json.loads(line))
            except (ValueError, KeyError, IndexError, TypeError) as error:
                raise InputError(f"{self.path}, line {number}: is no line of a search ({error})") from None
            whole += len(line)
        return whole

    def _replay(self, line: dict[str, Any]) -> None:
        self.seconds = line.pop("elapsed")
        if line.pop("event") == "asked":
            self.trials.append(Trial(line["number"], line["values"]))
            return
        trial = self.trial(line["number"])
        for key, value in line.items():
            setattr(trial, key, value)
        if trial.status in ENDED:
            self.ended.append(trial)

    def _lock(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows has no such lock
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise InputError(f"{self.path.parent}: another process is running this search") from None
        except OSError:  # a file system without locks
            pass
