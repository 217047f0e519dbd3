"""Recorded numbers of the authors' implementation, and the models that must reproduce them.

The numbers were computed by running the authors' public TensorFlow code, `deezer/recsys21-hlr`, commit
51d0f0d (Tran et al., RecSys 2021, doi 10.1145/3460231.3474230), on random, saved weights. Those in
`tests/data` are a small part: CML and four settings of HLR on 7 users and 11 items. The whole set lies
beside the repository, in `../shared/golden` (RECBOLE_HLR_SHARED may name another parent folder).

There ids start at 0 and padding is id I; here ids start at 1 and padding is id 0, so that every id is
shifted by one and an arbitrary row is put at 0. There keys are columns, here rows.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from recbole_hlr.data.history import HistoryBatch
from recbole_hlr.model.loss import triplet_loss
from recbole_hlr.trainer import MetricTrainer
from tests.toys import MODELS, Toy, options_for

RECORDED = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("RECBOLE_HLR_SHARED", Path(__file__).parents[2] / "shared")) / "golden"

MODEL_OF = {"cml": "CML", "hlre": "HLR"}  # the released code's name of a model
WEIGHT_OF = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_embedding.weight",
    "key_matrix": "memory.keys",
    "memory": "memory.memories",
    "item_key_matrix": "direct_memory.keys",
    "item_memory": "direct_memory.memories",
}
PADDING = 0.7  # what the arbitrary row of both tables holds


class Record(NamedTuple):
    """Results of one model with one setting on one case."""

    folder: Path
    case: str
    code: str
    variant: str

    def results(self) -> dict[str, np.ndarray]:
        numbers = arrays(self.folder / f"{self.case}.{self.code}.npz")
        prefix = f"{self.variant}/"
        return {key.removeprefix(prefix): numbers[key] for key in numbers if key.startswith(prefix)}

    def inputs(self) -> dict[str, np.ndarray]:
        return arrays(self.folder / f"{self.case}.inputs.npz")

    def options(self) -> dict[str, Any]:
        results, inputs = self.results(), self.inputs()
        given = {
            "embedding_size": int(inputs["meta.d"]),
            "num_memories": int(inputs["meta.N"]),
            "margin": float(results["param.margin"]),
            "max_norm": float(results["param.clip_norm"]),
            "negative_reduction": "mean",
            "eval_history": "all",  # the recorded histories are already capped
        }
        if self.code == "hlre":
            given |= {
                "attend_user": True,
                "max_memory_norm": None,
                "share_negative_relation": bool(results["param.copy"]),
                "attention_smoothing": float(results["param.beta"]),
                "direct_memory": bool(results["param.diff_ram"]),
                "clip_memories": bool(results.get("param.clip_ram", False)),
            }
        return given


@cache
def arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as stored:
        return dict(stored)


def records(without: str | None = None) -> list[Any]:
    """Every recorded (case, model, setting) as pytest parameters; for a missing folder one that skips."""
    params = []
    for folder in (RECORDED, SHARED):
        if not folder.is_dir():
            reason = f"no folder {folder}: only the part recorded in tests/data is compared"
            params.append(pytest.param(None, id="shared", marks=pytest.mark.skip(reason=reason)))
            continue
        for file in sorted(folder.glob("*.npz")):
            case, code, _ = file.name.split(".")
            if code not in MODEL_OF or case == without:
                continue
            with np.load(file) as stored:
                settings = sorted({key.split("/")[0] for key in stored.files})
            where = "recorded" if folder == RECORDED else "shared"
            for setting in settings:
                record = Record(folder, case, code, setting)
                params.append(pytest.param(record, id=f"{where}-{case}-{code}-{setting}"))
    return params


def model_of(record: Record, **changed: Any) -> torch.nn.Module:
    """The float32 model of a record with its weights; its data are the histories of scoring."""
    inputs, options = record.inputs(), {**record.options(), **changed}
    history = batch_of(inputs["eval.pref_ids"], inputs["eval.n_prefs"])
    users = inputs["eval.user_ids"] + 1
    pairs = [(int(u), int(i)) for u, items in zip(users, history, strict=True) for i in items]
    data = Toy(pairs, int(inputs["meta.n_users"]) + 1, int(inputs["meta.n_items"]) + 1)
    name = MODEL_OF[record.code]
    model = MODELS[name](options_for(name, **options), data)
    weights = {WEIGHT_OF[key]: ours(key, inputs[f"w.{key}"]) for key in WEIGHT_OF}
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def ours(name: str, recorded: np.ndarray) -> Tensor:
    """A recorded weight as the package holds it."""
    weight = torch.from_numpy(recorded.copy())
    if name.endswith("embedding"):
        return torch.cat([torch.full_like(weight[:1], PADDING), weight])
    return weight.T.contiguous() if name.endswith("key_matrix") else weight


def recorded_form(name: str, weight: Tensor) -> Tensor:
    """A weight, or its gradient, of the package as it is recorded: the inverse of `ours`."""
    if name.endswith("embedding"):
        return weight[1:]
    return weight.T if name.endswith("key_matrix") else weight


def batch_of(items: np.ndarray, lengths: np.ndarray) -> list[list[int]]:
    """Recorded histories `(B, L)`, of which the first `lengths (B,)` entries are real, as our ids."""
    return [(row[: int(n)] + 1).tolist() for row, n in zip(items, lengths, strict=True)]


class Batch(NamedTuple):
    """Recorded training triplets: users, positives, negatives `(B,)` and histories `(B, L)`."""

    users: Tensor
    positives: Tensor
    negatives: Tensor
    history: HistoryBatch

    def rows(self, rows: slice) -> Batch:
        history = HistoryBatch(self.history.items[rows], self.history.mask[rows])
        return Batch(self.users[rows], self.positives[rows], self.negatives[rows], history)


def batch(record: Record) -> Batch:
    inputs = record.inputs()
    users, positives, negatives = (
        torch.from_numpy(inputs[f"train.{name}_ids"]).long() + 1 for name in ("user", "pos", "neg")
    )
    width = inputs["train.pref_ids"].shape[1]
    mask = torch.arange(width) < torch.from_numpy(inputs["train.n_prefs"])[:, None]  # (B, L)
    items = (torch.from_numpy(inputs["train.pref_ids"]).long() + 1) * mask  # (B, L)
    return Batch(users, positives, negatives, HistoryBatch(items, mask))


class Released:
    """A model trained as the released code trains it.

    There the negative's relation forgets the second memory (`diff_ram` without `copy`): negatives are
    scored by a second model, without that memory, that shares all other weights.
    """

    def __init__(self, record: Record) -> None:
        self.model = self.negative_model = model_of(record).train()
        options = record.options()
        if options.get("direct_memory") and not options["share_negative_relation"]:
            self.negative_model = model_of(record, direct_memory=False).train()
            for name, _ in self.negative_model.named_children():
                setattr(self.negative_model, name, getattr(self.model, name))
            self.negative_model.direct_memory = None

    def distances(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Distances `(B,)` of positives and of negatives."""
        pairs = torch.stack([batch.positives, batch.negatives], dim=1)  # (B, 2)
        positive = self.model.distances(batch.users, pairs, batch.history)[:, 0]
        return positive, self.negative_model.distances(batch.users, pairs, batch.history)[:, 1]

    def relations(self, batch: Batch) -> tuple[Tensor | None, Tensor | None]:
        """Translations `(B, d)` of positives and of negatives; None for zero."""
        found = []
        shared = self.model.share_negative_relation
        lenders = (batch.positives, batch.positives if shared else batch.negatives)
        for model, items in zip((self.model, self.negative_model), lenders, strict=True):
            item_e = model.item_embedding(items).unsqueeze(1)  # (B, 1, d)
            r = model.translation(model.user_embedding(batch.users), item_e, batch.history)
            found.append(None if r is None else r.squeeze(dim=1))
        return found[0], found[1]

    def loss(self, batch: Batch) -> Tensor:
        model = self.model
        if self.negative_model is model:
            return model.loss(batch.users, batch.positives, batch.negatives.unsqueeze(1), batch.history)
        positive, negative = self.distances(batch)
        return triplet_loss(positive, negative.unsqueeze(1), model.margin, "mean", 1.0, model.n_items - 1)


def tensorflow_eps(step: int) -> float:
    """PyTorch's Adam eps that equals TensorFlow's 1e-8 at a step, counted from 1.

    TensorFlow adds eps to sqrt(v) before the bias of v is corrected, PyTorch after. It matters to
    gradients of some 1e-7, which the recorded memories have: up to 5e-3 after three steps.
    """
    return 1e-8 / (1 - 0.999**step) ** 0.5


def optimizer_of(model: torch.nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """The optimizer that `MetricTrainer` trains `model` with, without the run around it."""
    trainer = object.__new__(MetricTrainer)
    trainer.model, trainer.config = model, {"reg_weight": None}
    trainer.learner, trainer.learning_rate, trainer.weight_decay = "adam", learning_rate, 0.0
    return trainer._build_optimizer()
