"""A search from its options to its winner; the test part is looked at once, for the winner."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from recbole.utils import init_seed

from recbole_hlr import checkpoint
from recbole_hlr.config import KEYWORDS, HLRConfig
from recbole_hlr.data.build import load_split
from recbole_hlr.errors import InputError, RunInterrupted
from recbole_hlr.experiment import RunResult
from recbole_hlr.options import nearest
from recbole_hlr.resources import shipped
from recbole_hlr.rundir import RunDir, set_console_level
from recbole_hlr.search import options as search_options
from recbole_hlr.search import report, space
from recbole_hlr.search.cluster import default_gpus, ray_cluster
from recbole_hlr.search.journal import DONE, ENDED, Journal, Trial, best_of
from recbole_hlr.search.options import DEFAULT_SAMPLES, NAMES, SearchOptions
from recbole_hlr.search.progress import Progress
from recbole_hlr.search.space import TRAINING_KEYS, Space
from recbole_hlr.search.suggest import Suggestions, default_algorithm
from recbole_hlr.search.trial import Job
from recbole_hlr.values import COMMAND_LINE, load_yaml, parse_arguments

log = logging.getLogger("recbole_hlr")
SEARCH_FILE = "search.yaml"


@dataclass
class SearchResult:
    """What a search came to: its trials, the best of them, and that one's test, in `run`."""

    metric: str
    trials: list[Trial]
    best: Trial
    run: RunResult
    run_dir: str
    command: str


@dataclass
class Plan:
    """Everything that a search is made of, as `search.yaml` keeps it."""

    model: str | type
    config: HLRConfig
    given: dict[str, Any]  # the user's own options, which best.yaml repeats
    space: Space
    options: SearchOptions

    def as_text(self) -> str:
        """Return the text of `search.yaml`."""
        base = {**self.config.requested, "data_path": os.path.abspath(self.config.requested["data_path"])}
        content = {
            "search": search_options.as_content(self.options),
            "space": space.as_content(self.space),
            "given": self.given,
            "options": base,
        }
        return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def tune(
    model: str | type | None = None,
    dataset: str | None = None,
    *,
    space: str | Path | Mapping[str, Any] | None = None,
    resume: str | Path | None = None,
    config_files: Sequence[str | Path] = (),
    arguments: Sequence[str] = (),
    **options: Any,
) -> SearchResult:
    """Search `space` for the options with the best validation score, and test the winner once.

    `space` is a shipped space's name, a file, or its lines as a mapping. `options` are those of a run
    and of a search (`SearchOptions`), `arguments` a command line with both. `resume` continues the
    search of a run directory. Raises `InputError`, and `RunInterrupted` after Ctrl-C.
    """
    command = {key.replace("-", "_"): value for key, value in parse_arguments(arguments).items()}
    source = COMMAND_LINE if command else KEYWORDS
    given = {key: part.pop(key) for part in (options, command) for key in NAMES if key in part}
    resume = command.pop("resume", resume)
    lines = command.pop("params_file", None)  # RecBole's name
    lines = command.pop("space", lines) or space
    if resume is None:
        plan = make_plan(model, dataset, config_files, options, command, lines, given, source)
        parent, name = plan.config["checkpoint_dir"], f"tune-{plan.config.model}-{plan.config.dataset}"
        folder = RunDir.create(parent, name, plan.as_text(), SEARCH_FILE).path
    else:
        folder = Path(resume)
        rest = {**options, **command, **({"space": lines} if lines else {})}
        named = {key: value for key, value in (("model", model), ("dataset", dataset)) if value is not None}
        plan = open_plan(folder, {**named, **rest}, given, source)
        checkpoint.write_whole(folder / SEARCH_FILE, lambda file: file.write(plan.as_text()), "w")
    set_console_level(plan.config["state"].upper())
    try:
        return search(plan, folder)
    except RunInterrupted:
        raise
    except KeyboardInterrupt:
        raise RunInterrupted(str(folder)) from None


def make_plan(
    model: str | type | None,
    dataset: str | None,
    config_files: Sequence[str | Path],
    options: Mapping[str, Any],
    command: Mapping[str, Any],
    lines: str | Path | Mapping[str, Any] | None,
    given: dict[str, Any],
    source: str,
) -> Plan:
    """Return the plan of a new search, checked as far as it can be before the data are loaded."""
    chosen = search_options.make_options(given, source)
    try:
        config = HLRConfig(model, dataset, config_files, options, command)
    except InputError as error:  # perhaps a misspelt option of the search
        hint = nearest(str(error).split()[0], NAMES) if "is no option of" in str(error) else ""
        raise InputError(str(error).partition(" (did you mean")[0] + hint if hint else str(error)) from None
    if isinstance(lines, Mapping):
        tried = space.make_space(lines, KEYWORDS)
    else:
        tried = space.find_space(lines, config.model)
    fixed = [d.key for d in tried if is_given(config, d.key)]
    if fixed:
        log.info("not searched, because given: %s", ", ".join(fixed))
        tried = tuple(dimension for dimension in tried if dimension.key not in fixed)
    check_space(tried, config)
    if not config["eval_step"]:
        raise InputError("eval_step=0: a search needs validation scores; must be >= 1")
    chosen.algorithm = chosen.algorithm or default_algorithm(tried)
    if chosen.gpus_per_trial is None:
        chosen.gpus_per_trial = default_gpus(config["device"].type == "cuda")
    own = {k: v for k, v in config.external_config_dict.items() if k not in ("model", "dataset")}
    plan = Plan(model if isinstance(model, type) else config.model, config, own, tried, chosen)
    suggestions_of(plan)  # refuses a grid without a list
    return plan


def open_plan(folder: Path, rest: dict[str, Any], given: dict[str, Any], source: str) -> Plan:
    """Return the plan of a search that is resumed; `InputError` for what would make it another one."""
    if not (folder / SEARCH_FILE).is_file():
        raise InputError(f"{folder}: is no run directory of a search (it has no {SEARCH_FILE})")
    stored = load_yaml(folder / SEARCH_FILE)
    try:
        base = stored["options"]
        for key in [key for key in rest if rest[key] != base.get(key) and not isinstance(rest[key], type)]:
            raise InputError(f"{key}={rest[key]} ({source}): cannot change in a resumed search")
        options = search_options.change_options(stored["search"], given, source)
        tried = space.make_space(stored["space"], str(folder / SEARCH_FILE))
        own = stored["given"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / SEARCH_FILE}: is damaged ({error} is missing or wrong)") from None
    model = rest.get("model", base["model"])
    config = HLRConfig(model, base["dataset"], options={k: v for k, v in base.items() if k != "model"})
    return Plan(model, config, own, tried, options)


def is_given(config: HLRConfig, key: str) -> bool:
    """Say whether the user set an option otherwise than in a file; such an option is not searched."""
    outer, dot, inner = key.partition(".")
    if config.sources.get(outer) not in (COMMAND_LINE, KEYWORDS):
        return False
    return not dot or inner in config.external_config_dict[outer]


def check_space(tried: Space, config: HLRConfig) -> None:
    """Raise `InputError` for an option that is none of the model's, or a value that it may not take."""
    known = tunable(config.model)
    if not tried:
        raise InputError("space: every option of it is given already; nothing is left to search")
    for dimension in tried:
        key = dimension.key.partition(".")[0]
        if key not in known:
            raise InputError(
                f"space: {dimension.key}: is no option of {config.model}'s model or training, "
                f"which a search could try{nearest(key, known)}"
            )
        for value in dimension.probes():
            try:
                changed = space.put(config.requested, {dimension.key: value})
                HLRConfig(config.model_class, config.dataset, options=changed)
            except (InputError, TypeError) as error:
                raise InputError(f"space: {dimension.key}: {error}") from None


def tunable(model: str) -> set[str]:
    """Return the options that a search may try: those of the model's own file and of training."""
    import recbole.config

    host = Path(recbole.config.__file__).parents[1] / "properties" / "model" / f"{model}.yaml"
    files = [file for file in (host, shipped("properties", "model", f"{model}.yaml")) if file.is_file()]
    return set().union(TRAINING_KEYS, *(load_yaml(file) for file in files))


def suggestions_of(plan: Plan) -> Suggestions:
    """Return what suggests the values of a plan's trials."""
    defaults = {d.key: space.take(plan.config.requested, d.key) for d in plan.space}
    algorithm, samples = plan.options.algorithm, plan.options.num_samples
    if samples is None:
        samples = 1_000_000 if algorithm == "grid" else DEFAULT_SAMPLES
    return Suggestions(
        plan.space,
        algorithm or "random",
        plan.config["seed"],
        samples,
        defaults,
        plan.config["valid_metric_bigger"],
    )


def search(plan: Plan, folder: Path) -> SearchResult:
    """Run what is left of a search in its run directory; then test the winner and write the outputs."""
    config, options = plan.config, plan.options
    larger = config["valid_metric_bigger"]
    log_dir = RunDir(folder)
    with log_dir.logging():
        log.info("run directory: %s", folder)
        journal = Journal(folder / "journal.jsonl")
        try:
            job, test = make_job(plan, folder)
            progress = Progress(config["valid_metric"].lower(), larger, config["show_progress"])

            def keep_the_best(ended: Trial) -> None:
                best = best_of(journal.trials, larger)
                for trial in journal.ended:
                    if trial.status in ENDED and trial is not best:
                        job.forget(trial.number)

            with ray_cluster(options.ray_address):
                from recbole_hlr.search.engine import run_trials  # Ray, whose settings are made by now

                run_trials(
                    job.train, suggestions_of(plan), journal, options, larger,
                    -(-config["epochs"] // config["eval_step"]), progress, keep_the_best,
                )  # fmt: skip
            return conclude(plan, folder, job, test, journal.trials)
        finally:
            report.write_table(folder / "trials.csv", journal.trials)
            journal.close()


def make_job(plan: Plan, folder: Path) -> tuple[Job, Any]:
    """Load and split the data, once for all trials; return the test part apart, for they do without."""
    config, options = plan.config, plan.options
    init_seed(config["seed"], config["reproducibility"])
    data = load_split(config)
    if len(data.parts[1]) == 0:
        raise InputError(
            f"dataset={config.dataset}: the validation part is empty, and a search selects on it"
        )
    training, validation, test = data.parts
    without = data._replace(parts=[training, validation, test.copy(test.inter_feat[:0])])
    job = Job(
        model=plan.model,
        options={**config.requested, "show_progress": False, "tensorboard": False},
        data=without,
        folder=str(folder.absolute() / "trials"),
        threads=max(int(options.cpus_per_trial), 1),
        uses_gpu=bool(options.gpus_per_trial),
        directory=os.getcwd(),
    )
    return job, test


def conclude(plan: Plan, folder: Path, job: Job, test: Any, trials: list[Trial]) -> SearchResult:
    """Test the winner and write `best.yaml` and `report.html`; `InputError` where there is none."""
    config = plan.config
    metric, larger = config["valid_metric"].lower(), config["valid_metric_bigger"]
    best = best_of(trials, larger)
    if best is None:
        failed = [trial for trial in trials if trial.reason]
        if failed:
            raise InputError(f"no trial came to a score; trial {failed[0].number}: {failed[0].reason}")
        raise InputError(f"no epoch was validated within the time budget; see tune --resume={folder}")
    run = job.evaluate(best.number, best.values, test)
    chosen = space.put(plan.given, best.values)
    if best.status != DONE:  # it would have gone on
        chosen["epochs"] = best.epochs[-1] + 1
    command = (
        f"recbole-hlr train --model={config.model} --dataset={config.dataset} "
        f"--config_files={shlex.quote(str(folder / 'best.yaml'))}"
    )
    heading = (
        f"# Trial {best.number} of {len(trials)}: validation {metric} {best.score:.4f} at epoch "
        f"{best.best_epoch}.\n# {command}\n"
    )
    text = heading + yaml.safe_dump(chosen, sort_keys=True, allow_unicode=True)
    checkpoint.write_whole(folder / "best.yaml", lambda file: file.write(text), "w")
    report.write_report(folder / "report.html", plan.space, trials, metric, larger, command)
    return SearchResult(metric, trials, best, run, str(folder), command)
