"""What a user's mistake, and a user's Ctrl-C, end in, and how a mistake is told."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable
from typing import Any


class InputError(ValueError):
    """Input that is wrong: one sentence with what was given, where, and what is allowed.

    The command line prints the sentence and exits with code 2, without a traceback. `given` is what it begins
    with, or all of it; `place` follows in brackets, and `rule` after a colon. `option`, `value` and `allowed`
    say the same to a program, as far as they are known.
    """

    def __init__(
        self,
        given: str,
        rule: str = "",
        *,
        place: str = "",
        option: str | None = None,
        value: Any = None,
        allowed: str | None = None,
    ) -> None:
        super().__init__(given)  # all that a copy, or another process, makes it of anew; fields come along
        self.given, self.rule, self.place = given, rule, place
        self.option, self.value, self.allowed = option, value, allowed

    def __str__(self) -> str:
        where = f" ({self.place})" if self.place else ""
        return f"{self.given}{where}" + (f": {self.rule}" if self.rule else "")

    def at(self, place: str) -> InputError:
        """Return the same mistake, made elsewhere; where `place` is empty, its sentence names none."""
        moved = copy.copy(self)
        moved.place = place
        return moved

    def within(self, whole: str) -> InputError:
        """Return the same mistake as one in a `whole`, a file or a space, with which its sentence begins."""
        moved = copy.copy(self)
        moved.given = f"{whole}: {self.given}"
        return moved


class UnknownOption(InputError):
    """An option that there is not: `known` are those among which the nearest is looked for."""

    known: tuple[str, ...] = ()

    @classmethod
    def of(cls, option: str, place: str, owner: str, known: Iterable[str]) -> UnknownOption:
        """Return the error for an option that `owner` does not have."""
        error = cls(option, f"is no option of {owner}", place=place, option=option)
        error.known = tuple(known)
        return error

    def __str__(self) -> str:
        return super().__str__() + nearest(str(self.option), self.known)


class RunInterrupted(KeyboardInterrupt):
    """Ctrl-C in a run that can be resumed from its run directory, `run_dir`."""

    def __init__(self, run_dir: str) -> None:
        super().__init__(run_dir)
        self.run_dir = run_dir


def invalid(key: str, value: Any, source: str, allowed: str) -> InputError:
    """Return the error for a value that is not allowed: what, where, what is."""
    return InputError(
        f"{key}={shown(value)}",
        f"must be {allowed}",
        place=source,
        option=key,
        value=value,
        allowed=allowed,
    )


def fixed(key: str, value: Any, source: str, what: str, free: Iterable[str] = ()) -> InputError:
    """Return the error for an option that cannot change in `what`, where only those that are `free` can."""
    others = ", ".join(free)
    rule = f"cannot change in {what}" + (f"; only {others} can" if others else "")
    return InputError(f"{key}={value}", rule, place=source, option=key, value=value)


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
