"""HLR and the models it is compared with, as RecBole recommenders.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from recbole_hlr import quick_start
from recbole_hlr.version import __version__

if TYPE_CHECKING:
    from recbole_hlr.errors import InputError
    from recbole_hlr.experiment.assemble import Experiment, prepare
    from recbole_hlr.experiment.evaluate import evaluate
    from recbole_hlr.experiment.result import RunResult
    from recbole_hlr.experiment.run import run
    from recbole_hlr.facts.description import Description, describe
    from recbole_hlr.model import MODELS
    from recbole_hlr.options.shipped import shipped
    from recbole_hlr.recommend.fitted import FittedRecommender
    from recbole_hlr.recommend.load import load
    from recbole_hlr.recommend.updating import Update, update
    from recbole_hlr.search.search import SearchResult, tune

_HOMES = {
    "MODELS": "model",
    "Description": "facts.description",
    "describe": "facts.description",
    "InputError": "errors",
    "Experiment": "experiment.assemble",
    "RunResult": "experiment.result",
    "evaluate": "experiment.evaluate",
    "prepare": "experiment.assemble",
    "run": "experiment.run",
    "FittedRecommender": "recommend.fitted",
    "load": "recommend.load",
    "Update": "recommend.updating",
    "update": "recommend.updating",
    "shipped": "options.shipped",
    "SearchResult": "search.search",
    "tune": "search.search",
}

__all__ = [
    "MODELS",
    "Description",
    "Experiment",
    "FittedRecommender",
    "InputError",
    "RunResult",
    "SearchResult",
    "Update",
    "__version__",
    "describe",
    "evaluate",
    "load",
    "prepare",
    "run",
    "shipped",
    "tune",
    "update",
]


def __getattr__(name: str) -> object:
    """Import what is asked for only then: the host takes seconds to load."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(importlib.import_module(f"recbole_hlr.{_HOMES[name]}"), name)


quick_start.register()
