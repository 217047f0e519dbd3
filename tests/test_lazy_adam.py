"""Adam that steps rows only when they are read: the same result as Adam."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from recbole_hlr import prepare, run
from recbole_hlr.errors import InputError
from recbole_hlr.model.relation import clip_norms
from recbole_hlr.model.sphere import along_sphere, onto_sphere
from recbole_hlr.train.lazy_adam import LazyAdam

ROWS, SIZE = 40, 3


class Pair:
    """A table and a dense weight, with their optimizer; `lazy` or Adam itself, of float64."""

    def __init__(self, lazy: bool, max_norm: float | None, lr: float = 0.01, sphere: bool = False) -> None:
        generator = torch.Generator().manual_seed(3)
        weight = torch.randn(ROWS, SIZE, generator=generator, dtype=torch.float64)
        self.table = nn.Embedding.from_pretrained(weight, freeze=False)
        self.dense = nn.Parameter(torch.randn(SIZE, SIZE, generator=generator, dtype=torch.float64))
        self.max_norm, self.lazy, self.sphere = max_norm, lazy, sphere
        if sphere:
            onto_sphere(self.table.weight, max_norm)
        weights = [self.table.weight, self.dense]
        self.optimizer: Any = torch.optim.Adam(weights, lr=lr)
        if lazy:
            self.optimizer = LazyAdam(weights, [self.table], lr, max_norm, sphere)

    def step(self, rows: Tensor) -> float:
        self.optimizer.zero_grad()
        read = along_sphere(self.table(rows)) if self.sphere else self.table(rows)
        loss = (read @ self.dense - 1).square().sum()
        loss.backward()
        self.optimizer.step()
        if self.max_norm is not None and not self.lazy:
            if self.sphere:
                onto_sphere(self.table.weight, self.max_norm)
            else:
                clip_norms(self.table.weight.data, self.max_norm, dim=1)
        return loss.item()

    def weights(self) -> Tensor:
        if self.lazy:
            self.optimizer.catch_up()
        return torch.cat([self.table.weight, self.dense]).detach()


def batches(steps: int, seed: int = 0) -> list[Tensor]:
    """Rows of which some are read often, some hardly ever; one may be read twice in a batch."""
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(5, generator=generator) ** 4 * ROWS).long() for _ in range(steps)]


@pytest.mark.parametrize("max_norm", [None, 1.0, 0.3])
@pytest.mark.parametrize("steps", [1, 2, 50, 900])
def test_is_adam(steps: int, max_norm: float | None) -> None:
    lazy, plain = Pair(True, max_norm), Pair(False, max_norm)
    for rows in batches(steps):
        assert lazy.step(rows) == pytest.approx(plain.step(rows), abs=1e-4)
    torch.testing.assert_close(lazy.weights(), plain.weights(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("max_norm", [1.0, 0.3])
@pytest.mark.parametrize("steps", [1, 2, 50, 900])
def test_is_adam_on_a_sphere(steps: int, max_norm: float) -> None:
    lazy, plain = (Pair(kind, max_norm, sphere=True) for kind in (True, False))
    for rows in batches(steps):
        assert lazy.step(rows) == pytest.approx(plain.step(rows), abs=1e-4)
    torch.testing.assert_close(lazy.weights(), plain.weights(), atol=2e-5, rtol=0)
    norms = lazy.weights()[:ROWS].norm(dim=1)
    torch.testing.assert_close(norms, torch.full_like(norms, max_norm))


def test_a_row_of_zeros_stays_one_on_a_sphere() -> None:
    pair = Pair(True, 1.0, sphere=True)
    pair.table.weight.data[3] = 0
    pair.step(torch.tensor([1, 2]))
    assert torch.equal(pair.weights()[3], torch.zeros(SIZE, dtype=torch.float64))


def test_differs_from_adam_by_eps_and_the_square_of_a_short_way() -> None:
    lazy, plain = Pair(True, 1.0), Pair(False, 1.0)
    for pair in (lazy, plain):
        pair.optimizer.param_groups[0]["eps"] = 0.0
    rows = [torch.arange(ROWS), *batches(600)]  # without eps, what never had a gradient is 0 / 0
    for row in rows:
        lazy.step(row)
        plain.step(row)
    torch.testing.assert_close(lazy.weights(), plain.weights(), atol=1e-7, rtol=0)


def test_a_row_left_alone_moves_on_by_momentum_and_comes_to_rest() -> None:
    lazy, plain = Pair(True, None), Pair(False, None)
    lonely, others = torch.tensor([7]), torch.tensor([1, 2])
    for pair in (lazy, plain):
        pair.step(lonely)
    before = plain.table.weight[7].clone()
    for _ in range(1000):
        plain.step(others)
        lazy.step(others)
    assert (plain.table.weight[7] - before).norm() > 0.03
    assert torch.equal(lazy.table.weight[7], before)  # not read yet
    torch.testing.assert_close(lazy.table(lonely)[0], plain.table.weight[7], atol=1e-7, rtol=0)


def test_catching_up_at_any_moment_changes_nothing() -> None:
    often, once = Pair(True, 0.5), Pair(True, 0.5)
    for n, rows in enumerate(batches(300)):
        often.step(rows)
        once.step(rows)
        if n % 7 == 0:
            often.optimizer.catch_up()
    torch.testing.assert_close(often.weights(), once.weights(), atol=1e-6, rtol=0)


def test_goes_on_from_its_state() -> None:
    first, unbroken = Pair(True, 1.0), Pair(True, 1.0)
    rows = batches(200)
    for row in rows[:90]:
        first.step(row)
        unbroken.step(row)
    state, weights = first.optimizer.state_dict(), first.weights()
    unbroken.optimizer.catch_up()
    second = Pair(True, 1.0)
    second.table.weight.data.copy_(weights[:ROWS])
    second.dense.data.copy_(weights[ROWS:])
    second.optimizer.load_state_dict(state)
    for row in rows[90:]:
        second.step(row)
        unbroken.step(row)
    assert torch.equal(second.weights(), unbroken.weights())


def test_the_learning_rate_may_change_after_catching_up() -> None:
    lazy, plain = Pair(True, 1.0), Pair(False, 1.0)
    for n, rows in enumerate(batches(200)):
        lazy.step(rows)
        plain.step(rows)
        if n % 50 == 49:
            lazy.optimizer.catch_up()
            for pair in (lazy, plain):
                pair.optimizer.param_groups[0]["lr"] *= 0.5
    torch.testing.assert_close(lazy.weights(), plain.weights(), atol=2e-5, rtol=0)


@pytest.mark.parametrize("objective", ["triplet", "softmax"])
@pytest.mark.parametrize("model", ["CML", "HLR", "HLR++", "AdaCML", "LRML"])
def test_a_run_is_that_with_adam(model: str, objective: str, toy: dict[str, Any]) -> None:
    options = {**toy, "epochs": 4, "learning_rate": 0.01, "objective": objective}
    if objective == "triplet":
        options["train_neg_sample_args"] = {"distribution": "uniform", "sample_num": 2}
    else:
        options["train_batch_size"] = 2
    lazy, plain = (prepare(model, **options, lazy_adam=kind) for kind in ("on", "off"))
    kinds = [type(parts.trainer.optimizer) for parts in (lazy, plain)]
    assert kinds == [LazyAdam, torch.optim.Adam]
    for parts in (lazy, plain):
        parts.trainer.fit(parts.train_data, parts.valid_data, saved=False)
    assert lazy.trainer.epoch_records[-1]["train_loss"] == pytest.approx(
        plain.trainer.epoch_records[-1]["train_loss"], rel=1e-4
    )
    for name, weight in plain.model.state_dict().items():
        torch.testing.assert_close(lazy.model.state_dict()[name], weight, atol=1e-3, rtol=0)


@pytest.mark.parametrize("kind", ["on", "off"])
def test_weights_are_clipped_once_after_each_step(kind: str, toy: dict[str, Any]) -> None:
    torch.optim.Adam(
        [nn.Parameter(torch.zeros(1))]
    )  # from the first one on, torch's hooks are in Adam's step
    parts = prepare("HLR", **{**toy, "epochs": 1}, objective="triplet", lazy_adam=kind)
    clip, calls = parts.model.clip_weights, []
    parts.model.clip_weights = lambda: (calls.append(1), clip())
    parts.trainer.optimizer = parts.trainer._build_optimizer()
    parts.trainer.fit(parts.train_data, parts.valid_data)
    assert len(calls) == len(parts.train_data)


@pytest.mark.parametrize("objective", ["triplet", "softmax"])
def test_a_killed_run_goes_on_to_the_same_result(objective: str, toy: dict[str, Any]) -> None:
    options = {**toy, "objective": objective, "lazy_adam": "on"}
    unbroken = run("CML", **{**options, "epochs": 5})
    short = run("CML", **{**options, "epochs": 2})
    resumed = run(resume=short.run_dir, epochs=5)
    assert (resumed.test, resumed.valid) == (unbroken.test, unbroken.valid)


def test_only_large_tables_are_lazy_unless_asked(toy: dict[str, Any]) -> None:
    assert type(prepare("CML", **toy, objective="triplet").trainer.optimizer) is torch.optim.Adam
    for objective in ("triplet", "softmax"):  # reads whole tables at every step
        parts = prepare("TransCF", **toy, objective=objective, lazy_adam="on")
        assert type(parts.trainer.optimizer) is torch.optim.Adam
    parts = prepare("CML", **toy, lazy_adam="on")  # all items, and the users of a batch
    assert (parts.model.user_embedding.sparse, parts.model.item_embedding.sparse) == (True, False)


def test_a_table_is_large_by_the_rows_left_unread(
    toy: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recbole_hlr.train.metric._PAYS", 1)
    few = {**toy, "objective": "triplet", "train_batch_size": 2}
    for negatives, lazy in ((1, (True, True)), (20, (True, False))):
        parts = prepare("CML", **few, train_neg_sample_args={"sample_num": negatives})
        assert (parts.model.user_embedding.sparse, parts.model.item_embedding.sparse) == lazy


@pytest.mark.parametrize(
    "option",
    [
        {"learner": "sgd"},
        {"weight_decay": 0.1},
        {"clip_grad_norm": {"max_norm": 1}},
        {"enable_scaler": True},
        {"lr_scheduler": {"name": "OneCycle", "max_lr": 0.1, "total_steps": 9}},  # moves the betas too
    ],
)
def test_gradients_that_are_not_adams_own_are_refused_or_left_to_the_host(
    option: dict[str, Any], toy: dict[str, Any]
) -> None:
    options = {**toy, "objective": "triplet", **option}
    with pytest.raises(InputError, match="lazy_adam=on"):
        prepare("CML", **options, lazy_adam="on")
    assert not isinstance(prepare("CML", **options).trainer.optimizer, LazyAdam)


def test_a_schedule_that_leaves_the_betas_alone_is_taken(toy: dict[str, Any]) -> None:
    schedule = {"name": "OneCycle", "max_lr": 0.1, "total_steps": 9, "cycle_momentum": False}
    parts = prepare("CML", **toy, objective="triplet", lr_scheduler=schedule, lazy_adam="on")
    assert isinstance(parts.trainer.optimizer, LazyAdam)
