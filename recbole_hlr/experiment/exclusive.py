"""One run at a time in a process: runs draw from its global random numbers, so that two would mix them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from recbole_hlr.errors import InputError

PATIENCE = 10.0  # seconds that a thread waits for another one; enough to prepare or load a model
_AT_WORK = threading.RLock()


@contextlib.contextmanager
def alone(what: str) -> Iterator[None]:
    """Keep other threads out while this lasts; `InputError` where one stays at work beyond `PATIENCE`."""
    if not _AT_WORK.acquire(timeout=PATIENCE):
        raise InputError(
            f"{what}: another thread of this process is at work on a run, and both would draw from the same "
            "random numbers; wait for it, or use a process of its own"
        )
    try:
        yield
    finally:
        _AT_WORK.release()
