"""Splits: nothing lost, nothing twice, the same from the same seed, each against plain loops; what they say."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.loaders import SplitData, load_split
from recbole_hlr.data.splits import dealt
from recbole_hlr.options.split import describe_split

HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"
TIMED = {"inter": ["user_id", "item_id", "timestamp"]}
Pairs = Counter  # of (user, item) by the data set's own ids


def put(folder: Path, rows: list[tuple[str, str, int]]) -> Path:
    """Write the data set `small` of users, items and times; return the folder to give as `data_path`."""
    (folder / "small").mkdir(exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in rows]
    (folder / "small" / "small.inter").write_text(HEADER + "\n".join(lines) + "\n")
    return folder


def parts_of(folder: Path, model: str = "CML", **options) -> SplitData:
    options = {"topk": 1, "valid_metric": "NDCG@1", "load_col": TIMED, **options}
    return load_split(HLRConfig(model, options={"dataset": "small", "data_path": str(folder), **options}))


def pairs_of(part) -> Pairs:
    """The interactions of a part by the data set's own ids."""
    fields = (part.uid_field, part.iid_field)
    return Counter(zip(*(part.id2token(f, part.inter_feat[f].numpy()) for f in fields), strict=True))


def users_of(part) -> set[str]:
    return {user for user, _ in pairs_of(part)}


@st.composite
def rows(draw) -> list[tuple[str, str, int]]:
    """Interactions of 2 to 9 users with 1 to 9 of 12 items each, at times of which some are the same."""
    lengths = draw(st.lists(st.integers(1, 9), min_size=2, max_size=9))
    chance = np.random.default_rng(draw(st.integers(0, 2**16)))
    found = [
        (f"u{user}", f"i{item}", int(chance.integers(0, 30)))
        for user, length in enumerate(lengths)
        for item in chance.choice(12, length, replace=False)
    ]
    return [found[place] for place in chance.permutation(len(found))]


def trained_or_refused(call, *arguments, **options):
    """What a call returns, None where no training part is left, which is said."""
    try:
        return call(*arguments, **options)
    except InputError as error:
        if "the training part is empty" not in str(error):
            raise
        return None


# --- folds -------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), max_size=40), st.integers(2, 7))
def test_what_is_dealt_out_by_a_loop(owners, hands):
    turn, by_loop = 0, [0] * len(owners)
    for owner in sorted(set(owners)):
        for place, of in enumerate(owners):
            if of == owner:
                by_loop[place], turn = turn % hands, turn + 1
    assert dealt(torch.tensor(owners, dtype=torch.int64), hands).tolist() == by_loop


@settings(deadline=None, max_examples=25)
@given(data=rows(), folds=st.integers(2, 6), seed=st.integers(0, 9), group=st.sampled_from(["user", "none"]))
def test_folds_have_every_interaction_once(tmp_path_factory, data, folds, seed, group):
    folder = put(tmp_path_factory.mktemp("folds"), data)
    options = {"seed": seed, "folds": folds, "eval_args": {"split": {"RS": [3, 1, 9]}, "group_by": group}}
    every, tested = Counter((user, item) for user, item, _ in data), []
    for fold in range(1, folds + 1):
        split = trained_or_refused(parts_of, folder, fold=fold, **options)
        if split is None:
            return
        train, valid, test = map(pairs_of, split.parts)
        assert train + valid + test == every
        assert [pairs_of(part) for part in parts_of(folder, fold=fold, **options).parts] == [
            train,
            valid,
            test,
        ]
        tested.append(test)
    assert sum(tested, Counter()) == every
    sizes = [
        [sum(1 for user, _ in test if user == name or group == "none") for test in tested]
        for name in {user for user, _, _ in data}
    ]
    assert all(max(of_user) - min(of_user) <= 1 for of_user in sizes)


def test_folds_of_another_seed_are_others(tmp_path):
    folder = put(tmp_path, [(f"u{u}", f"i{i}", u + i) for u in range(6) for i in range(10)])
    first, again, other = (
        [pairs_of(part) for part in parts_of(folder, folds=5, fold=2, seed=seed).parts] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert [part.total() for part in first] == [42, 6, 12]  # of each user's eight that are left, one


def test_a_fold_is_trained_resumed_and_told(toy, capsys):
    result = run("CML", **toy, folds=3, fold=2)
    assert result.split == "fold 2 of 3 of each user's interactions, at random; the rest 88.9 / 11.1 %"
    assert run(resume=result.run_dir).test == result.test
    assert run("CML", **toy, folds=3, fold=1).test != result.test
    arguments = [f"--{key}={value}" for key, value in toy.items()]
    assert main(["train", "--model=CML", *arguments, "--folds=3", "--fold=2"]) == 0
    assert f"protocol       standard: {result.split}\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"folds": 5}, r"fold=None.*must be an integer from 1 to 5, with folds=5"),
        ({"folds": 5, "fold": 6}, r"fold=6 \(keyword argument\): must be an integer from 1 to 5"),
        ({"fold": 2}, r"fold=2 \(keyword argument\): must be null unless folds is given"),
        ({"folds": 1, "fold": 1}, r"folds=1 \(keyword argument\): must be an integer >= 2"),
        ({"folds": 3, "fold": 1, "eval_args": {"order": "TO"}}, r"folds=3.*must be null unless eval_args"),
        (
            {"folds": 3, "fold": 1, "eval_args": {"split": {"LS": "test_only"}}},
            r"folds=3.*must be null unless eval_args",
        ),
        (
            {"folds": 3, "fold": 1, "benchmark_filename": ["train", "test"]},
            r"folds=3.*must be null with benchmark_filename",
        ),
    ],
)
def test_folds_that_cannot_be(toy, options, pattern):
    with pytest.raises(InputError, match=pattern):
        prepare("CML", **toy, **options)


# --- in words ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "80 / 10 / 10 % of each user's interactions, at random"),
        (
            {"eval_args": {"split": {"RS": [2, 1, 1]}, "order": "TO", "group_by": "none"}, "load_col": TIMED},
            "50 / 25 / 25 % of all interactions, by time",
        ),
        (
            {"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO"}, "load_col": TIMED},
            "one interaction of each user to validate and one to test, the last",
        ),
        (
            {"eval_args": {"split": {"LS": "test_only"}}},
            "one interaction of each user to test, at random",
        ),
        ({"protocol": "paper"}, "72 / 8 / 20 % of all interactions, at random"),
        (
            {"train_on": "training_and_validation", "epochs": 1},
            "80 / 10 / 10 % of each user's interactions, at random; validation learned from, too",
        ),
        ({"benchmark_filename": ["train", "test"]}, "parts as given: train, test"),
    ],
)
def test_a_split_in_words(options, words):
    config = HLRConfig("CML", "small", options=options)
    assert describe_split(config.requested, config["fold"]) == words
