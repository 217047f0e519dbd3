"""The paper's protocol as a preset: which shipped files it is made of, and what may stand in one table.

Tran et al., Hierarchical Latent Relation Modeling for Collaborative Metric Learning, RecSys 2021
(doi 10.1145/3460231.3474230), section 4, and the settings that its authors released.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recbole_hlr.errors import InputError
from recbole_hlr.files import is_file
from recbole_hlr.options.shipped import objective_file, shipped
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.protocols import Values

STANDARD, PAPER = "standard", "paper"
TRIPLET, SOFTMAX = "triplet", "softmax"  # what metric models are trained by
BOTH = "training_and_validation"  # the parts that are learned from, or attended to
PROTOCOLS = (STANDARD, PAPER)
# Data sets for which the authors published no settings, and the one whose settings they take.
SETTINGS_OF = {"ml-100k": "ml-20m", "ml-1m": "ml-20m"}


def said(values: Values) -> Values:
    """Return options with what they mean unsaid, as those of runs and searches of earlier versions do.

    What has a margin is of triplets; all the options of a model with memories leave these as they are.
    """
    unsaid: Values = {"objective": TRIPLET} if "margin" in values else {}
    if {"model", "num_memories", "max_memory_norm"} <= values.keys():
        unsaid["centre_memories"] = unsaid["orthogonal_memories"] = False
    return {**unsaid, **values}


def other_objective(key: str, own: str) -> str | None:
    """Return the objective, another than a run's `own`, that has the option `key`; None where none has."""
    others = (other for other in (TRIPLET, SOFTMAX) if other != own)
    return next((other for other in others if key in load_yaml(objective_file(other))), None)


def settings_file(model: str, dataset: str) -> str | None:
    """Return the file in properties/ that holds what was published for a model's class and a data set."""
    name = f"paper/{SETTINGS_OF.get(dataset, dataset)}/{model}.yaml"
    return name if is_file(shipped("properties", name)) else None


def protocol_files(protocol: Any, model: str, dataset: str) -> list[str]:
    """Return the files in properties/ that a protocol adds, the later ones winning."""
    if protocol != PAPER:
        return []
    published = settings_file(model, dataset)
    return ["protocol/paper.yaml", *([published] if published else [])]


def describe_settings(model: str, dataset: str) -> str:
    """Return one line on the hyper-parameters with which a run under the paper's protocol goes."""
    file = settings_file(model, dataset)
    if file is None:
        return f"protocol paper: no settings were published for {model} on {dataset}; its own defaults apply"
    return f"protocol paper: settings published for {model}, {file}"


def one_protocol(results: Iterable[Any]) -> str:
    """Return the protocol of results that are to stand in one table; `InputError` where there are two."""
    found = sorted({result.protocol for result in results})
    if len(found) != 1:
        raise InputError(f"protocol: runs of {' and '.join(found)} cannot stand in one table; must be of one")
    return found[0]
