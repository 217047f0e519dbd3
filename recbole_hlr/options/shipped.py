"""Finds the YAML files with defaults, the package's and RecBole's, and reads their comments."""

from __future__ import annotations

import importlib.util
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


def host_file(*names: str) -> Path:
    """Return the path of a file, or folder, of RecBole's defaults; RecBole itself is not imported."""
    found = importlib.util.find_spec("recbole")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent.joinpath("properties", *names)


def objective_file(name: str) -> Path:
    """Return the file with the defaults of an objective: triplet or softmax."""
    return shipped("properties", "objective", f"{name}.yaml")


def objectives(model_file: Path) -> list[str]:
    """Return what the model of a file of defaults can be trained by: a choice of metric models alone."""
    if "\nmax_norm:" not in model_file.read_text(encoding="utf-8"):
        return []
    return sorted(path.stem for path in shipped("properties", "objective").glob("*.yaml"))


def default_objective() -> str:
    """Return the objective that metric models are trained by where nothing is said."""
    text = shipped("properties", "overall.yaml").read_text(encoding="utf-8")
    found = re.search(r"^objective: (\w+)", text, re.M)
    assert found is not None
    return found[1]


def shared_files() -> list[Path]:
    """Return the files with the defaults of all models, the later ones winning."""
    return [
        host_file("overall.yaml"),
        host_file("dataset", "sample.yaml"),
        shipped("properties", "overall.yaml"),
    ]


def comments(file: Path) -> dict[str, tuple[str, str]]:
    """Return what the comments in a file of defaults say: what each option may be, and what it means."""
    return {
        name: (kind, meaning) for name, kind, meaning in COMMENT.findall(file.read_text(encoding="utf-8"))
    }
