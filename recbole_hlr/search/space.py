"""Search spaces: what may be tried for which option, read from YAML or from RecBole's `hyper.test`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from recbole_hlr.errors import InputError, nearest
from recbole_hlr.files import is_file
from recbole_hlr.options.kinds import is_finite
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.yaml_values import load_yaml, parse_scalar
from recbole_hlr.search.numbers import LISTS, RANGES, rule_of

KINDS = (*LISTS, *RANGES)
DEFAULT_SPACE = "wide"
LARGEST_EXPONENT = 700  # of hyper.test's loguniform: exp(710) is more than a float holds


@dataclass(frozen=True)
class Dimension:
    """One option and the values that a search may give it.

    `key` may name an entry of a mapping: `train_neg_sample_args.sample_num`. `kind` and `numbers`:
    choice or grid [values]; uniform or loguniform [low, high]; quniform [low, high, step];
    randint [low, high), integers below high.
    """

    key: str
    kind: str
    numbers: tuple[Any, ...]

    def distribution(self) -> BaseDistribution:
        """Return what Optuna draws from; lists are drawn by index, for their values may be of any type."""
        if self.kind in LISTS:
            return CategoricalDistribution(tuple(range(len(self.numbers))))
        low, high = self.numbers[:2]
        if self.kind == "randint":
            return IntDistribution(low, high - 1)
        if self.kind == "quniform":
            low, high, step = (Decimal(str(number)) for number in self.numbers)  # 0.9 is 3 * 0.3
            high = low + step * ((high - low) // step)
            if all(isinstance(number, int) for number in self.numbers):
                return IntDistribution(int(low), int(high), step=int(step))
            return FloatDistribution(float(low), float(high), step=float(step))
        return FloatDistribution(low, high, log=self.kind == "loguniform")

    def decode(self, drawn: Any) -> Any:
        """Return the option's value for what was drawn from `distribution`."""
        return self.numbers[drawn] if self.kind in LISTS else drawn

    def encode(self, value: Any) -> Any:
        """Return what `decode` makes `value` of, or None where the value lies outside."""
        if self.kind in LISTS:
            found = [i for i, known in enumerate(self.numbers) if is_same(known, value)]
            return found[0] if found else None
        distribution = self.distribution()
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        low, high, step = distribution.low, distribution.high, distribution.step or 0
        if not is_finite(value) or not low - step <= value <= high + step:
            return None
        if not step:
            return float(value)
        index = round((value - low) / step)
        return (
            low + index * step if index < self.count() and math.isclose(low + index * step, value) else None
        )

    def count(self) -> float:
        """Return the number of values; infinity where they cannot be listed."""
        if self.kind in LISTS:
            return len(self.numbers)
        distribution = self.distribution()
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        if not distribution.step:
            return math.inf
        return round((distribution.high - distribution.low) / distribution.step) + 1

    def value(self, place: int) -> Any:
        """Return one value, by its place, of a dimension with a finite `count`."""
        if self.kind in LISTS:
            return self.numbers[place]
        distribution = self.distribution()
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        assert distribution.step
        return distribution.low + place * distribution.step

    def probes(self) -> list[Any]:
        """Return the values that must be allowed for all values to be: the listed ones, or the ends."""
        if self.kind in LISTS:
            return list(self.numbers)
        distribution = self.distribution()
        assert isinstance(distribution, FloatDistribution | IntDistribution)
        return [distribution.low, distribution.high]


Space = tuple[Dimension, ...]
ABSENT = object()  # in the place of a value that is not there


def is_same(one: Any, other: Any) -> bool:
    """Say whether two values are equal and a truth value is not taken for a number."""
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def find_space(name: str | Path | None, model: str) -> Space:
    """Return a space: a shipped one of the model by its name, or a file, `FILE` or `FILE#NAME`.

    A file ending in .yaml or .yml holds lines `key: {kind: [...]}`, or several such spaces by name;
    any other file is read as RecBole's `hyper.test`. Raises `InputError`.
    """
    name = str(name or DEFAULT_SPACE)
    path, _, part = name.partition("#")
    if Path(path).suffix or "/" in path or is_file(path):
        if Path(path).suffix in (".yaml", ".yml"):
            return read_space(load_yaml(path), path, part)
        return read_lines(path)
    file = shipped("properties", "search", f"{model}.yaml")
    if not file.is_file():
        raise InputError(f"space={name}: {model} has no shipped space; give a file with --space=FILE")
    return read_space(load_yaml(file), f"search/{file.name}", name)


def read_space(content: Mapping[str, Any], source: str, name: str = "") -> Space:
    """Return the space that a YAML file's `content` is, or has under `name`."""
    if holds_names(content):
        if name not in content:
            raise InputError(
                f"space={name}",
                f"must be one of {', '.join(content)}"
                + ("" if name else f"; write {source}#{next(iter(content))}"),
                place=source,
                option="space",
                value=name,
            )
        content = content[name]
    elif name:
        raise InputError(
            f"space={name}",
            "the file holds one space, which has no name",
            place=source,
            option="space",
            value=name,
        )
    return make_space(content, source)


def holds_names(content: Mapping[str, Any]) -> bool:
    """Say whether a file has spaces by name: mappings of lines, one of them at least with a known kind."""
    inner = [value for value in content.values() if isinstance(value, dict) and not set(value) & set(KINDS)]
    lines = [line for value in inner for line in value.values() if isinstance(line, dict)]
    return len(inner) == len(content) and any(set(line) & set(KINDS) for line in lines)


def make_space(content: Mapping[str, Any], source: str) -> Space:
    """Return the space of lines `key: {kind: [...]}`; `InputError` names the first wrong one."""
    space = []
    for key, line in content.items():
        if not isinstance(key, str):
            raise InputError(f"{key}: {line}", "must begin with an option's name", place=source)
        if not isinstance(line, dict) or len(line) != 1 or next(iter(line)) not in KINDS:
            known = isinstance(line, dict) and set(line) & set(KINDS)
            hint = nearest(str(next(iter(line), "")), KINDS) if isinstance(line, dict) and not known else ""
            raise InputError(
                f"{key}: {line}",
                f"must be {{kind: [...]}}, with kind one of {', '.join(KINDS)}{hint}",
                place=source,
                option=key,
                value=line,
            )
        kind, numbers = next(iter(line.items()))
        rule = rule_of(kind, numbers)
        if rule:
            raise InputError(
                f"{key}: {{{kind}: {numbers}}}", f"must {rule}", place=source, option=key, value=line
            )
        space.append(Dimension(key, kind, tuple(numbers)))
    if not space:
        raise InputError(f"{source}: the space is empty; must have lines key: {{choice: [...]}}")
    return tuple(space)


def read_lines(file: str) -> Space:
    """Return the space of a file in RecBole's `hyper.test` form, `key kind values`; nothing is evaluated.

    As there, the ends of loguniform are natural logarithms; where every line is a choice, RecBole
    tries all combinations, and so the choices become `grid`.
    """
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:  # ValueError: no UTF-8, or a NUL in the name
        raise InputError(f"space={file}: cannot be read as a text file ({error})") from None
    content: dict[str, Any] = {}
    for number, line in enumerate(lines, start=1):
        words = line.split("#")[0].split(maxsplit=2)
        if not words:
            continue
        if len(words) < 3 or words[1] not in ("choice", *RANGES):
            raise InputError(
                f"{file}, line {number}: must be `key kind values`, "
                f"with kind one of choice, {', '.join(RANGES)}"
            )
        key, kind, text = words
        if key in content:
            raise InputError(f"{file}, line {number}: {key} is given twice")
        numbers = parse_scalar(text if kind == "choice" else f"[{text}]")
        if kind == "loguniform" and isinstance(numbers, list):
            if not all(is_finite(n) and abs(n) <= LARGEST_EXPONENT for n in numbers):
                raise InputError(
                    f"{file}, line {number}: loguniform {text}: must have natural logarithms, numbers "
                    f"from -{LARGEST_EXPONENT} to {LARGEST_EXPONENT}"
                )
            numbers = [math.exp(n) for n in numbers]
        content[key] = {kind: numbers}
    if all("choice" in line for line in content.values()):
        content = {key: {"grid": line["choice"]} for key, line in content.items()}
    return make_space(content, file)


def as_content(space: Space) -> dict[str, Any]:
    """Return the plain mapping that `make_space` makes the space of."""
    return {dimension.key: {dimension.kind: list(dimension.numbers)} for dimension in space}


def put(options: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return `options` with `values` in their place; `a.b` is the entry b of the mapping a."""
    changed = dict(options)
    for key, value in values.items():
        outer, dot, inner = key.partition(".")
        changed[outer] = {**(changed.get(outer) or {}), inner: value} if dot else value
    return changed


def take(options: Mapping[str, Any], key: str) -> Any:
    """Return the value that `put` would replace; `ABSENT` where there is none."""
    outer, dot, inner = key.partition(".")
    value = options.get(outer, ABSENT)
    if dot:
        return value.get(inner, ABSENT) if isinstance(value, dict) else ABSENT
    return value


optuna.logging.set_verbosity(optuna.logging.ERROR)
