"""Options as a command line holds them, in the form --key=value or --key value."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_hlr.errors import InputError
from recbole_hlr.options.table import TABLE
from recbole_hlr.options.yaml_values import dump_yaml, parse_scalar
from recbole_hlr.protocols import Values

COMMAND_LINE = "command line"  # where a value came from, in messages
TEXT_ENDINGS = ("_FIELD", "_PREFIX", "_SUFFIX", "_path", "_dir", "_separator")  # of RecBole's names
PATH_ENDINGS = ("_path", "_dir")
DASHED_KEYS = frozenset({"time-aware"})  # RecBole's own spelling


def is_text(key: str) -> bool:
    """Say whether an option is always text, such as a path or a name, whatever YAML would make of it."""
    return TABLE[key].text if key in TABLE else key.endswith(TEXT_ENDINGS)


def is_path(key: str) -> bool:
    """Say whether an option names a file or a folder, in which a leading ~ is the home directory."""
    return TABLE[key].path if key in TABLE else key.endswith(PATH_ENDINGS)


def file_names(value: Any) -> list[str]:
    """Return the names in an option `config_files`: a list, or a text with spaces or a list of YAML."""
    if isinstance(value, str):
        value = parse_scalar(value) if value.startswith("[") else value
        value = value.split() if isinstance(value, str) else value
    return [str(name) for name in value or []]


def config_files_word(files: Sequence[str | Path]) -> str:
    """Return the argument `--config_files=...` that is read back as `files`, spaces in them included.

    It is not quoted yet: `shlex.join` makes it one word of a command.
    """
    names = [str(file) for file in files]
    word = f"--config_files={' '.join(names)}"
    if file_names(parse_arguments([word])["config_files"]) == names:
        return word
    listed = dump_yaml(names, default_style='"', default_flow_style=True, width=2**30)
    return f"--config_files={listed.strip()}"


def take_word(arguments: Sequence[str], name: str) -> tuple[str, list[str]]:
    """Return the one argument that is no option, called `name` in messages, and the options."""
    words, options = [], []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        options.append(word)
        if "=" not in word and rest:
            options.append(rest.pop(0))
    if len(words) != 1:
        given = f"are {', '.join(words)}" if words else "is missing"
        raise InputError(name, f"{given}; must be one", place=COMMAND_LINE)
    return words[0], options


def parse_arguments(arguments: Sequence[str]) -> Values:
    """Return the options in `--key=value` and `--key value` form; `InputError` for anything else.

    A dash in a key is as good as an underscore.
    """
    options: Values = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not re.match(r"--[A-Za-z]", word):
            raise InputError(word, "must be --key=value or --key value", place=COMMAND_LINE)
        key, equals, text = word[2:].partition("=")
        key = key if key in DASHED_KEYS else key.replace("-", "_")
        if not equals:
            if not rest or re.match(r"--[A-Za-z]", rest[0]):
                raise InputError(
                    f"--{key}", f"a value must follow, as in --{key}=value", place=COMMAND_LINE, option=key
                )
            text = rest.pop(0)
        if is_text(key) and not text:
            raise InputError(f"--{key}", "must not be empty", place=COMMAND_LINE, option=key)
        value = parse_scalar(text) if not is_text(key) or text in ("None", "null") else text
        if is_path(key):
            value = value and os.path.expanduser(value)
        if key in options and options[key] != value:
            raise InputError(
                f"--{key}", f"is given twice, as {options[key]} and {value}", place=COMMAND_LINE, option=key
            )
        options[key] = value
    return options
