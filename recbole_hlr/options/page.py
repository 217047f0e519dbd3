"""The page of all options, docs/options.md, made of the table and of the YAML files with the defaults.

python -m recbole_hlr.options.page > docs/options.md
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from recbole_hlr.options.kinds import option_like
from recbole_hlr.options.shipped import SPELLED, comments, shared_files, shipped
from recbole_hlr.options.table import (
    BENCHMARK,
    COMMAND,
    DATA,
    ENTRIES,
    EVALUATION,
    MACHINE,
    MODEL,
    OF_RUNS,
    SEARCH,
    TRAINING,
    Entry,
)
from recbole_hlr.options.yaml_values import load_yaml, one_line

HEAD = """# Options

Every option is given as `--key=value` on a command line, as a keyword in Python, or as a line `key: value`
of a file that `config_files` names. This page is written by `python -m recbole_hlr.options.page`, from the
table in `recbole_hlr/options/table.py` and the files in `properties/`; change those.

*Default*: where models differ, each value with the models that have it. *Anew*: where a run that is there
takes another value: `resume` (`--resume=RUN_DIR`), `evaluate` (`recbole-hlr evaluate`), `load`
(`recbole_hlr.load`). *Tried*: whether a search may vary it. *From*: who had it first, RecBole, the paper
(Tran et al. 2021), the code released with it, or this package. RecBole's own models have further options,
which RecBole describes; what those may be stands in `recbole_hlr/options/host.py`. More on a search:
[search.md](search.md); on a benchmark: [benchmark.md](benchmark.md).
"""
TITLES = {
    MODEL: "What a model is",
    TRAINING: "How it is trained",
    EVALUATION: "How it is evaluated",
    MACHINE: "Where it runs, and what it shows",
    DATA: "How data are read, filtered and split",
    COMMAND: "What a command is given",
    SEARCH: "Of a search: `recbole-hlr tune`",
    BENCHMARK: "Of a benchmark: `recbole-hlr benchmark`",
}


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(section(group, title) for group, title in TITLES.items())])


def section(group: str, title: str) -> str:
    """Return the table of the options that belong to a group; tabulate would pad every row to the longest."""
    files = model_files()
    rows = [row(entry, files) for entry in ENTRIES if entry.belongs == group]
    columns = ["option", "may be", "default", "anew", "tried", "from", "meaning"]
    if group not in OF_RUNS:  # no file has a default of theirs
        rows = [[r[0], r[1], r[6]] for r in rows]
        columns = ["option", "may be", "meaning"]
    lines = [columns, ["---"] * len(columns), *rows]
    return f"## {title}\n" + "".join(f"\n| {' | '.join(line)} |" for line in lines) + "\n"


def row(entry: Entry, files: dict[str, Path]) -> list[str]:
    """Return the cells of one option."""
    kind, meaning = comment(entry.name, files)
    defaults = defaults_of(entry.name, files)
    if entry.option is not None:
        kind = entry.option.allowed
    elif not kind:
        kind = _kind_of(defaults.values())
    anew = [name for name in ("resume", "evaluate", "load") if getattr(entry, name)]
    return [
        f"`{entry.name}`",
        _cell(kind),
        _cell(told(defaults, len(files))),
        ", ".join(anew),
        "yes" if entry.searched else "",
        entry.source,
        _cell(entry.meaning or meaning),
    ]


def model_files() -> dict[str, Path]:
    """Return the files with the defaults of every model of this package and of what trains them, by name."""
    files = sorted(shipped("properties", "model").glob("*.yaml"))
    objectives = sorted(shipped("properties", "objective").glob("*.yaml"))
    return {
        **{SPELLED.get(file.stem, file.stem): file for file in files},
        **{f"objective={file.stem}": file for file in objectives},
    }


def defaults_of(name: str, files: dict[str, Path]) -> dict[str, Any]:
    """Return the default of an option by model; that of all others stands under ''."""
    shared: dict[str, Any] = {}
    for file in shared_files():
        shared.update(_content(file))
    found = {"": shared[name]} if name in shared else {}
    own = {model: _content(file) for model, file in files.items()}
    return {**found, **{model: values[name] for model, values in own.items() if name in values}}


def told(defaults: dict[str, Any], models: int) -> str:
    """Return defaults in words: a value, or each value with those of all `models` that have it."""
    having: dict[str, list[str]] = {}
    for model, default in defaults.items():
        text = one_line(default)
        having.setdefault(f"`{text}`", []).append(model)
    return "; ".join(
        text if "" in names or len(names) == models else f"{text} ({', '.join(names)})"
        for text, names in having.items()
    )


def comment(name: str, files: dict[str, Path]) -> tuple[str, str]:
    """Return what the comment beside an option's default says that it may be, and that it means."""
    for file in (shipped("properties", "overall.yaml"), *files.values()):
        if name in comments(file):
            return comments(file)[name]
    return "", ""


def _kind_of(defaults: Iterable[Any]) -> str:
    return next((option.allowed for option in map(option_like, defaults) if option is not None), "")


@cache
def _content(file: Path) -> dict[str, Any]:
    return load_yaml(file)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(page(), end="")
