"""Splits: nothing lost, nothing twice, the same from the same seed, each against plain loops; what they say."""

import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError, evaluate, load, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.loaders import SplitData, load_split
from recbole_hlr.data.splits import dealt
from recbole_hlr.errors import RunInterrupted
from recbole_hlr.options.split import describe_split
from recbole_hlr.train import checkpoint
from tests.toys import NAMES

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
        (
            {"eval_args": {"split": {"HU": [8, 1, 1]}}, "fold_in_share": 0.75},
            "80 / 10 / 10 % of users; those held out are known by 75 % of their interactions, at random",
        ),
        (
            {"eval_args": {"split": {"TS": [0.7, 0.1, 0.2]}}},
            "one cut in time for all: 70 / 10 / 20 % of all interactions",
        ),
        ({"benchmark_filename": ["train", "test"]}, "parts as given: train, test"),
    ],
)
def test_a_split_in_words(options, words):
    config = HLRConfig("CML", "small", options=options)
    assert describe_split(config.requested, config["fold"]) == words


# --- users who are held out ---------------------------------------------------------------------------------

OURS = [*NAMES.values(), "MF-ALS"]
HELD_OUT = {"split": {"HU": [6, 2, 2]}}


@settings(deadline=None, max_examples=40)
@given(
    data=rows(),
    ratios=st.sampled_from([[8, 1, 1], [2, 1, 1], [1, 0, 1], [1, 1, 0], [1, 2, 3]]),
    share=st.sampled_from([0.8, 0.5, 0.3]),
    order=st.sampled_from(["RO", "TO"]),
    seed=st.integers(0, 9),
)
def test_held_out_users_are_in_no_other_part(tmp_path_factory, data, ratios, share, order, seed):
    """Counts of every user by hand; by time a user is known by what came first."""
    folder = put(tmp_path_factory.mktemp("held"), data)
    options = {"eval_args": {"split": {"HU": ratios}, "order": order}, "fold_in_share": share, "seed": seed}
    found = trained_or_refused(parts_of, folder, **options)
    train, valid, test = found.parts
    assert [pairs_of(part) for part in parts_of(folder, **options).parts] == [*map(pairs_of, found.parts)]
    every = Counter((user, item) for user, item, _ in data)
    count = Counter(user for user, *_ in data)
    held = {part: users_of(part) | users_of(part.known) for part in (valid, test)}
    assert not held[valid] & held[test]
    assert not users_of(train) & (held[valid] | held[test])
    assert all(pairs_of(train)[pair] == n for pair, n in every.items() if pair[0] in users_of(train))
    items = {item for _, item in pairs_of(train)}
    kept = sum((pairs_of(part) for part in (train, valid, valid.known, test, test.known)), Counter())
    assert kept == Counter({p: n for p, n in every.items() if p[1] in items})
    left_out = found.dataset.account.left_out.get("untrained", 0)
    assert kept.total() + left_out == every.total()
    sizes = [len({user for user in count if user in part}) for part in (users_of(train), *held.values())]
    total = len(count)
    assert sizes[0] >= 1
    assert sizes[1] <= (ratios[1] > 0) * max(1, total * ratios[1] // sum(ratios))
    times = {(user, item): time for user, item, time in data}
    for part in (valid, test):
        for user in held[part]:
            known, wanted = ([p for p in pairs_of(one) if p[0] == user] for one in (part.known, part))
            left = round((1 - share) * (len(known) + len(wanted)), 9)
            assert len(wanted) == (max(int(left), 1) if len(known) + len(wanted) > 1 else 0)
            if order == "TO" and wanted:
                assert max(times[pair] for pair in known) <= min(times[pair] for pair in wanted)


@pytest.mark.parametrize("model", OURS)
@pytest.mark.parametrize("order", ["RO", "TO"])
def test_figures_of_held_out_users_are_those_of_what_is_recommended_for_them(toy, model, order):
    """NDCG@5 and Recall@5, by hand, of `recommend_for` from the run directory, for test and validation."""
    options = {
        **toy,
        "eval_args": {**HELD_OUT, "order": order},
        "load_col": TIMED,
        "metrics": ["Recall", "NDCG"],
        "topk": 5,
        "valid_metric": "NDCG@5",
    }
    result, experiment = run(model, **options), prepare(model, **options)
    fitted = load(result.run_dir)
    for loader, figures in ((experiment.valid_data, result.valid), (experiment.test_data, result.test)):
        lists, wanted = defaultdict(list), defaultdict(set)
        for user, item in pairs_of(loader.dataset.known):
            lists[user].append(item)
        for user, item in pairs_of(loader.dataset):
            wanted[user].add(item)
        best = fitted.recommend_for(dict(lists), k=5).groupby("user")["item"].agg(list)
        recall, ndcg = [], []
        for user, items in wanted.items():
            hits = [item in items for item in best[user]]
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(len(items), 5)))
            recall.append(sum(hits) / len(items))
            ndcg.append(sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits)) / ideal)
        assert figures == pytest.approx({"recall@5": np.mean(recall), "ndcg@5": np.mean(ndcg)}, abs=1e-6)
        assert len(wanted) > 2
    assert result.split.startswith("60 / 20 / 20 % of users; those held out are known by 80 % of their")


@pytest.mark.parametrize("model", ["CML", "HLR", "MF-ALS"])
def test_early_stopping_and_a_resumed_run_of_held_out_users(toy, model, monkeypatch):
    options = {**toy, "epochs": 5, "eval_args": HELD_OUT, "user_metrics": True}
    whole = run(model, **options)
    save, done = checkpoint.save, []

    def interrupted(file, content):
        save(file, content)
        done.append(content["epoch"])
        if len(done) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint, "save", interrupted)
    with pytest.raises(RunInterrupted) as stop:
        run(model, **options)
    monkeypatch.undo()
    again = run(resume=stop.value.run_dir)
    assert (again.test, again.valid, again.best_epoch) == (whole.test, whole.valid, whole.best_epoch)
    assert again.best_valid_score == again.valid["ndcg@10"]
    assert evaluate(whole.run_dir).test == whole.test
    users = pd.read_parquet(Path(whole.run_dir, "users.parquet"))
    assert users["history"].min() >= 1  # what they are known by, for they are in no training part
    assert users["ndcg@10"].mean() == pytest.approx(whole.test["ndcg@10"])


def test_recommending_for_held_out_users_by_name_is_told(toy, caplog):
    result = run("CML", **toy, eval_args=HELD_OUT)
    experiment, fitted = prepare("CML", **toy, eval_args=HELD_OUT), load(result.run_dir)
    held = users_of(experiment.test_data.dataset.known)
    trained = users_of(experiment.train_data.dataset)
    fitted.recommend(sorted(trained))
    assert "nothing was learned" not in caplog.text
    fitted.recommend(sorted(held | trained))
    others = users_of(experiment.valid_data.dataset.known)
    assert f"{len(held)} user(s) have no training interaction" in caplog.text
    fitted.recommend(sorted(held | others))
    assert f"{len(held | others)} user(s) have no training interaction" in caplog.text


def test_validating_held_out_users_changes_nothing_of_the_training(toy):
    options = {**toy, "eval_args": HELD_OUT}
    weights = []
    for more in ({}, {"eval_step": 0}):
        experiment = prepare("HLR", **options, **more)
        experiment.trainer.fit(experiment.train_data, experiment.valid_data, verbose=False, saved=False)
        weights.append(float(experiment.trainer.epoch_records[-1]["train_loss"]))
    assert weights[0] == weights[1]


def test_sampled_candidates_of_held_out_users(toy):
    few = {**toy, "topk": 2, "valid_metric": "NDCG@2"}
    sampled = {**few, "eval_args": {**HELD_OUT, "mode": "uni3"}}
    assert run("CML", **sampled).test["recall@2"] > run("CML", **few, eval_args=HELD_OUT).test["recall@2"]
    experiment = prepare("CML", **sampled)
    known = experiment.test_data.known
    popular = prepare("CML", **{**few, "eval_args": {**HELD_OUT, "mode": "pop99"}}).test_data
    for user in experiment.test_data.uid_list.tolist():
        drawn = experiment.test_data.candidates.flat(torch.tensor([user]))[0]
        own = known.flat(torch.tensor([user]))[0]
        assert not torch.isin(drawn, own).any()
        wanted = popular.dataset.inter_feat["item_id"][popular.dataset.inter_feat["user_id"] == user]
        trained = set(experiment.train_data.dataset.inter_feat["item_id"].tolist())
        others = popular.candidates.flat(torch.tensor([user]))[0].tolist()
        assert set(others) == trained - {*own.tolist(), *wanted.tolist()}  # popular by those trained on


def test_held_out_users_learned_from_at_last(toy):
    """With both parts, validation users are trained on, with all that they have."""
    split = {**toy, "eval_args": HELD_OUT}
    first, both = prepare("CML", **split), prepare("CML", **split, train_on="training_and_validation")
    valid = first.valid_data.dataset
    expected = pairs_of(first.train_data.dataset) + pairs_of(valid) + pairs_of(valid.known)
    assert pairs_of(both.train_data.dataset) == expected
    assert both.valid_data is None
    assert pairs_of(both.test_data.dataset) == pairs_of(first.test_data.dataset)


@pytest.mark.parametrize(
    ("model", "options", "pattern"),
    [
        ("BPR", {"eval_args": HELD_OUT}, r"eval_args=.*must be without HU: BPR cannot take in users"),
        (
            "CML",
            {"eval_args": HELD_OUT, "valid_metric": "loss"},
            r"valid_metric=loss.*must be a metric of rank",
        ),
        (
            "CML",
            {"eval_args": HELD_OUT, "fold_in_share": 1.0},
            r"fold_in_share=1.0.*must be a number in \(0, 1\)",
        ),
        (
            "CML",
            {"fold_in_share": 0.5},
            r"fold_in_share=0.5.*must be left out unless eval_args hold users out",
        ),
        ("CML", {"eval_args": {"split": {"HU": [0, 1, 1]}}}, r"eval_args=.*must be a mapping"),
        ("CML", {"eval_args": HELD_OUT, "folds": 2, "fold": 1}, r"folds=2.*must be null unless eval_args"),
        (
            "CML",
            {"eval_args": HELD_OUT, "benchmark_filename": ["train", "test"]},
            r"eval_args=\{split: .*must be left out with benchmark_filename",
        ),
        (
            "CML",
            {"eval_args": {"split": {"TS": [8, 1, 1]}, "order": "RO"}, "load_col": TIMED},
            r"eval_args=.*must be of order TO",
        ),
        ("CML", {"eval_args": {"split": {"TS": [8, 1, 1]}}}, r"needs the column TIME_FIELD=timestamp"),
    ],
)
def test_splits_that_cannot_be(toy, model, options, pattern):
    with pytest.raises(InputError, match=pattern):
        prepare(model, **toy, **options)


# --- one cut in time ----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(data=rows(), ratios=st.sampled_from([[8, 1, 1], [2, 1, 1], [1, 0, 1], [1, 1, 0], [1, 2, 3]]))
def test_no_training_interaction_is_later_than_another_s_test(tmp_path_factory, data, ratios):
    folder = put(tmp_path_factory.mktemp("time"), data)
    found = trained_or_refused(parts_of, folder, eval_args={"split": {"TS": ratios}})
    if found is None:
        return
    every = Counter((user, item) for user, item, _ in data)
    train, valid, test = (pairs_of(part) for part in found.parts)
    times = {(user, item): time for user, item, time in data}
    for before, after in ((train, valid), (train, test), (valid, test)):
        assert all(times[a] < times[b] for a in before for b in after)
    users, items = ({pair[place] for pair in train} for place in (0, 1))
    assert all(user in users and item in items for user, item in valid + test)
    last = max(times[pair] for pair in train)
    later = Counter({pair: n for pair, n in every.items() if times[pair] > last})
    assert train == every - later
    untrained = Counter({p: n for p, n in later.items() if p[0] not in users or p[1] not in items})
    assert valid + test + untrained == later
    assert found.dataset.account.left_out == ({"untrained": untrained.total()} if untrained else {})
    assert train.total() <= max(len(data) - sum(int(r * len(data) / sum(ratios)) for r in ratios[1:]), 0)
    assert parts_of(folder, eval_args={"split": {"TS": ratios}}, seed=7).parts[0].inter_num == train.total()


def test_a_run_of_a_cut_in_time_says_so(toy, capsys):
    given = {**toy, "load_col": TIMED, "eval_args": {"split": {"TS": [8, 1, 1]}}}
    result = run("BPR", **given)
    assert result.split == "one cut in time for all: 80 / 10 / 10 % of all interactions"
    assert evaluate(result.run_dir).test == result.test
    assert run(resume=result.run_dir).test == result.test


# --- what RecBole splits ------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    data=rows(),
    mode=st.sampled_from(["valid_and_test", "valid_only", "test_only"]),
    order=st.sampled_from(["RO", "TO"]),
)
def test_leave_one_out(tmp_path_factory, data, mode, order):
    folder = put(tmp_path_factory.mktemp("one"), data)
    found = parts_of(folder, eval_args={"split": {"LS": mode}, "order": order})
    train, valid, test = map(pairs_of, found.parts)
    assert train + valid + test == Counter((user, item) for user, item, _ in data)
    times = {(user, item): time for user, item, time in data}
    for user, count in Counter(user for user, *_ in data).items():
        own = [[times[pair] for pair in part if pair[0] == user] for part in (train, valid, test)]
        tested = int(mode != "valid_only" and count > 1)
        validated = int(mode != "test_only" and count - tested > 1)
        assert [len(part) for part in own] == [count - tested - validated, validated, tested]
        if order == "TO":
            assert max(own[0]) <= min([*own[1], *own[2], math.inf])
            assert max([*own[1], -math.inf]) <= min([*own[2], math.inf])


@pytest.mark.parametrize("mode", ["valid_and_test", "valid_only", "test_only"])
def test_runs_that_leave_one_out(toy, mode):
    result = run("CML", **toy, eval_args={"split": {"LS": mode}, "order": "TO"}, load_col=TIMED)
    assert bool(result.valid) == (mode != "test_only")
    assert bool(result.test) == (mode != "valid_only")
    assert (result.best_valid_score is None) == (mode == "test_only")
    assert result.split.endswith(", the last")


def test_users_and_items_of_whom_nothing_is_learned_are_told(tmp_path, caplog):
    """Over all interactions a user's only one may be tested on: they stay, and their number is said."""
    folder = put(tmp_path, [(f"u{n}", f"i{n % 7}", n) for n in range(40)])
    with caplog.at_level("INFO"):
        data = parts_of(folder, eval_args={"split": {"RS": [1, 0, 1]}, "group_by": "none"})
    train, _, test = map(pairs_of, data.parts)
    items = {item for _, item in test} - {item for _, item in train}
    assert test.total() == 20
    assert f"20 users and {len(items)} items that are validated or tested on have no training" in caplog.text
    caplog.clear()
    with caplog.at_level("INFO"):
        parts_of(folder, eval_args={"split": {"HU": [8, 1, 1]}})
    assert "no training interaction: nothing" not in caplog.text
