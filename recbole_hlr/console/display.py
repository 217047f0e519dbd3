"""A display that is kept up to date while work goes on; it never ends the work, whatever becomes of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from datetime import timedelta

from recbole_hlr.console.messages import is_quiet
from recbole_hlr.console.screen import Row, Screen, close_screen, open_screen

EVERY = 0.25  # seconds between two drawings


class Display:
    """Shows what `rows` returns, several times a second, on a terminal or in a notebook; elsewhere nothing.

    Neither where quiet was asked for, nor within another display. `rows` is called in a thread of its own.
    """

    def __init__(self, rows: Callable[[], Sequence[Row]], shown: bool = True) -> None:
        self.rows, self.shown = rows, shown
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Display:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Begin to show."""
        if not self.shown or is_quiet():
            return
        with contextlib.suppress(Exception):  # a display is not worth a run
            screen = open_screen()
            if screen is not None:
                self._thread = threading.Thread(target=self._show, args=(screen,), daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Take away what is shown."""
        if self._thread is not None:
            self._over.set()
            self._thread.join()
            self._thread = None
            close_screen()

    def _show(self, screen: Screen) -> None:
        while not self._over.wait(EVERY):
            with contextlib.suppress(Exception):  # what is counted may change meanwhile; a stream may break
                screen.draw(self.rows())


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss."""
    return str(timedelta(seconds=round(seconds)))
