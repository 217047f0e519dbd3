"""The verbs of `recbole-hlr`; each does one public function's work and prints what it came to."""

from __future__ import annotations

import sys

import click

from recbole_hlr.cli.conversion import convert
from recbole_hlr.cli.describing import describe_command
from recbole_hlr.cli.doctor import doctor_command
from recbole_hlr.cli.explaining import explain_command, relations_command
from recbole_hlr.cli.exporting import export_command
from recbole_hlr.cli.recommending import next_steps, recommend_command, similar_command
from recbole_hlr.cli.updating import update_command
from recbole_hlr.cli.verbs import HELP, Verb, Verbs, complete_model, listen
from recbole_hlr.console import is_quiet
from recbole_hlr.errors import InputError, RunInterrupted
from recbole_hlr.version import __version__

PROGRAM = "recbole-hlr"
COMPLETION = "_RECBOLE_HLR_COMPLETE"  # an environment variable: bash_source, zsh_source or fish_source


def train(arguments: list[str]) -> None:
    """Run one experiment and print its result."""
    from recbole_hlr.cli.output import describe
    from recbole_hlr.experiment.run import run

    result = run(arguments=listen(arguments))
    try:
        print(describe(result))
        if not is_quiet():
            print(next_steps(result))
    except KeyboardInterrupt:  # of a run that is whole: resumed, it prints its result again
        raise RunInterrupted(result.run_dir) from None


def evaluate(arguments: list[str]) -> None:
    """Evaluate the checkpoint of a run and print its result."""
    from recbole_hlr.cli.output import describe
    from recbole_hlr.experiment.evaluate import evaluate
    from recbole_hlr.options.command_line import take_word

    run_dir, options = take_word(listen(arguments), "RUN_DIR")
    print(describe(evaluate(run_dir, arguments=options)))


def tune(arguments: list[str]) -> None:
    """Run a search and print its winner."""
    from recbole_hlr.cli.output import describe_search
    from recbole_hlr.search.search import tune

    print(describe_search(tune(arguments=listen(arguments))))


def benchmark(arguments: list[str]) -> int:
    """Run a benchmark and print its tables; return 1 where a cell failed, 130 after Ctrl-C."""
    from recbole_hlr.benchmark import benchmark
    from recbole_hlr.benchmark.tables import TERMINAL, as_text

    try:
        done = benchmark(listen(arguments))
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


@click.command(
    "options",
    short_help="List options, or look for words in them",
    context_settings=HELP,
    epilog=f"Example: {PROGRAM} options --model=HLR memory",
)
@click.option("--model", shell_complete=complete_model, help="name of a model")
@click.argument("words", nargs=-1, metavar="[WORD ...]")
def options(model: str | None, words: tuple[str, ...]) -> None:
    """List the options of every run and of a model; with words, those that hold them in name or meaning."""
    from recbole_hlr.cli.listing import search

    print(search(list(words), model))


group = Verbs(
    name=PROGRAM,
    help="Metric-learning recommenders (HLR, HLR++, CML, LRML, TransCF, AdaCML, MF-ALS) and RecBole's own: "
    "train, evaluate, search, compare, recommend.",
    epilog="`recbole-hlr VERB --help` says more, and with --model=HLR lists that model's options. Every "
    "option of RecBole and of the model is given as --key=value or --key value; dashes in a key are read as "
    "underscores.",
    context_settings=HELP,
)
_version = click.version_option(__version__, "-V", "--version", message=f"{PROGRAM} %(version)s")
group = _version(group)

for verb in (
    Verb(
        "train",
        train,
        "--model=HLR --dataset=ml-100k [--key=value ...] | --resume=RUN_DIR",
        "Train, validate and test one model; `python run_recbole_hlr.py` is the same.",
        "model dataset resume config_files",
        "recbole-hlr train --model=HLR --dataset=ml-100k --epochs=20",
    ),
    Verb(
        "evaluate",
        evaluate,
        "RUN_DIR [--key=value ...]",
        "Validate and test the best state of a run, with other metrics or cuts where they are given.",
        "metrics topk cohorts test_file",
        "recbole-hlr evaluate RUN_DIR --topk=[5,20]",
        shows_model=False,
    ),
    Verb(
        "tune",
        tune,
        "--model=HLR --dataset=ml-100k [--space=SPACE] [--key=value ...] | --resume=RUN_DIR",
        "Search for options on Ray Tune; docs/search.md says how, and what stops it.",
        "model dataset space algorithm num_samples time_budget resume config_files",
        "recbole-hlr tune --model=CML --dataset=ml-100k --num-samples=20 --time-budget=30m",
    ),
    Verb(
        "benchmark",
        benchmark,
        "--models=HLR,CML --datasets=ml-100k [--seeds=5] --out=bench [--key=value ...] | --out=bench "
        "--report",
        "Run models on data sets with several seeds, and make tables and a page; docs/benchmark.md.",
        "models datasets seeds folds out options baseline jobs ray_address report config_files",
        "recbole-hlr benchmark --models=HLR,CML --datasets=ml-100k --seeds=5 --out=bench",
    ),
    Verb("models", models, "", "List the models.", "", "recbole-hlr models", shows_model=False),
):
    group.add_command(verb)
for command in (
    recommend_command,
    similar_command,
    explain_command,
    relations_command,
    export_command,
    update_command,
    convert,
    describe_command,
    doctor_command,
):
    group.add_command(command)
group.add_command(options)
