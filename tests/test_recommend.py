"""A fitted recommender: whom it is asked about, in which blocks it ranks, what may change when it is loaded."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError, load, run
from recbole_hlr.options.table import LOAD_KEYS
from recbole_hlr.recommend.ranking import ROW_PAIRS

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
        load(run_dir, margin=9)
    fitted = load(
        run_dir, eval_memory=4, use_gpu=False, gpu_id=1, compile="off", embedding_size=6, model="HLR"
    )
    assert fitted.model.memory_budget == 4 * 2**30
    with pytest.raises(InputError, match=r"^eval_memory=0 .*: must be a number > 0"):
        load(run_dir, eval_memory=0)
