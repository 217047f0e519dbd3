"""A search from its options to its winner; the test part is looked at once, for the winner."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recbole.data.dataset import Dataset

from recbole_hlr.config.config import KEYWORDS
from recbole_hlr.console import interactive_logging, set_console_level
from recbole_hlr.data.loaders import load_split
from recbole_hlr.data.stored import digest
from recbole_hlr.errors import InputError, RunInterrupted
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.pretrained import warn_if_seen
from recbole_hlr.experiment.result import RunResult
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.files import locked, write_text
from recbole_hlr.host.device import refuse_missing_gpu
from recbole_hlr.host.ray import ray_cluster
from recbole_hlr.metrics.evaluator import refuse_empty_cohorts
from recbole_hlr.options.command_line import COMMAND_LINE, config_files_word, parse_arguments
from recbole_hlr.options.yaml_values import dump_yaml
from recbole_hlr.search import report, space
from recbole_hlr.search.job import Job
from recbole_hlr.search.options import NAMES, pruner_of
from recbole_hlr.search.plan import SEARCH_FILE, Plan, find_search, make_plan, open_plan, suggestions_of
from recbole_hlr.search.progress import TrialProgress
from recbole_hlr.search.record import Record, open_record
from recbole_hlr.search.trials import DONE, FAILED, Trial, best_of, resume_of

log = logging.getLogger("recbole_hlr")


@dataclass
class SearchResult:
    """What a search came to: its trials, the best of them, and that one's test, in `run`."""

    metric: str
    trials: list[Trial]
    best: Trial
    run: RunResult
    run_dir: str
    command: str


@alone("tune()")
def tune(
    model: str | type | None = None,
    dataset: str | None = None,
    *,
    space: str | Path | Mapping[str, object] | None = None,
    resume: str | Path | None = None,
    config_files: Sequence[str | Path] = (),
    arguments: Sequence[str] = (),
    **options: object,
) -> SearchResult:
    """Search `space` for the options with the best validation score, and test the winner once.

    `space` is a shipped space's name, a file, or its lines as a mapping. `options` are those of a run
    and of a search (`SearchOptions`), `arguments` a command line with both. `resume` continues the
    search of a run directory. Raises `InputError`, and `RunInterrupted` after Ctrl-C.
    """
    interactive_logging()
    command = parse_arguments(arguments)
    source = COMMAND_LINE if command else KEYWORDS
    given = {key: part.pop(key) for part in (options, command) for key in NAMES if key in part}
    resume = command.pop("resume", resume)
    lines = command.pop("params_file", None)  # RecBole's name
    lines = command.pop("space", lines) or space
    if resume is None:
        plan = make_plan(model, dataset, config_files, options, command, lines, given, source)
        if not plan.options.ray_address:
            refuse_missing_gpu(plan.config, plan.given)
        parent, name = plan.config["checkpoint_dir"], f"tune-{plan.config.model}-{plan.config.dataset}"
        folder = RunDir.create(parent, name, plan.as_text(), SEARCH_FILE).path
        with locked(folder, "search"):
            return go_on(plan, folder)
    folder = find_search(resume)
    rest = {**options, **command, **({"space": lines} if lines else {})}
    names = {key: value for key, value in (("model", model), ("dataset", dataset)) if value is not None}
    with locked(folder, "search"):
        plan = open_plan(folder, {**names, **rest}, given, source)
        write_text(folder / SEARCH_FILE, plan.as_text())
        return go_on(plan, folder)


def go_on(plan: Plan, folder: Path) -> SearchResult:
    """Run a search; `RunInterrupted` names its folder after Ctrl-C."""
    set_console_level(plan.config["state"].upper())
    try:
        return search(plan, folder)
    except RunInterrupted:
        raise
    except KeyboardInterrupt:
        raise RunInterrupted(str(folder)) from None


def search(plan: Plan, folder: Path) -> SearchResult:
    """Run what is left of a search, and conclude it."""
    config, options = plan.config, plan.options
    larger = config["valid_metric_bigger"]
    for unfinished in folder.glob("trials/*/.*.tmp"):  # of trials that were killed while they wrote
        unfinished.unlink(missing_ok=True)
    with RunDir(folder).logging(), record_of(plan, folder) as record:
        log.info("run directory: %s", folder)
        job, test = make_job(plan, folder)
        keep_or_refuse_data(plan, folder, job, test)
        if not record.trials:
            warn_of_starts(plan, job, test)
        progress = TrialProgress(
            config["valid_metric"].lower(), larger, config["show_progress"], config["epochs"],
            options.time_budget and max(options.time_budget - record.seconds, 0.0),
        )  # fmt: skip

        def keep_the_best(ended: Trial) -> None:
            best = best_of(record.ended, larger)  # a better one that still runs may yet fail
            for trial in record.ended:
                if trial is not best:
                    job.forget(trial.number)

        with ray_cluster(options.ray_address):
            from recbole_hlr.search.engine import run_trials  # Ray, whose settings are made by now

            run_trials(
                job.train, suggestions_of(plan), record, options, longest_of(plan), progress, keep_the_best
            )
        return conclude(plan, folder, job, test, record.trials)


@contextlib.contextmanager
def record_of(plan: Plan, folder: Path) -> Iterator[Record]:
    """Open the record of a search, and write `trials.csv` from it in the end, whatever that is."""
    pruner = pruner_of(plan.options, plan.config["eval_step"], longest_of(plan))
    record = open_record(folder, plan.space, plan.config["valid_metric_bigger"], pruner)
    told: tuple[type[Exception], ...] = (InputError,)  # of a full disk, say, where it broke off by that
    try:
        yield record
        told = ()
    finally:
        record.close()
        with contextlib.suppress(*told):
            write_text(folder / "trials.csv", report.table_of(record.trials).to_csv(index=False))


def longest_of(plan: Plan) -> int:
    """Return how often a trial validates that comes to its end."""
    return -(-int(plan.config["epochs"]) // int(plan.config["eval_step"]))


def make_job(plan: Plan, folder: Path) -> tuple[Job, Dataset]:
    """Load and split the data, once for all trials; return the test part apart, for they do without."""
    config, options = plan.config, plan.options
    data = load_split(config)
    if len(data.parts[1]) == 0:
        raise InputError(
            f"dataset={config.dataset}: the validation part is empty, and a search selects on it"
        )
    training, validation, test = data.parts
    refuse_empty_cohorts(config, test)
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


def keep_or_refuse_data(plan: Plan, folder: Path, job: Job, test: Dataset) -> None:
    """Write to `search.yaml` what the data are; `InputError` where a search had others before."""
    now = digest([*job.data.parts[:2], test])
    if plan.data not in (None, now):
        raise InputError(
            f"{folder}: the data set {plan.config.dataset} is not the one that this search was started with; "
            "restore it, or start another search"
        )
    if plan.data is None:
        plan.data = now
        write_text(folder / SEARCH_FILE, plan.as_text())


def warn_of_starts(plan: Plan, job: Job, test: Dataset) -> None:
    """Warn of starts, given or tried, that have seen a held-out part; trials, without a test part, cannot."""
    tried = [d.numbers for d in plan.space if d.key == "pretrained_embeddings"]
    starts = tried[0] if tried else [plan.config.requested.get("pretrained_embeddings")]
    for start in filter(None, starts):
        warn_if_seen(start, job.data.dataset, [job.data.parts[1], test])


def conclude(plan: Plan, folder: Path, job: Job, test: Dataset, trials: list[Trial]) -> SearchResult:
    """Test the winner and write `best.yaml` and `report.html`; `InputError` where there is none."""
    config = plan.config
    metric, larger = config["valid_metric"].lower(), config["valid_metric_bigger"]
    best = best_of(trials, larger)
    if best is None:
        raise nothing_found(trials, folder)
    chosen = space.put(plan.given, best.values)
    if best.status != DONE:  # it would have gone on
        chosen["epochs"] = best.epochs[-1] + 1
    files = config_files_word([folder / "best.yaml"])
    command = shlex.join(
        ["recbole-hlr", "train", f"--model={config.requested['model']}", f"--dataset={config.dataset}", files]
    )
    heading = (
        f"# Trial {best.number} of {len(trials)}: validation {metric} {best.score:.4f} at epoch "
        f"{best.best_epoch}.\n# {command}\n"
    )
    write_text(folder / "best.yaml", heading + dump_yaml(chosen))
    run = job.evaluate(best.number, best.values, test)
    report.write_report(folder / "report.html", plan.space, trials, metric, larger, command)
    return SearchResult(metric, trials, best, run, str(folder), command)


def nothing_found(trials: list[Trial], folder: Path) -> InputError:
    """Return the error of a search without a winner: what went wrong, and whether a resume may help."""
    failed = [trial for trial in trials if trial.reason]
    reason = f"trial {failed[0].number}: {failed[0].reason}" if failed else "the time budget ended"
    over = trials and all(trial.status == FAILED for trial in trials)
    return InputError(f"no trial came to a score; {reason}" + ("" if over else f"; see {resume_of(folder)}"))
