"""Finds the YAML files that are shipped with the package, and reads their comments."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

SPELLED = {"HLRPP": "HLR++", "MFALS": "MF-ALS"}  # models whose file and class cannot be named as they are
COMMENT = re.compile(r"^([\w-]+):.*? # \((.*?)\) +(.*)$", re.M)  # key: value  # (what it may be) meaning


def shipped(package: str, *names: str) -> Path:
    """Return the path of a shipped file: `shipped("properties", "model", "HLR.yaml")`.

    `package` is `properties` or `datasets`; works for a wheel and for an editable install.
    """
    return Path(str(files(f"recbole_hlr.{package}"))).joinpath(*names)


def comments(file: Path) -> dict[str, tuple[str, str]]:
    """Return what the comments in a file of defaults say: what each option may be, and what it means."""
    return {
        name: (kind, meaning) for name, kind, meaning in COMMENT.findall(file.read_text(encoding="utf-8"))
    }
