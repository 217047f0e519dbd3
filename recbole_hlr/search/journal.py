"""The record of a search: one JSON line when a trial is suggested and one when it ends, in their order."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from recbole_hlr.errors import InputError
from recbole_hlr.options.kinds import is_finite, is_integer
from recbole_hlr.protocols import Check

OPEN, DONE, STOPPED, FAILED, LOST, CUT = "unfinished", "done", "stopped", "failed", "lost", "cut"
# stopped: by the scheduler. lost: its process or machine died, more than once, or its disk was full. cut:
# by the end of the time budget. Lost, cut and unfinished trials go on when the search is resumed.
ENDED = (DONE, STOPPED, FAILED)


def resume_of(folder: Path) -> str:
    """Return the command that goes on with the search of a run directory."""
    return f"recbole-hlr tune --resume={shlex.quote(str(folder))}"


# What a line holds, and when it is right.
ASKED: dict[str, Check] = {
    "event": lambda v: v == "asked",
    "number": is_integer,
    "values": lambda v: isinstance(v, dict),
    "elapsed": lambda v: is_finite(v) and v >= 0,
}
END: dict[str, Check] = {
    "event": lambda v: v == "ended",
    "number": is_integer,
    "status": lambda v: v in (*ENDED, LOST, CUT),
    "curve": lambda v: isinstance(v, list) and all(map(is_finite, v)),
    "epochs": lambda v: isinstance(v, list) and all(map(is_integer, v)) and v == sorted(set(v)),
    "reason": lambda v: isinstance(v, str),
    "seconds": lambda v: is_finite(v) and v >= 0,
    "elapsed": ASKED["elapsed"],
}


@dataclass
class Trial:
    """One trial: its number, from 1, its values, its state, and the running best of its validation score.

    `curve[i]` is the best score up to the i-th validated epoch, which is `epochs[i]`.
    """

    number: int
    values: dict[str, object]
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
    """The trials of a search and the file that brings them back after any kind of end.

    One process at a time may have it open: the search's folder is `locked` before.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.trials: list[Trial] = []
        self.ended: list[Trial] = []  # in the order in which they ended
        self.seconds = 0.0  # of search before this process
        try:
            whole = self._read() if path.exists() else 0
            self._file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
            os.ftruncate(self._file, whole)  # half a line, where a process was killed while it wrote
        except OSError as error:
            raise self._failed(error) from error

    def trial(self, number: int) -> Trial:
        """Return a trial by its number."""
        return self.trials[number - 1]

    def asked(self, number: int, values: dict[str, object], seconds: float) -> Trial:
        """Record that trial `number` was suggested."""
        self._write({"event": "asked", "number": number, "values": values, "elapsed": seconds})
        self.trials.append(Trial(number, values))
        return self.trials[-1]

    def end(self, trial: Trial, seconds: float) -> None:
        """Record how a trial ended."""
        line = {key: value for key, value in asdict(trial).items() if key != "values"}
        self._write({"event": "ended", **line, "elapsed": seconds})
        if trial.status in ENDED:
            self.ended.append(trial)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _write(self, line: dict[str, object]) -> None:
        """Append a line that is whole, or nothing: a full disk takes only a part of it."""
        left = (json.dumps(line, allow_nan=False) + "\n").encode()
        before = os.fstat(self._file).st_size
        try:
            while left:
                left = left[os.write(self._file, left) :]
            os.fsync(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, before)
            raise self._failed(error) from error

    def _failed(self, error: OSError) -> InputError:
        return InputError(
            f"{self.path}: {error.strerror}; when that is mended, go on with {resume_of(self.path.parent)}"
        )

    def _read(self) -> int:
        """Bring the trials back; return how many bytes of the file are whole lines."""
        content = self.path.read_bytes()
        *lines, half = content.split(b"\n")
        for number, line in enumerate(lines, start=1):
            try:
                self._replay(json.loads(line, parse_constant=_refuse))
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{self.path}, line {number}: is no line of a search ({error}); delete it and those "
                    "after it to go on from the line before"
                ) from None
        return len(content) - len(half)

    def _replay(self, line: object) -> None:
        """Take up a line; `ValueError` for one that cannot stand here."""
        if not isinstance(line, dict):
            raise ValueError("no mapping")
        checks = ASKED if line.get("event") == "asked" else END
        wrong = [key for key in checks if key not in line or not checks[key](line[key])]
        wrong += [str(key) for key in line if key not in checks]
        if wrong:
            raise ValueError(f"{wrong[0]} is missing or wrong")
        self.seconds = line.pop("elapsed")
        if line.pop("event") == "asked":
            self._take_asked(**line)
        else:
            self._take_end(**line)

    def _take_asked(self, number: int, values: dict[str, object]) -> None:
        if number != len(self.trials) + 1:
            raise ValueError(f"trial {number} follows trial {len(self.trials)}")
        self.trials.append(Trial(number, values))

    def _take_end(
        self, number: int, status: str, curve: list[float], epochs: list[int], reason: str, seconds: float
    ) -> None:
        if not 1 <= number <= len(self.trials) or self.trial(number).status in ENDED:
            raise ValueError(f"trial {number} did not run")
        if len(curve) != len(epochs):
            raise ValueError("curve and epochs are not of one length")
        trial = self.trial(number)
        trial.status, trial.curve, trial.epochs = status, curve, epochs
        trial.reason, trial.seconds = reason, seconds
        if trial.status in ENDED:
            self.ended.append(trial)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")
