"""Models of others: `package.module:Class`, with options of their own on the class or in a file beside it."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

from recbole.model.abstract_recommender import AbstractRecommender

from recbole_hlr.errors import InputError, invalid, nearest
from recbole_hlr.options.kinds import LIMITS
from recbole_hlr.options.yaml_values import load_yaml

HOMES = ("recbole.", "recbole_hlr.")  # where models are known by their class's name


def is_guest(model_class: type) -> bool:
    """Say whether a model is neither this package's nor RecBole's."""
    return not model_class.__module__.startswith(HOMES)


def name_of(model_class: type) -> str:
    """Return the name by which a model is found again: its class's, with its module where it is a guest."""
    if is_guest(model_class):
        return f"{model_class.__module__}:{model_class.__qualname__}"
    return model_class.__name__


def find_guest(name: str) -> type:
    """Return the class that `package.module:Class` names, from the working directory too."""
    module_name, _, class_name = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # a console script does not look there
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module's own need
        raise InputError(
            f"model={name}: there is no module {module_name}; must be package.module:Class, importable here"
        ) from None
    except (ValueError, TypeError):  # an empty name, or one with dots before it
        raise InputError(f"model={name}: must be package.module:Class") from None
    found: Any = module
    for part in class_name.split("."):
        found = getattr(found, part, None)
    if is_model(found):
        return found
    known = [key for key, value in vars(module).items() if is_model(value)]
    raise InputError(f"model={name}: {module_name} has no model {class_name}{nearest(class_name, known)}")


def is_model(value: Any) -> TypeGuard[type]:
    """Say whether a value is the class of a model."""
    return isinstance(value, type) and issubclass(value, AbstractRecommender)


def home_of(model_class: type) -> type:
    """Return the nearest class of this package or of RecBole that a model derives from."""
    return next(one for one in model_class.__mro__ if not is_guest(one))


def own_options(model_class: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return where a guest's options stand, and their defaults, those of the classes it derives from first.

    A class declares them as `default_options = {"pull": 0.1}`, or in `Class.yaml` beside its module.
    """
    for one in reversed(model_class.__mro__):
        if one.__module__ == "builtins" or not is_guest(one):
            continue
        file = source_folder(one) / f"{one.__name__}.yaml"
        if file.is_file():
            yield str(file), load_yaml(file)
        if "default_options" in vars(one):
            yield f"{name_of(one)}.default_options", dict(vars(one)["default_options"])


def source_folder(model_class: type) -> Path:
    """Return the folder of a class's module; the working directory where it has no file, as in a notebook."""
    try:
        return Path(inspect.getfile(model_class)).parent
    except (OSError, TypeError):
        return Path()


def limits_of(model_class: type) -> Mapping[str, str]:
    """Return the ranges of a guest's numbers, declared as `option_limits = {"pull": ">= 0"}`."""
    limits: dict[str, str] = {}
    for one in reversed(model_class.__mro__):
        limits.update(vars(one).get("option_limits", {}))
    for key, limit in limits.items():
        if limit not in LIMITS:
            allowed = "one of " + ", ".join(filter(None, LIMITS))
            raise invalid(key, limit, f"{name_of(model_class)}.option_limits", allowed)
    return limits
