"""Recorded numbers of the authors' implementation, and the models that must reproduce them.

The numbers were computed by running the authors' public TensorFlow code, `deezer/recsys21-hlr`, commit
51d0f0d (Tran et al., RecSys 2021, doi 10.1145/3460231.3474230), on random, saved weights. Those in
`tests/data` are a small part: one setting of every model, of HLR four, on 7 users and 11 items. The whole
set lies beside the repository, in `../shared/golden` (RECBOLE_HLR_SHARED may name another parent folder).

There ids start at 0 and padding is id I; here ids start at 1 and padding is id 0, so that every id is
shifted by one and an arbitrary row is put at 0. There keys are columns, here rows.

Two mistakes of that code are not the package's, and are put in here: what attends to a history with its
mask too wide by one attends to the zero vector behind a history that is shorter than the batch is wide
(`WidenedHLRPP`, in training and scoring; `WidenedAdaCML`, in training).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.model import HLRPP, AdaCML
from recbole_hlr.model.candidates import Candidates, Users
from recbole_hlr.objective.triplet import triplet_loss
from recbole_hlr.train.metric import MetricTrainer
from tests import reference
from tests.toys import MODELS, Toy, options_for, translation_of, twin_of

RECORDED = Path(__file__).parent / "data"
SHARED = Path(os.environ.get("RECBOLE_HLR_SHARED", Path(__file__).parents[2] / "shared")) / "golden"

MODEL_OF = {  # by the released code's name of a model
    "cml": "CML",
    "lrml": "LRML",
    "transcf": "TransCF",
    "attcml": "AdaCML",
    "hlre": "HLR",
    "jpte": "HLR++",
}
WEIGHT_OF = {
    "user_embedding": "user_embedding.weight",
    "item_embedding": "item_embedding.weight",
    "key_matrix": "memory.keys",
    "memory": "memory.memories",
    "item_key_matrix": "direct_memory.keys",
    "item_memory": "direct_memory.memories",
}
OPTION_OF = {  # by the name of a recorded parameter
    "margin": "margin",
    "clip_norm": "max_norm",
    "copy": "share_negative_relation",
    "beta": "attention_smoothing",
    "diff_ram": "direct_memory",
    "clip_ram": "clip_memories",
    "alpha_reg_nbr": "neighbour_weight",
    "alpha_reg_dist": "distance_weight",
}
RELEASED = {  # what the released code does not leave open
    "negative_reduction": "mean",
    "max_memory_norm": None,
    "centre_memories": False,
    "orthogonal_memories": False,
    "clip_memories": False,
    "item_attention": "history",
    "attend_target": True,
    "eval_history": "all",  # the recorded histories are already capped
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
            OPTION_OF[key.removeprefix("param.")]: value.item()
            for key, value in results.items()
            if key.startswith("param.") and key != "param.learning_rate"
        }
        sizes = {"embedding_size": int(inputs["meta.d"]), "num_memories": int(inputs["meta.N"])}
        return {**RELEASED, **sizes, "attend_user": self.code == "hlre", **given}


@cache
def arrays(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as stored:
        return dict(stored)


def records(without: str | None = None, codes: Collection[str] = tuple(MODEL_OF)) -> list[Any]:
    """Every recorded (case, model, setting) as pytest parameters; for a missing folder one that skips."""
    params = []
    for folder in (RECORDED, SHARED):
        if not folder.is_dir():
            reason = f"no folder {folder}: only the part recorded in tests/data is compared"
            params.append(pytest.param(None, id="shared", marks=pytest.mark.skip(reason=reason)))
            continue
        for file in sorted(folder.glob("*.npz")):
            case, code, _ = file.name.split(".")
            if code not in codes or case == without:
                continue
            with np.load(file) as stored:
                settings = sorted({key.split("/")[0] for key in stored.files})
            where = "recorded" if folder == RECORDED else "shared"
            for setting in settings:
                record = Record(folder, case, code, setting)
                params.append(pytest.param(record, id=f"{where}-{case}-{code}-{setting}"))
    return params


class WidenedHLRPP(HLRPP):
    """HLR++ whose user attention reads one entry behind a history, in training and scoring (oddities 1, 2).

    Item 0 is the zero vector there, a constant: rel(q_v, 0) is the mean of the memories.
    """

    def user_attention(self, users: Users, items: Candidates) -> Tensor:
        return super().user_attention(self.widened(users), items)

    def widened(self, users: Users) -> Users:
        if users.positions is not None:  # ranking: padding is item 0 already, among the distinct ones
            return dataclasses.replace(users, history=widened(users.history), own_slots=None)
        history = widened(users.history)
        return dataclasses.replace(users, history=history, known_e=self.item_embedding(history.items))


class WidenedAdaCML(AdaCML):
    """AdaCML whose training, not its scoring, reads one entry behind a history (oddities 1, 2).

    Item 0 is the zero vector there, a constant: it adds 1 to the denominator.
    """

    def distances(self, users: Users, items: Candidates) -> Tensor:
        return super().distances(self.widened(users), items)

    def translation(self, users: Users, items: Candidates) -> Tensor:
        return super().translation(self.widened(users), items)

    def widened(self, users: Users) -> Users:
        if not self.training:
            return users
        history = widened(users.history)
        return dataclasses.replace(users, history=history, known_e=self.item_embedding(history.items))


WIDENED = {"jpte": WidenedHLRPP, "attcml": WidenedAdaCML}


def widened(history: HistoryBatch) -> HistoryBatch:
    """A history `(B, H)`, its real entries first, with one more entry where it is shorter than H."""
    lengths = history.mask.sum(dim=1, keepdim=True)  # (B, 1)
    return history._replace(mask=torch.arange(history.mask.shape[1]) <= lengths)


def data_of(record: Record) -> Toy:
    """The interactions behind a record: TransCF's whole, those of others cut at the cap."""
    inputs = record.inputs()
    if record.code == "transcf":
        pairs = [(int(u) + 1, int(i) + 1) for u, i in np.argwhere(inputs["interactions"])]
    else:
        history = batch_of(inputs["eval.pref_ids"], inputs["eval.n_prefs"])
        users = inputs["eval.user_ids"] + 1
        pairs = [(int(u), int(i)) for u, items in zip(users, history, strict=True) for i in items]
    return Toy(pairs, int(inputs["meta.n_users"]) + 1, int(inputs["meta.n_items"]) + 1)


def model_of(record: Record, **changed: Any) -> torch.nn.Module:
    """The float32 model of a record with its weights; its data are the histories of scoring."""
    inputs, name = record.inputs(), MODEL_OF[record.code]
    options = options_for(name, **{**record.options(), **changed})
    model = WIDENED.get(record.code, MODELS[name])(options, data_of(record))
    weights = {WEIGHT_OF[key]: ours(key, inputs[f"w.{key}"]) for key in WEIGHT_OF}
    if record.code in WIDENED:
        model.item_embedding.padding_idx = 0  # no gradient: its zero vector stays a constant
        weights["item_embedding.weight"][0] = 0
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def twin_of_record(record: Record, width: int, **changed: Any) -> reference.CML:
    """The plain twin of a record's model in training, where histories are `width` wide.

    As the models above, the twins of AdaCML and HLR++ attend to item 0 behind a shorter history.
    """
    twin = twin_of(model_of(record).train(), data_of(record), **{**record.options(), **changed})
    method = {"attcml": "translation", "jpte": "user_attention"}.get(record.code)
    if method is not None:
        exact = getattr(twin, method)

        def wide(u: int, v: int, history: list[int]) -> Tensor:
            return exact(u, v, history if len(history) == width else [*history, 0])

        setattr(twin, method, wide)
    return twin


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

    There the negative's relation forgets the second memory (`diff_ram` without `copy`, oddity 9): negatives
    are scored by a second model, without that memory, that shares all other weights.
    """

    def __init__(self, record: Record, **changed: Any) -> None:
        self.model = self.negative_model = model_of(record, **changed).train()
        options = record.options()
        if options.get("direct_memory") and not options["share_negative_relation"]:
            self.negative_model = model_of(record, direct_memory=False).train()
            for name, _ in self.negative_model.named_children():
                setattr(self.negative_model, name, getattr(self.model, name))
            self.negative_model.direct_memory = None

    def distances(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Distances `(B,)` of positives and of negatives."""
        pairs = torch.stack([batch.positives, batch.negatives], dim=1)  # (B, 2)
        positive = self.model.pair_distances(batch.users, pairs, batch.history)[:, 0]
        return positive, self.negative_model.pair_distances(batch.users, pairs, batch.history)[:, 1]

    def relations(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Translations `(B, d)` of positives and of negatives by recorded name, HLR++'s in two parts."""
        lent = batch.positives if self.model.share_negative_relation else batch.negatives
        return (
            relation_parts(self.model, batch, batch.positives),
            relation_parts(self.negative_model, batch, lent),
        )

    def loss(self, batch: Batch) -> Tensor:
        model = self.model
        if self.negative_model is model:
            return model.loss(batch.users, batch.positives, batch.negatives.unsqueeze(1), batch.history)
        positive, negative = self.distances(batch)
        return triplet_loss(
            positive, negative.unsqueeze(1), model.objective.margin, "mean", 1.0, model.n_items - 1
        )


def relation_parts(model: nn.Module, batch: Batch, items: Tensor) -> dict[str, Tensor]:
    """r(u, v) `(B, d)` of a batch's users with `items (B,)` by recorded name."""
    lenders = items.unsqueeze(1)  # (B, 1)
    if not isinstance(model, HLRPP):
        return {"relation": translation_of(model, batch.users, lenders, batch.history).squeeze(dim=1)}
    pairs = model.users(batch.users, batch.history), model.listed(batch.users, lenders)
    parts = {
        "relation.user_attention": model.user_attention(*pairs),
        "relation.item_attention": model.item_attention_of(*pairs),
    }
    return {name: (mixture @ model.memory.memories).squeeze(dim=1) for name, mixture in parts.items()}


def tensorflow_eps(step: int) -> float:
    """PyTorch's Adam eps that equals TensorFlow's 1e-8 at a step, counted from 1.

    TensorFlow adds eps to sqrt(v) before the bias of v is corrected, PyTorch after. It matters to
    gradients of some 1e-7, which the recorded memories have: up to 5e-3 after three steps.
    """
    return 1e-8 / (1 - 0.999**step) ** 0.5


def optimizer_of(model: torch.nn.Module, learning_rate: float, lazy: str = "off") -> torch.optim.Optimizer:
    """The optimizer that `MetricTrainer` trains `model` with, without the run around it."""
    trainer = object.__new__(MetricTrainer)
    unused = dict.fromkeys(("reg_weight", "clip_grad_norm", "enable_scaler", "lr_scheduler"))
    trainer.model = model
    trainer.config = {
        "learner": "adam",
        "weight_decay": 0.0,
        "train_batch_size": 1,
        "lazy_adam": lazy,
        **unused,
    }
    trainer.device = torch.device("cpu")
    trainer.learner, trainer.learning_rate, trainer.weight_decay = "adam", learning_rate, 0.0
    return trainer._build_optimizer()
