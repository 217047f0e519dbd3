"""`recbole-hlr export RUN_DIR --out FOLDER`: a run's vectors and a scorer, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from recbole_hlr.cli.verbs import of_run


def export(run_dir: str, out: str, index: bool, **given: Any) -> None:
    """Write the vectors, ids and a scorer of a run to a folder."""
    from recbole_hlr.recommend.load import load

    fitted = load(Path(run_dir).expanduser(), use_gpu=False, compile="off")
    told = fitted.export(Path(out).expanduser(), index)
    how = "score.py scores them" if told["formula"] else "vectors alone: the model's formula is its own"
    print(f"{out}: {told['model']}, {told['users']:,} users, {told['items']:,} items, d = {told['d']}; {how}")


export_command = of_run(
    "export",
    export,
    "Write the vectors of a run's users and items, ids, histories, and a scorer that needs numpy alone.",
    "recbole-hlr export RUN_DIR --out=served",
    click.Option(["--out"], required=True, metavar="FOLDER", help="a new folder, or an empty one"),
    click.Option(["--index"], is_flag=True, help="with an index of the items, for faiss"),
)
