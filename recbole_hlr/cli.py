"""The command line: verbs and messages, no logic."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from recbole_hlr.console import console_logging, unfailing_streams
from recbole_hlr.errors import InputError, RunInterrupted
from recbole_hlr.version import __version__

if TYPE_CHECKING:
    from recbole_hlr.experiment.result import RunResult
    from recbole_hlr.search.search import SearchResult

USAGE = """usage: recbole-hlr train --model=HLR --dataset=ml-100k [--key=value ...]
       recbole-hlr train --resume=RUN_DIR
       recbole-hlr evaluate RUN_DIR [--key=value ...]
       recbole-hlr tune --model=HLR --dataset=ml-100k [--space=SPACE] [--algorithm=optuna] [--key=value ...]
       recbole-hlr tune --resume=RUN_DIR
       recbole-hlr convert movielens|echonest|yelp|amazon SOURCE --out=FOLDER [--name=NAME]
       recbole-hlr convert table FILE --user=COLUMN --item=COLUMN --name=NAME --out=FOLDER
       recbole-hlr benchmark --models=HLR,CML --datasets=ml-100k --seeds=5 --out=bench [--key=value ...]
       recbole-hlr benchmark --out=bench --report
       recbole-hlr models
       recbole-hlr --version

train    train, validate and test one model; `python run_recbole_hlr.py` is the same
evaluate validate and test the best state of a run, with other metrics or cuts where they are given
tune     search for options on Ray Tune; docs/search.md lists what it takes
convert  write RecBole's atomic files from a download or a table; `convert --help` says more
benchmark
         run models on data sets with several seeds, and make tables and a page; docs/benchmark.md
models   list the models

Every option of RecBole and of the model is given as --key=value or --key value, several
configuration files as --config_files="a.yaml b.yaml"; dashes in a key are read as underscores.
docs/options.md lists the options with their types, ranges and defaults.
"""


def train(arguments: list[str]) -> None:
    """Run one experiment and print its result."""
    from recbole_hlr.experiment.run import run

    console_logging()
    result = run(arguments=arguments)
    try:
        print(describe(result))
    except KeyboardInterrupt:  # of a run that is whole: resumed, it prints its result again
        raise RunInterrupted(result.run_dir) from None


def evaluate(arguments: list[str]) -> None:
    """Evaluate the checkpoint of a run and print its result."""
    from recbole_hlr.experiment.evaluate import evaluate
    from recbole_hlr.options.command_line import (
        take_word,
    )

    run_dir, options = take_word(arguments, "RUN_DIR")
    console_logging()
    print(describe(evaluate(run_dir, arguments=options)))


def convert(arguments: list[str]) -> None:
    """Convert raw data and print what was made of them."""
    from recbole_hlr.convert.command import run

    run(arguments)


def tune(arguments: list[str]) -> None:
    """Run a search and print its winner."""
    from recbole_hlr.search.search import tune

    console_logging()
    print(describe_search(tune(arguments=arguments)))


def benchmark(arguments: list[str]) -> int:
    """Run a benchmark and print its tables; return 1 where a cell failed, 130 after Ctrl-C."""
    from recbole_hlr.benchmark import benchmark
    from recbole_hlr.benchmark.tables import TERMINAL, as_text

    console_logging()
    try:
        done = benchmark(arguments)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on", file=sys.stderr)
        return 130
    print(as_text(done.report, TERMINAL))
    print(f"tables and page: {done.out}/results.md .tex .csv .json .html")
    return 1 if done.failures else 0


def models(arguments: list[str]) -> None:
    """Print the names of all models."""
    from recbole_hlr.model import MODELS
    from recbole_hlr.model.registry import host_models

    if arguments:
        raise InputError(f"{arguments[0]} (command line): models takes no argument")
    print("recbole_hlr:", ", ".join(MODELS))
    print("RecBole:", ", ".join(sorted(host_models())))


def describe(result: RunResult) -> str:
    """Return the table that a run ends with."""
    from tabulate import tabulate

    test = {
        name: f"{spread['mean']:.4f} ± {spread['std']:.4f}" for name, spread in result.cohorts.items()
    } or result.test
    rows = [
        [name, result.valid.get(name), test.get(name)]
        for name in dict.fromkeys([*result.valid, *result.test])
    ]
    if result.best_valid_score is None:
        epoch, chosen = f"last epoch     {result.best_epoch}", "; nothing was validated"
    else:
        epoch, chosen = f"best epoch     {result.best_epoch}", f", by {result.valid_metric}"
    headers = [result.model, "validation", "test (cohorts)" if result.cohorts else "test"]
    table = tabulate(rows, headers=headers, floatfmt=".4f")
    seconds = ", ".join(f"{name} {value:.1f}" for name, value in result.seconds.items())
    translation = ", ".join(f"{name} {value:.4f}" for name, value in result.translation.items())
    return (
        f"\n{table}\n\n"
        f"{epoch} of 0 to {result.epochs - 1}{chosen}\n"
        + (f"translation    {translation} over pairs\n" if translation else "")
        + f"seconds        {seconds}\n"
        f"device         {result.device}\n"
        f"run directory  {result.run_dir}"
    )


def describe_search(result: SearchResult) -> str:
    """Return what a search ends with: the winner's table and how to repeat it."""
    from recbole_hlr.search.report import counts, show

    values = ", ".join(f"{key}={show(value)}" for key, value in result.best.values.items())
    return (
        f"{describe(result.run)}\n\n"
        f"trials         {counts(result.trials)}\n"
        f"winner         trial {result.best.number}, by validation {result.metric} "
        f"{result.best.score:.4f}: {values}\n"
        f"to repeat it   {result.command}\n"
        f"search         {result.run_dir} (trials.csv, best.yaml, report.html)"
    )


VERBS: dict[str, Callable[[list[str]], int | None]] = {
    "train": train,
    "evaluate": evaluate,
    "tune": tune,
    "convert": convert,
    "benchmark": benchmark,
    "models": models,
}
OWN_HELP = {"convert"}  # verbs that answer --help themselves


def verb_of(word: str) -> Callable[[list[str]], int | None]:
    """Return what a verb does; `InputError` for an unknown one, and where no verb can be at work."""
    if word not in VERBS:
        from recbole_hlr.errors import nearest

        known = ", ".join(VERBS)
        raise InputError(f"{word} (command line): must be one of {known}{nearest(word, VERBS)}")
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("working directory: has been deleted; must be one that is there") from None
    from recbole_hlr.host import recbole as compat

    compat.quiet_host()
    return VERBS[word]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a verb; return 0, 2 for wrong input (told in one sentence), 130 after Ctrl-C.

    The code is that of the work: what cannot be printed does not change it.
    """
    with unfailing_streams():
        code = answer(list(sys.argv[1:] if arguments is None else arguments))
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # Ctrl-C while Python ends comes too late
    return code


def answer(words: list[str]) -> int:
    """Print what `words` ask for, or run their verb."""
    asked = set(words) if words and words[0] not in OWN_HELP else set(words[:1])
    if not words or {"-h", "--help"} & asked:
        print(USAGE, end="")
        return 0
    if {"-V", "--version"} & asked:
        print(f"recbole-hlr {__version__}")
        return 0
    try:
        return verb_of(words[0])(words[1:]) or 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunInterrupted as stop:
        print(f"\ninterrupted; continue with --resume={stop.run_dir}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written", file=sys.stderr)
        return 130
