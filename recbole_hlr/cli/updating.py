"""`recbole-hlr update RUN_DIR NEW.inter`: a run that knows of more interactions."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from recbole_hlr.cli.recommending import machine_options, spelled, told_machine
from recbole_hlr.cli.verbs import of_run
from recbole_hlr.console import is_quiet
from recbole_hlr.options.kinds import ON_UNKNOWN


def update(
    run_dir: str, interactions: str, on_unknown: str, checkpoint_dir: str | None, **given: Any
) -> None:
    """Make a run that knows of more interactions, and print where it is."""
    from recbole_hlr.recommend.updating import update as make

    with told_machine(given, few=True) as told:
        done = make(
            Path(run_dir).expanduser(),
            Path(interactions).expanduser(),
            on_unknown=on_unknown,
            checkpoint_dir=checkpoint_dir and Path(checkpoint_dir).expanduser(),
            **told,
        )
    print(f"users folded in  {done.users:,}, of whom {done.new_users:,} are new")
    print(f"run directory    {done.run_dir}")
    if not is_quiet():
        print(f"recommend        {shlex.join(['recbole-hlr', 'recommend', done.run_dir])} --users=ID")


update_command = of_run(
    "update",
    update,
    "Make a new run directory that knows of more interactions: their users, old or new, are folded in, "
    "and all that the run knows of items stays.",
    "recbole-hlr update RUN_DIR new.inter",
    click.Argument(["interactions"], metavar="NEW.inter"),
    click.Option(
        ["--on-unknown"],
        type=click.Choice(ON_UNKNOWN),
        default="warn",
        show_default=True,
        help="what to do about an item that the run does not have: stop, or leave it out with or "
        "without a message",
    ),
    click.Option(
        spelled("checkpoint_dir"), metavar="FOLDER", help="where to make the run; else beside RUN_DIR"
    ),
    *machine_options(),
)
