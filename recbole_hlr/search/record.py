"""The record of a search: an Optuna study in `study.jsonl`, from which it goes on after any kind of end.

Optuna keeps it through `Lines`. Its own file backend cannot open a journal again in which a full disk left
half a line, and a lock that a kill left costs half a minute; its SQLite storage loses all trials by one
damaged page, and is not for NFS. Ray's `Tuner.restore` takes no other number of trials or time budget; with
`OptunaSearch` on a stored study it ends in `UpdateFinishedTrialError` after a kill.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, NopPruner
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState, create_trial

from recbole_hlr.errors import InputError
from recbole_hlr.protocols import Values
from recbole_hlr.search.space import Space, key_of
from recbole_hlr.search.trials import CUT, DONE, ENDED, FAILED, LOST, OPEN, Trial, resume_of

STATES = {DONE: TrialState.COMPLETE, FAILED: TrialState.FAIL}  # every other ended one: PRUNED
STUDY_FILE = "study.jsonl"
OLD_FILE = "journal.jsonl"  # of a search made before there was a study


class Lines(BaseJournalBackend):
    """What Optuna writes, in a file that takes whole lines or none; its folder is `locked` to one process."""

    def __init__(self, path: Path) -> None:
        self.path, self.read = path, 0  # how many lines were
        try:
            self.file = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o644)
            *self.lines, half = path.read_bytes().split(b"\n")
            os.ftruncate(self.file, os.fstat(self.file).st_size - len(half))  # of a process killed at it
        except OSError as error:
            raise self.failed(error) from error

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        """Yield the lines after the first `log_number_from`."""
        for number in range(log_number_from, len(self.lines)):
            self.read = number + 1
            yield json.loads(self.lines[number], parse_constant=refuse)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines, or nothing: a full disk takes only a part of them."""
        text = left = "".join(json.dumps(log, allow_nan=False) + "\n" for log in logs).encode()
        before = os.fstat(self.file).st_size
        try:
            while left:
                left = left[os.write(self.file, left) :]
            os.fsync(self.file)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self.file, before)
            raise self.failed(error) from error
        self.lines += text.split(b"\n")[:-1]

    def failed(self, error: OSError) -> InputError:
        """Return the error for a file that cannot be read or written."""
        how = resume_of(self.path.parent)
        return InputError(f"{self.path}: {error.strerror}; when that is mended, go on with {how}")


class Record:
    """The trials of a search, each as in `study`, and the file that brings them back."""

    def __init__(
        self, path: Path, space: Space, larger_is_better: bool, pruner: BasePruner | None = None
    ) -> None:
        self.path, self.space, self.lines = path, space, Lines(path)
        try:
            self.storage = optuna.storages.JournalStorage(self.lines)
            self.study = optuna.create_study(
                storage=self.storage,
                study_name="search",
                direction="maximize" if larger_is_better else "minimize",
                load_if_exists=True,
                pruner=pruner or NopPruner(),
            )
            self.seconds = float(self.study.user_attrs.get("seconds", 0))  # of search before this process
            self.trials = list(map(trial_of, self.study.get_trials(deepcopy=False)))
        except InputError:
            raise
        except Exception as error:  # whatever a damaged line makes of Optuna's reader
            self.close()
            raise InputError(
                f"{path}, line {self.lines.read}: is no line of a search ({type(error).__name__}: {error}); "
                "delete it and those after it to go on from the line before"
            ) from None
        self.seen = {key_of(trial.values) for trial in self.trials}
        for trial in self.ended:  # a process was killed before the last of an end's lines
            if not self._frozen(trial).state.is_finished():
                self._tell(trial)

    @property
    def ended(self) -> list[Trial]:
        """Those trials that are not run again."""
        return [trial for trial in self.trials if trial.status in ENDED]

    def add(self, values: Values, seconds: float) -> Trial:
        """Record that a trial begins with `values`; `seconds` are those of the search so far."""
        drawn = {d.key: d.encode(values.get(d.key)) for d in self.space}
        params = {key: one for key, one in drawn.items() if one is not None}  # defaults may lie outside
        kinds = {d.key: d.distribution for d in self.space if d.key in params}
        self.study.set_user_attr("seconds", seconds)
        self.study.add_trial(
            create_trial(
                state=TrialState.RUNNING, params=params, distributions=kinds, user_attrs={"values": values}
            )
        )
        self.trials.append(Trial(len(self.trials) + 1, values))
        self.seen.add(key_of(values))
        return self.trials[-1]

    def report(self, trial: Trial, epoch: int, score: float) -> bool:
        """Record a validated epoch, unless it was already, before an interruption; say if `trial` lags."""
        if not trial.epochs or epoch > trial.epochs[-1]:
            self.storage.set_trial_intermediate_value(trial.number - 1, epoch + 1, score)
            trial.epochs.append(epoch)
            trial.curve.append(score)
        return self.study.pruner.prune(self.study, self._frozen(trial))

    def end(self, trial: Trial, seconds: float) -> None:
        """Record how a trial ended."""
        end = {"status": trial.status, "reason": trial.reason, "seconds": trial.seconds}
        self.study.set_user_attr("seconds", seconds)
        self.storage.set_trial_user_attr(trial.number - 1, "end", end)
        if trial.status in ENDED:
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        state = STATES.get(trial.status if trial.curve else FAILED, TrialState.PRUNED)
        value = trial.score if state == TrialState.COMPLETE else None
        self.study.tell(trial.number - 1, value, state=state, skip_if_finished=True)

    def _frozen(self, trial: Trial) -> FrozenTrial:
        return self.storage.get_trial(trial.number - 1)

    def close(self) -> None:
        """Close the file."""
        os.close(self.lines.file)


def open_record(folder: Path, space: Space, larger_is_better: bool, pruner: BasePruner) -> Record:
    """Return the record of the search in `folder`; one in `OLD_FILE` is taken up at the first time."""
    path, old, part = folder / STUDY_FILE, folder / OLD_FILE, folder / f".{STUDY_FILE}.tmp"
    if old.exists() and not path.exists():
        part.unlink(missing_ok=True)
        record = Record(part, space, larger_is_better, pruner)
        try:
            for line in old.read_bytes().split(b"\n")[:-1]:
                replay(record, **json.loads(line))
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError(f"{old}: is no record of a search ({error}); restore it") from None
        finally:
            record.close()
        part.rename(path)
    return Record(path, space, larger_is_better, pruner)


def replay(record: Record, event: str, number: int, elapsed: float, **rest: Any) -> None:
    """Record what a line of `OLD_FILE` says: that a trial was asked for, or how it ended."""
    if event == "asked":
        record.add(rest["values"], elapsed)
        return
    trial = record.trials[number - 1]
    for epoch, score in zip(rest["epochs"], rest["curve"], strict=True):
        record.report(trial, epoch, score)
    trial.status, trial.reason, trial.seconds = rest["status"], rest["reason"], rest["seconds"]
    record.end(trial, elapsed)


def trial_of(frozen: FrozenTrial) -> Trial:
    """Return a trial of the study; `ValueError`, or the like, where it is none of a search."""
    end = {"status": OPEN, "reason": "", "seconds": 0.0, **frozen.user_attrs.get("end", {})}
    if end["status"] not in (OPEN, *ENDED, LOST, CUT):
        raise ValueError(f"status {end['status']}")
    steps = sorted(frozen.intermediate_values)
    curve = [float(frozen.intermediate_values[step]) for step in steps]
    return Trial(
        frozen.number + 1,
        dict(frozen.user_attrs["values"]),
        curve=curve,
        epochs=[s - 1 for s in steps],
        **end,
    )


def refuse(constant: str) -> None:
    """Refuse NaN and infinity, of which JSON does not know."""
    raise ValueError(f"{constant} is no number")
