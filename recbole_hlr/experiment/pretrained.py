"""Tables to start from: those of a run or of a file, matched to the data set by its own ids."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.data.stored import StoredData
from recbole_hlr.errors import InputError
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.files import is_file, is_folder
from recbole_hlr.model import MetricRecommender
from recbole_hlr.protocols import InteractionData, NamedData
from recbole_hlr.train import checkpoint

log = logging.getLogger("recbole_hlr")
Tables = dict[str, tuple[Sequence[str], Tensor]]  # ids and vectors of "user" and of "item"
ARRAYS = ("user_ids", "user_embedding", "item_ids", "item_embedding")


class Pretrained(NamedTuple):
    """What a run or an .npz file holds: `tables`, vectors `(n, d)`; and for a run, what it trained on."""

    tables: Tables
    data: StoredData | None


def start_from(
    model: MetricRecommender, path: str | Path, data: NamedData, held_out: Sequence[InteractionData] = ()
) -> None:
    """Give the tables of `model` the rows that the file or run `path` has for ids of the data set `data`.

    Warns where a run was trained on interactions of `held_out`, the validation and test parts of `data`.
    `path` is a run directory or a folder with one, its model.pth, or an .npz with `user_ids (n,)`,
    `user_embedding (n, d)`, `item_ids (m,)`, `item_embedding (m, d)`. Ids that it does not have keep
    their random start.
    Raises `InputError` where it cannot be read or does not fit.
    """
    pretrained = read_pretrained(Path(path))
    places = matched(pretrained, data)
    for kind, table in (("user", model.user_embedding), ("item", model.item_embedding)):
        rows, place = pretrained.tables[kind][1], places[kind]
        size, ids = table.weight.shape[1], len(table.weight) - 1
        if rows.shape[1] != size:
            raise InputError(
                f"pretrained_embeddings={path}: {kind} vectors have {rows.shape[1]} dimensions, "
                f"must have embedding_size={size}"
            )
        theirs = place.nonzero().squeeze(dim=1)
        if not len(theirs):
            raise InputError(f"pretrained_embeddings={path}: has none of the data set's {ids} {kind} ids")
        if model.geometry == "sphere" and not rows[theirs].any(dim=1).all():
            raise InputError(
                f"pretrained_embeddings={path}: has {kind} vectors of zeros, which are on no sphere; "
                "leave them out, or give geometry=ball"
            )
        with torch.no_grad():
            table.weight[place[theirs].to(table.weight.device)] = rows[theirs].to(table.weight)
        log.info("%d of %d %s vectors taken from %s", len(theirs), ids, kind, path)
    model.project()
    _warn_if_seen(path, pretrained, places, held_out)


def warn_if_seen(path: str | Path, data: NamedData, held_out: Sequence[InteractionData]) -> None:
    """Warn where a start was trained on interactions of `held_out`, parts of the data set `data`."""
    pretrained = read_pretrained(Path(path))
    _warn_if_seen(path, pretrained, matched(pretrained, data), held_out)


def matched(pretrained: Pretrained, data: NamedData) -> dict[str, Tensor]:
    """Return, for "user" and "item", the id `(n,)` in the data set of each of their rows, or 0."""
    places = {}
    for kind, field in (("user", data.uid_field), ("item", data.iid_field)):
        tokens = [str(token) for token in data.field2id_token[field]]
        ours = {token: n for n, token in enumerate(tokens) if n > 0}
        places[kind] = torch.tensor([ours.get(token, 0) for token in pretrained.tables[kind][0]])
    return places


def _warn_if_seen(
    path: str | Path, pretrained: Pretrained, places: dict[str, Tensor], held_out: Sequence[InteractionData]
) -> None:
    """Warn of held-out interactions that the run `path` was trained on: another seed splits otherwise."""
    trained = pretrained.data
    if trained is None or not held_out:
        return
    users = places["user"][trained.history.users() - 1]  # their padding has no row
    items = places["item"][trained.history.items - 1]
    known = (users > 0) & (items > 0)
    theirs = InteractionMatrix.from_pairs(
        users[known], items[known], held_out[0].user_num, held_out[0].item_num
    )
    judged = InteractionMatrix.of(*held_out).keys()
    seen = int(torch.isin(judged, theirs.keys()).sum())
    if seen:
        log.warning(
            "%s was trained on %d of the %d interactions by which this run is validated and tested, "
            "so its metrics will be too high; a run with the same data, split and seed was not",
            path,
            seen,
            len(judged),
        )


def read_pretrained(path: Path) -> Pretrained:
    """Return the ids and vectors `(n, d)` of users and items that a run or an .npz file holds."""
    return Pretrained(_read_npz(path), None) if path.suffix == ".npz" else _read_run(path)


def _read_run(path: Path) -> Pretrained:
    content = checkpoint.load(_checkpoint_of(path) if is_folder(path) else path)
    weights, data = content["best"]["state_dict"], StoredData(content["data"])
    for kind in ("user", "item"):
        if f"{kind}_embedding.weight" not in weights:
            model = content["config"]["model"]
            raise InputError(f"pretrained_embeddings={path}: {model} has no {kind}_embedding.weight")
    tables = {
        kind: (tokens[1:], weights[f"{kind}_embedding.weight"][1:])  # without padding
        for kind, tokens in (("user", data.user_tokens), ("item", data.item_tokens))
    }
    return Pretrained(tables, data)


def _checkpoint_of(folder: Path) -> Path:
    """Return the model.pth of a run directory, or of the only one in a folder, as a benchmark's cell is."""
    own, inner = RunDir(folder).checkpoint, RunDir.inside(folder)
    if is_file(own) or not inner:
        return own
    if len(inner) > 1:
        raise InputError(f"pretrained_embeddings={folder}: holds {len(inner)} runs; name one of them")
    return inner[0].checkpoint


def _read_npz(path: Path) -> Tables:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in ARRAYS}
    except KeyError:
        raise InputError(f"pretrained_embeddings={path}: must hold {', '.join(ARRAYS)}") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"pretrained_embeddings={path}: cannot be read as .npz ({reason})") from None
    tables: Tables = {}
    for kind in ("user", "item"):
        ids, rows = arrays[f"{kind}_ids"], arrays[f"{kind}_embedding"]
        if ids.ndim != 1 or rows.shape[:1] != ids.shape or rows.ndim != 2:
            raise InputError(
                f"pretrained_embeddings={path}: {kind}_ids {ids.shape} and {kind}_embedding {rows.shape} "
                "must be (n,) and (n, d)"
            )
        if rows.dtype.kind != "f" or not np.isfinite(rows).all():
            raise InputError(f"pretrained_embeddings={path}: {kind}_embedding must hold finite numbers")
        tables[kind] = ([str(token) for token in ids], torch.from_numpy(rows))
    return tables
