"""A terminal of a given size, whose screen a test sees as a person would."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable

import pyte

from tests.processes import Process


class Terminal:
    """A pseudo-terminal; `name` is the device that a process writes to."""

    def __init__(self, columns: int, lines: int = 40) -> None:
        self.leader, self.follower = pty.openpty()
        fcntl.ioctl(self.follower, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.name = os.ttyname(self.follower)
        self.screen = pyte.Screen(columns, lines)
        self.stream = pyte.ByteStream(self.screen)

    def lines(self) -> list[str]:
        """Return the lines that are on the screen now."""
        return [line.rstrip() for line in self.screen.display if line.strip()]

    def watch(self, process: Process, seconds: float = 60) -> list[list[str]]:
        """Return the lines of the screen whenever nothing was written for a moment, until the process ends."""
        seen: list[list[str]] = []
        return self._watch(lambda: process.poll() is not None, seconds, seen)

    def _watch(self, over: Callable[[], bool], seconds: float, seen: list[list[str]]) -> list[list[str]]:
        until, written = time.monotonic() + seconds, True
        while time.monotonic() < until:
            if select.select([self.leader], [], [], 0.01)[0]:
                self.stream.feed(os.read(self.leader, 2**16))
                written = True
            elif written:
                seen.append(self.lines())
                written = False
            elif over():
                return seen
        raise TimeoutError(f"{seconds} s were over")

    def close(self) -> None:
        """Hang up."""
        os.close(self.leader)
        os.close(self.follower)
