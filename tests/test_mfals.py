"""MF-ALS: the plain normal equations, the laws of its objective, and runs through the same door."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import implicit.utils
import numpy as np
import pytest
import threadpoolctl
import torch
from implicit.cpu.als import AlternatingLeastSquares

from recbole_hlr import InputError, load, prepare, run
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.negatives import NegativeSampler
from recbole_hlr.model import MFALS
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.table import MODEL_OPTIONS, RUN_OPTIONS
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.train.als import Alternation
from tests.toys import (
    Toy,
    assert_close,
    build,
    checkerboard,
    first_unseen,
    options_for,
    ragged,
    scores_by_pairs,
    scores_of_all,
)

EXACT = 50  # steps of conjugate gradients that solve a row of six factors to the last digit
SETTINGS = [
    {"regularization": regularization, "regularization_scaling": scaling, "confidence_weight": weight}
    for regularization, scaling, weight in [
        (0.5, 0.0, 1.0), (2.0, 0.0, 4.0), (0.5, 0.0, 0.25), (0.125, 1.0, 4.0), (0.25, 0.5, 32.0), (0.01, 1.5, 0.25),
    ]
]  # fmt: skip
each_setting = pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: "-".join(map(str, s.values())))


class Twin:
    """Hu et al. 2008, Eqs. 3-5, by loops over all pairs; rows and columns are real users and items."""

    def __init__(self, data: Toy, regularization: float, scaling: float, weight: float) -> None:
        self.y = np.zeros((data.user_num - 1, data.item_num - 1))
        for u, v in zip(*(data.inter_feat[f].tolist() for f in ("user_id", "item_id")), strict=True):
            self.y[u - 1, v - 1] = 1
        self.c = np.where(self.y == 1, weight, 1.0)
        self.user_lambdas, self.item_lambdas = (
            self.lambdas(c, regularization, scaling) for c in (self.c, self.c.T)
        )

    @staticmethod
    def lambdas(c: np.ndarray, regularization: float, scaling: float) -> list[float]:
        return [regularization * sum(row) ** scaling for row in c]

    @staticmethod
    def solve(c: np.ndarray, y: np.ndarray, lambdas: list[float], fixed: np.ndarray) -> np.ndarray:
        size = fixed.shape[1]
        solved = []
        for row_c, row_y, lam in zip(c, y, lambdas, strict=True):
            left, right = lam * np.eye(size), np.zeros(size)
            for weight, wanted, factors in zip(row_c, row_y, fixed, strict=True):
                left += weight * np.outer(factors, factors)
                right += weight * wanted * factors
            solved.append(np.linalg.solve(left, right))
        return np.array(solved)

    def iterate(self, users: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        users = self.solve(self.c, self.y, self.user_lambdas, items)
        return users, self.solve(self.c.T, self.y.T, self.item_lambdas, users)

    def objective(self, users: np.ndarray, items: np.ndarray) -> float:
        total = 0.0
        for u, p in enumerate(users):
            total += self.user_lambdas[u] * sum(p * p)
            for v, q in enumerate(items):
                total += self.c[u, v] * (self.y[u, v] - sum(p * q)) ** 2
        return total + sum(lam * sum(q * q) for lam, q in zip(self.item_lambdas, items, strict=True))


def twin_of(setting: dict, data: Toy) -> Twin:
    return Twin(data, *setting.values())


def tables(model: MFALS) -> tuple[np.ndarray, np.ndarray]:
    """The real rows of both tables."""
    return tuple(
        table.weight.detach()[1:].numpy().copy() for table in (model.user_embedding, model.item_embedding)
    )


def trained(iterations: int, data: Toy | None = None, **options) -> MFALS:
    model = build("MF-ALS", data, **options)
    alternation = Alternation(model)
    for _ in range(iterations):
        alternation.iterate()
    return model


# --- the equations ----------------------------------------------------------------------------------


@each_setting
def test_an_iteration_solves_the_normal_equations_4_and_5(setting):
    """`implicit` keeps weights and lambda as float32: hence the tolerance where a row has its own lambda."""
    twin, model = twin_of(setting, ragged()), build("MF-ALS", cg_steps=EXACT, **setting)
    alternation, expected = Alternation(model), tables(model)
    for iteration in range(3):
        alternation.iterate()
        expected = twin.iterate(*expected)
        for found, wanted, what in zip(tables(model), expected, ("users", "items"), strict=True):
            tolerance = 1e-6 if setting["regularization_scaling"] else 1e-10
            assert_close(torch.from_numpy(found), torch.from_numpy(wanted), tolerance, f"{what} {iteration}")
    assert max(abs(table).max() for table in expected) > 0.1  # and is not the solution zero


@each_setting
def test_the_objective_is_equation_3(setting):
    model = build("MF-ALS", **setting)
    with torch.no_grad():
        for table in (model.user_embedding, model.item_embedding):
            table.weight[1:].normal_(generator=torch.Generator().manual_seed(3))
    expected = twin_of(setting, ragged()).objective(*tables(model))
    assert model.objective().item() == pytest.approx(expected, rel=1e-12)


@each_setting
def test_no_iteration_raises_the_objective(setting):
    """Nor do three steps of conjugate gradients, which stop short of the solution."""
    model = build("MF-ALS", cg_steps=3, **setting)
    alternation, values = Alternation(model), [model.objective().item()]
    for _ in range(40):
        alternation.iterate()
        values.append(model.objective().item())
    assert all(later <= earlier * (1 + 1e-6) for earlier, later in itertools.pairwise(values))
    assert values[-1] < 0.95 * values[0]


@each_setting
def test_what_was_solved_last_is_where_equation_3_has_no_slope(setting):
    model, twin = trained(2, cg_steps=EXACT, **setting), twin_of(setting, ragged())
    users, items = (torch.tensor(table, requires_grad=True) for table in tables(model))
    errors = torch.tensor(twin.c) * (torch.tensor(twin.y) - users @ items.T).square()  # (U, I)
    norms = [lambdas @ table.square().sum(dim=1) for lambdas, table in (
        (torch.tensor(twin.user_lambdas), users), (torch.tensor(twin.item_lambdas), items)
    )]  # fmt: skip
    (errors.sum() + sum(norms)).backward()
    assert items.grad.abs().max() < 1e-5 * setting["confidence_weight"]
    assert users.grad.abs().max() > 1e-3


def test_lambda_follows_the_weight_of_a_row():
    """By hand: of 4 items, users with 1 and 3 interactions of weight 3 weigh 6 and 10 in all."""
    data = Toy([(1, 1), (2, 1), (2, 2), (2, 4)], num_users=3, num_items=5)

    def lambdas(scaling: float) -> list[float]:
        given = {"regularization": 0.5, "confidence_weight": 3.0, "regularization_scaling": scaling}
        return build("MF-ALS", data, **given).user_regularization.tolist()

    assert lambdas(0.0) == [0.5, 0.5]
    assert lambdas(1.0) == pytest.approx([3.0, 5.0])
    assert lambdas(2.0) == pytest.approx([18.0, 50.0])


def test_lambda_is_that_of_rendle_et_al_but_for_a_constant():
    """lambda (|I_u| + alpha_0 |I|)^nu with alpha_0 = 1 / (c - 1)."""
    data, scaling, weight = ragged(), 0.7, 5.0
    model = build("MF-ALS", data, regularization_scaling=scaling, confidence_weight=weight)
    theirs = [
        (len(data.items_of(u)) + (data.item_num - 1) / (weight - 1)) ** scaling
        for u in range(1, data.user_num)
    ]
    ratio = model.user_regularization / torch.tensor(theirs, dtype=torch.float64)
    assert ratio.max().item() == pytest.approx(ratio.min().item(), rel=1e-12)
    assert model.user_regularization.max() > 1.5 * model.user_regularization.min()


def test_without_scaling_it_is_the_library_s_fit_to_the_last_bit():
    data = ragged()
    model = build(
        "MF-ALS", data, regularization=0.5, regularization_scaling=0.0, confidence_weight=4.0
    ).float()
    als = AlternatingLeastSquares(6, regularization=0.5, alpha=4.0, iterations=4, num_threads=1)
    als.user_factors, als.item_factors = tables(model)
    pairs = twin_of({"r": 0.5, "s": 0.0, "c": 4.0}, data).y
    als.fit(implicit.utils.scipy.sparse.csr_matrix(pairs), show_progress=False)
    alternation = Alternation(model)
    for _ in range(4):
        alternation.iterate()
    for found, expected in zip(tables(model), (als.user_factors, als.item_factors), strict=True):
        assert np.array_equal(found, expected)


def test_interactions_given_twice_count_once():
    pairs = [(1, 2), (2, 1), (2, 3), (3, 3)]
    once, twice = (trained(2, Toy(pairs * n, num_users=4, num_items=5)) for n in (1, 2))
    assert torch.equal(once.user_embedding.weight, twice.user_embedding.weight)


@each_setting
def test_rows_without_interactions_shrink_to_zero_and_padding_is_zero(setting):
    model = trained(3, cg_steps=EXACT, **setting)
    norms = model.user_embedding.weight.norm(dim=1)
    assert norms[0] == model.item_embedding.weight[0].norm() == 0
    assert norms[3] < 1e-9  # user 3 of the toy has no interaction
    assert norms[1] > 0.1


# --- scores and learning ------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_pair_scores_are_all_item_scores_are_inner_products(dtype, tolerance):
    model = trained(3, regularization=0.5).to(dtype)
    users = [6, 3, 1, 4, 2]
    p, q = model.user_embedding.weight.tolist(), model.item_embedding.weight.tolist()
    expected = torch.tensor(
        [[sum(a * b for a, b in zip(p[u], row, strict=True)) for row in q] for u in users]
    )  # (B, I)
    assert expected.abs().max() > 0.1
    assert_close(scores_by_pairs(model, users), expected, max(tolerance, 1e-6), "predict")
    assert_close(scores_of_all(model, users), scores_by_pairs(model, users), tolerance, "full_sort_predict")


@pytest.mark.parametrize("scaling", [0.0, 1.0])
@pytest.mark.parametrize("weight", [1.0, 8.0])
def test_checkerboard_with_the_diagonal_withheld_is_learnt(scaling, weight):
    data = checkerboard()
    withheld = list(range(1, data.item_num))  # of user u, item u
    options = {
        "embedding_size": 3,
        "regularization": 0.1,
        "regularization_scaling": scaling,
        "confidence_weight": weight,
    }
    assert first_unseen(build("MF-ALS", data, **options), data) != withheld, "right before it is trained"
    assert first_unseen(trained(30, data, **options), data) == withheld


def test_the_seed_alone_decides():
    first, again, other = (trained(2, seed=seed).item_embedding.weight for seed in (5, 5, 6))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("scaling", [0.0, 1.0])
def test_threads_do_not_change_a_bit(scaling):
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            model = trained(3, regularization_scaling=scaling, confidence_weight=4.0).float()
        finally:
            torch.set_num_threads(1)
        found.append(model.item_embedding.weight)
    assert torch.equal(*found)


def test_the_solver_gets_torch_s_number_of_threads():
    given = []
    torch.set_num_threads(2)
    try:
        side = Alternation(build("MF-ALS")).users
        side.solve(lambda *_, num_threads: given.append(num_threads), np.zeros((8, 6)), np.zeros((12, 6)))
    finally:
        torch.set_num_threads(1)
    assert given == [2]


def test_training_leaves_generators_threads_and_warnings_alone(monkeypatch):
    monkeypatch.setattr(implicit.utils, "_checked_blas_config", False)  # as in a new process
    model = build("MF-ALS")
    states = np.random.get_state()[1].copy(), torch.get_rng_state()
    with threadpoolctl.threadpool_limits(2, "blas"), warnings.catch_warnings():
        warnings.simplefilter("error")
        before = threadpoolctl.threadpool_info()
        Alternation(model).iterate()
        assert threadpoolctl.threadpool_info() == before
    assert np.array_equal(states[0], np.random.get_state()[1])
    assert torch.equal(states[1], torch.get_rng_state())


# --- runs ---------------------------------------------------------------------------------------------


@pytest.fixture
def toy(toy: dict) -> dict:
    """The small data set, with weights that leave it factors to learn."""
    return {**toy, "regularization": 0.03, "regularization_scaling": 1.0, "confidence_weight": 4.0}


def weights_of(run_dir: str) -> dict[str, torch.Tensor]:
    return torch.load(Path(run_dir, "model.pth"), weights_only=True)["state_dict"]


@pytest.mark.parametrize("name", ["MF-ALS", "mf-als", "MFALS", "mfals", MFALS])
def test_the_name_in_any_spelling(toy, name):
    config = HLRConfig(name, options=toy)
    assert config.model == "MFALS"
    assert config["cg_steps"] == load_yaml(shipped("properties", "model", "MFALS.yaml"))["cg_steps"]


def test_a_run_keeps_the_tables_of_its_best_iteration(toy):
    result = run("MF-ALS", **{**toy, "epochs": 12})
    lines = [json.loads(line) for line in Path(result.run_dir, "metrics.jsonl").read_text().splitlines()]
    scores = [line["valid_score"] for line in lines]
    assert result.best_epoch == int(np.argmax(scores))
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    stored = weights_of(result.run_dir)
    assert {name: tuple(table.shape) for name, table in stored.items()} == {
        "user_embedding.weight": (24, 6),
        "item_embedding.weight": (18, 6),
    }
    assert result.parameters == (24 + 18) * 6
    shorter = run("MF-ALS", **{**toy, "epochs": result.best_epoch + 1, "eval_step": 0})
    assert all(torch.equal(table, stored[name]) for name, table in weights_of(shorter.run_dir).items())


def test_a_run_that_was_interrupted_ends_like_one_that_was_not(toy, monkeypatch):
    whole = run("MF-ALS", **{**toy, "epochs": 6, "stopping_step": 9})
    iterate, count = Alternation.iterate, []

    def interrupt(self, after_table):
        count.append(1)
        if len(count) == 4:
            after_table = None  # dies after the users, before the items
        iterate(self, after_table)

    monkeypatch.setattr(Alternation, "iterate", interrupt)
    with pytest.raises(TypeError):
        run("MF-ALS", **{**toy, "epochs": 6, "stopping_step": 9})
    monkeypatch.undo()
    run_dir = max(Path(toy["checkpoint_dir"]).iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert torch.load(run_dir / "model.pth", weights_only=True)["epoch"] == 2
    resumed = run(resume=run_dir)
    assert (resumed.test, resumed.valid, resumed.epochs) == (whole.test, whole.valid, 6)
    assert all(torch.equal(t, weights_of(whole.run_dir)[n]) for n, t in weights_of(resumed.run_dir).items())


def test_a_finished_run_gives_its_result_again_and_goes_on_with_more_iterations(toy):
    first = run("MF-ALS", **toy)
    assert run(resume=first.run_dir).test == first.test
    longer = run(resume=first.run_dir, epochs=7)
    assert longer.epochs == 7
    assert longer.test == run("MF-ALS", **{**toy, "epochs": 7}).test


def test_a_fitted_recommender_needs_no_data(tmp_path, toy):
    result = run("MF-ALS", **toy)
    experiment = prepare("MF-ALS", **toy)
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    user = experiment.dataset.token2id("user_id", "u3")
    expected = experiment.model.full_sort_predict({"user_id": torch.tensor([user])})[0]
    (tmp_path / "data").rename(tmp_path / "gone")
    table = load(result.run_dir).recommend(["u3"], k=17, exclude_seen=False)
    ids = [experiment.dataset.token2id("item_id", token) for token in table["item"]]
    assert sorted(ids) == list(range(1, 18))
    assert table["score"].tolist() == pytest.approx(expected[ids].tolist(), abs=1e-6)


@pytest.mark.slow
def test_a_fitted_recommender_needs_no_implicit(toy):
    result = run("MF-ALS", **toy)
    code = (
        "import sys; sys.modules['implicit'] = None\n"
        "from recbole_hlr import load\n"
        f"print(len(load({result.run_dir!r}).recommend(['u1', 'u3'], k=4)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (0, "8\n"), done.stderr


@pytest.mark.parametrize(
    "given", [None, {"distribution": "uniform"}, {"distribution": "popularity", "sample_num": 3}, {"dynamic": True, "candidate_num": 2}]
)  # fmt: skip
def test_nothing_is_drawn_whatever_is_said_of_negatives(toy, given, monkeypatch):
    from recbole.sampler import Sampler

    def refuse(*_):
        raise AssertionError("a negative was drawn")

    monkeypatch.setattr(NegativeSampler, "draw", refuse)
    monkeypatch.setattr(Sampler, "sample_by_user_ids", refuse)
    result = run("MF-ALS", **toy, train_neg_sample_args=given)
    assert result.test == run("MF-ALS", **toy).test
    assert load_yaml(Path(result.run_dir, "config.yaml"))["train_neg_sample_args"] is None


def test_a_learning_rate_schedule_is_not_read(toy):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lr_scheduler")
        result = run("MF-ALS", **toy, lr_scheduler={"name": "exponential", "gamma": 0.5})
    assert result.test == run("MF-ALS", **toy).test


def test_the_triplet_loss_is_no_metric_of_it(toy):
    with pytest.raises(InputError, match=r"valid_metric=loss \(keyword argument\): must be one of recall@10"):
        HLRConfig("MF-ALS", options={**toy, "valid_metric": "loss"})


def test_options_of_metric_models_are_unknown(toy):
    with pytest.raises(InputError, match=r"margin .* is no option of MFALS"):
        HLRConfig("MF-ALS", options={**toy, "margin": 0.5})


def test_an_objective_that_overflows_ends_in_one_sentence(toy):
    with pytest.raises(
        InputError, match=r"epoch 0: the training loss is (nan|inf) with regularization=1e-30"
    ):
        run("MF-ALS", **{**toy, "regularization": 1e-30, "confidence_weight": 1e30})


def test_without_implicit_it_says_so_before_a_run_begins(tmp_path, toy, monkeypatch):
    class Absent:
        @staticmethod
        def find_spec(name, *_):
            if name == "implicit":
                raise ModuleNotFoundError("No module named 'implicit'", name=name)

    for name in [*sys.modules]:
        if name.split(".")[0] == "implicit" or name == "recbole_hlr.train.als":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Absent, *sys.meta_path])
    with pytest.raises(InputError, match="model=MFALS: needs the package implicit, which is not installed"):
        run("MF-ALS", **toy)
    assert not (tmp_path / "runs").exists()
    assert prepare("CML", toy["dataset"], data_path=toy["data_path"]).model is not None


def test_an_epoch_counts_its_two_tables(toy):
    experiment = prepare("MF-ALS", **toy)
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    progress = experiment.trainer.progress
    progress.begin_epoch(2, 99)
    experiment.trainer._after_table()
    assert progress.batch_row()[0].parts == ["training, table 1 of 2"]


def test_every_option_of_its_yaml_is_commented_and_checked():
    path = shipped("properties", "model", "MFALS.yaml")
    options = {**RUN_OPTIONS, **MODEL_OPTIONS}
    for key, value in load_yaml(path).items():
        assert options[key].check(value), f"{path.name}: {key}={value} must be {options[key].allowed}"
    for line in path.read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"\w+: .*\S\s+# \(.+\) \S.*", line), f"needs '# (type) meaning': {line}"


def test_options_reach_the_model():
    given = {
        "regularization": 3.5,
        "regularization_scaling": 0.3,
        "confidence_weight": 7.0,
        "cg_steps": 9,
        "embedding_size": 4,
    }
    model = MFALS(options_for("MF-ALS", **given), ragged())
    assert model.item_embedding.embedding_dim == 4
    assert {key: getattr(model, key) for key in given if key != "embedding_size"} == {
        key: value for key, value in given.items() if key != "embedding_size"
    }
