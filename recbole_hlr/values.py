"""Values as users write them: YAML files and command lines, read safely, never evaluated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from recbole_hlr.errors import InputError

COMMAND_LINE = "command line"  # where a value came from, in messages


class ConfigLoader(yaml.SafeLoader):
    """Safe YAML in which, as in RecBole, 1e-3 is a number, and in which no key stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a mapping with a key given twice."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {key!r} is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


ConfigLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*)?\.?\d+[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; `InputError` says what is wrong with the file."""
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=ConfigLoader)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a UTF-8 text file: {error}") from None
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())
        raise InputError(f"{path}: is not valid YAML: {where}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold `key: value` lines, not a {type(values).__name__}")
    return values


def parse_scalar(text: str) -> Any:
    """Return the value of a command-line text as YAML reads it; `[10,inf)` and the like stay text."""
    if text == "None":  # RecBole's habit
        return None
    try:
        return yaml.load(text, Loader=ConfigLoader)
    except yaml.YAMLError:
        return text


def parse_arguments(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options in `--key=value` and `--key value` form; `InputError` for anything else."""
    options: dict[str, Any] = {}
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if not re.match(r"--[A-Za-z]", word):
            raise InputError(f"{word} ({COMMAND_LINE}): must be --key=value or --key value")
        key, equals, text = word[2:].partition("=")
        if not equals:
            if not rest or re.match(r"--[A-Za-z]", rest[0]):
                raise InputError(f"--{key} ({COMMAND_LINE}): a value must follow, as in --{key}=value")
            text = rest.pop(0)
        value = parse_scalar(text)
        if key in options and options[key] != value:
            raise InputError(f"--{key} ({COMMAND_LINE}): is given twice, as {options[key]} and {value}")
        options[key] = value
    return options
