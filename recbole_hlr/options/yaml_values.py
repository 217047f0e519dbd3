"""Values as users write them in YAML: read safely, never evaluated, and written to be read back."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from recbole_hlr.errors import InputError
from recbole_hlr.protocols import Values

UNCONSTRUCTED = (
    "tag:yaml.org,2002:merge",
    "tag:yaml.org,2002:value",
)  # the keys << and =, no values of their own

# What PyYAML raises for a text that is no YAML: the latter for a tag that does not fit its value, for a
# number that is too large, and for brackets within brackets within brackets.
NO_YAML = (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError, RecursionError)


class ConfigLoader(yaml.SafeLoader):
    """Safe YAML: as in RecBole 1e-3 is a number; no key stands twice, and nothing contains itself."""

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        """Refuse an alias of a node that is not whole yet, which would contain itself."""
        alias = self.peek_event() if self.check_event(yaml.AliasEvent) else None
        node = super().compose_node(parent, index)
        if alias and node is not None and node.end_mark is None:
            raise yaml.composer.ComposerError(
                None, None, f"the value of &{alias.anchor} contains itself", alias.start_mark
            )
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a mapping with a key given twice; what `<<` brings may be overridden."""
        node = super().compose_mapping_node(anchor)
        scalars = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        keys = [key.value if key.tag in UNCONSTRUCTED else self.construct_object(key) for key in scalars]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.composer.ComposerError(None, None, f"key {key!r} is given twice", node.start_mark)
        return node


class ConfigDumper(yaml.SafeDumper):
    """YAML that `ConfigLoader` reads back: a text that looks like its numbers stands in quotes."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        """Escape the line ends of Unicode, which would be read back as a space."""
        style = '"' if re.search("[\x85\u2028\u2029]", data) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


ConfigDumper.add_representer(str, ConfigDumper.represent_str)

for kind in (ConfigLoader, ConfigDumper):
    kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?(\d[\d_]*)?\.?\d+[eE][-+]?\d+$"),
        list("-+0123456789."),
    )


def dump_yaml(value: object, **style: Any) -> str:
    """Return a value as YAML that `ConfigLoader` reads back."""
    return yaml.dump(value, Dumper=ConfigDumper, allow_unicode=True, **style)


def one_line(value: object) -> str:
    """Return a value as YAML in one line, as a command line can hold it."""
    text = dump_yaml(value, default_flow_style=True, width=2**30)
    return text.strip().removesuffix("...").strip()  # with which a plain scalar ends


def load_yaml(path: str | Path) -> Values:
    """Return the mapping that a YAML file holds; `InputError` says what is wrong with the file."""
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=ConfigLoader)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as a UTF-8 text file: {error}") from None
    except NO_YAML as error:
        where = " ".join(str(error).split())
        raise InputError(f"{path}: is not valid YAML: {where}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: must hold `key: value` lines, not a {type(values).__name__}")
    for key in values:
        if not isinstance(key, str):
            raise InputError(f"{path}: key {key} must be a text; write it in quotes")
    return values


def parse_scalar(text: str) -> Any:
    """Return the value of a command-line text as YAML reads it; `[10,inf)` and the like stay text."""
    if text == "None":  # RecBole's habit
        return None
    try:
        return yaml.load(text, Loader=ConfigLoader)
    except NO_YAML:
        return text


def plain(value: object) -> Any:
    """Return a keyword's value as YAML would have it: paths as text, numpy's numbers as Python's, lists."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def as_list(value: object) -> list[Any]:
    """Return the entries of an option that may be a list or a single entry."""
    return value if isinstance(value, list) else [value]
