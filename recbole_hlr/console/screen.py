"""Where a person looks, a terminal or a notebook: what is drawn there, and the messages above it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

WIDTH = 100  # columns of a notebook
SHORTEST_BAR, LONGEST_BAR = 10, 60  # columns
SHOWN = 8  # rows of what runs, at most


class Row(NamedTuple):
    """A row of what is shown: a line is broken between its `parts`, never within one.

    Of `more`, what still has room on the last line follows; a bar of `done`, from 0 to 1, fills the rest.
    """

    parts: Sequence[str]
    more: Sequence[str] = ()
    done: float | None = None

    def lines(self, width: int) -> list[str]:
        """Return the lines, of at most `width` columns unless a part alone is longer."""
        lines = [""]
        for number, part in enumerate([*self.parts, *self.more]):
            longer = f"{lines[-1]}  {part}" if lines[-1].strip() else lines[-1] + part
            if len(longer) <= width or not lines[-1].strip():
                lines[-1] = longer
            elif number < len(self.parts):
                lines.append(f"    {part}")
        return lines


def shortened(rows: Sequence[Row]) -> list[Row]:
    """Return the first rows of what runs, and one that says how many more there are."""
    more = len(rows) - SHOWN
    return [*rows[:SHOWN], Row([f"and {more} more"])] if more > 0 else list(rows)


class Sheet:
    """Rows as rich draws them."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        width = options.max_width - 1  # a cursor behind the last column would wrap
        for row in self.rows:
            *lines, last = [Text(line, no_wrap=True, overflow="ellipsis") for line in row.lines(width)]
            yield from lines
            room = width - last.cell_len - 2
            if row.done is None or room < SHORTEST_BAR:
                yield last
            else:
                grid = Table.grid(padding=(0, 2, 0, 0))
                grid.add_row(last, ProgressBar(total=1, completed=row.done, width=min(room, LONGEST_BAR)))
                yield grid


class Screen(Protocol):
    """Something to draw on."""

    def draw(self, rows: Sequence[Row]) -> None:
        """Show these rows in place of those before."""

    def say(self, text: str) -> None:
        """Show a message that stays."""

    def close(self) -> None:
        """Take the rows away."""


class Terminal:
    """The terminal behind standard error; what anybody prints meanwhile stands above the rows."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        class Plain(Console):
            def show_cursor(self, show: bool = True) -> bool:
                """Leave the cursor as it is: a process that is killed could not bring it back."""
                return False

        err = sys.stderr
        self.console = Plain(file=err, highlight=False, force_terminal=True, force_jupyter=False)
        here = sys.stdout is not None and sys.stdout.isatty()
        self.live = Live(console=self.console, auto_refresh=False, transient=True, redirect_stdout=here)
        self.live.start()
        self.moved = [  # a script's own logging, which knows the stream of before
            (handler, handler.setStream(sys.stderr))
            for handler in logging.getLogger().handlers
            if isinstance(handler, logging.StreamHandler) and handler.stream is err
        ]

    def draw(self, rows: Sequence[Row]) -> None:
        """Show these rows in place of those before."""
        self.live.update(Sheet(rows), refresh=True)

    def say(self, text: str) -> None:
        """Show a message above the rows."""
        self.console.print(text, markup=False, highlight=False, emoji=False, soft_wrap=True)

    def close(self) -> None:
        """Take the rows away, and give streams and handlers back."""
        for handler, stream in self.moved:
            handler.setStream(stream)
        self.live.stop()


class Notebook:
    """The output of the running cell of a notebook; it needs no widgets."""

    def __init__(self) -> None:
        from IPython.display import display

        self.shown = ""
        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def draw(self, rows: Sequence[Row]) -> None:
        """Show these rows in place of those before."""
        self._show(as_text(rows))

    def say(self, text: str) -> None:
        """Show a message below."""
        print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the rows away."""
        self._show("")

    def _show(self, text: str) -> None:
        if text != self.shown:
            self.handle.update({"text/plain": text}, raw=True)
            self.shown = text


def as_text(rows: Sequence[Row], width: int = WIDTH) -> str:
    """Return rows as plain text."""
    from rich.console import Console

    file = io.StringIO()
    Console(file=file, width=width, force_jupyter=False, force_terminal=False).print(Sheet(rows))
    return file.getvalue().rstrip()


_open: list[Screen] = []  # the one that is drawn on


def in_notebook() -> bool:
    """Say whether this is a Jupyter kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and "IPKernelApp" in shell.config


def open_screen() -> Screen | None:
    """Return what can be drawn on here, if anything can; somebody else may be drawing already."""
    if _open:
        return None
    if in_notebook():
        _open.append(Notebook())
    elif sys.stderr is not None and sys.stderr.isatty():
        _open.append(Terminal())
    return _open[0] if _open else None


def close_screen() -> None:
    """End the drawing."""
    with contextlib.suppress(OSError, ValueError):
        _open.pop().close()


def say(text: str) -> None:
    """Print a message to standard error, above what is shown in place; on a terminal it wraps at blanks."""
    with contextlib.suppress(OSError, ValueError):  # a stream that broke, or was closed
        if sys.stderr is None:
            return
        if sys.stderr.isatty():
            text = wrapped(text, columns())
        if _open:
            _open[0].say(text)
        else:
            print(text, file=sys.stderr, flush=True)


def wrapped(text: str, width: int) -> str:
    """Return a text broken at blanks into lines of `width` columns; a longer word, as a path, stays whole."""
    return "\n".join(
        textwrap.fill(
            line, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False,
            replace_whitespace=False,
        )
        for line in text.split("\n")
    )  # fmt: skip


def columns() -> int:
    """Return the width of the terminal behind standard error."""
    with contextlib.suppress(OSError, ValueError):  # no descriptor, or not of a terminal
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    return 80
