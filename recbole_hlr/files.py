"""Files that are written whole or not at all, and folders that one process at a time works in."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from recbole_hlr.errors import InputError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # a disk, a quota, the limit on a file's size


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Call `write(file)` on a temporary file beside `path` and rename it: the old file or the new one.

    Ctrl-C waits until it is done. Raises `InputError` when the disk is full or the folder cannot be written.
    """
    with uninterrupted(), whole(path) as file:
        write(file)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Yield a temporary file beside `path` that takes its place if this ends without an error.

    Else nothing is left of it, unless the process was killed. Raises `InputError` as `write_whole` does.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        kept = "; the file written before is kept" if path.exists() else ""
        raise InputError(f"{unwritten(path, error)}{kept}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, as `write_whole` does; what is no text, as in paths, is escaped."""
    content = text.encode("utf-8", "backslashreplace")
    write_whole(path, lambda file: file.write(content))


def unwritten(path: str | Path, error: OSError) -> str:
    """Return why a file could not be written, and what is needed."""
    needed = "free some space" if error.errno in FULL else "must be in a folder that can be written"
    return f"{path}: {error.strerror or error}; {needed}"


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C, and a SIGTERM that Python handles, wait until this ends.

    In C++ that calls Python, as torch does to read and write files, they would become other errors, or
    end the process. Signals interrupt the main thread alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handled = [number for number in (signal.SIGINT, signal.SIGTERM) if callable(signal.getsignal(number))]
    before = {number: signal.signal(number, lambda number, _: came.append(number)) for number in handled}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for one in came:
            signal.raise_signal(one)


@contextlib.contextmanager
def locked(folder: Path, what: str) -> Iterator[None]:
    """Keep `folder` to this process while it is at work in it; `what` is a run, a search or a benchmark.

    Removes the temporary files of a process that was killed there. Raises `InputError`, which names the
    other process, where one is at work there already. The kernel lets go of the lock when a process ends,
    however it ends.
    """
    lock, owner = FileLock(folder / ".lock"), folder / ".lock.pid"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        pid = ""
        with contextlib.suppress(OSError):
            pid = owner.read_text(encoding="utf-8").strip()
        holder = f"process {pid}" if pid else "another process"
        raise InputError(f"{folder}: {holder} is at work on this {what}; wait for it or end it") from None
    except OSError as error:
        raise InputError(f"{folder}: {error.strerror}; must be a folder that can be written") from None
    try:
        with contextlib.suppress(OSError):  # a full disk: the name is a courtesy, the lock holds
            owner.write_text(f"{os.getpid()} on {platform.node()}\n", encoding="utf-8")
        for unfinished in folder.glob(".*.tmp"):
            with contextlib.suppress(OSError):
                unfinished.unlink()
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink()
        lock.release()


@contextlib.contextmanager
def writable(called: object) -> Iterator[None]:
    """Raise `InputError` where a folder, `called` so in the sentence, can be neither made nor written."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{called}: {error.strerror}; must be a folder that can be written") from None


def is_file(path: str | Path) -> bool:
    """Say whether a path that a user gave is a file; `InputError` where that cannot be found out."""
    return _kind(path) == stat.S_IFREG


def exists(path: str | Path) -> bool:
    """Say whether anything is at a path that a user gave; `InputError` where that cannot be found out."""
    return _kind(path) is not None


def is_folder(path: str | Path) -> bool:
    """Say whether a path that a user gave is a folder; `InputError` where that cannot be found out."""
    return _kind(path) == stat.S_IFDIR


def _kind(path: str | Path) -> int | None:
    """Return the kind of what is at a path, None for nothing; `pathlib` raises for more than that."""
    try:
        return stat.S_IFMT(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:  # a folder that may not be entered, a name that is too long
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:  # a zero byte
        raise InputError(f"{path!r}: cannot be read ({error})") from None
