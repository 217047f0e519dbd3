"""Which name means which model: the plugin's first, then RecBole's general recommenders."""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil

from recbole.utils import ModelType

from recbole_hlr.errors import InputError, nearest
from recbole_hlr.host import recbole as compat
from recbole_hlr.model import MODELS, MetricRecommender
from recbole_hlr.model.guest import find_guest


def host_models() -> dict[str, type]:
    """Return RecBole's general recommenders by name (importing them all takes a while)."""
    from recbole.model import general_recommender

    return {
        name: value
        for name, value in inspect.getmembers(general_recommender, inspect.isclass)
        if getattr(value, "type", None) in (ModelType.GENERAL, ModelType.TRADITIONAL)
        and name not in compat.REFUSED_MODELS
    }


def is_ours(model_class: type) -> bool:
    """Say whether a class is one of the plugin's models, or derives from one."""
    return issubclass(model_class, tuple(set(MODELS.values())))


def is_metric(model_class: type) -> bool:
    """Say whether a class is a metric model, which learns from triplets; MF-ALS is none."""
    return issubclass(model_class, MetricRecommender)


def other_kind(name: str) -> str | None:
    """Return which of RecBole's other kinds of models has one of that name; none of them is imported."""
    for kind in ("sequential", "context_aware", "knowledge_aware", "exlib"):
        package = importlib.util.find_spec(f"recbole.model.{kind}_recommender")
        folders = package.submodule_search_locations if package else None
        if name.casefold() in {module.name for module in pkgutil.iter_modules(folders)}:
            return kind.replace("_", "-").replace("exlib", "decision tree")
    return None


def find_model(name: object) -> type:
    """Return the model class of a name, in any case of letters, or of `package.module:Class`.

    Raises `InputError`, which names the nearest.
    """
    if ":" in str(name):
        return find_guest(str(name))
    ours = {key.casefold(): value for key, value in MODELS.items()}
    if str(name).casefold() in ours:
        return ours[str(name).casefold()]
    hosts = host_models()
    by_folded = {key.casefold(): value for key, value in hosts.items()}
    if str(name).casefold() in by_folded:
        return by_folded[str(name).casefold()]
    for refused, reason in compat.REFUSED_MODELS.items():
        if str(name).casefold() == refused.casefold():
            raise InputError(f"model={name}: {reason}")
    kind = other_kind(str(name))
    if kind:
        raise InputError(f"model={name}: is a {kind} model of RecBole; only general recommenders run here")
    known = [*MODELS, *sorted(hosts)]
    raise InputError(f"model={name}: is not known{nearest(str(name), known)}; known are {', '.join(known)}")
