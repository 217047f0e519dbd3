"""`recbole-hlr describe DATASET`: what a data set is like, and what is odd in it."""

from __future__ import annotations

from pathlib import Path

from recbole_hlr.cli.verbs import Verb, listen


def describe(arguments: list[str]) -> None:
    """Print what a data set is like; with --out, write the page too."""
    from recbole_hlr.errors import InputError
    from recbole_hlr.facts.description import describe
    from recbole_hlr.options.command_line import COMMAND_LINE, parse_arguments, take_word

    dataset, words = take_word(listen(arguments), "DATASET")
    options = parse_arguments(words)
    out = options.pop("out", None)
    if out is not None and Path(out).suffix != ".html":
        raise InputError(f"--out={out}", "must be an .html file", place=COMMAND_LINE, option="out")
    found = describe(dataset, arguments=options)
    print(found)
    if out is not None:
        found.write(Path(out).expanduser())
        print(f"\n{out}")


describe_command = Verb(
    "describe",
    describe,
    "DATASET [--data_path=FOLDER] [--key=value ...] [--out=page.html]",
    "Describe a data set: its sizes, long tail and parts as a run would have them, and what looks wrong; "
    "--out=FILE writes a page with figures.",
    "data_path load_col rm_dup_inter val_interval threshold user_inter_num_interval item_inter_num_interval "
    "eval_args config_files",
    "recbole-hlr describe ml-100k --out=page.html",
    shows_model=False,
)
