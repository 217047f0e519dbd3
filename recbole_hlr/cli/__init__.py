"""The command line: verbs, their help, and how a mistake or Ctrl-C ends; no logic."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence

import click
from click.shell_completion import shell_complete

from recbole_hlr.cli.commands import COMPLETION, PROGRAM, group
from recbole_hlr.console import unfailing_streams
from recbole_hlr.errors import InputError, RunInterrupted

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; return 0, 2 for wrong input (told in one sentence), 130 after Ctrl-C.

    The code is that of the work: what cannot be printed does not change it.
    """
    with unfailing_streams():
        code = answer(list(sys.argv[1:] if arguments is None else arguments))
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # Ctrl-C while Python ends comes too late
    return code


def answer(words: list[str]) -> int:
    """Print what `words` ask for, or run their verb."""
    asked = os.environ.get(COMPLETION)
    if asked:
        return shell_complete(group, {}, PROGRAM, COMPLETION, asked)
    try:
        with group.make_context(PROGRAM, words or ["--help"]) as context:
            return group.invoke(context) or 0
    except click.exceptions.Exit as end:  # of --help and --version
        return end.exit_code
    except click.UsageError as error:
        told = " ".join(error.format_message().split()).rstrip(".")
        where = f"; see `{error.ctx.command_path} --help`" if error.ctx else ""
        print(f"error: {told} (command line){where}", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunInterrupted as stop:
        print(f"\ninterrupted; continue with --resume={stop.run_dir}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return 130
