"""What a search is made of: checked before it starts, kept in `search.yaml`, read back by a resume."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recbole_hlr.config.config import KEYWORDS, HLRConfig
from recbole_hlr.errors import InputError, UnknownOption, fixed, invalid, nearest
from recbole_hlr.files import is_file
from recbole_hlr.model.guest import home_of, name_of, own_options
from recbole_hlr.model.registry import find_model
from recbole_hlr.options.command_line import COMMAND_LINE
from recbole_hlr.options.kinds import is_named
from recbole_hlr.options.protocol import BOTH, TRIPLET, other_objective, said
from recbole_hlr.options.shipped import host_file, objective_file, shipped
from recbole_hlr.options.table import TRAINING_KEYS
from recbole_hlr.options.yaml_values import dump_yaml, load_yaml
from recbole_hlr.protocols import Given, Values
from recbole_hlr.search import options as search_options
from recbole_hlr.search import space
from recbole_hlr.search.options import DEFAULT_SAMPLES, NAMES, SearchOptions
from recbole_hlr.search.space import Space
from recbole_hlr.search.suggest import LARGEST_GRID, Suggestions, default_algorithm
from recbole_hlr.version import __version__

log = logging.getLogger("recbole_hlr")
SEARCH_FILE = "search.yaml"


@dataclass
class Plan:
    """Everything that a search is made of, as `search.yaml` keeps it."""

    model: str | type
    config: HLRConfig
    given: Values  # the user's own options, which best.yaml repeats
    space: Space
    options: SearchOptions
    data: str | None = None  # the digest of the data, once they were loaded

    def as_text(self) -> str:
        """Return the text of `search.yaml`."""
        base = {**self.config.requested, "data_path": usual("data_path", self.config.requested["data_path"])}
        content = {
            "made": {"version": __version__, "data": self.data},
            "search": asdict(self.options),
            "space": space.as_content(self.space),
            "given": self.given,
            "options": base,
        }
        return dump_yaml(content, sort_keys=False)


def make_plan(
    model: str | type | None,
    dataset: str | None,
    config_files: Sequence[str | Path],
    options: Given,
    command: Given,
    lines: str | Path | Given | None,
    given: Values,
    source: str,
) -> Plan:
    """Return the plan of a new search, checked as far as it can be before the data are loaded."""
    chosen = search_options.make_options(given, source)
    try:
        config = HLRConfig(model, dataset, config_files, options, command)
    except UnknownOption as error:  # perhaps a misspelt option of the search
        error.known = NAMES if nearest(str(error.option), NAMES) else error.known
        raise
    if isinstance(lines, Mapping):
        tried = space.make_space(lines, KEYWORDS)
    else:
        tried = space.find_space(
            lines or space.DEFAULT[config["objective"] if config.metric else TRIPLET],
            home_of(config.model_class).__name__,
        )
    fixed = [d.key for d in tried if is_given(config, d.key)]
    if fixed:
        log.info("not searched, because given: %s", ", ".join(fixed))
        tried = tuple(dimension for dimension in tried if dimension.key not in fixed)
    check_space(tried, config)
    if not config["eval_step"]:
        raise InputError("eval_step=0: a search needs validation scores; must be >= 1")
    if config["train_on"] == BOTH:
        raise InputError(f"train_on={BOTH}: a search needs validation scores; must be training")
    chosen.algorithm = chosen.algorithm or default_algorithm(tried)
    if chosen.gpus_per_trial is None:
        chosen.gpus_per_trial = 1.0 if config["device"].type == "cuda" else 0.0
    own = {k: v for k, v in config.external_config_dict.items() if k not in ("model", "dataset")}
    plan = Plan(model if isinstance(model, type) else config.requested["model"], config, own, tried, chosen)
    suggestions_of(plan)  # refuses a grid without a list
    return plan


def find_search(path: str | Path) -> Path:
    """Return the run directory of a search; `InputError` where it is none."""
    folder = Path(path)
    if is_file(folder / SEARCH_FILE):
        return folder
    hint = f"; it is a run's, for train --resume={folder}" if is_file(folder / "config.yaml") else ""
    raise InputError(f"{folder}: is no run directory of a search (it has no {SEARCH_FILE}){hint}")


def open_plan(folder: Path, rest: Values, given: Values, source: str) -> Plan:
    """Return the plan of a search that is resumed; `InputError` for what would make it another one."""
    file = str(folder / SEARCH_FILE)
    stored = read_search(file)
    base = stored["options"]
    for key, value in rest.items():
        if not isinstance(value, type) and usual(key, value) != usual(key, base.get(key)):
            raise fixed(key, value, source, "a resumed search")
    search_options.make_options(stored["search"], file)
    options = search_options.change_options(stored["search"], given, source)
    tried = space.make_space(stored["space"], file)
    model = rest.get("model", base["model"])
    try:
        config = HLRConfig(model, base["dataset"], options={k: v for k, v in base.items() if k != "model"})
        check_space(tried, config)
    except InputError as error:
        raise (error.at("") if error.place == KEYWORDS else error).within(file) from None
    if not is_older(stored):
        refuse_missing(config.requested, base, file)
    return Plan(model, config, stored["given"], tried, options, stored["made"].get("data"))


def read_search(file: str) -> Values:
    """Return the content of a `search.yaml`; `InputError` where it does not have a search's form."""
    stored = load_yaml(file)
    stored.setdefault("made", {})  # 0.2 did not say by which version
    refuse_missing(("search", "space", "given", "options"), stored, file)
    for part, lines in stored.items():
        if not isinstance(lines, dict) or not all(isinstance(key, str) for key in lines):
            raise InputError(f"{file}: {part} must hold `key: value` lines, as a search writes them")
    if not is_older(stored):
        refuse_missing(NAMES, stored["search"], file)
    stored["options"] = said(stored["options"])
    refuse_missing(("model", "dataset"), stored["options"], file)
    for key in ("model", "dataset"):
        if not is_named(stored["options"][key]):
            raise invalid(key, stored["options"][key], file, "a name")
    return stored


def is_older(stored: Given) -> bool:
    """Say whether another version made a search; options that it did not know are at their defaults."""
    return stored["made"].get("version") != __version__


def refuse_missing(keys: Iterable[str], content: Given, file: str) -> None:
    """Raise `InputError` where one of `keys` is missing: a default in its place would be another search."""
    missing = [key for key in keys if key not in content]
    if missing:
        raise InputError(f"{file}: has no line {missing[0]}, which every search writes; restore it")


def usual(key: str, value: Any) -> Any:
    """Return a value as `search.yaml` has it."""
    if key == "model":
        return name_of(find_model(value))
    return os.path.abspath(value) if key == "data_path" else value


def is_given(config: HLRConfig, key: str) -> bool:
    """Say whether the user set an option otherwise than in a file; such an option is not searched."""
    outer, dot, inner = key.partition(".")
    if config.sources.get(outer) not in (COMMAND_LINE, KEYWORDS):
        return False
    return not dot or inner in config.external_config_dict[outer]


def check_space(tried: Space, config: HLRConfig) -> None:
    """Raise `InputError` for an option that is none of the model's, or a value that it may not take."""
    known = tunable(config.model_class, config["objective"] if config.metric else None)
    if not tried:
        raise InputError("space: every option of it is given already; nothing is left to search")
    for dimension in tried:
        key = dimension.key.partition(".")[0]
        if key not in known:
            raise InputError(
                f"space: {dimension.key}: is no option of {config.model}'s model or training, "
                f"which a search could try{hint_at_objective(key, config) or nearest(key, known)}"
            )
        for value in dimension.probes():
            try:
                config.check(space.put(config.requested, {dimension.key: value}))
            except InputError as error:
                raise error.within(f"space: {dimension.key}") from None
            except TypeError as error:
                raise InputError(f"space: {dimension.key}: {error}") from None


def hint_at_objective(key: str, config: HLRConfig) -> str:
    """Return what to do about an option of an objective that a metric model is not trained by, or ''."""
    other = other_objective(key, config["objective"]) if config.metric else None
    return f" with objective={config['objective']}; give objective={other}" if other else ""


def tunable(model_class: type, objective: str | None = None) -> set[str]:
    """Return the options that a search may try: those of the model, of what trains it and of training."""
    home = f"{home_of(model_class).__name__}.yaml"
    places = [host_file("model", home), shipped("properties", "model", home)]
    files = [file for file in places if file.is_file()]
    files += [objective_file(objective)] if objective else []
    own = (values for _, values in own_options(model_class))
    fixed = {"epochs", "train_memory"}  # ASHA's to cut; the machine's
    return set().union(TRAINING_KEYS, *map(load_yaml, files), *own) - fixed


def suggestions_of(plan: Plan) -> Suggestions:
    """Return what suggests the values of a plan's trials."""
    taken = {d.key: space.take(plan.config.requested, d.key) for d in plan.space}
    defaults = {key: value for key, value in taken.items() if value is not space.ABSENT}
    algorithm, samples = plan.options.algorithm, plan.options.num_samples
    if samples is None:
        samples = LARGEST_GRID + 1 if algorithm == "grid" else DEFAULT_SAMPLES
    return Suggestions(
        plan.space,
        algorithm or "random",
        plan.config["seed"],
        samples,
        defaults,
    )
