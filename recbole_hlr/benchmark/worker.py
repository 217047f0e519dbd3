"""One cell, run in a process that is not the benchmark's own."""

from __future__ import annotations

import contextlib
import os
import platform
import traceback
from typing import NamedTuple

from recbole_hlr.benchmark.cells import Task, is_finished
from recbole_hlr.errors import InputError
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.host import recbole as compat


class Outcome(NamedTuple):
    """How a cell ended: `reason` is None where all went well; `trace` is for what nobody foresaw."""

    reason: str | None = None
    trace: str | None = None


def run_cell(task: Task) -> Outcome:
    """Run a cell, or resume its run; what libraries print goes to the cell's `output.txt`."""
    compat.quiet_host()
    for folder in (task.directory, os.path.join(task.directory, task.cell.folder)):
        if not os.path.isdir(folder):
            return Outcome(
                f"{folder}: is not there on {platform.node()}; must be on storage that all machines share"
            )
    os.chdir(task.directory)
    outcome = None
    try:
        with (
            open(task.cell.folder / "output.txt", "a", encoding="utf-8", errors="backslashreplace") as file,
            contextlib.redirect_stdout(file),
            contextlib.redirect_stderr(file),
        ):
            outcome = guarded(task)
    except OSError as error:  # on a full disk what was printed may be lost, how the run ended is not
        return outcome or Outcome(f"{task.cell.folder / 'output.txt'}: {error.strerror}; must be writable")
    return outcome


def guarded(task: Task) -> Outcome:
    """Run a cell; what goes wrong is returned."""
    from recbole_hlr.experiment.run import run  # only where a cell is run, for the host takes seconds

    try:
        run_dir = task.cell.run_dir()
        if run_dir is None:
            run(
                task.model,
                task.cell.dataset,
                config_files=task.config_files,
                checkpoint_dir=str(task.cell.folder),
                **task.options,
            )
        else:
            resume(task, run_dir)
    except InputError as error:
        return Outcome(str(error))
    except Exception as error:  # of a model, a library or the machine: the other cells go on
        reason = " ".join(str(error).split())
        return Outcome(
            f"{type(error).__name__}: {reason}" if reason else type(error).__name__, traceback.format_exc()
        )
    if not is_finished(task.cell.run_dir()):
        return Outcome("left no test metrics of users; must have a test part and metrics that users have")
    return Outcome()


def resume(task: Task, run_dir: RunDir) -> None:
    """Go on with a cell's run; `InputError` says what to delete where that cannot be."""
    from recbole_hlr.benchmark.plan import FREE
    from recbole_hlr.experiment.run import run

    free = {key: value for key, value in task.options.items() if key in FREE}
    try:
        run(resume=run_dir.path, **free)
    except InputError as error:
        raise InputError(f"{error}; or delete {task.cell.folder} to run it anew") from error
