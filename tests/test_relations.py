"""What a relation memory has learned: measured as it was trained, told in words, tested against metadata, shown."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import fisher_exact

from recbole_hlr import InputError, load, run
from recbole_hlr.cli import main
from recbole_hlr.recommend.enrichment import enriched
from recbole_hlr.recommend.relations import on_a_map, slots_of, verdict
from tests import reference
from tests.conftest import short_runs
from tests.test_page import browser, refuse_noise  # noqa: F401 (a fixture)
from tests.toys import memories_of

HOSTILE = "<img src=x onerror=alert(1)>"
GENRES = ["Drama", "Comedy War", "", HOSTILE.replace(" ", "_"), "Drama War"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a function that gives the run of a model on one small data set, with titles and genres beside it."""
    folder = tmp_path_factory.mktemp("relations")
    lines = [f"i{n}\tFilm {n} {HOSTILE}\t{GENRES[n % 5]}\n" for n in range(1, 18)]
    header = "item_id:token\tmovie_title:token_seq\tclass:token_seq\n"
    return short_runs(folder, header + "".join(lines))


def genres() -> dict[str, list[str]]:
    return {f"i{n}": GENRES[n % 5].split() for n in range(1, 18)}


# --- what is measured ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("LRML", {}),
        ("HLR", {"eval_history": "all"}),
        ("HLR", {"eval_history": "all", "attend_user": True, "direct_memory": True}),
        ("HLR++", {"eval_history": "all", "item_attention": "audience"}),
    ],
    ids=str,
)
def test_r_is_that_of_the_loops_with_neither_among_what_the_other_attends_to(runs, name, options):
    fitted = load(runs(name, **options))
    found, data, model = fitted.relations(), fitted.data, fitted.model
    kind = type(model).__name__
    weights = {key: value.detach().double() for key, value in model.named_parameters()}
    interactions = {u: data.history.flat(torch.tensor([u]))[0].tolist() for u in range(data.user_num)}
    options = fitted.config.final_config_dict
    twin = reference.TWINS[kind](weights, options, interactions, training=True)  # u is none of v's users
    pairs = [(u, v) for u, items in interactions.items() for v in items]
    r = torch.stack([twin.translation(u, v, [j for j in interactions[u] if j != v]) for u, v in pairs])
    assert found.pairs == found.of == len(pairs)
    assert found.length == pytest.approx(r.square().sum(dim=1).mean().sqrt().item(), rel=1e-5)
    deviation = (r - r.mean(dim=0)).square().sum(dim=1).mean().sqrt().item()
    assert found.deviation == pytest.approx(deviation, rel=1e-5)
    apart = [reference.squared_distance(twin.p[u], twin.q[v]).item() for u, v in pairs]
    assert found.distance == pytest.approx(np.mean(apart) ** 0.5, rel=1e-5)
    assert found.slots["share"].sum() == pytest.approx(1)
    assert found.slots["pairs"].sum() == len(pairs)


def test_typical_pairs_are_those_of_most_weight_each_item_once(runs):
    fitted = load(runs("LRML"))
    k = 4
    found = fitted.relations(k=k, titles=fitted.titles())
    memory, history = fitted.model.memory, fitted.data.history
    users, items = history.users(), history.items
    with torch.no_grad():
        c = memory.pair_slots(fitted.model.user_embedding(users), fitted.model.item_embedding(items))
    for n in range(c.shape[1]):
        best = pd.DataFrame({"item": items, "weight": c[:, n]}).groupby("item")["weight"].max().nlargest(k)
        rows = found.typical[found.typical["slot"] == n + 1]
        assert rows["weight"].tolist() == pytest.approx(best.tolist())
        assert rows["item"].tolist() == [fitted.data.item_tokens[v] for v in best.index]
        assert rows["title"].tolist() == [f"Film {one[1:]} {HOSTILE}" for one in rows["item"]]


def test_what_a_pair_goes_through_is_of_the_history_and_not_the_item(runs):
    fitted = load(runs("HLR"))
    found = fitted.relations(k=5)
    for row in found.typical.itertuples():
        u = fitted.data.user_tokens.index(row.user)
        seen = [fitted.data.item_tokens[j] for j in fitted.data.history.flat(torch.tensor([u]))[0]]
        assert row.item in seen
        assert row.through in set(seen) - {row.item}


# --- words -----------------------------------------------------------------------------------------------


def change(fitted, how: str):
    """Collapse the memory of a fitted HLR in some way."""
    (memory,) = memories_of(fitted.model)
    memory.centred = False
    with torch.no_grad():
        memory.memories.copy_(torch.eye(len(memory.memories), 6))
        if how == "slots":
            memory.memories.copy_(memory.memories[:1].expand_as(memory.memories))
        elif how == "mixture":
            memory.keys.zero_()
        elif how == "short":
            memory.memories.mul_(1e-3)
    return fitted


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        (
            "slots",
            "This memory has collapsed: .* for all slots hold nearly one vector; the model is CML with",
        ),
        ("mixture", "This memory has collapsed: .* for all pairs have nearly one mixture of the slots; "),
        ("short", "This memory has collapsed: .* too short to move anybody; the model ranks as CML does"),
        ("none", "This memory has not collapsed: .* slot . has most weight, [0-9.]+ %"),
    ],
)
def test_a_collapse_is_said_in_words(runs, how, sentence):
    assert re.match(sentence, change(load(runs("HLR")), how).relations().verdict)


def test_slots_that_are_hardly_used_are_named():
    c = torch.tensor([[0.98, 0.01, 0.01], [0.5, 0.49, 0.01], [0.2, 0.79, 0.01]], dtype=torch.float64)
    rows = torch.eye(3, dtype=torch.float64)
    slots = slots_of(c, rows, c - c.mean(dim=0))
    told = verdict(slots, rows, 1.0, 0.5, 1.0, axis=0.6)
    assert told.endswith("slot 1 has most weight, 56 %. Hardly used: slot 3.")
    told = verdict(slots, rows, 1.0, 0.5, 1.0, axis=0.999)
    assert "But r varies along one direction alone (99.9 % of its variance)." in told


# --- metadata --------------------------------------------------------------------------------------------


def test_enrichment_is_fisher_s_test_over_items_that_count_once():
    """40 items with 1 to 3 pairs; those of slot 1 are mostly red, all others have colours at random."""
    rng = np.random.default_rng(0)
    slots = rng.integers(2, size=41)
    values = [
        [],
        *([str(rng.choice(["red", "blue"], p=[0.9, 0.1] if s == 0 else [0.3, 0.7]))] for s in slots[1:]),
    ]
    values[5] = []  # an item without a value is no part of the test
    items = torch.tensor([v for v in range(1, 41) for _ in range(1 + v % 3)])
    lean = torch.tensor([[1.0, -1.0] if slots[v] == 0 else [-1.0, 1.0] for v in items.tolist()])
    table = enriched(items, lean, values).set_index(["slot", "value"])
    known = [v for v in range(1, 41) if v != 5]
    for (slot, value), row in table.iterrows():
        of = [[0, 0], [0, 0]]
        for v in known:
            of[int(slots[v] != slot - 1)][int(values[v] != [value])] += 1
        assert row["p"] == pytest.approx(fisher_exact(of, alternative="greater").pvalue)
        assert (row["items"], row["of"], row["with_value"]) == (of[0][0], sum(of[0]), of[0][0] + of[1][0])
        assert row["adjusted"] >= row["p"]
    assert table.index[0] == (1, "red")
    assert table["adjusted"].iloc[0] < 0.01
    assert table["lift"].iloc[0] > 1.3


def test_without_a_relation_between_slots_and_values_few_tests_are_significant():
    rng = np.random.default_rng(1)
    significant = 0
    for _ in range(20):
        values = [[], *([str(one)] for one in rng.integers(8, size=300))]
        items = torch.arange(1, 301).repeat(5)
        lean = torch.from_numpy(rng.normal(size=(300, 4))).repeat(5, 1)
        significant += (enriched(items, lean, values)["adjusted"] < 0.05).any()
    assert significant <= 4


def test_metadata_come_from_a_mapping_a_file_or_the_data_set_s_own(runs, tmp_path):
    fitted = load(runs("LRML"))
    expected = fitted.relations(genres()).enrichment
    assert len(expected)
    assert set(expected["value"]) == {"Drama", "War"}  # five items or more
    pd.testing.assert_frame_equal(fitted.relations("class").enrichment, expected)
    assert fitted.relations({"i1": "Drama"}).enrichment.empty
    table = pd.DataFrame({"item_id": list(genres()), "kind": list(genres().values())})
    table.to_parquet(tmp_path / "kinds.parquet")
    pd.testing.assert_frame_equal(fitted.relations(f"{tmp_path}/kinds.parquet:kind").enrichment, expected)
    one = {token: words[0] for token, words in genres().items() if words}
    (tmp_path / "one.csv").write_text("item,kind\n" + "".join(f"{i},{word}\n" for i, word in one.items()))
    pd.testing.assert_frame_equal(
        fitted.relations(f"{tmp_path}/one.csv:kind").enrichment, fitted.relations(one).enrichment
    )


def test_the_map_keeps_most_of_the_variance():
    generator = torch.Generator().manual_seed(0)
    r = torch.randn(50, 6, generator=generator, dtype=torch.float64) * torch.tensor([9, 3, 1, 1, 1, 1.0])
    points, axes = on_a_map(r)
    values = np.linalg.eigvalsh(np.cov(r.numpy().T))[::-1]
    assert axes == pytest.approx(values[:2] / values.sum())
    assert np.cov(points.to_numpy().T) == pytest.approx(np.diag(values[:2]), abs=1e-9)
    assert on_a_map(torch.ones(4, 6))[1] == (0, 0)


# --- the page --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["HLR", "HLR++", "LRML"])
def test_the_verb_writes_a_page_in_which_every_text_is_escaped(runs, name, tmp_path, capsys):
    file, run_dir = tmp_path / "page.html", runs(name)
    capsys.readouterr()
    assert main(["relations", run_dir, f"--out={file}", "--metadata=class", "--k=3"]) == 0
    found = load(run_dir).relations("class", k=3)
    assert capsys.readouterr().out == f"{found.verdict}\n{file}\n"
    text = file.read_text()
    assert found.verdict in text.replace("&#39;", "'")
    assert "<img" not in text.replace("plotly.js", "").split("</head>")[1]
    assert f"Film 3 {HOSTILE}".replace("<", "&lt;").replace(">", "&gt;") in text
    assert text.count('<table class="typical">') == len(found.slots)
    assert text.count('class="plotly-graph-div"') == 2
    assert not re.search(r"""<(script|link|img)[^>]*(src|href)=["']?(http|//)""", text)


@pytest.mark.slow
def test_the_page_in_a_browser_shows_both_maps_and_logs_nothing(runs, tmp_path, browser):  # noqa: F811
    fitted = load(runs("HLR"))
    found = fitted.relations("class", titles=fitted.titles())
    found.write(tmp_path / "page.html")
    browser.get((tmp_path / "page.html").as_uri())

    def script(code: str):
        return browser.execute_script(f"return {code}")

    refuse_noise(browser, script)
    assert script("document.getElementById('verdict').textContent") == found.verdict
    graphs = "[...document.querySelectorAll('.plotly-graph-div')]"
    assert script(f"{graphs}.every(d => d.querySelector('.main-svg'))")
    shown = script(f"{graphs}.map(d => d._fullData.reduce((n, t) => n + t.x.length, 0))")
    assert shown == [len(found.points)] * 2


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--metadata=colour"], r".*toy\.item: must have one column colour; it has item_id, movie_title, class"),
        (["--metadata=none.csv:class"], r"none\.csv: there is no such file"),
        (["--metadata=bad.csv:b"], r"bad\.csv: must have a column item_id; it has a, b"),
        (["--metadata=other.csv:b"], "metadata: no item of the run has a value"),
        (["--k=0"], "k=0: must be an integer >= 1"),
        (["--out=none/page.html"], "none/page.html: No such file or directory; must be in a folder"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_in_a_sentence(runs, tmp_path, monkeypatch, capsys, given, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    (tmp_path / "other.csv").write_text("item,b\nnew,2\n")
    capsys.readouterr()
    assert main(["relations", runs("LRML"), "--out=page.html", *given]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f"error: {sentence}", last)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["bad.csv", "other.csv"]


def test_models_without_a_memory_and_data_without_an_item_file_are_refused(runs):
    with pytest.raises(InputError, match="model=CML: has no relation memory; must be one that has, such as"):
        load(runs("CML")).relations()
    fitted = load(runs("LRML"))
    folder = fitted.config["data_path"]
    shutil.move(f"{folder}/toy.item", f"{folder}/away")
    try:
        with pytest.raises(InputError, match=r"metadata=class: there is no \.item file beside the data"):
            fitted.relations("class")
    finally:
        shutil.move(f"{folder}/away", f"{folder}/toy.item")


# --- a run on real data ----------------------------------------------------------------------------------


@pytest.mark.slow
def test_explanations_and_relations_of_hlr_on_movielens(tmp_path):
    options = {"embedding_size": 16, "checkpoint_dir": tmp_path, "show_progress": False}
    fitted = load(run("HLR", "ml-100k", epochs=2, **options).run_dir, compile="off")
    titles = fitted.titles()
    for user in fitted.users[:3]:
        for row in fitted.recommend(user, k=2).itertuples():
            table = fitted.explain(user, row.item, titles=titles)
            assert table["contribution"].sum() == pytest.approx(row.score, rel=1e-5)
            assert table.attrs["rank"] == row.rank
            assert table.loc[table["part"] == "history", "title"].str.len().min() > 0
    found = fitted.relations("class", titles=titles)
    assert found.pairs == 20_000
    assert {"Drama", "Comedy", "Film-Noir"} <= set(found.enrichment["value"])
    assert found.enrichment["of"].max() <= len(fitted.data.item_tokens)
    assert set(found.points["value"]) <= {*found.enrichment["value"], "", "unknown", "Fantasy"}
