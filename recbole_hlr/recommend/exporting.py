"""A fitted recommender as files that need none of this package: vectors, ids, histories, and a scorer."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from scipy import sparse
from torch import Tensor, nn

from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.errors import InputError
from recbole_hlr.files import exists, is_folder, uninterrupted, unwritten
from recbole_hlr.metrics.evaluator import refuse_not_finite
from recbole_hlr.model.registry import is_ours
from recbole_hlr.recommend import scorer
from recbole_hlr.recommend.ranking import scores_of
from recbole_hlr.version import __version__

if TYPE_CHECKING:
    from recbole_hlr.recommend.fitted import FittedRecommender

INNER = "inner product"
FORMULAS = {  # what is said of them
    "CML": "-||p_u - q_v||^2",
    "LRML": "-||p_u + r - q_v||^2, r = rel(p_u, q_v)",
    "TransCF": "-||p_u + r - q_v||^2, r = a_u * b_v, the means of q over u's items and of p over v's users",
    "AdaCML": "-||p_u + r - q_v||^2, r = sum_j alpha_j q_j, alpha = softmax_j(q_v . q_j), j attended by u",
    "HLR": "-||p_u + r - q_v||^2, r = sum_j alpha_j rel(q_v, q_j), alpha = softmax_j(p_u . rel(q_v, q_j)), "
    "j attended by u",
    "HLRPP": "-||p_u + r - q_v||^2, r = HLR's + sum_x beta_x rel(p_u, x), "
    "beta = softmax_x(q_v . rel(p_u, x)), x the items attended by u, or the users of v",
    INNER: "p_u . q_v",
}
CONTENTS = {
    "user_ids.json": "ids of the users; row n, from 0, of what is about users is that of id n here",
    "item_ids.json": "ids of the items, likewise",
    "user_vectors.npy": "p, float32 (users, d)",
    "item_vectors.npy": "q, float32 (items, d)",
    "users.parquet": "the same: columns id, vector",
    "items.parquet": "the same: columns id, vector and, where there is one, bias",
    "item_bias.npy": "b, float32 (items,), added to the score",
    "keys.npy": "K, float32 (N, d): rel(a, b) = softmax((a * b) K^T) M",
    "memories.npy": "M, float32 (N, d)",
    "direct_keys.npy": "K of the relation of the target with the user",
    "direct_memories.npy": "M of the same",
    "user_means.npy": "a, float32 (users, d)",
    "item_means.npy": "b, float32 (items, d)",
    "history.npz": "the training part: scipy.sparse.load_npz gives (users, items), ones where seen",
    "attended.npz": "the items of it that the model attends to, likewise",
    "audience.npz": "the users that it attends to, (items, users)",
    "items.faiss": "an index of the items for faiss.read_index, of (q, ...), one dimension more than q",
    "probes.npy": "float32 (P, d + 1): the items that are looked for are near (p, 0) plus each of its rows",
    "score.py": "scores and recommendations from these files with numpy alone: python score.py USER [K]",
}
OPTIONS = ("attend_user", "attend_target", "item_attention", "attention_smoothing")
TRIED = 8  # users whose scores must be those of the model
BATCH = 4096  # users, or items, whose lists are drawn at a time


def export(fitted: FittedRecommender, folder: str | Path, index: bool = False) -> dict[str, Any]:
    """Write vectors, ids, histories and a scorer of a run to `folder`; return what its manifest says.

    With `index` there is one of the items, for `recommend(..., approximate=True)` of the scorer and faiss.

    The folder appears when it is whole; it must not be there, or be empty. Before that, the scorer's
    scores of some users are compared with the model's. Raises `InputError`, also for a model without
    vectors of users and items.
    """
    path = Path(folder)
    if exists(path) and (not is_folder(path) or any(path.iterdir())):
        raise InputError(f"{path}: is there already; must be a new folder, or an empty one")
    vectors = vectors_of(fitted)
    retrieval = fitted.index if index else None
    with whole_folder(path) as temporary, torch.no_grad():
        _write_vectors(fitted, vectors, temporary)
        _write_parts(fitted, temporary)
        if retrieval is not None:
            (temporary / "items.faiss").write_bytes(retrieval.serialised())
            np.save(temporary / "probes.npy", retrieval.probes.numpy())
        shutil.copyfile(scorer.__file__, temporary / "score.py")
        manifest = _manifest(fitted, vectors["item"].shape[1], temporary)
        _write_json(temporary / "manifest.json", manifest)
        if manifest["formula"] and not _is_right(fitted, temporary):
            if is_ours(type(fitted.model)) and type(fitted.model).__module__.startswith("recbole_hlr."):
                raise InputError(f"model={fitted.config.model}: the scorer's scores are not the model's")
            manifest = {**manifest, "formula": None, "score": "the model's own; these are its vectors alone"}
            _write_json(temporary / "manifest.json", manifest)
    return manifest


def vectors_of(fitted: FittedRecommender) -> dict[str, np.ndarray]:
    """Return the vectors `(n, d)` of users and of items, without padding; `InputError` for no such."""
    found = {}
    for name, count in (("user", fitted.data.user_num), ("item", fitted.data.item_num)):
        table = getattr(fitted.model, f"{name}_embedding", None)
        if not isinstance(table, nn.Embedding) or table.num_embeddings != count:
            raise InputError(
                f"model={fitted.config.model}: has no {name}_embedding with a vector of every {name}; must "
                "be a model that has, such as CML, HLR, MF-ALS or BPR"
            )
        refuse_not_finite(table.weight.detach()[1:], fitted.config.model, f" of {name}s")
        found[name] = array_of(table.weight[1:])
    return found


def array_of(tensor: Tensor) -> np.ndarray:
    """Return a tensor as float32."""
    return tensor.detach().cpu().float().numpy()


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place if this ends without an error.

    Else nothing is left of it, unless the process was killed. Raises `InputError` where it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        yield temporary
        with uninterrupted():
            for file in temporary.iterdir():
                with open(file, "rb") as written:
                    os.fsync(written.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise InputError(unwritten(path, error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_vectors(fitted: FittedRecommender, vectors: dict[str, np.ndarray], folder: Path) -> None:
    tokens = {"user": fitted.data.user_tokens[1:], "item": fitted.data.item_tokens[1:]}
    bias = getattr(fitted.model, "item_bias", None)
    bias = array_of(bias[1:]) if fitted.config.metric and bias is not None else None
    if bias is not None:
        np.save(folder / "item_bias.npy", bias)
    for name, of_all in vectors.items():
        _write_json(folder / f"{name}_ids.json", tokens[name])
        np.save(folder / f"{name}_vectors.npy", of_all)
        rows = pa.FixedSizeListArray.from_arrays(pa.array(of_all.ravel()), of_all.shape[1])
        columns = {"id": pa.array(tokens[name], pa.string()), "vector": rows}
        if name == "item" and bias is not None:
            columns["bias"] = pa.array(bias)
        parquet.write_table(pa.table(columns), folder / f"{name}s.parquet")


def _write_parts(fitted: FittedRecommender, folder: Path) -> None:
    """Write the training part, and what a model has beside its vectors."""
    model: Any = fitted.model
    history, users, items = fitted.data.history, fitted.data.user_num, fitted.data.item_num
    _write_lists(folder / "history.npz", history.lengths, history.items, (users, items))
    if getattr(model, "attends_to_history", False):
        _write_drawn(folder / "attended.npz", model.evaluation_history, (users, items))
    if getattr(model, "item_attention", None) == "audience":

        def audience_of(rows: Tensor) -> HistoryBatch:
            return model.audience_of(torch.zeros_like(rows), rows.unsqueeze(1))

        _write_drawn(folder / "audience.npz", audience_of, (items, users))
    for kind, memory in (("", "memory"), ("direct_", "direct_memory")):
        if getattr(model, memory, None) is not None:
            np.save(folder / f"{kind}keys.npy", array_of(getattr(model, memory).keys))
            np.save(folder / f"{kind}memories.npy", array_of(getattr(model, memory).values))
    if formula_of(model) == "TransCF":
        from recbole_hlr.model.transcf import means

        for name, lists, table in (
            ("user", model.history, model.item_embedding),
            ("item", model.audience, model.user_embedding),
        ):
            np.save(folder / f"{name}_means.npy", array_of(means(lists, table.weight)[1:]))


def _write_drawn(file: Path, draw: Callable[[Tensor], HistoryBatch], shape: tuple[int, int]) -> None:
    """Write what is drawn of every row."""
    drawn = [draw(rows) for rows in torch.arange(shape[0]).split(BATCH)]
    lengths = torch.cat([mask.sum(dim=1) for _, mask in drawn])
    _write_lists(file, lengths, torch.cat([members[mask] for members, mask in drawn]), shape)


def _write_lists(file: Path, lengths: Tensor, members: Tensor, shape: tuple[int, int]) -> None:
    """Write the `members` of rows of those `lengths`, without padding, which has none and is in none."""
    starts = np.concatenate([[0], np.cumsum(lengths[1:].cpu().numpy())])
    columns = members.cpu().numpy() - 1
    ones = np.ones(len(columns), np.uint8)
    matrix = sparse.csr_matrix((ones, columns, starts), (shape[0] - 1, shape[1] - 1))
    matrix.sort_indices()
    sparse.save_npz(file, matrix, compressed=False)


def _write_json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", "utf-8", "surrogatepass")


def formula_of(model: object) -> str:
    """Return the nearest class of a model whose formula is known; the inner product for all others."""
    return next((one.__name__ for one in type(model).__mro__ if one.__name__ in FORMULAS), INNER)


def _manifest(fitted: FittedRecommender, d: int, folder: Path) -> dict[str, Any]:
    config, formula = fitted.config, formula_of(fitted.model)
    files = [file.name for file in folder.iterdir()]
    bias = "b_v " if "item_bias.npy" in files else ""
    return {
        "model": config.model,
        "dataset": config.dataset,
        "formula": formula,
        "score": f"score(u, v) = {bias}{FORMULAS[formula]}; larger is better",
        "paper": "doi 10.1145/3460231.3474230" if config.ours else None,
        "d": d,
        "geometry": getattr(fitted.model, "geometry", None),
        "users": fitted.data.user_num - 1,
        "items": fitted.data.item_num - 1,
        "options": {key: config[key] for key in OPTIONS if hasattr(fitted.model, key)},
        "files": {name: what for name, what in CONTENTS.items() if name in files},
        "versions": {"recbole_hlr": __version__, "torch": torch.__version__, "numpy": np.__version__},
    }


def _is_right(fitted: FittedRecommender, folder: Path) -> bool:
    """Say whether the scorer gives some users the model's scores."""
    found = scorer.Recommender(folder)
    users = torch.linspace(1, fitted.data.user_num - 1, min(TRIED, fitted.data.user_num - 1)).long()
    expected = array_of(scores_of(fitted.model, users, fitted.data.item_num)[:, 1:])
    computed = np.stack([found.scores(int(user) - 1) for user in users])
    return bool(np.abs(computed - expected).max() <= 1e-3 * np.abs(expected).max())
