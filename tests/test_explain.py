"""Why an item has its score: contributions are the plain loops', and add up to the score; what is refused."""

import copy
import itertools
import math

import implicit
import numpy as np
import pytest
import torch
from scipy import sparse

from recbole_hlr import MODELS, InputError, load
from recbole_hlr.cli import main
from recbole_hlr.data.interactions import InteractionMatrix
from recbole_hlr.recommend.explaining import of_distance, of_factors
from tests import reference
from tests.conftest import short_runs
from tests.toys import ALL_USERS, NUM_ITEMS, SCORING, build, ragged, twin_of, variants

NAMES = list({model: name for name, model in reversed(MODELS.items())}.values())


def explained(model, u: int, v: int, k: int = 99):
    with torch.no_grad():
        return of_distance(model, u, v, k, InteractionMatrix.of(ragged()))


# --- the mathematics -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "options"), variants(*SCORING, eval_history="all"))
def test_contributions_add_up_to_the_score_and_distances_are_the_loops(name, options):
    model = build(name, **options)
    twin = twin_of(model, **options)
    scores = model.score_all(torch.tensor(ALL_USERS))
    for u, v in ((1, 1), (2, 5), (4, NUM_ITEMS - 1), (5, 2)):
        (whole, distances), (short, _) = explained(model, u, v), explained(model, u, v, k=2)
        for table in (whole, short):
            assert table["contribution"].sum() == pytest.approx(scores[u - 1, v].item(), rel=1e-12)
        history = ragged().items_of(u)
        assert distances["moved_distance"] == pytest.approx(twin.distance(u, v, history).item(), rel=1e-10)
        assert distances["distance"] == pytest.approx(
            reference.squared_distance(twin.p[u], twin.q[v]).item(), rel=1e-10
        )
        assert "relation" not in set(whole["part"])
        of_history = whole[whole["part"] == "history"]
        if name not in ("CML", "LRML"):
            assert sorted(of_history["id"]) == history


@pytest.mark.parametrize("attend_user", [False, True])
def test_contributions_are_shapley_values_of_what_is_attended_to(attend_user):
    """By the definition: the mean, over all orders of joining, of what a source adds to the score."""
    options = {"eval_history": "all", "attend_user": attend_user, "attention_smoothing": 1.0}
    model, u, v = build("HLR", **options), 5, 2
    twin = twin_of(model, **options)
    history = ragged().items_of(u)  # 4 items
    p, q = twin.p[u], twin.q[v]
    relations = {("history", j): reference.relation(q, twin.q[j], *twin.memory()) for j in history}
    if attend_user:
        relations["user", u] = reference.relation(q, p, *twin.memory())
    exps = {key: math.exp(torch.dot(p, one)) for key, one in relations.items()}
    alphas = {key: value / sum(exps.values()) for key, value in exps.items()}

    def score(joined) -> float:
        r = sum((alphas[key] * relations[key] for key in joined), torch.zeros_like(p))
        return -reference.squared_distance(p + r, q).item()

    orders = list(itertools.permutations(relations))
    table = explained(model, u, v)[0].set_index(["part", "id"])
    for key, alpha in alphas.items():
        added = [score(order[: order.index(key) + 1]) - score(order[: order.index(key)]) for order in orders]
        assert table.loc[key, "contribution"] == pytest.approx(sum(added) / len(orders), rel=1e-9)
        assert table.loc[key, "weight"] == pytest.approx(alpha, rel=1e-12)


def test_slots_are_those_of_each_relation():
    model = build("HLR", eval_history="all", attend_user=True, direct_memory=True)
    table = explained(model, 5, 2)[0].set_index("part")
    q, p = model.item_embedding.weight[2], model.user_embedding.weight[5]
    keys = model.direct_memory.keys
    weights = ((q * p) @ keys.T).softmax(dim=0).tolist()
    best = int(np.argmax(weights))
    assert table.loc["user", "slots"].startswith(f"{3 + best + 1}: {weights[best]:.2f}")  # after N = 3


def test_slots_of_lrml_are_its_sources_and_neighbours_have_no_contribution():
    model = build("LRML")
    table = explained(model, 5, 2)[0]
    slots = table[table["part"] == "slot"]
    assert sorted(slots["id"]) == ["1", "2", "3"]
    assert slots["weight"].sum() == pytest.approx(1)
    near = table[table["part"] == "neighbour"]
    q = model.item_embedding.weight.detach()
    distances = {j: (q[j] - q[2]).square().sum().item() for j in ragged().items_of(5)}
    assert near["id"].tolist() == sorted(distances, key=distances.get)
    assert near["squared_distance"].tolist() == pytest.approx(sorted(distances.values()))
    assert near["contribution"].isna().all()


def test_a_model_whose_r_is_put_together_otherwise_has_it_as_one_source():
    class Double(type(build("HLR"))):
        def translation(self, users, items):
            return 2 * super().translation(users, items)

    model = build("HLR", eval_history="all")
    model.__class__ = Double
    table, distances = explained(model, 5, 2)
    assert table["part"].tolist() == ["base", "relation"]
    assert table["contribution"].sum() == pytest.approx(-distances["moved_distance"])


@pytest.mark.parametrize("u", [1, 2, 5])
def test_mf_als_is_explained_as_by_implicit(u):
    model = build("MF-ALS", regularization=0.5, regularization_scaling=0.0, confidence_weight=4.0)
    with torch.no_grad():
        model.item_embedding.weight[1:].normal_(generator=torch.Generator().manual_seed(3))
    als = implicit.cpu.als.AlternatingLeastSquares(6, regularization=0.5, dtype=np.float64)
    als.item_factors = model.item_embedding.weight.detach().numpy()
    history = ragged().items_of(u)
    rows = sparse.csr_matrix((np.full(len(history), 4.0), ([u] * len(history), history)), (9, NUM_ITEMS))
    total, expected, _ = als.explain(u, rows, 5, N=99)
    with torch.no_grad():
        table = of_factors(model, u, 5, 99, score=1.5)
    found = table[table["part"] == "history"].set_index("id")["contribution"]
    assert found.to_dict() == pytest.approx({int(j): value for j, value in expected}, rel=1e-6)
    assert table.set_index("part").loc["unsolved", "contribution"] == pytest.approx(1.5 - total, rel=1e-6)


# --- runs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a function that gives the run of a model on one small data set, with titles beside it."""
    titles = "".join(f"i{n}\tThe {n}th Film\n" for n in range(1, 18))
    header = "item_id:token\tmovie_title:token_seq\n"
    return short_runs(tmp_path_factory.mktemp("explain"), header + titles)


@pytest.mark.parametrize("name", NAMES)
def test_the_table_adds_up_to_the_score_and_rank_of_recommend(runs, name):
    fitted = load(runs(name))
    ranked = fitted.recommend("u3", k=17)
    for row in ranked.iloc[[0, len(ranked) // 2, -1]].itertuples():
        table = fitted.explain("u3", row.item, k=3, titles=fitted.titles())
        assert table["contribution"].sum() == pytest.approx(row.score, rel=1e-5, abs=1e-6)
        told = table.attrs
        assert (told["rank"], told["of"], told["seen"]) == (row.rank, len(ranked), False)
        assert told["score"] == pytest.approx(row.score)
        films = table[table["part"].isin(["history", "item attention", "neighbour"])]
        assert len(films) + table["part"].isin(["audience", "user", "target"]).sum() == 3
        assert films["title"].tolist() == [f"The {one[1:]}th Film" for one in films["id"]]


def test_ids_are_those_of_users_and_of_items(runs):
    options = {"item_attention": "audience", "attend_user": True, "attend_target": True, "item_bias": True}
    options["max_history"] = 20  # more than anybody has
    fitted = load(runs("HLR++", **options))
    table = fitted.explain("u3", "i5", k=99, titles=fitted.titles())
    history = fitted.data.history
    users, items = ([tokens[n] for n in numbers] for tokens, numbers in (
        (fitted.data.user_tokens, history.users()[history.items == fitted.data.item_tokens.index("i5")]),
        (fitted.data.item_tokens, history.flat(torch.tensor([fitted.data.user_tokens.index("u3")]))[0]),
    ))  # fmt: skip
    ids = table.groupby("part")["id"].agg(sorted).to_dict()
    assert ids == {
        "audience": sorted(users), "base": [""], "bias": [""], "history": sorted(items), "target": ["i5"],
        "user": ["u3"],
    }  # fmt: skip
    assert table["contribution"].sum() == pytest.approx(table.attrs["score"], rel=1e-5)
    titles = table.groupby("part")["title"].agg(list)
    assert titles["target"] == ["The 5th Film"]
    assert set(titles["audience"]) == {""}


def test_an_item_that_is_seen(runs):
    fitted = load(runs("HLR"))
    every = fitted.recommend("u3", k=17, exclude_seen=False)
    unseen = fitted.recommend("u3", k=17)
    seen = every[~every["item"].isin(unseen["item"])].iloc[0]
    told = fitted.explain("u3", seen["item"]).attrs
    assert told["seen"]
    assert told["rank"] == 1 + (unseen["score"] > seen["score"]).sum()
    assert told["of"] == len(unseen) + 1


@pytest.mark.parametrize(
    ("user", "item", "k", "sentence"),
    [
        ("u99", "i1", 3, "user u99: is not among the 23 users of the run"),
        ("u1", "i99", 3, "item i99: is not among the 17 items of the run"),
        (["u1", "u2"], "i1", 3, "user: must be one id, not 2"),
        ("u1", [], 3, "item: must be one id, not 0"),
        ("u1", "i1", 0, "k=0: must be an integer >= 1"),
        (None, "i1", 3, "users: None is no id"),
    ],
)
def test_what_cannot_be_explained_is_said_in_a_sentence(runs, user, item, k, sentence):
    with pytest.raises(InputError) as caught:
        load(runs("CML")).explain(user, item, k)
    assert str(caught.value).startswith(sentence)


def test_a_user_without_history_a_model_of_recbole_and_other_scores(runs):
    fitted = load(runs("HLR"))
    bare = copy.copy(fitted)
    bare.data = copy.copy(fitted.data)
    bare.data.history = copy.copy(fitted.data.history)
    bare.data.history.lengths = torch.zeros_like(fitted.data.history.lengths)
    with pytest.raises(InputError, match="user u1: has no item in the training part"):
        bare.explain("u1", "i1")
    other = copy.copy(fitted)
    other.model = copy.copy(fitted.model)
    other.model.full_sort_predict = lambda batch: fitted.model.full_sort_predict(batch) - 1
    with pytest.raises(InputError, match=r"model=HLR: cannot be explained, for its score is not -\|\|p"):
        other.explain("u1", "i1")
    with pytest.raises(InputError, match="model=BPR: cannot be explained; must be a metric model"):
        load(runs("BPR")).explain("u1", "i1")


def test_the_verb_prints_titles_contributions_and_what_r_does(runs, capsys):
    run_dir = runs("HLR")
    fitted = load(run_dir)
    table = fitted.explain("u3", "i5", k=2)
    capsys.readouterr()
    assert main(["explain", run_dir, "--user=u3", "--item=i5", "--k=2"]) == 0
    first, second, third, _, header, _, *rows = capsys.readouterr().out.splitlines()
    told = table.attrs
    assert first == "user u3, item i5"
    assert second.startswith(f"score {told['score']:.4f}, rank {told['rank']} of {told['of']} items not seen")
    assert third == (
        f"squared distance {told['distance']:.4f} without r, {told['moved_distance']:.4f} with r"
    )
    assert header.split() == ["part", "id", "title", "weight", "slots", "contribution"]
    assert rows[0].split() == ["base", f"{-told['distance']:.4f}"]
    assert rows[1].split()[:5] == ["history", table["id"][1], "The", f"{table['id'][1][1:]}th", "Film"]
    assert rows[1].endswith(f"{table['contribution'][1]:.4f}")
    assert "nan" not in "".join(rows)
    assert main(["explain", run_dir, "--user=u99", "--item=i5"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: user u99: is not among the 23 users")
