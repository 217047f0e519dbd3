"""Standard streams that cannot be written, or are not there: no work ends by its own printing."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import TextIO, cast


class Unfailing:
    """A standard stream that never raises: what it cannot encode is escaped, what it cannot write is lost.

    From the first failure on, everything that is written to its descriptor, by whomever, goes nowhere.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        self.failure: OSError | None = None
        with self._failing():
            if isinstance(self.stream, io.TextIOWrapper):
                self.stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> object:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write `text`, or lose it."""
        with self._failing():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write what is buffered, or lose it."""
        with self._failing():
            self.stream.flush()

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.failure = self.failure or error
            with contextlib.suppress(OSError):  # a stream without a descriptor
                descriptor, nowhere = self.stream.fileno(), os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


@contextlib.contextmanager
def unfailing_streams() -> Iterator[None]:
    """Let printing never end the work: standard output and standard error are `Unfailing` meanwhile.

    Where standard output is lost, standard error says so, unless its reader has gone, as `head` does.
    """
    occupy_closed_descriptors()
    before = sys.stdout, sys.stderr
    out, err = Unfailing(sys.stdout), Unfailing(sys.stderr)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield
    finally:
        out.flush()
        if out.failure is not None and out.failure.errno != errno.EPIPE:
            err.write(f"warning: standard output is lost ({out.failure.strerror})\n")
        err.flush()
        sys.stdout, sys.stderr = before


def occupy_closed_descriptors() -> None:
    """Open /dev/null in place of standard streams that were closed (`2>&-`).

    The next file that is opened, a checkpoint perhaps, would get that number, and what libraries in C
    print.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
