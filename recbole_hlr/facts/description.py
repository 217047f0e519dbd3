"""What a data set is like, as it is read and as a run's filters and split leave it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_hlr.config.config import HLRConfig
from recbole_hlr.console import interactive_logging, set_console_level
from recbole_hlr.data.account import REASONS
from recbole_hlr.data.loaders import SplitData, load_split
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.table import on_disk
from recbole_hlr.facts import mistakes
from recbole_hlr.facts.as_read import AsRead
from recbole_hlr.facts.measures import Measured, lengths, measured, new_ones, sizes, tail
from recbole_hlr.facts.times import moment, unit_of
from recbole_hlr.files import write_text
from recbole_hlr.host import recbole as compat
from recbole_hlr.host.shortage import shortage_told
from recbole_hlr.protocols import Given

PARTS = ("training", "validation", "test")


@dataclass(frozen=True)
class Description:
    """What `describe` found; `str` of it is a text of 80 columns, `write` makes a page of it.

    `sizes`, `tail` and `lengths` are tables with a column for the interactions as `read` and as `kept`;
    `left_out` has why the others are not; `parts` what is in each part of the split, and what of it is of
    users or items without an interaction in the training part; `times` the first and the last time of
    each. `warnings` are sentences. `curves` are the series of the page's figures.
    """

    dataset: str
    sizes: pd.DataFrame
    tail: pd.DataFrame
    lengths: pd.DataFrame
    left_out: pd.DataFrame
    parts: pd.DataFrame
    times: pd.DataFrame
    warnings: list[str]
    curves: dict[str, Any]

    def __str__(self) -> str:
        from recbole_hlr.facts.text import as_text

        return as_text(self)

    def write(self, path: str | Path) -> None:
        """Write all of it, with figures, as one HTML page that needs no network."""
        from recbole_hlr.facts.page import page

        write_text(Path(path), page(self))


@alone("describe()")
@compat.quietly()
def describe(
    dataset: str | Any | None = None,
    *,
    model: str | type = "CML",
    config_files: Sequence[str | Path] = (),
    arguments: Sequence[str] | Given = (),
    **options: Any,
) -> Description:
    """Return what a data set is like, as a run of `model` with these options reads, filters and splits it.

    The arguments are those of `prepare`, a table among them; nothing is trained. Raises `InputError` for
    what a run would not be started with.
    """
    interactive_logging()
    dataset, options = on_disk(model, dataset, config_files, arguments, options)
    config = HLRConfig(model, dataset, config_files, options, arguments)
    set_console_level(config["state"].upper())
    config = compat.with_values(config, topk=[1])  # nothing is ranked, however few items there are
    with shortage_told(config):
        data = load_split(config)
        read = AsRead(config).inter_feat
        return described(config, read, data, time.time())


def described(config: HLRConfig, read: pd.DataFrame, data: SplitData, now: float) -> Description:
    """Return the description of a table as it was `read` and of its split; `now` in seconds since 1970."""
    fields = config["USER_ID_FIELD"], config["ITEM_ID_FIELD"]
    ids, codes = [], []
    for what, field in zip(("user", "item"), fields, strict=True):
        numbers, names = pd.factorize(read[field])
        codes.append(numbers)
        ids.append(mistakes.Ids(field, what, names))
    there = (codes[0] >= 0) & (codes[1] >= 0)
    before = measured(codes[0][there], codes[1][there])
    columns = [ids_of(part) for part in data.parts]
    after = measured(*(np.concatenate(side) for side in zip(*columns, strict=True)))
    stamps = times_of(config, read, data)
    parts = table_of_parts(columns)
    found = [
        *(sentence for one in ids for sentence in mistakes.of_ids(one)),
        *of_columns(config, read, before, now),
        *mistakes.of_parts(parts),
    ]
    return Description(
        dataset=config["dataset"],
        sizes=beside(before, after, sizes),
        tail=beside(before, after, tail),
        lengths=pd.DataFrame(
            {
                f"{what}, {when}": lengths(getattr(one, f"of_{what}s"))
                for what in ("user", "item")
                for when, one in (("read", before), ("kept", after))
            }
        ),
        left_out=pd.DataFrame(
            {"why": REASONS[key], "interactions": count}
            for key, count in data.dataset.account.left_out.items()
        ),
        parts=parts,
        times=table_of_times(stamps),
        warnings=found,
        curves={"read": before, "kept": after, "times": stamps, "values": values_of(config, read)},
    )


def numbers_of(read: pd.DataFrame) -> list[str]:
    """Return the names of the columns of numbers."""
    return list(read.select_dtypes("float").columns)


def ids_of(part: Any) -> tuple[np.ndarray, ...]:
    """Return users and items `(n,)` of a built part."""
    return tuple(part.inter_feat[field].numpy() for field in (part.uid_field, part.iid_field))


def beside(before: Measured, after: Measured, figures: Any) -> pd.DataFrame:
    """Return the `figures` of what is read and of what is kept, a column each."""
    return pd.DataFrame({"read": figures(before), "kept": figures(after)})


def of_columns(config: HLRConfig, read: pd.DataFrame, found: Measured, now: float) -> Iterator[str]:
    """Yield what is wrong with pairs, with how often ids occur, and with columns of numbers."""
    whole = int(read.duplicated().sum()) if found.repeated else 0
    yield from mistakes.of_pairs(found, whole, bool(config["rm_dup_inter"]))
    yield from mistakes.of_counts(found)
    for column in numbers_of(read):
        values = read[column].to_numpy()
        if column == config["TIME_FIELD"]:
            yield from mistakes.of_times(column, values, now)
        else:
            yield from mistakes.of_numbers(column, values)


def table_of_parts(columns: Sequence[tuple[np.ndarray, ...]]) -> pd.DataFrame:
    """Return, for each part of users and items `(n,)`, its sizes and what of it is new to the first."""
    rows = {}
    for name, (users, items) in zip(PARTS, columns, strict=True):
        row = {"interactions": len(users), "users": len(pd.unique(users)), "items": len(pd.unique(items))}
        for what, own, known in (("user", users, columns[0][0]), ("item", items, columns[0][1])):
            new = new_ones(own, known)
            row[f"new {what}s"] = len(pd.unique(own[new]))
            row[f"interactions of new {what}s"] = int(new.sum())
        rows[name] = row
    return pd.DataFrame(rows).T


def times_of(config: HLRConfig, read: pd.DataFrame, data: SplitData) -> dict[str, np.ndarray]:
    """Return the times `(n,)` of what is read and, where they are loaded, of every part; {} for none."""
    field = config["TIME_FIELD"]
    if field not in numbers_of(read):
        return {}
    loaded = zip(PARTS, data.parts, strict=True) if field in data.parts[0].inter_feat else ()
    return {
        "read": read[field].to_numpy(),
        **{name: part.inter_feat[field].numpy().astype(float) for name, part in loaded},
    }


def table_of_times(stamps: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the first and the last of the times `(n,)` of each part, as dates where they are some."""
    unit = unit_of(stamps["read"]) if stamps else None
    rows = {}
    for name, times in stamps.items():
        known = times[np.isfinite(times)]
        rows[name] = {
            which: moment(edge(known), unit) if len(known) else ""
            for which, edge in (("first", np.min), ("last", np.max))
        }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["first", "last"])


def values_of(config: HLRConfig, read: pd.DataFrame) -> dict[str, pd.Series]:
    """Return how often each value occurs of the columns of numbers that are no times."""
    columns = (name for name in numbers_of(read) if name != config["TIME_FIELD"])
    return {name: read[name].value_counts().sort_index() for name in columns}
