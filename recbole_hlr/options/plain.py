"""RecBole's own `Config` for the plugin's models: completed where it is given, and stored as plain values."""

from __future__ import annotations

import logging
from typing import Any

import torch
from recbole.config.configurator import Config
from recbole.utils import EvaluatorType, InputType, ModelType

from recbole_hlr.errors import invalid
from recbole_hlr.options.check import check_values, spell_switches, told_options
from recbole_hlr.options.protocol import TRIPLET
from recbole_hlr.options.shipped import objective_file, objectives, shipped
from recbole_hlr.options.table import RUN_ONLY
from recbole_hlr.options.yaml_values import load_yaml, plain
from recbole_hlr.protocols import Values

log = logging.getLogger("recbole_hlr")
SOURCE = "recbole.config.Config"  # where a value came from, in messages


class StoredConfig(Config):
    """The options in a checkpoint, as RecBole reads them: values alone.

    The host's own constructor evaluates texts as Python, and no class that does may be one of those that
    `torch.load` makes objects of.
    """

    def __init__(self, parameters: dict[str, list[str]], values: Values) -> None:
        self.parameters = {key: list(names) for key, names in parameters.items()}
        self.final_config_dict = plain(values)


# What `torch.load` may make objects of: a checkpoint of RecBole's own trainer holds no other classes.
torch.serialization.add_safe_globals([StoredConfig, EvaluatorType, InputType, ModelType])


def complete(config: Any, model_class: type) -> None:
    """Give RecBole's own `Config` the defaults that it does not know of: those of a model's YAML files.

    What is in it stays, RecBole's defaults of the training included; `HLRConfig` lacks nothing. Raises
    `InputError` for a wrong value, and for an option on which RecBole's own trainer does not act.
    """
    if not isinstance(config, Config) or hasattr(config, "sources"):
        return
    values, of_model = config.final_config_dict, model_defaults(model_class)
    defaults = {**load_yaml(shipped("properties", "overall.yaml")), **of_model, "objective": TRIPLET}
    for key, default in defaults.items():
        values.setdefault(key, default)
    spell_switches(values)
    read = [key for key in defaults if key != "train_neg_sample_args" or of_model.get(key)]
    check_values({key: values[key] for key in read}, dict.fromkeys(read, SOURCE), told_options(True))
    refuse_run_only(values, defaults)
    given = vars(config).get("external_config_dict", values)
    left = [key for key in of_model if key not in given and values[key] != of_model[key]]
    if left:
        log.warning(
            "%s: RecBole's own defaults stand for %s; name the model's YAML file in config_file_list to have "
            "those that were chosen for it",
            model_class.__name__,
            ", ".join(left),
        )


def refuse_run_only(values: Values, defaults: Values) -> None:
    """Raise `InputError` for an option on which `run` alone acts, where it is not at its default."""
    wrong = [key for key in RUN_ONLY if key in defaults and values[key] != defaults[key]]
    if str(values["valid_metric"]).lower() == "loss":
        wrong.append("valid_metric")
    for key in wrong:
        raise invalid(key, values[key], SOURCE, "left out here: only recbole_hlr.run and prepare act on it")


def model_defaults(model_class: type) -> Values:
    """Return what the YAML files of a model, or of the nearest class it derives from, say on triplets."""
    files = (shipped("properties", "model", f"{one.__name__}.yaml") for one in model_class.__mro__)
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        return {}
    return {**load_yaml(file), **(load_yaml(objective_file(TRIPLET)) if objectives(file) else {})}
