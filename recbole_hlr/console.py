"""What a person sees while work goes on: messages, progress bars, and streams that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import importlib
import importlib.util
import io
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any, TextIO, cast

from tqdm import tqdm

OWN = "recbole_hlr"  # the plugin's logger


# --- messages ------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """Print a line to standard error, above a progress bar instead of through it."""
    if sys.stderr is not None:
        tqdm.write(text, file=sys.stderr)


class ConsoleHandler(logging.Handler):
    """Shows messages on standard error; `chosen` says that its level was asked for and stays."""

    chosen = False

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        say(self.format(record))


def console_logging(level: str | None = None) -> None:
    """Show the plugin's messages on standard error: from `level` on, else as the option `state` says."""
    own = logging.getLogger(OWN)
    if not console_handlers():
        own.addHandler(ConsoleHandler())
    own.setLevel(logging.DEBUG if level == "DEBUG" else logging.INFO)
    for handler in console_handlers():
        handler.setLevel(level or logging.NOTSET)
        handler.chosen = level is not None


def console_handlers() -> list[ConsoleHandler]:
    """Return what shows messages on standard error."""
    return [one for one in logging.getLogger(OWN).handlers if isinstance(one, ConsoleHandler)]


def is_quiet() -> bool:
    """Say whether errors alone are to be shown."""
    return any(one.chosen and one.level >= logging.ERROR for one in console_handlers())


def interactive_logging() -> None:
    """Show the plugin's messages where somebody waits for the next prompt: in a notebook or at `>>>`.

    A script's messages are for the script's own logging, and where there is any it stays as it is.
    """
    if hasattr(sys, "ps1") and not logging.getLogger(OWN).hasHandlers():
        console_logging()


def set_console_level(level: str) -> None:
    """Show only messages from `level` on; `log.txt` keeps them all."""
    for handler in console_handlers():
        if not handler.chosen:
            handler.setLevel(level)


# --- progress bars -------------------------------------------------------------------------------------


def in_notebook() -> bool:
    """Say whether this is a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def shows_progress() -> bool:
    """Say whether a progress bar can be seen: on a terminal and in a notebook, unless quiet was asked for."""
    return not is_quiet() and (in_notebook() or (sys.stderr is not None and sys.stderr.isatty()))


def progress_bar(
    iterable: Iterable[object] | None = None,
    *,
    desc: str | None = None,
    unit: str = "it",
    unit_scale: bool = False,
    total: int | None = None,
    initial: int = 0,
    leave: bool = False,
    disable: bool = False,
) -> tqdm[Any]:
    """Return tqdm's bar for this place, a widget where a notebook has them; the options are tqdm's."""
    bar: type[tqdm[Any]] = tqdm
    if in_notebook() and importlib.util.find_spec("ipywidgets"):
        bar = importlib.import_module("tqdm.notebook").tqdm
    return bar(
        iterable, desc=desc, total=total, leave=leave, unit=unit, unit_scale=unit_scale, initial=initial,
        disable=disable, dynamic_ncols=True,
    )  # fmt: skip


# --- streams -------------------------------------------------------------------------------------------


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
