"""Looks after Ray while a search runs: whether it lives, and what it waits for."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable

from recbole_hlr.host.ray import describe_room, describe_share, ray_lines

log = logging.getLogger("recbole_hlr")
PATIENCE = 60  # seconds without a running trial after which it is said what is waited for


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

    Without its raylet here or its GCS, Ray waits for ever or ends the process that uses it.
    """

    def __init__(self, cpus: float, gpus: float) -> None:
        self.share, self.busy = describe_share(cpus, gpus), time.monotonic()
        self.lines = {name: Line(connect) for name, connect in ray_lines().items()}

    def look(self, running: bool) -> None:
        """Raise `RayDied` where Ray has died; `running` says whether a trial is."""
        for name, line in self.lines.items():
            if line.is_dead():
                raise RayDied(f"its process {name} has died")
        if running:
            self.busy = time.monotonic()
        elif time.monotonic() - self.busy >= PATIENCE:
            self.busy = time.monotonic()
            log.info("waiting for a machine with %s for a trial; there is %s", self.share, describe_room())
