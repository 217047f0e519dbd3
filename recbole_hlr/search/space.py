"""Search spaces: what may be tried for which option, read from YAML or from RecBole's `hyper.test`."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from recbole_hlr.errors import InputError, invalid, nearest, shown
from recbole_hlr.files import is_file
from recbole_hlr.options.kinds import Option, is_finite, is_integer
from recbole_hlr.options.protocol import SOFTMAX, TRIPLET
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.yaml_values import load_yaml, parse_scalar

DEFAULT = {TRIPLET: "wide", SOFTMAX: "softmax"}  # by objective
LARGEST = 2**53  # of the integers in a range: up to it, Optuna's floats hold them all
LARGEST_EXPONENT = 700  # of hyper.test's loguniform: exp(710) is more than a float holds


def is_listed(values: Any) -> bool:
    """Say whether values come back from the record as they were: no NaN, no date, nothing within itself."""
    try:
        same = json.loads(json.dumps(values, allow_nan=False)) == values
    except (TypeError, ValueError, RecursionError):
        return False
    return bool(same and values) and isinstance(values, list)


def is_range(numbers: Any, count: int = 2, least: float = -math.inf) -> bool:
    """Say whether these are `count` numbers that Optuna can draw between, `least` < low < high."""
    if not isinstance(numbers, list) or len(numbers) != count or not all(map(is_finite, numbers)):
        return False
    if any(is_integer(n) and abs(n) > LARGEST for n in numbers) or not least < numbers[0] < numbers[1]:
        return False
    width = numbers[1] - numbers[0]
    return is_finite(width) and all(0 < step <= width <= LARGEST * step for step in numbers[2:])


_LIST = Option("a list of finite numbers, texts, true, false, null, lists or mappings", is_listed)
_ENDS = f"low < high, integers of at most {LARGEST}"
KINDS = {
    "choice": _LIST,
    "grid": _LIST,
    "uniform": Option(f"a list [low, high], two numbers, {_ENDS}", is_range),
    "loguniform": Option(f"a list [low, high], two numbers, 0 < {_ENDS}", lambda v: is_range(v, least=0)),
    "quniform": Option(
        f"a list [low, high, step], three numbers, {_ENDS}, step from 2**-53 of the width to all of it",
        lambda v: is_range(v, 3),
    ),
    "randint": Option(
        f"a list [low, high], two integers, {_ENDS}", lambda v: is_range(v) and all(map(is_integer, v))
    ),
}
LISTS = ("choice", "grid")


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

    @cached_property
    def choices(self) -> dict[str, Any]:
        """The values of a list by their texts."""
        return {text_of(value): value for value in self.numbers} if self.kind in LISTS else {}

    @cached_property
    def distribution(self) -> BaseDistribution:
        """What Optuna draws from; of lists the texts, for values may be of any type."""
        if self.choices:
            return CategoricalDistribution(tuple(self.choices))
        low, high, *step = self.numbers
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that high is moved down to a whole number of steps
            if self.kind == "randint":
                return IntDistribution(low, high - 1)
            if step and all(map(is_integer, self.numbers)):
                return IntDistribution(low, high, step=step[0])
            return FloatDistribution(low, high, log=self.kind == "loguniform", step=step[0] if step else None)

    @property
    def _ends(self) -> tuple[float, float, float | None]:
        assert isinstance(self.distribution, FloatDistribution | IntDistribution)
        return self.distribution.low, self.distribution.high, self.distribution.step

    def decode(self, drawn: Any) -> Any:
        """Return the option's value for what was drawn from `distribution`."""
        if self.choices:
            return self.choices[drawn]
        low, _, step = self._ends
        return self.value(round((drawn - low) / step)) if step else drawn

    def encode(self, value: Any) -> Any:
        """Return what `decode` makes `value` of, or None where the value lies outside."""
        if self.choices:
            return text_of(value) if text_of(value) in self.choices else None
        low, high, step = self._ends
        if not is_finite(value) or not low <= value <= high:
            return None
        return value if not step or value == self.decode(value) else None

    @property
    def count(self) -> float:
        """The number of values; infinity where they cannot be listed."""
        low, high, step = (0, len(self.choices) - 1, 1) if self.choices else self._ends
        return round((high - low) / step) + 1 if step else math.inf

    def value(self, place: int) -> Any:
        """Return one value, by its place, of a dimension with a finite `count`."""
        if self.choices:
            return list(self.choices.values())[place]
        low, _, step = self._ends
        return type(low)(Decimal(str(low)) + place * Decimal(str(step)))  # 0.3, of which 3 * 0.1 is not

    def probes(self) -> list[Any]:
        """Return the values that must be allowed for all values to be: the listed ones, or the ends."""
        return list(self.choices.values()) or list(self._ends[:2])


Space = tuple[Dimension, ...]
ABSENT = object()  # in the place of a value that is not there


def text_of(value: Any) -> str:
    """Return a text that is the same for the same value: 1 and 1.0 are, 1 and true are not."""
    whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if whole else value, sort_keys=True, default=str)


def key_of(values: Mapping[str, Any]) -> str:
    """Return a text that is the same for the same values."""
    return text_of({key: text_of(value) for key, value in values.items()})


def find_space(name: str | Path, model: str) -> Space:
    """Return a space: a shipped one of the model by its name, or a file, `FILE` or `FILE#NAME`.

    A file ending in .yaml or .yml holds lines `key: {kind: [...]}`, or several such spaces by name;
    any other file is read as RecBole's `hyper.test`. Raises `InputError`.
    """
    name = str(name)
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
            hint = "" if name else f"; write {source}#{next(iter(content))}"
            raise invalid("space", name, source, f"one of {', '.join(content)}{hint}")
        return make_space(content[name], source)
    if name:
        raise InputError(f"space={name}", "the file holds one space, which has no name", place=source)
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
            raise InputError(f"{key}: {shown(line)}", "must begin with an option's name", place=source)
        kinds = list(line) if isinstance(line, dict) else []
        if len(kinds) != 1 or kinds[0] not in KINDS:
            hint = nearest(str(kinds[0]), KINDS) if kinds and not set(kinds) & set(KINDS) else ""
            raise invalid(key, line, source, f"{{kind: [...]}}, with kind one of {', '.join(KINDS)}{hint}")
        if not KINDS[kinds[0]].check(line[kinds[0]]):
            raise invalid(key, line, source, f"{{{kinds[0]}: {KINDS[kinds[0]].allowed}}}")
        space.append(Dimension(key, kinds[0], tuple(line[kinds[0]])))
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
        if len(words) < 3 or words[1] not in KINDS or words[1] == "grid":
            raise InputError(
                f"{file}, line {number}: must be `key kind values`, "
                f"with kind one of {', '.join(kind for kind in KINDS if kind != 'grid')}"
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
