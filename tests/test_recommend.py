"""A fitted recommender: whom it is asked about, in which blocks it ranks, what may change when it is loaded."""

import copy
import errno
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import MODELS, InputError, evaluate, load, prepare, run
from recbole_hlr.options.table import LOAD_KEYS
from recbole_hlr.recommend.ranking import ROW_PAIRS, scores_of

COLUMNS = {"user": "object", "rank": "int64", "item": "object", "score": "float64"}
NUMBERS = range(1, 24)  # the users' ids


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> str:
    """Return a run on users whose ids are numbers, 1 to 23."""
    folder = tmp_path_factory.mktemp("recommend")
    rng = np.random.default_rng(0)
    lines = ["user_id:token\titem_id:token"]
    for user in NUMBERS:
        lines += [f"{user}\ti{item}" for item in rng.choice(17, size=6, replace=False)]
    (folder / "shop").mkdir()
    (folder / "shop" / "shop.inter").write_text("\n".join(lines) + "\n")
    options = {"data_path": folder, "checkpoint_dir": folder / "runs", "embedding_size": 6, "epochs": 1}
    return run("HLR", "shop", **options, train_neg_sample_args={"sample_num": 1}).run_dir


@pytest.fixture(scope="module")
def fitted(run_dir):
    return load(run_dir)


KINDS = {
    "list": list,
    "tuple": tuple,
    "generator": lambda ids: (one for one in ids),
    "dict": dict.fromkeys,
    "texts": lambda ids: [str(one) for one in ids],
    "array": np.array,
    "array of int32": lambda ids: np.array(ids, dtype=np.int32),
    "array of texts": lambda ids: np.array([str(one) for one in ids]),
    "numpy's numbers": lambda ids: [np.uint8(one) for one in ids],
    "tensor": torch.tensor,
    "tensors": lambda ids: [torch.tensor(one) for one in ids],
    "column": pd.Series,
    "column of texts": lambda ids: pd.Series([str(one) for one in ids], dtype="string"),
    "index": pd.Index,
}


@pytest.mark.parametrize("kind", KINDS)
def test_ids_in_any_iterable_are_the_data_set_s_own(fitted, kind):
    ids = [7, 3, 21]
    expected = fitted.recommend(["7", "3", "21"], k=2)
    assert expected["user"].tolist() == ["7", "7", "3", "3", "21", "21"]
    pd.testing.assert_frame_equal(fitted.recommend(KINDS[kind](ids), k=2), expected)


@pytest.mark.parametrize("one", [7, "7", np.int64(7), np.str_("7"), torch.tensor(7), np.array(7)])
def test_one_id_is_one_user(fitted, one):
    pd.testing.assert_frame_equal(fitted.recommend(one, k=3), fitted.recommend(["7"], k=3))


@settings(max_examples=25, deadline=None)
@given(ids=st.lists(st.sampled_from(NUMBERS)), kind=st.sampled_from(sorted(KINDS)), k=st.integers(1, 40))
def test_users_keep_their_order_and_their_repetitions(fitted, ids, kind, k):
    users = dict.fromkeys(ids) if kind == "dict" else ids
    table = fitted.recommend(KINDS[kind](ids), k=k, exclude_seen=False)
    best = min(k, 17)
    assert table["user"].tolist() == [str(user) for user in users for _ in range(best)]
    assert table["rank"].tolist() == [*range(1, best + 1)] * len(users)
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_gets_an_empty_table_of_the_same_columns(fitted, kind):
    table = fitted.recommend(KINDS[kind]([]))
    assert table.empty
    assert {name: str(kind) for name, kind in table.dtypes.items()} == COLUMNS


@pytest.mark.parametrize("k", [np.int64(3), np.uint8(3), np.array(3), torch.tensor(3)])
def test_k_is_any_integer(fitted, k):
    pd.testing.assert_frame_equal(fitted.recommend([1], k=k), fitted.recommend([1], k=3))
    assert len(fitted.recommend([1], k=10**30, exclude_seen=False)) == 17


WRONG_IDS = [
    None, True, 1.5, float("nan"), b"7", [None], [float("nan")], [pd.NA], [[1, 2]], [(1,)], [True], [7.0],
    np.array([[1], [2]]), torch.tensor([[7]]), torch.tensor([7.0]), pd.Series([1, None]), np.array([True]),
]  # fmt: skip


@pytest.mark.parametrize("users", WRONG_IDS, ids=repr)
def test_what_is_no_id_is_refused_in_a_sentence(fitted, users):
    with pytest.raises(InputError, match=r"^users: .* is no id; must be a text or an integer"):
        fitted.recommend(users)


@pytest.mark.parametrize("user", ["[PAD]", "", 0, -1, 24, "07", 10**30])
def test_an_id_that_nobody_has(fitted, user):
    for users in (user, [user], [1, user]):
        with pytest.raises(InputError, match=rf"^user {re.escape(str(user))}: is not among the 23 users"):
            fitted.recommend(users)


@pytest.mark.parametrize("k", [True, np.True_, 0, -1, 3.0, "3", None, [3], float("nan"), np.array([3])])
def test_wrong_k(fitted, k):
    with pytest.raises(InputError, match=r"^k=.*: must be an integer >= 1"):
        fitted.recommend([1], k=k)


def test_wrong_exclude_seen(fitted):
    with pytest.raises(InputError, match=r"^exclude_seen='no': must be true or false"):
        fitted.recommend([1], exclude_seen="no")


# --- blocks ---------------------------------------------------------------------------------------------


def ranked_in(fitted, monkeypatch) -> list[int]:
    """Return a list that gets the number of users of every ranking."""
    sizes, rank = [], fitted.model.full_sort_predict

    def counting(interaction):
        sizes.append(len(interaction[fitted.model.USER_ID]))
        return rank(interaction)

    monkeypatch.setattr(fitted.model, "full_sort_predict", counting)
    return sizes


@pytest.mark.parametrize(("users", "blocks"), [(1, [1] * 30), (7, [7, 7, 7, 7, 2]), (30, [30])])
def test_users_are_ranked_in_blocks_that_eval_memory_has_room_for(run_dir, monkeypatch, users, blocks):
    whole = load(run_dir)
    ids = [*NUMBERS, 3, 3, 1, 2, 9, 8, 7]
    expected = whole.recommend(ids, k=5)
    small = load(run_dir, eval_memory=users * 12 * (18 + ROW_PAIRS * 5) * 2 / 2**30)
    sizes = ranked_in(small, monkeypatch)
    table = small.recommend(ids, k=5)
    assert sizes == blocks
    assert table.drop(columns="score").equals(expected.drop(columns="score"))
    np.testing.assert_allclose(table["score"], expected["score"], rtol=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("user", [1, 23])
def test_scores_that_are_not_finite_are_no_ranking(run_dir, monkeypatch, bad, user):
    fitted = load(run_dir, eval_memory=1e-6)  # several blocks
    rank = fitted.model.full_sort_predict
    number = fitted.data.user_tokens.index(str(user))

    def broken(interaction):
        scores = rank(interaction)
        scores[interaction[fitted.model.USER_ID] == number, 4] = bad
        return scores

    monkeypatch.setattr(fitted.model, "full_sort_predict", broken)
    assert len(fitted.recommend([2, 3])) == 20
    with pytest.raises(InputError, match=r"^model=HLR: .* of its scores are not finite"):
        fitted.recommend(NUMBERS, exclude_seen=False)


def test_a_user_who_has_everything_is_recommended_nothing(fitted, monkeypatch):
    everything = fitted.data.history.from_pairs(
        torch.arange(1, 24).repeat_interleave(17), torch.arange(1, 18).repeat(23), 24, 18
    )
    monkeypatch.setattr(fitted.data, "history", everything)
    assert fitted.recommend([1, 2]).empty
    assert len(fitted.recommend([1, 2], k=17, exclude_seen=False)) == 34


# --- loading --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"embedding_size": 7}, {"num_memories": 3}, {"max_history": 2}, {"eval_history": "all"}, {"seed": 3},
        {"max_norm": None}, {"attend_user": True}, {"learning_rate": 0.5}, {"epochs": 9}, {"topk": [3]},
        {"data_path": "elsewhere"}, {"model": "CML"}, {"dataset": "other"}, {"eval_batch_size": 9}, {"marign": 1},
        {"config_files": ["my.yaml"]},
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_it_another_run_cannot_change_when_it_is_loaded(run_dir, options):
    (name, value), *_ = options.items()
    with pytest.raises(InputError, match=rf"^{name}={re.escape(str(value))}.*: cannot change in a run that"):
        load(run_dir, **options)


def test_what_may_change_when_it_is_loaded_is_named_and_taken(run_dir):
    with pytest.raises(InputError, match=rf"only {', '.join(sorted(LOAD_KEYS))} can$"):
        load(run_dir, scale=9)
    fitted = load(
        run_dir, eval_memory=4, use_gpu=False, gpu_id=1, compile="off", embedding_size=6, model="HLR"
    )
    assert fitted.model.memory_budget == 4 * 2**30
    with pytest.raises(InputError, match=r"^eval_memory=0 .*: must be a number > 0"):
        load(run_dir, eval_memory=0)


# --- tables of other libraries, and files -----------------------------------------------------------------


class Columns:
    """A table or a column of a library that is known by the Arrow interface alone, as polars' are."""

    def __init__(self, data) -> None:
        self.data = data

    def __arrow_c_stream__(self, requested_schema=None):
        return self.data.__arrow_c_stream__(requested_schema)


TABLES = {
    "table of pandas": lambda ids: pd.DataFrame({"n": range(len(ids)), "user_id": ids}),
    "table of texts": lambda ids: pd.DataFrame({"user_id": [str(one) for one in ids]}),
    "table by our name": lambda ids: pd.DataFrame({"rank": 1, "user": ids}),
    "only column": lambda ids: pd.DataFrame({"whoever": ids}),
    "Arrow table": lambda ids: pa.table({"user_id": ids, "n": range(len(ids))}),
    "Arrow column": lambda ids: pa.chunked_array([ids]),
    "Arrow categories": lambda ids: pa.chunked_array([pa.array([str(i) for i in ids]).dictionary_encode()]),
    "table of another library": lambda ids: Columns(pa.table({"user_id": ids, "n": range(len(ids))})),
    "column of another library": lambda ids: Columns(pa.chunked_array([ids])),
}


@pytest.mark.parametrize("kind", TABLES)
def test_users_may_be_a_table(fitted, kind):
    pd.testing.assert_frame_equal(
        fitted.recommend(TABLES[kind]([7, 3, 21]), k=2), fitted.recommend([7, 3, 21], k=2)
    )


@pytest.mark.parametrize(
    "table", [pd.DataFrame({"a": [1], "b": [2]}), pa.table({"a": [1], "b": [2]})], ids=type
)
def test_a_table_without_a_column_of_users(fitted, table):
    with pytest.raises(InputError, match=r"^users: must have a column user_id; it has a, b$"):
        fitted.recommend(table)


def write_users(path, ids) -> None:
    if path.suffix == ".parquet":
        pd.DataFrame({"user_id": ids, "n": 1}).to_parquet(path)
    elif path.suffix == ".user":
        path.write_text("user_id:token\tname:token_seq\n" + "".join(f'{one}\t"a, b\n' for one in ids))
    else:
        mark = {".csv": ",", ".tsv": "\t", ".txt": ";"}[path.suffix]
        path.write_text(f"\ufeffn{mark}user_id\n" + "".join(f'"x\ny"{mark}{one}\n' for one in ids))


@pytest.mark.parametrize("suffix", [".parquet", ".user", ".csv", ".tsv", ".txt"])
def test_users_may_be_a_file(fitted, tmp_path, suffix):
    path = tmp_path / f"users{suffix}"
    write_users(path, [7, 3, 21])
    pd.testing.assert_frame_equal(fitted.recommend(path, k=2), fitted.recommend([7, 3, 21], k=2))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"7\n3\n", "must begin with a line of its columns' names, such as user_id; 7 is a user of the run"),
        (b"a,b\n7,3\n", "must have a column user_id; it has a, b"),
        (b"user_id,b\n7\n", "cannot be read as a table (CSV parse error"),
        (b"", "must begin with a line of its columns' names"),
        (b"user_id\n\xff\n", "is not utf-8 text"),
        (None, "there is no such file"),
    ],
)
def test_wrong_files(fitted, tmp_path, content, sentence):
    path = tmp_path / "users.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as refused:
        fitted.recommend(path)
    assert str(refused.value).startswith(f"{path}: {sentence}")
    path = tmp_path / "users.parquet"
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match=r"users\.parquet: cannot be read as a table \("):
        fitted.recommend(path)


# --- which items, and whom nobody knows -------------------------------------------------------------------


def test_only_some_items_are_recommended(fitted, tmp_path):
    path = tmp_path / "stock.csv"
    path.write_text("item,price\ni3,1\ni5,2\ni8,3\n")
    for stock in (["i3", "i5", "i8"], path, pa.table({"item_id": ["i3", "i5", "i8"]})):
        table = fitted.recommend([1, 2], exclude_seen=False, items=stock)
        assert set(table["item"]) == {"i3", "i5", "i8"}
        assert len(table) == 6
    everything = fitted.recommend([1, 2], k=99, exclude_seen=False)
    rest = fitted.recommend([1, 2], k=99, exclude_seen=False, exclude_items=["i3", "i5"])
    expected = everything[~everything["item"].isin(["i3", "i5"])].drop(columns="rank")
    assert rest.drop(columns="rank").equals(expected.reset_index(drop=True))
    assert len(fitted.recommend(1, items=["i3", "i5"], exclude_items="i5", exclude_seen=False)) == 1
    for nothing in ({"items": []}, {"items": ["i3"], "exclude_items": ["i3"]}):
        with pytest.raises(InputError, match="none of the run's items is left to recommend"):
            fitted.recommend([1], **nothing)
    for wrong in ({"items": ["i3", "x"]}, {"exclude_items": ["x"]}):
        with pytest.raises(InputError, match=r"^item x: is not among the 17 items of the run$"):
            fitted.recommend([1], **wrong)


@pytest.mark.parametrize("how", ["warn", "ignore", "popular"])
def test_unknown_ids(fitted, caplog, how):
    users = ["x", "7", "y", "3", "x"]
    known = fitted.recommend(["7", "3"], k=3)
    table = fitted.recommend(users, k=3, on_unknown=how)
    messages = [record.getMessage() for record in caplog.records]
    if how == "ignore":
        assert not messages
    else:
        assert len(messages) == 1
        assert re.match(r"2 unknown user\(s\) .*: x, y$", messages[0])
    if how != "popular":
        pd.testing.assert_frame_equal(table, known)
        assert fitted.recommend(["x"], on_unknown=how).empty
        return
    assert list(dict.fromkeys(table["user"])) == ["x", "7", "y", "3"]
    counts = np.bincount(fitted.data.history.items, minlength=18)
    for user in ("x", "y"):
        popular = table[table["user"] == user][:3]
        assert popular["score"].tolist() == sorted(counts[1:], reverse=True)[:3]
        assert [counts[fitted.data.item_tokens.index(item)] for item in popular["item"]] == list(
            popular["score"]
        )
    pd.testing.assert_frame_equal(table[table["user"].isin(["7", "3"])].reset_index(drop=True), known)
    few = fitted.recommend(["x"], on_unknown=how, items=["i3", "new"])
    assert few["item"].tolist() == ["i3"]


def test_wrong_on_unknown(fitted):
    with pytest.raises(InputError, match=r"^on_unknown='stop': must be one of raise, warn, ignore, popular"):
        fitted.recommend([1], on_unknown="stop")


# --- similar items ----------------------------------------------------------------------------------------


def test_similar_items_of_a_metric_model_are_the_nearest(run_dir):
    fitted = load(run_dir, eval_memory=1e-6)  # several blocks
    vectors = fitted.model.item_embedding.weight.detach().double().numpy()
    table = fitted.similar(["i3", "i5", "i3"], k=4)
    assert table.columns.tolist() == ["item", "rank", "similar", "squared_distance"]
    assert table["item"].tolist() == ["i3"] * 4 + ["i5"] * 4 + ["i3"] * 4
    tokens = fitted.data.item_tokens
    for item in ("i3", "i5"):
        own = tokens.index(item)
        far = {
            other: ((vectors[own] - vectors[n]) ** 2).sum()
            for n, other in enumerate(tokens)
            if n not in (0, own)
        }
        found = table[table["item"] == item][:4]
        assert found["similar"].tolist() == sorted(far, key=far.get)[:4]
        np.testing.assert_allclose(found["squared_distance"], sorted(far.values())[:4], rtol=1e-4)
    assert len(fitted.similar("i3", k=99)) == 16
    assert fitted.similar([]).empty
    with pytest.raises(InputError, match=r"^item i99: is not among the 17 items"):
        fitted.similar("i99")
    with pytest.raises(InputError, match=r"^k=0: must be an integer >= 1"):
        fitted.similar("i3", k=0)


def test_vectors_that_are_not_finite_have_no_neighbours(run_dir):
    fitted = load(run_dir)
    fitted.model.item_embedding.weight.data[5, 0] = float("nan")
    with pytest.raises(InputError, match="of its scores of items are not finite"):
        fitted.similar("i3")


# --- every model ------------------------------------------------------------------------------------------

OURS = list({model: name for name, model in reversed(MODELS.items())}.values())
WITHOUT = ["EASE", "ItemKNN", "Pop", "NeuMF"]


@pytest.mark.parametrize("name", [*OURS, "BPR", "LightGCN", *WITHOUT])
def test_every_model_recommends_what_it_ranks_highest(toy, name):
    options = {key: value for key, value in toy.items() if key != "embedding_size" or name not in WITHOUT}
    result, parts = run(name, **{**options, "epochs": 1}), prepare(name, **{**options, "epochs": 1})
    fitted = load(result.run_dir)
    table = fitted.recommend(["u3", "u1"], k=99, exclude_seen=False)
    assert len(table) == 2 * (parts.dataset.item_num - 1)
    users = [parts.dataset.token2id("user_id", user) for user in ("u3", "u1")]
    scores = scores_of(fitted.model, torch.tensor(users), parts.dataset.item_num)
    for row, user in zip(scores, ("u3", "u1"), strict=True):
        found = table[table["user"] == user]
        items = parts.dataset.token2id("item_id", found["item"].to_numpy())
        np.testing.assert_allclose(found["score"], row[items], rtol=1e-6)
        assert (found["score"].diff().dropna() <= 0).all()
    assert evaluate(result.run_dir).test == result.test
    seen = fitted.data.history
    left = fitted.recommend(["u3"], k=99)["item"]
    own = seen.items[seen.indptr[users[0]] : seen.indptr[users[0] + 1]].numpy()
    assert not set(left) & set(parts.dataset.id2token("item_id", own))
    if name in WITHOUT:
        with pytest.raises(InputError, match=rf"^model={name}: has no vectors of items"):
            fitted.similar("i3")
        return
    assert fitted.similar("i3", k=5).columns[-1] == ("squared_distance" if fitted.config.metric else "cosine")


@pytest.mark.parametrize("name", ["MF-ALS", "BPR"])
def test_similar_items_of_others_are_those_of_the_largest_cosine(toy, name):
    fitted = load(run(name, **{**toy, "epochs": 1}).run_dir)
    vectors = fitted.model.item_embedding.weight.detach().double().numpy()
    tokens = fitted.data.item_tokens
    own = tokens.index("i3")
    with np.errstate(invalid="ignore"):
        cosine = vectors @ vectors[own] / np.linalg.norm(vectors, axis=1) / np.linalg.norm(vectors[own])
    others = {other: cosine[n] for n, other in enumerate(tokens) if n not in (0, own)}
    table = fitted.similar("i3", k=99)
    assert table["similar"].tolist() == sorted(others, key=others.get, reverse=True)
    np.testing.assert_allclose(table["cosine"], sorted(others.values(), reverse=True), atol=1e-5)


def test_a_run_of_the_host_s_model_on_data_that_have_changed(toy):
    result = run("BPR", **{**toy, "epochs": 1})
    file = Path(toy["data_path"], "toy", "toy.inter")
    file.write_text(file.read_text() + "u1\tnew\t5\t3\n")
    with pytest.raises(InputError, match="is not the one that this run was started with"):
        load(result.run_dir)
    file.unlink()
    with pytest.raises(InputError, match="there is no file"):
        load(result.run_dir)


# --- exports, titles, ids -----------------------------------------------------------------------------------

STRANGE = ["007", "7", "1e3", "ä ö", "北京", "a,b", 'q"', "x:y", "-1", "true"]
TITLED = STRANGE[:-2]
READ = {
    ".parquet": pd.read_parquet,
    ".csv": lambda path: pd.read_csv(
        path, dtype={"user": str, "item": str, "title": str}, keep_default_na=False
    ),
    ".jsonl": lambda path: pd.read_json(path, lines=True, dtype={"user": str, "item": str, "title": str}),
}


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Return a recommender whose ids are texts of all kinds, with titles beside its data."""
    folder = tmp_path_factory.mktemp("strange")
    rng = np.random.default_rng(1)
    (folder / "odd").mkdir()
    pairs = [(user, item) for user in STRANGE for item in rng.choice(STRANGE, size=6, replace=False)]
    lines = "".join(f"{user}\t{item}\n" for user, item in pairs)
    (folder / "odd" / "odd.inter").write_text("user_id:token\titem_id:token\n" + lines, encoding="utf-8")
    titles = "".join(f"{item}\tDer {item} Film\t1999\n" for item in TITLED)
    header = "item_id:token\tmovie_title:token_seq\trelease_year:token\n"
    (folder / "odd" / "odd.item").write_text(header + titles, encoding="utf-8")
    options = {
        "data_path": folder,
        "checkpoint_dir": folder / "runs",
        "embedding_size": 6,
        "epochs": 1,
        "topk": [3],
    }
    return load(run("CML", "odd", **options).run_dir)


@pytest.mark.parametrize("suffix", READ)
@pytest.mark.parametrize("memory", [None, 1e-6])
def test_an_export_reads_back_as_it_was_found(strange, tmp_path, suffix, memory):
    fitted = load_with(strange, memory)
    path = tmp_path / f"recs{suffix}"
    rows = fitted.write_recommendations(path, k=9, titles=fitted.titles())
    table = READ[suffix](path)
    expected = strange.recommend(strange.users, k=9, titles=strange.titles())
    assert rows == len(table) == len(expected) > 20
    assert set(expected["user"]) == set(STRANGE)
    assert set(expected["item"]) >= {"007", "7", "北京", "a,b"}
    pd.testing.assert_frame_equal(table, expected, check_exact=False, rtol=1e-6)
    assert fitted.write_recommendations(path, []) == 0
    fitted.write_recommendations(path, ["007"], k=2, exclude_seen=False)
    assert READ[suffix](path)["user"].tolist() == ["007", "007"]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def load_with(fitted, memory: float | None):
    """Return the recommender of the same run with another `eval_memory`."""
    if memory is None:
        return fitted
    other = copy.copy(fitted)
    other.config = copy.copy(fitted.config)
    other.config.final_config_dict = {**fitted.config.final_config_dict, "eval_memory": memory}
    return other


def test_titles(strange, tmp_path):
    titles = strange.titles()
    assert titles["007"] == "Der 007 Film"
    assert list(titles) == TITLED
    table = strange.recommend(["007"], k=99, exclude_seen=False, titles=titles)
    assert table.columns.tolist() == ["user", "rank", "item", "title", "score"]
    assert table["title"].tolist() == [titles.get(item, "") for item in table["item"]]
    path = tmp_path / "films.csv"
    path.write_text('movieId,title,genres\n007,"Bond, James",x\n7,,y\n', encoding="utf-8")
    assert strange.titles(path) == {"007": "Bond, James"}
    similar = strange.similar(["7"], titles=path)
    assert similar.columns.tolist() == ["item", "rank", "similar", "title", "squared_distance"]
    assert set(similar["title"]) == {"Bond, James", ""}
    path.write_text("movieId,year\n7,1999\n")
    with pytest.raises(
        InputError, match=r"films\.csv: must have one column of titles, such as title; it has"
    ):
        strange.titles(path)
    path.write_text("key,title\n7,x\n")
    with pytest.raises(InputError, match=r"must have one column of ids, such as item_id; it has key, title"):
        strange.titles(path)


def test_a_data_set_without_titles_has_none(fitted):
    assert fitted.titles() == {}


@pytest.mark.parametrize("suffix", READ)
@pytest.mark.parametrize(
    "end", [KeyboardInterrupt, InputError("no"), OSError(errno.ENOSPC, "disk full")], ids=repr
)
def test_an_export_that_ends_early_leaves_what_was_there(run_dir, tmp_path, monkeypatch, suffix, end):
    fitted = load(run_dir, eval_memory=1e-6)
    path = tmp_path / f"recs{suffix}"
    path.write_text("of before")
    rank, done = fitted.model.full_sort_predict, []

    def failing(interaction):
        done.append(1)
        if len(done) == 3:
            assert len(list(tmp_path.iterdir())) == 2  # the temporary file is there
            raise end
        return rank(interaction)

    monkeypatch.setattr(fitted.model, "full_sort_predict", failing)
    with pytest.raises(KeyboardInterrupt if end is KeyboardInterrupt else InputError):
        fitted.write_recommendations(path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "of before"


def test_an_export_to_where_nothing_can_be_written(fitted, tmp_path):
    with pytest.raises(InputError, match=r"recs\.xlsx: must end in one of \.parquet, \.csv, \.jsonl"):
        fitted.write_recommendations(tmp_path / "recs.xlsx")
    with pytest.raises(InputError, match="must be in a folder that can be written"):
        fitted.write_recommendations(tmp_path / "none" / "recs.csv")
