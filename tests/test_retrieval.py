"""What an index finds: the exact ranking where it searches everything, the rules of seen and allowed items always."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_hlr import InputError
from recbole_hlr.cli import main
from recbole_hlr.recommend import retrieval, scorer

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from retrieval import generated

WITH_INDEX = ["CML", "LRML", "HLR", "HLR++", "MF-ALS"]


@pytest.fixture
def everything(monkeypatch):
    """Let all lists be searched for all items."""
    monkeypatch.setattr(retrieval, "PROBED", 10**6)
    monkeypatch.setattr(retrieval, "OVER", 10**6)


def small(name: str, **options):
    pytest.importorskip("faiss")
    fitted = generated(name, users=40, items=600, d=8, **options)
    if name == "MF-ALS":  # whose vectors are of all lengths
        fitted.model.item_embedding.weight.data *= 0.3 + torch.rand(601, 1)
    return fitted


def alike(one: pd.DataFrame, other: pd.DataFrame) -> None:
    assert one.drop(columns="score").equals(other.drop(columns="score"))
    np.testing.assert_allclose(one["score"], other["score"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WITH_INDEX)
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_a_search_of_everything_is_the_exact_ranking(everything, name, exclude_seen):
    fitted = small(name)
    given = fitted.users, 9, exclude_seen
    alike(fitted.recommend(*given, approximate=True), fitted.recommend(*given))


@pytest.mark.parametrize("name", WITH_INDEX)
def test_a_search_of_some_finds_most(name):
    fitted = small(name)
    exact = set(map(tuple, fitted.recommend(fitted.users, 10)[["user", "item"]].to_numpy()))
    found = set(map(tuple, fitted.recommend(fitted.users, 10, approximate=True)[["user", "item"]].to_numpy()))
    assert len(exact) == len(found) == 400
    assert len(exact & found) > 360


@pytest.mark.parametrize("name", WITH_INDEX)
def test_an_exported_index_finds_what_the_run_s_finds(name, tmp_path):
    fitted = small(name)
    told = fitted.export(tmp_path / "served", index=True)
    assert {"items.faiss", "probes.npy"} <= told["files"].keys()
    served = scorer.Recommender(tmp_path / "served")
    for user in fitted.users[:12]:
        for exclude_seen in (True, False):
            table = fitted.recommend(user, 5, exclude_seen, approximate=True)
            found = served.recommend(user, 5, exclude_seen, approximate=True)
            assert [item for item, _ in found] == table["item"].tolist()
    assert len(served.near(0, 20)) < 20 * 6 < served.items.shape[0]
    everything = served.recommend(fitted.users[0], 600, approximate=True)
    assert everything == served.recommend(fitted.users[0], 600)


def test_an_index_is_exported_of_a_model_that_has_one_alone(tmp_path):
    with pytest.raises(InputError, match="approximate: of AdaCML nothing is known"):
        small("AdaCML").export(tmp_path / "served", index=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("probed", [1, 10**6])
def test_neighbours_of_the_index_are_in_the_order_of_the_scores(monkeypatch, probed):
    """With an item bias, and of MF-ALS, whose score is no distance."""
    monkeypatch.setattr(retrieval, "PROBED", probed)
    for fitted in (small("CML", item_bias=True), small("MF-ALS")):
        if fitted.config.metric:
            fitted.model.item_bias.data.normal_()
        users = torch.tensor([3, 5])
        _, places = fitted.index.index.search(fitted.index._points(users)[:, 0].numpy(), 20)
        scores = fitted._scores(users).gather(1, torch.from_numpy(places) + 1)
        assert (scores.diff(dim=1) <= 1e-5).all()


@pytest.mark.parametrize("name", ["CML", "HLR"])
@pytest.mark.parametrize("allowed", [2, 30, 400])
def test_items_that_are_not_allowed_are_never_found(name, allowed):
    fitted = small(name)
    stock = fitted.data.item_tokens[1 : allowed + 1]
    table = fitted.recommend(fitted.users, 10, items=stock, exclude_items=[stock[0]], approximate=True)
    exact = fitted.recommend(fitted.users, 10, items=stock, exclude_items=[stock[0]])
    assert set(table["item"]) <= set(stock[1:])
    assert table["user"].tolist() == exact["user"].tolist()
    if allowed < 400:
        alike(table, exact)


def test_a_user_with_a_long_history_and_one_who_is_popular_s(everything):
    fitted = small("CML")
    assert not retrieval_misses(fitted, ["u1"])
    alike(
        fitted.recommend(["u1", "nobody"], on_unknown="popular", approximate=True),
        fitted.recommend(["u1", "nobody"], on_unknown="popular"),
    )
    assert fitted.recommend([], approximate=True).empty


def retrieval_misses(fitted, users) -> set[str]:
    """Return items that were recommended although they are in the training part."""
    rows = [fitted.data.user_tokens.index(user) for user in users]
    seen = {fitted.data.item_tokens[i] for u in rows for i in fitted.data.history.flat(torch.tensor([u]))[0]}
    return seen & set(fitted.recommend(users, 99, approximate=True)["item"])


@pytest.mark.parametrize("name", ["AdaCML", "TransCF"])
def test_other_models_have_no_index(name):
    with pytest.raises(InputError, match=rf"^approximate: of {name} nothing is known.* must be CML"):
        small(name).recommend("u1", approximate=True)


def test_without_the_library_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    fitted = generated("CML", users=5, items=70, d=4)
    with pytest.raises(InputError, match=r'not installed; pip install "recbole_hlr\[approximate\]"$'):
        fitted.recommend("u1", approximate=True)


def test_vectors_that_are_not_finite_have_no_index():
    fitted = small("CML")
    fitted.model.item_embedding.weight.data[5, 0] = float("nan")
    with pytest.raises(InputError, match="1 of its scores of items are not finite"):
        fitted.recommend("u1", approximate=True)


def test_the_command_takes_it(monkeypatch, tmp_path):
    fitted = small("CML")
    monkeypatch.setattr("recbole_hlr.cli.recommending.load_as_told", lambda *given, **named: fitted)
    out = tmp_path / "recs.csv"
    assert main(["recommend", "run", "--users=u1", "--approximate", f"--out={out}"]) == 0
    assert len(pd.read_csv(out)) == 10
    assert "index" in vars(fitted)
