"""Interactions that a person gives for a run that is there: those that the run's filters would keep."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow as pa
import torch
from recbole.data.interaction import Interaction

from recbole_hlr.config.config import HLRConfig
from recbole_hlr.convert.summary import within
from recbole_hlr.data.account import Account
from recbole_hlr.data.atomic import AtomicDataset
from recbole_hlr.data.ids import Ids, flattened
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.labels import positives
from recbole_hlr.data.tables import table_of
from recbole_hlr.errors import InputError

log = logging.getLogger("recbole_hlr")


def test_part_of(
    given: object, config: HLRConfig, data: AtomicDataset, history: InteractionMatrix
) -> tuple[AtomicDataset, Account]:
    """Return the interactions of a table as a test part of a run on `data` that has learned from `history`.

    And the account of it: what the run's filters would leave out, whose user or item the run does not have,
    whose user it has learned nothing about, and what it was trained on. Raises `InputError`, also where
    nothing is left.
    """
    account = Account()
    users, items = (
        Ids(what, field, list(map(str, data.field2id_token[field])))
        for what, field in (("user", data.uid_field), ("item", data.iid_field))
    )
    what = called(given)
    owners, tokens, _ = flattened(chosen_rows(given, config, account), users, items, what)
    account.read = account.read or len(owners)
    user, item = users.find(owners, "warn")[1], items.find(tokens, "warn")[1]  # (n,) each
    kept = torch.ones(len(user), dtype=torch.bool)
    for reason, may in (
        ("unknown_user", user > 0),
        ("unknown_item", item > 0),
        ("untrained", history.lengths[user] > 0),
        ("known", ~torch.isin(user * history.num_items + item, history.keys())),
    ):
        account.leave_out(reason, int((kept & ~may).sum()))
        kept &= may
    found = InteractionMatrix.from_pairs(user[kept], item[kept], history.num_users, history.num_items)
    account.leave_out("repeated", int(kept.sum()) - len(found.items))
    log.info("%s: %s", what, account)
    if not account.kept:
        raise InputError(
            f"test_file={what}: has no interaction to test by of a user and an item that the run knows "
            f"({account})"
        )
    part = data.copy(Interaction({data.uid_field: found.users(), data.iid_field: found.items}))
    return part, account


def chosen_rows(given: object, config: HLRConfig, account: Account) -> object:
    """Return interactions without those that the run's filters would leave out, which are entered."""
    if isinstance(given, Mapping):
        return given
    table, what = table_of(given), called(given)
    account.read = len(table)
    for column, wanted in (config["val_interval"] or {}).items():
        if column not in table.column_names:
            log.warning(
                "%s: has no column %s, by which val_interval=%s could choose; all of its rows are taken",
                what, column, config["val_interval"],
            )  # fmt: skip
        elif isinstance(wanted, list):
            kept = table.column(column).to_pandas().astype(str).isin(list(map(str, wanted)))
            table = without(table, kept, "val_interval", account)
        else:
            kept = pd.Series(within(numbers(table, column, what).to_numpy(), wanted))
            table = without(table, kept, "val_interval", account)
    (judged,) = config["threshold"] or [config["LABEL_FIELD"]]
    if judged in table.column_names and is_loaded(judged, config):
        found = positives(config, pd.DataFrame({judged: numbers(table, judged, what)}))
        if found:
            table = without(table, found[1], found[0], account)
    return table


def is_loaded(column: str, config: HLRConfig) -> bool:
    """Say whether a run loads a column of its interactions, if there is one."""
    load, unload = config["load_col"], (config["unload_col"] or {}).get("inter") or ()
    wanted = (load or {}).get("inter", "*")
    return (wanted in ("*", None) or column in wanted) and column not in unload


def without(table: pa.Table, kept: pd.Series, reason: str, account: Account) -> pa.Table:
    """Return the rows that are `kept`, and enter how many are not."""
    account.leave_out(reason, int((~kept).sum()))
    return table.filter(pa.array(kept.to_numpy(dtype=bool)))


def numbers(table: pa.Table, column: str, what: str) -> pd.Series:
    """Return a column as numbers; `InputError` for a value that is none."""
    values = table.column(column).to_pandas()
    found = pd.to_numeric(values, errors="coerce")
    if found.isna().any():
        row = int(found.isna().to_numpy().argmax())
        raise InputError(f"{what}, row {row + 1}: {column}={values.iloc[row]} must be a number")
    return found


def called(interactions: object) -> str:
    """Return what interactions are called in a message."""
    return str(interactions) if isinstance(interactions, Path) else "interactions"
