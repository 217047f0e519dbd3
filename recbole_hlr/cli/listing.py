"""The options of a model and of every run, as a person looks them up; nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from recbole_hlr.errors import InputError, nearest
from recbole_hlr.options.kinds import option_like
from recbole_hlr.options.shipped import (
    SPELLED,
    comments,
    host_file,
    objective_file,
    objectives,
    shared_files,
    shipped,
)
from recbole_hlr.options.table import TABLE, UNREAD, Entry
from recbole_hlr.options.yaml_values import load_yaml, one_line


class Described(NamedTuple):
    """One option: its default, what it may be, what it means and whose it is."""

    name: str
    default: str
    kind: str
    meaning: str
    source: str = ""

    def row(self) -> tuple[str, str]:
        """Return the two columns of a list."""
        kind = f"({self.kind}) " if self.kind else ""
        source = f" [{self.source}]" if self.source else ""
        return f"--{self.name}={self.default}", f"{kind}{self.meaning}{source}"


def sections(model: str | None) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Return titles and rows: the options of a model, where one is named, and of every run."""
    if model:
        for title, options in grouped(model).items():
            yield title, [one.row() for one in options]
    yield "Options of every run", [one.row() for one in of_every_run()]
    if not model:
        yield "Options of a model", [("--model=NAME --help", "lists those of that model, too")]


def search(words: list[str], model: str | None) -> str:
    """Return a table of the options whose name or meaning holds all `words`; `InputError` for none.

    Those of every run and of a model; where none is named, of all of this package's.
    """
    from tabulate import tabulate

    found = {one.name: one for one in of_every_run()}
    for name in [model] if model else [path.stem for path in shipped("properties", "model").glob("*.yaml")]:
        for options in grouped(name).values():
            found.update({one.name: one for one in options if model or one.name not in found})
    sought = [word.casefold().replace("-", "_") for word in words]
    rows = [
        [one.name, one.default, one.kind, one.meaning, one.source]
        for one in found.values()
        if all(word in f"{one.name} {one.meaning}".casefold() for word in sought)
    ]
    if not rows:
        asked = " ".join(words)
        hint = nearest(asked, found)
        raise InputError(f"{asked} (command line): no option has it in its name or meaning{hint}")
    return tabulate(
        rows, ["option", "default", "may be", "meaning", "from"], maxcolwidths=[None, 20, 26, 46, 8]
    )


def names(model: str | None) -> list[str]:
    """Return the names of the options of every run and, where it is known, of a model."""
    found = of_every_run()
    with contextlib.suppress(InputError):
        found += [one for options in grouped(model).values() for one in options] if model else []
    return list(dict.fromkeys(one.name for one in found))


def told_of(name: str) -> str:
    """Return what an option of the table may be, and what it means."""
    entry = TABLE[name]
    kind = f"({entry.option.allowed}) " if entry.option else ""
    return kind + (entry.meaning or comments(shipped("properties", "overall.yaml"))[name][1])


def of_every_run() -> list[Described]:
    """Return the options of training, evaluation, data and the machine, ours in place of RecBole's."""
    found: dict[str, Described] = {}
    for file in shared_files():
        found.update({one.name: one for one in described(file)})
    return [one for one in found.values() if one.name in TABLE and TABLE[one.name].belongs != UNREAD]


def models() -> list[str]:
    """Return the names of the plugin's models, as the paper spells them, and of RecBole's models."""
    files = ((path.parent, path.stem) for path in model_files().values() if path)
    ours = sorted(
        SPELLED.get(stem, stem) for folder, stem in files if folder == shipped("properties", "model")
    )
    return list(dict.fromkeys([*ours, *sorted(name for name in model_files() if name not in SPELLED)]))


def model_files() -> dict[str, Path | None]:
    """Return the YAML file of every general recommender by its class's name; None where it has no options."""
    hosts = host_file("..", "model", "general_recommender").glob("[a-z]*.py")
    general = {path.stem for path in hosts}
    stems = {path.stem: path for path in host_file("model").glob("*.yaml") if path.stem.lower() in general}
    ours = {path.stem: path for path in shipped("properties", "model").glob("*.yaml")}
    return {"Random": None, **stems, **ours}


def grouped(model: str) -> dict[str, list[Described]]:
    """Return by their title the options of a model, and of each objective that it can be trained by."""
    groups = {f"Options of {model}": of_model(model)}
    file = file_of(home_name(model))
    for name in objectives(file) if file else []:
        groups[f"Options of objective={name}"] = described(objective_file(name))
    return groups


def of_model(model: str) -> list[Described]:
    """Return the options of a model, RecBole's models included; `InputError` for no model."""
    if ":" in model:
        return of_guest(model)
    file = file_of(model)
    return described(file) if file else []


def file_of(model: str) -> Path | None:
    """Return the YAML file of a model, None where it has no options; `InputError` for no model."""
    files = model_files()
    known = {name.casefold(): file for name, file in files.items()}
    known.update({name.casefold(): files[stem] for stem, name in SPELLED.items()})
    if model.casefold() not in known:
        raise InputError(
            f"model={model} (command line): is not known{nearest(model, [*files, *SPELLED.values()])}"
        )
    return known[model.casefold()]


def home_name(model: str) -> str:
    """Return the name of the known model that `package.module:Class` derives from; of others, their own."""
    if ":" not in model:
        return model
    from recbole_hlr.model.guest import find_guest, home_of

    return home_of(find_guest(model)).__name__


def of_guest(name: str) -> list[Described]:
    """Return the options of `package.module:Class`, which is imported for it."""
    from recbole_hlr.model.guest import find_guest, home_of, limits_of, own_options

    model_class = find_guest(name)
    found = {one.name: one for one in of_model(home_of(model_class).__name__)}
    limits = limits_of(model_class)
    for place, values in own_options(model_class):
        said = {one.name: one for one in described(Path(place))} if Path(place).is_file() else {}
        for key, value in values.items():
            option = option_like(value, limits.get(key, ""))
            kind = option.allowed if option else type(value).__name__
            found[key] = said.get(key, Described(key, one_line(value), kind, f"of {place}"))
    return list(found.values())


def described(file: Path) -> list[Described]:
    """Return the options in a file of defaults, as the table and the file's comments describe them."""
    said = comments(file)
    return [describe(key, value, *said.get(key, ("", ""))) for key, value in load_yaml(file).items()]


def describe(name: str, default: Any, kind: str, meaning: str) -> Described:
    """Return an option as the table has it, and in the words beside its default where the table has none."""
    entry = TABLE.get(name, Entry("", name, source=""))
    told = entry.option or option_like(default)
    return Described(
        name, one_line(default), told.allowed if told else kind, entry.meaning or meaning, entry.source
    )
