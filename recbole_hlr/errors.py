"""What a user's mistake, and a user's Ctrl-C, end in, and how a mistake is told."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Input that is wrong: one sentence with what was given, where, and what is allowed.

    The command line prints the sentence and exits with code 2, without a traceback.
    """


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C in a run that can be resumed from its run directory, `run_dir`."""

    def __init__(self, run_dir: str) -> None:
        super().__init__(run_dir)
        self.run_dir = run_dir


def invalid(key: str, value: Any, source: str, allowed: str) -> InputError:
    """Return the error for a value that is not allowed: what, where, what is."""
    return InputError(f"{key}={shown(value)} ({source}): must be {allowed}")


def shown(value: Any) -> str:
    """Return a value as a sentence can hold it: in one line, and not endless."""
    try:
        text = " ".join(str(value).split())
    except ValueError:  # Python writes no integer of more than 4,300 digits
        text = "(too many digits)"
    return text if len(text) <= 200 else f"{text[:200]}..."


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ' (did you mean X?)' for the known name nearest to `name`, or ''."""
    by_folded = {k.casefold(): k for k in known}
    found = difflib.get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.6)
    return f" (did you mean {by_folded[found[0]]}?)" if found else ""
