"""`recbole-hlr recommend` and `similar`: a fitted recommender's methods, and how their tables are printed."""

from __future__ import annotations

import contextlib
import csv
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from recbole_hlr.cli.verbs import of_run
from recbole_hlr.errors import InputError
from recbole_hlr.options.command_line import COMMAND_LINE, parse_arguments
from recbole_hlr.options.kinds import ON_UNKNOWN_USER

if TYPE_CHECKING:
    import pandas as pd

    from recbole_hlr.experiment.result import RunResult
    from recbole_hlr.recommend.fitted import FittedRecommender

MACHINE = {
    "eval_memory": "GiB that a ranking takes",
    "use_gpu": "use a GPU where there is one",
    "gpu_id": "which GPU",
    "compile": "auto, on or off",
}
NEW = "new"  # the user of --history


def recommend(run_dir: str, k: int, titles: str | None, out: str | None, **given: Any) -> None:
    """Print the best items of users, or write them to a file."""
    chosen, whom = one_choice(given)
    others = chosen in ("--history", "--histories-file")
    if chosen == "--all" and not out:
        raise InputError("--all", "needs --out=FILE, for it is every user's", place=COMMAND_LINE)
    if given["approximate"] and others:
        raise InputError("--approximate", f"cannot be given with {chosen}", place=COMMAND_LINE)
    fitted = load_as_told(run_dir, given, few=chosen in ("--users", "--history"))
    how: dict[str, Any] = {
        "k": k,
        "exclude_seen": not given["include_seen"],
        "items": path_of(given["items_file"]),
        "exclude_items": path_of(given["exclude_items"]),
        "on_unknown": given["on_unknown"] or ("warn" if others else "raise"),
        "titles": path_of(titles) if out else titles_of(fitted, titles),
    }
    if given["approximate"]:
        how["approximate"] = True
    if out:
        rows = fitted.write_recommendations(
            Path(out).expanduser(), **{"histories" if others else "users": whom}, **how
        )
        print(f"{out}: {rows:,} rows")
    else:
        print(described((fitted.recommend_for if others else fitted.recommend)(whom, **how), "user"))


def similar(run_dir: str, items: str, k: int, titles: str | None, **given: Any) -> None:
    """Print the items nearest to others."""
    fitted = load_as_told(run_dir, given, few=True)
    print(described(fitted.similar(words_of(items), k, titles=titles_of(fitted, titles)), "item"))


def next_steps(result: RunResult) -> str:
    """Return what a run can be asked for next and, where there are titles, what its first user would be told.

    A run of RecBole's own model would load its data set once more for that.
    """
    from recbole_hlr.config.config import HLRConfig
    from recbole_hlr.experiment.rundir import RunDir
    from recbole_hlr.recommend.load import load
    from recbole_hlr.recommend.titles import item_file

    lines = [f"recommend      {shlex.join(['recbole-hlr', 'recommend', result.run_dir])} --users=ID"]
    config = HLRConfig(None, None, [RunDir(result.run_dir).config])
    if config.ours and item_file(config):
        fitted = load(result.run_dir, compile="off")
        titles = fitted.titles()
        if titles:
            first = fitted.users[int(fitted.data.history.lengths.nonzero()[0]) - 1]  # of those trained on
            lines += ["", described(fitted.recommend(first, k=5, titles=titles), "user")]
    return "\n".join(lines)


def one_choice(given: dict[str, Any]) -> tuple[str, Any]:
    """Return which option of a command line says whom it is about, and whom: None for all users of a run."""
    names = ("--users", "--users-file", "--all", "--history", "--histories-file")
    values = {name: given[name.lstrip("-").replace("-", "_")] for name in names}
    chosen = [name for name in names if values[name] not in (None, False)]
    if len(chosen) != 1:
        what = f"are given together: {', '.join(chosen)}" if chosen else "are missing"
        raise InputError("users", f"{what}; must be one of {', '.join(names)}", place=COMMAND_LINE)
    (name,) = chosen
    if name == "--all":
        return name, None
    if name.endswith("-file"):
        return name, path_of(values[name])
    ids = words_of(values[name])
    return name, ids if name == "--users" else {NEW: ids}


def load_as_told(run_dir: str, given: dict[str, Any], few: bool) -> FittedRecommender:
    """Return the fitted recommender of a run, on the machine that a command line tells.

    Where only a `few` users or items are asked about, compiling would take longer than they do.
    """
    from recbole_hlr.recommend.load import load

    with told_machine(given, few) as told:
        return load(Path(run_dir).expanduser(), **told)


@contextlib.contextmanager
def told_machine(given: dict[str, Any], few: bool) -> Iterator[dict[str, Any]]:
    """Yield the options of the machine; an `InputError` about one of them says that a command line has it."""
    if few and not given["compile"]:
        given = {**given, "compile": "off"}
    told = parse_arguments([f"--{key}={given[key]}" for key in MACHINE if given[key] is not None])
    try:
        yield told
    except InputError as error:
        raise error.at(COMMAND_LINE) if error.option in told else error from None


def titles_of(fitted: FittedRecommender, file: str | None) -> dict[str, str] | None:
    """Return the titles of a file, or the data set's own; None for none."""
    return fitted.titles(path_of(file)) or None


def spelled(key: str) -> list[str]:
    """Return an option with dashes, and with underscores."""
    return list(dict.fromkeys([f"--{key.replace('_', '-')}", f"--{key}"]))


def words_of(text: str) -> list[str]:
    """Return the ids in a text, each once, separated by commas; one with a comma stands in double quotes."""
    return list(dict.fromkeys(next(csv.reader([text], skipinitialspace=True), [])))


def path_of(text: str | None) -> Path | None:
    """Return the path that is given."""
    return Path(text).expanduser() if text is not None else None


def described(table: pd.DataFrame, given: str) -> str:
    """Return a table for every user, or item, of the column `given`."""
    from tabulate import tabulate

    if table.empty:
        return "nothing is left to recommend"
    parts = []
    for name, rows in table.groupby(given, sort=False):
        rows = rows.drop(columns=given)
        last = rows.columns[-1]
        cells = rows.assign(**{last: rows[last].map("{:.4f}".format)}).astype(str).to_numpy().tolist()
        align = ["right", *["left"] * (len(rows.columns) - 2), "right"]
        shown = tabulate(cells, list(rows.columns), disable_numparse=True, colalign=align)
        parts.append(f"{given} {name}\n{shown}")
    return "\n\n".join(parts)


def machine_options() -> list[click.Option]:
    """Return the options of the machine."""
    return [click.Option(spelled(key), metavar="VALUE", help=what) for key, what in MACHINE.items()]


def command(name: str, action: Any, text: str, example: str, *options: click.Parameter) -> click.Command:
    """Return a verb about a run that is loaded: its `options`, then those that all such verbs have."""
    shared = [
        click.Option(["--k"], type=int, default=10, show_default=True, help="how many items"),
        click.Option(
            ["--titles"],
            metavar="FILE",
            help="an .item file, or a table of ids and titles; where a table is printed, the data set's own",
        ),
    ]
    return of_run(name, action, text, example, *options, *shared, *machine_options())


recommend_command = command(
    "recommend",
    recommend,
    "Print the best items of users of a run, or write those of many to a file.",
    "recbole-hlr recommend RUN_DIR --users=196,186 --k=10",
    click.Option(["--users"], metavar="IDS", help="separated by commas"),
    click.Option(["--users-file"], metavar="FILE", help="a table with a column of users' ids"),
    click.Option(["--all"], is_flag=True, help="every user; with --out"),
    click.Option(["--history"], metavar="IDS", help="the items of somebody who is not in the data"),
    click.Option(["--histories-file"], metavar="FILE", help="a table of such users and their items"),
    click.Option(["--out"], metavar="FILE", help="a .parquet, .csv or .jsonl file to write"),
    click.Option(["--items-file"], metavar="FILE", help="a table of the items that may be recommended"),
    click.Option(["--exclude-items"], metavar="FILE", help="a table of items that may not"),
    click.Option(
        ["--include-seen"], is_flag=True, help="recommend items of the training part, or of the history, too"
    ),
    click.Option(["--approximate"], is_flag=True, help="by an index: faster for many items, may miss some"),
    click.Option(
        ["--on-unknown"],
        type=click.Choice(ON_UNKNOWN_USER),
        help="what to do about an id that is not in the data: stop (the default), leave it out with (of "
        "histories the default) or without a message, or give its user what is popular",
    ),
)
similar_command = command(
    "similar",
    similar,
    "Print the items nearest to others: by squared distance for the metric models, by cosine for others.",
    "recbole-hlr similar RUN_DIR --items=50 --k=10",
    click.Option(["--items"], metavar="IDS", required=True, help="separated by commas"),
)
