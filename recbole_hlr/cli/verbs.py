"""What makes a verb: its help, and its options in RecBole's form, which `parse_arguments` reads."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

from recbole_hlr.console import console_logging
from recbole_hlr.errors import InputError, nearest

Action = Callable[[list[str]], int | None]
HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 110}
TOLD = {
    "quiet": "print the result and errors alone",
    "verbose": "also say which options were given, and where",
}


class Verb(click.Command):
    """A verb that takes its words as they are: any of several hundred options, as --key=value or --key value.

    `own` has the names of the options that its help begins with; `shows_model` says that it lists the options
    of `--model`, and of every run, too.
    """

    def __init__(
        self, name: str, action: Action, usage: str, text: str, own: str, example: str,
        shows_model: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(
            name,
            help=text,
            short_help=re.split("[;.]", text)[0],
            epilog=f"Example: {example}",
            context_settings=HELP,
        )
        self.action, self.usage, self.own, self.shows_model = action, usage, own.split(), shows_model
        if "model" in self.own:
            self.params.append(click.Option(["--model"], shell_complete=complete_model))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep all words but those that ask for help."""
        ctx.args = [word for word in args if word not in HELP["help_option_names"]]
        if len(ctx.args) < len(args) and not ctx.resilient_parsing:
            click.echo(self.get_help(ctx))
            ctx.exit()
        return ctx.args

    def invoke(self, ctx: click.Context) -> int | None:
        """Do the verb's work."""
        begin()
        return self.action(ctx.args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write how the verb is called."""
        formatter.write_usage(ctx.command_path, self.usage)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verb's own options, those of the model and those of every run."""
        from recbole_hlr.cli.listing import sections, told_of

        if self.own:
            with formatter.section("Options"):
                own = {key: told_of(key) for key in self.own}
                formatter.write_dl([(f"--{key}", what) for key, what in {**own, **TOLD}.items()])
        if not self.shows_model:
            return
        for title, rows in sections(model_of(ctx.args)):
            with formatter.section(title):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete the name of an option."""
        from recbole_hlr.cli.listing import names

        known = [*self.own, *TOLD, *(names(model_of(ctx.args)) if self.shows_model else ())]
        return matching((f"--{key}" for key in dict.fromkeys(known)), incomplete)


class Verbs(click.Group):
    """The program: verbs, of which a wrong name ends with the nearest."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the verb that is asked for."""
        word = args[0]
        if word not in self.commands and not word.startswith("-") and not ctx.resilient_parsing:
            known = ", ".join(self.commands)
            raise InputError(f"{word} (command line): must be one of {known}{nearest(word, self.commands)}")
        return super().resolve_command(ctx, args)


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of models that begin as `incomplete` does."""
    from recbole_hlr.cli.listing import models

    return matching(models(), incomplete)


def matching(words: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return those words that begin as `incomplete` does."""
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


def model_of(words: list[str]) -> str | None:
    """Return the model that a command line names, as far as it is written."""
    for word, following in zip(words, [*words[1:], ""], strict=False):
        if word.startswith("--model="):
            return word.partition("=")[2] or None
        if word == "--model":
            return following or None
    return None


def begin() -> None:
    """Quiet the libraries; raise `InputError` where no verb can be at work."""
    try:
        os.getcwd()
    except FileNotFoundError:
        raise InputError("working directory: has been deleted; must be one that is there") from None
    from recbole_hlr.host import recbole as compat

    compat.quiet_host()


def told_options() -> list[click.Option]:
    """Return the options of `TOLD` for a command of click's own."""
    return [
        click.Option([f"-{word[0]}", f"--{word}"], is_flag=True, help=what) for word, what in TOLD.items()
    ]


def of_run(
    name: str, action: Callable[..., None], text: str, example: str, *params: click.Parameter
) -> click.Command:
    """Return a verb about a run directory, its first argument, with `params` and the options of `TOLD`."""

    def act(**given: Any) -> None:
        begin()
        listen_to(given)
        action(**given)

    return click.Command(
        name,
        callback=act,
        params=[click.Argument(["run_dir"], metavar="RUN_DIR"), *params, *told_options()],
        help=text,
        epilog=f"Example: {example}",
        context_settings=HELP,
    )


def listen_to(given: dict[str, Any]) -> None:
    """Show messages as those options ask for."""
    listen([f"--{word}" for word in TOLD if given[word]])


def listen(arguments: list[str]) -> list[str]:
    """Show messages as --quiet and --verbose ask for, and return the other words."""
    asked = {word for word in arguments if word in ("--quiet", "-q", "--verbose", "-v")}
    if asked & {"--quiet", "-q"} and asked & {"--verbose", "-v"}:
        raise InputError("--quiet (command line): cannot be given with --verbose")
    if asked & {"--quiet", "-q"}:
        console_logging("ERROR")
    else:
        console_logging("DEBUG" if asked else None)
    return [word for word in arguments if word not in asked]
