"""The plugin's messages on standard error: from which level on, and for whom."""

from __future__ import annotations

import logging
import sys
import time

from recbole_hlr.console.screen import say

OWN = "recbole_hlr"  # the plugin's logger
BETWEEN = 5.0  # seconds at least between two lines of a kind that follow each other


class ConsoleHandler(logging.Handler):
    """Shows messages on standard error; `chosen` says that its level was asked for and stays.

    A record that is one of many, such as that of an epoch, has `passing`; where that is true it is left out
    if another was shown less than `BETWEEN` seconds ago.
    """

    chosen = False
    last = -BETWEEN  # when one of many was shown

    def emit(self, record: logging.LogRecord) -> None:
        """Show one message."""
        if hasattr(record, "passing"):
            now = time.monotonic()
            if record.passing and now - self.last < BETWEEN:
                return
            self.last = now
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
