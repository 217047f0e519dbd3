"""Finds the YAML files that are shipped with the package."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def shipped(package: str, *names: str) -> Path:
    """Return the path of a shipped file: `shipped("properties", "model", "HLR.yaml")`.

    `package` is `properties` or `datasets`; works for a wheel and for an editable install.
    """
    return Path(str(files(f"recbole_hlr.{package}"))).joinpath(*names)
