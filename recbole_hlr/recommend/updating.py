"""A run that learns of more interactions: users are folded in anew, all that it knows of items stays."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_hlr.data.account import Account
from recbole_hlr.data.ids import flattened
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.errors import InputError
from recbole_hlr.experiment.exclusive import alone
from recbole_hlr.experiment.given import called, chosen_rows
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.files import write_text
from recbole_hlr.host import recbole as compat
from recbole_hlr.options.kinds import ON_UNKNOWN
from recbole_hlr.options.yaml_values import dump_yaml
from recbole_hlr.protocols import Values
from recbole_hlr.recommend.fitted import FittedRecommender
from recbole_hlr.recommend.load import fitted_of
from recbole_hlr.train import checkpoint
from recbole_hlr.train.folding import fold_in
from recbole_hlr.version import __version__

log = logging.getLogger("recbole_hlr")


@dataclasses.dataclass(frozen=True)
class Update:
    """What an update came to: `run_dir`, made from the run `updated_from`.

    `interactions` has how many were `read`, `left_out` by what reason, and `kept`, which are new: of `users`,
    of whom `new_users` were not in the run.
    """

    run_dir: str
    updated_from: str
    interactions: dict[str, Any]
    users: int
    new_users: int
    version: str = __version__


@alone("update()")
@compat.quietly()
def update(
    run_dir: str | Path,
    interactions: object,
    *,
    on_unknown: str = "warn",
    checkpoint_dir: str | Path | None = None,
    **options: object,
) -> Update:
    """Make a new run directory of a run and of `interactions` of users that it has, or has not.

    Users with an interaction that the run does not have are folded in by their whole history
    (`train/folding.py`); vectors of items, memories and all other users stay as they are, and so does
    the run. `interactions` are as for `FittedRecommender.recommend_for`; what `val_interval`, `threshold` or
    a label of the run would leave out are left out where the table has the column. An item that is not
    in the run is an error if `on_unknown` is "raise", else left out, and named unless it is "ignore".
    The directory appears when it is whole, beside the run or in `checkpoint_dir`. `options` are as for
    `load`.
    Raises `InputError`, also for a model that is none of this package, and where nothing is new.
    """
    if on_unknown not in ON_UNKNOWN:
        raise InputError(f"on_unknown={on_unknown!r}: must be one of {', '.join(ON_UNKNOWN)}")
    folder = RunDir.open(run_dir)
    content = checkpoint.load(folder.checkpoint)
    fitted = fitted_of(content, folder, **options)
    account = Account()
    owners, tokens, _ = flattened(
        chosen_rows(interactions, fitted.config, account), fitted._users, fitted._items, called(interactions)
    )
    account.read = account.read or len(owners)
    _, items = fitted._items.find(tokens, on_unknown)
    names, history = merged(fitted, owners, items, account)
    log.info("%s: %s", called(interactions), account)
    if not account.kept:
        raise InputError(f"{called(interactions)}: has no interaction that is new to {run_dir}")
    vectors, changed = folded(fitted, history)
    new_users = len(names) - len(fitted.data.user_tokens)
    done = Update("", str(run_dir), account.as_dict(), len(changed), new_users)
    config, content = dump_yaml(content["config"]), updated(content, names, history, changed, vectors)

    def fill(path: Path) -> None:
        checkpoint.save(RunDir(path).checkpoint, {**content, "updated_from": str(run_dir)})
        told = {key: value for key, value in dataclasses.asdict(done).items() if key != "run_dir"}
        write_text(RunDir(path).update, json.dumps(told, indent=2, ensure_ascii=False) + "\n")

    parent = checkpoint_dir or folder.path.absolute().parent
    name = f"{fitted.config.model}-{fitted.config.dataset}"
    return dataclasses.replace(done, run_dir=str(RunDir.create(parent, name, config, fill=fill).path))


def merged(
    fitted: FittedRecommender, owners: list[str], items: Tensor, account: Account
) -> tuple[list[str], InteractionMatrix]:
    """Return the ids of all users, new ones last, and all interactions; what is not new is entered."""
    before, number_of, found = fitted.data.history, dict(fitted._users.numbers), items > 0
    account.leave_out("unknown_item", int((~found).sum()))
    rows = [
        number_of.setdefault(owner, len(number_of) + 1)
        for owner, is_found in zip(owners, found.tolist(), strict=True)
        if is_found
    ]
    pairs = torch.tensor(rows, dtype=torch.int64) * before.num_items + items[found]  # (n,)
    new = pairs[~torch.isin(pairs, before.keys())]
    account.leave_out("known", len(pairs) - len(new))
    every = torch.cat([before.keys(), new])
    history = InteractionMatrix.from_pairs(
        every // before.num_items, every % before.num_items, len(number_of) + 1, before.num_items
    )
    account.leave_out("repeated", len(every) - len(history.items))
    return [fitted.data.user_tokens[0], *number_of], history


def folded(fitted: FittedRecommender, history: InteractionMatrix) -> tuple[Tensor, Tensor]:
    """Return vectors `(n, d)` and ids `(n,)` of the users who have more than the run knows."""
    before = fitted.data.history.lengths
    more = history.lengths.clone()
    more[: len(before)] -= before
    changed = more.nonzero().squeeze(dim=1)
    items, _ = history.flat(changed)
    rows = torch.repeat_interleave(torch.arange(1, len(changed) + 1), history.lengths[changed])
    own = InteractionMatrix.from_pairs(rows, items, len(changed) + 1, history.num_items)
    return fold_in(fitted.model, own, fitted.config.model).user_embedding.weight[1:].detach().cpu(), changed


def updated(
    content: Values, names: list[str], history: InteractionMatrix, changed: Tensor, vectors: Tensor
) -> Values:
    """Return a checkpoint of the same model with other users, from which no training can go on."""
    weights = dict(content["best"]["state_dict"])
    before = weights["user_embedding.weight"]
    table = before.new_zeros(len(names), before.shape[1])
    table[: len(before)] = before
    table[changed] = vectors.to(table)
    weights["user_embedding.weight"] = table
    data: dict[str, Any] = {
        **content["data"], "user_tokens": names, "indptr": history.indptr, "items": history.items,
    }  # fmt: skip
    kept = {key: value for key, value in content.items() if key not in ("format", "digest")}
    return {
        **kept,
        "version": __version__,
        "data": data,
        "state_dict": weights,
        "best": {**content["best"], "state_dict": weights},
        "last": None,
        "optimizer": {"state": {}, "param_groups": []},
        "schedule": None,
        "loader": None,
    }
