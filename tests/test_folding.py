"""Users who were not in the data: their vectors minimise the run's objective, and what they are recommended."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from recbole_hlr import MODELS, InputError, load, run
from recbole_hlr.cli import main
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.train import folding
from tests.conftest import write_atomic
from tests.folded import strong_generalisation
from tests.toys import NAMES, NUM_ITEMS, build, ragged, variants
from tests.toys import SOFTMAX as OBJECTIVE

SOFTMAX = {**OBJECTIVE, "geometry": "sphere"}
OBJECTIVES = {
    "softmax": SOFTMAX,
    "ball": {**SOFTMAX, "geometry": "ball"},
    "bias": {**SOFTMAX, "item_bias": True, "learn_scale": True},
    **{
        how: {"negative_reduction": how, "train_neg_sample_args": {"sample_num": 3}}
        for how in ("mean", "hardest", "soft", "rank")
    },
}
SCORED = variants("attend_user", "attend_target", "item_attention", "direct_memory", "eval_history")


def folded(model, rows: list[list[int]]):
    """Return the model with the users 1, 2, ... who have these items."""
    history = histories(rows)
    return folding.fold_in(model, history, "it"), history


def histories(rows: list[list[int]]) -> InteractionMatrix:
    users = torch.tensor([row for row, items in enumerate(rows, 1) for _ in items], dtype=torch.int64)
    items = torch.tensor([item for row in rows for item in row], dtype=torch.int64)
    return InteractionMatrix.from_pairs(users, items, len(rows) + 1, NUM_ITEMS)


def of_all(data) -> list[list[int]]:
    return [data.items_of(user) for user in range(1, data.user_num)]


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", NAMES.values())
def test_a_vector_has_no_neighbour_with_less_loss(name, objective):
    data, more = ragged(), OBJECTIVES[objective]
    model = build(name, data, **more)
    rows = [items for items in of_all(data) if items]
    other, history = folded(model, rows)
    ids = torch.arange(1, len(rows) + 1)
    loss = folding.loss_of(other, ids, history)
    found = other.user_embedding.weight[1:]
    lengths = found.norm(dim=1)
    if more.get("geometry") == "sphere":
        torch.testing.assert_close(lengths, torch.ones_like(lengths), rtol=0, atol=1e-5)
    else:
        assert (lengths <= 1 + 1e-9).all()
    least, generator = loss(found), torch.Generator().manual_seed(0)
    for size in (0.3, 0.1, 0.03):
        nearby = found + size * torch.randn(found.shape, generator=generator, dtype=found.dtype)
        model.keep_within(nearby)
        assert loss(nearby) > least - 5e-3 * abs(least)
    assert loss(model.user_embedding.weight[ids]) > least


@pytest.mark.parametrize(("name", "options"), SCORED)
def test_a_user_s_vector_does_not_depend_on_the_others(name, options):
    data = ragged()
    model = build(name, data, **{**SOFTMAX, **options, "max_history": 3})
    before = {key: value.clone() for key, value in model.state_dict().items()}
    rows = [*of_all(data)[:5], [3, 1, 4], [1, 3, 4, 4]]
    other, _ = folded(model, rows)
    every = other.score_all(torch.arange(1, len(rows) + 1))
    with torch.no_grad():
        again, _ = folded(model, rows)
    assert torch.equal(again.user_embedding.weight, other.user_embedding.weight)
    for row, items in enumerate(rows):
        alone, _ = folded(model, [items])
        torch.testing.assert_close(alone.user_embedding.weight[1], other.user_embedding.weight[row + 1])
        torch.testing.assert_close(alone.score_all(torch.tensor([1]))[0], every[row])
    torch.testing.assert_close(every[-1], every[-2])
    assert not other.user_embedding.weight[3].any()  # an empty history
    assert {key: value.tolist() for key, value in model.state_dict().items()} == {
        key: value.tolist() for key, value in before.items()
    }
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("name", ["TransCF", "HLR++"])
def test_what_is_known_of_items_is_of_the_trained_users(name):
    data, more = ragged(), {"item_attention": "audience", "eval_history": "all"} if name == "HLR++" else {}
    model = build(name, data, **SOFTMAX, **more)
    other, _ = folded(model, of_all(data))
    user = 6
    other.user_embedding.weight[user] = model.user_embedding.weight[user].detach()
    ids = torch.tensor([user])
    torch.testing.assert_close(other.score_all(ids), model.score_all(ids))


def test_mf_als_has_what_training_to_the_end_would_have_found():
    data = ragged()
    model = build("MF-ALS", data, confidence_weight=3.0, regularization=0.5, regularization_scaling=0.7)
    with torch.no_grad():
        model.item_embedding.weight.normal_(generator=torch.Generator().manual_seed(1))
        other, _ = folded(model, of_all(data))
        model.user_embedding.weight.copy_(other.user_embedding.weight)
        least = model.objective()
        for user in range(1, data.user_num):
            for step in torch.eye(6, dtype=torch.float64) * 1e-3:
                for sign in (1, -1):
                    model.user_embedding.weight[user] += sign * step
                    assert model.objective() > least
                    model.user_embedding.weight[user] -= sign * step


def test_blocks_of_users_and_memory_that_is_small_change_nothing(monkeypatch):
    data = ragged()
    model = build("HLR", data, **SOFTMAX)
    expected, _ = folded(model, of_all(data))
    monkeypatch.setattr(folding, "TOGETHER", 2)
    model.memory_budget = 1
    assert folding.users_within(model, histories(of_all(data))) == 0
    found, _ = folded(model, of_all(data))
    torch.testing.assert_close(found.user_embedding.weight, expected.user_embedding.weight)


# --- what a person asks -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> str:
    """Return a run on a small data set."""
    folder = tmp_path_factory.mktemp("folding")
    write_atomic(folder / "data", "toy")
    options = {"data_path": folder / "data", "checkpoint_dir": folder / "runs", "embedding_size": 6}
    return run("HLR", "toy", **options, epochs=1).run_dir


@pytest.fixture(scope="module")
def fitted(run_dir):
    return load(run_dir)


GIVEN = {"anna": ["i3", "i5", "i5"], "u1": ["i1", "i2", "i4"]}
COLUMNS = {
    "user_id": [name for name, items in GIVEN.items() for _ in items],
    "item_id": [item for items in GIVEN.values() for item in items],
}


def write(path: Path, columns: dict) -> Path:
    table = pd.DataFrame(columns)
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".inter":
        names = {"user_id": "user_id:token", "item_id": "item_id:token"}
        table.rename(columns=names).to_csv(path, sep="\t", index=False)
    else:
        table.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("kind", ["pandas", "arrow", ".inter", ".csv", ".parquet"])
def test_histories_are_a_mapping_or_a_table(fitted, tmp_path, kind):
    expected = fitted.recommend_for(GIVEN, k=4)
    assert expected["user"].unique().tolist() == ["anna", "u1"]
    assert not set(expected["item"][expected["user"] == "anna"]) & {"i3", "i5"}
    tables = {"pandas": pd.DataFrame, "arrow": pa.table}
    table = tables[kind](COLUMNS) if kind in tables else write(tmp_path / f"new{kind}", COLUMNS)
    pd.testing.assert_frame_equal(fitted.recommend_for(table, k=4), expected)
    seen = fitted.recommend_for(GIVEN, k=99, exclude_seen=False)
    assert len(seen) == 2 * 17
    pd.testing.assert_frame_equal(
        fitted.recommend_for({"x": [], **GIVEN}, k=4)[4:].reset_index(drop=True), expected
    )
    some = fitted.recommend_for(GIVEN, items=["i6", "i7", "i8"], exclude_items=["i8"], titles={"i6": "Six"})
    assert set(some["item"]) == {"i6", "i7"}
    assert set(some["title"]) == {"Six", ""}


def test_who_has_no_item_gets_what_is_popular(fitted, caplog):
    table = fitted.recommend_for({"anna": ["i3"], "ben": [], "carl": ["new", "newer"]}, k=3)
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "2 unknown item(s) are left out: new, newer",
        "2 user(s) without an item that the run knows get the items with the most interactions: ben, carl",
    ]
    popular = fitted.recommend(["nobody"], k=3, on_unknown="popular")
    for name in ("ben", "carl"):
        assert table[table["user"] == name]["item"].tolist() == popular["item"].tolist()
        assert table[table["user"] == name]["score"].tolist() == popular["score"].tolist()
    assert (table[table["user"] == "anna"]["score"] < 0).all()
    assert len(fitted.recommend_for({"ben": []})) == 10
    assert fitted.recommend_for({}).empty


def test_unknown_items_of_a_history(fitted, caplog):
    expected = fitted.recommend_for({"anna": ["i3"]})
    pd.testing.assert_frame_equal(fitted.recommend_for({"anna": ["i3", "x"]}, on_unknown="ignore"), expected)
    assert not caplog.records
    with pytest.raises(InputError, match=r"^item x: is not among the 17 items of the run$"):
        fitted.recommend_for({"anna": ["i3", "x"]}, on_unknown="raise")
    with pytest.raises(InputError, match=r"^on_unknown='no': must be one of"):
        fitted.recommend_for({"anna": ["i3"]}, on_unknown="no")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (pd.DataFrame({"item_id": ["i3"]}), "histories: must have the columns user_id and item_id"),
        (
            pd.DataFrame({"user_id": [1], "x": [1]}),
            "histories: must have a column item_id; it has user_id, x",
        ),
        (["i3"], "histories: must be lists of items by users' names, or a table"),
        (7, "histories: must be lists of items by users' names, or a table"),
        ({"anna": [None]}, "items: None is no id"),
        ({None: ["i3"]}, "users: None is no id"),
    ],
    ids=str,
)
def test_what_are_no_histories(fitted, wrong, sentence):
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}"):
        fitted.recommend_for(wrong)


OURS = list({model: name for name, model in reversed(MODELS.items())}.values())


@pytest.mark.parametrize("objective", ["softmax", "triplet"])
@pytest.mark.parametrize("name", OURS)
def test_every_model_takes_in_who_is_new(toy, name, objective):
    if name == "MF-ALS" and objective == "triplet":
        pytest.skip("it has an objective of its own")
    options = {} if name == "MF-ALS" else {"objective": objective}
    fitted = load(run(name, **{**toy, **options, "epochs": 1}).run_dir)
    table = fitted.recommend_for(GIVEN, k=99)
    assert len(table) == 2 * 17 - 5
    assert np.isfinite(table["score"]).all()
    pd.testing.assert_frame_equal(fitted.recommend_for(GIVEN, k=99), table)


def test_the_host_s_models_are_refused(toy):
    fitted = load(run("BPR", **{**toy, "epochs": 1}).run_dir)
    with pytest.raises(InputError, match=r"^model=BPR: cannot take in users who were not in the data; must"):
        fitted.recommend_for(GIVEN)


def told(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def test_on_the_command_line(run_dir, fitted, tmp_path, capsys):
    out = told(capsys, "recommend", run_dir, "--history=i3, i5,new", "--k=3")
    rows = [line.split() for line in out.splitlines()[3:]]
    expected = fitted.recommend_for({"new": ["i3", "i5"]}, k=3)
    assert [row[1] for row in rows] == expected["item"].tolist()
    assert told(capsys, "recommend", run_dir, "--history=").startswith("user new\n")
    file = write(tmp_path / "new.inter", COLUMNS)
    given = ["recommend", run_dir, f"--histories-file={file}"]
    assert told(capsys, *given, "--k=3").count("user ") == 2
    target = tmp_path / "out.csv"
    assert told(capsys, *given, "--k=99", "--include-seen", f"--out={target}") == f"{target}: 34 rows\n"
    pd.testing.assert_frame_equal(
        pd.read_csv(target), fitted.recommend_for(file, 99, False), check_exact=False, rtol=1e-6
    )
    assert main(["recommend", run_dir, "--history=i3,new", "--on-unknown=raise"]) == 2
    assert "item new: is not among the 17 items" in capsys.readouterr().err
    assert main(["recommend", run_dir, "--history=", "--users=u1"]) == 2
    assert "are given together: --users, --history; must be one of" in capsys.readouterr().err


# --- strong generalisation --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("name", "epochs"), [("CML", 12), ("MF-ALS", 8)])
def test_users_held_out_of_training_find_nearly_what_trained_ones_do(tmp_path, name, epochs):
    found = strong_generalisation(name, tmp_path, embedding_size=32, epochs=epochs)
    assert found.folded >= 0.9 * found.trained
    assert found.popular < 0.8 * found.trained
