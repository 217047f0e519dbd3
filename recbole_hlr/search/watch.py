"""Looks after Ray while a search runs: whether it lives, and what it waits for."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable

from recbole_hlr.host.ray import describe_room, describe_share, ray_lines

log = logging.getLogger("recbole_hlr")
PATIENCE = 60  # seconds without a running trial after which it is said what is waited for
GRACE = 8  # seconds that a search has to notice by itself that Ray has died


class RayDied(BaseException):
    """Ray is gone. No `Exception`, after which it would clean up first, and wait for its own dead."""


class Line:
    """A connection on which nothing is said, but whose end tells of the end of the process behind it."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self.connect, self.socket = connect, connect()

    def is_dead(self) -> bool:
        """Say whether nobody listens there any more; a slow network is Ray's own to bear."""
        try:
            self.socket.setblocking(False)
            self.socket.recv(1)
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.socket.close()
        try:
            self.socket = self.connect()  # the process may only have hung up
        except (ConnectionRefusedError, FileNotFoundError):
            return True
        except OSError:
            pass
        return False


class Watch:
    """Ends a search whose Ray died, and says every minute what one waits for that gets no machine.

    Without its raylet here or its GCS, Ray waits for ever or ends the process that uses it, and no
    exception reaches what waits within Ray: then, from a thread, `leave` is called with the reason.
    """

    def __init__(self, cpus: float, gpus: float, leave: Callable[[str], None]) -> None:
        self.share, self.busy = describe_share(cpus, gpus), time.monotonic()
        self.lines = {name: Line(connect) for name, connect in ray_lines().items()}
        self.leave, self.lock, self.over = leave, threading.Lock(), threading.Event()
        threading.Thread(target=self._guard, daemon=True).start()

    def look(self, running: bool) -> None:
        """Raise `RayDied` where Ray has died; `running` says whether a trial is."""
        reason = self.dead()
        if reason:
            raise RayDied(reason)
        if running:
            self.busy = time.monotonic()
        elif time.monotonic() - self.busy >= PATIENCE:
            self.busy = time.monotonic()
            log.info("waiting for a machine with %s for a trial; there is %s", self.share, describe_room())

    def dead(self) -> str:
        """Say which process of Ray's has died, if one has."""
        with self.lock:
            names = [name for name, line in self.lines.items() if line.is_dead()]
        return f"its process {names[0]} has died" if names else ""

    def _guard(self) -> None:
        while not self.over.wait(1):
            reason = self.dead()
            if reason and not self.over.wait(GRACE):
                self.leave(reason)

    def close(self) -> None:
        """End the watch."""
        self.over.set()
