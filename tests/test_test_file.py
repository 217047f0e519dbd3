"""`evaluate RUN_DIR --test-file FILE`: a run tested on interactions that are not of its own test part."""

import math
import re
from collections import defaultdict
from pathlib import Path

import pandas as pd
import pytest

from recbole_hlr import InputError, evaluate, load, prepare, run
from recbole_hlr.cli import main

RATED = {"inter": ["user_id", "item_id", "rating"]}


def plain(toy: dict, model: str) -> dict:
    """The options of `toy` that every model has."""
    return {k: v for k, v in toy.items() if k != "embedding_size" or model not in ("EASE", "MultiVAE")}


def tokens_of(loader) -> pd.DataFrame:
    """The interactions of a loader's part as the data set's own ids."""
    part = loader.dataset
    return pd.DataFrame({f: part.id2token(f, part.inter_feat[f].numpy()) for f in ("user_id", "item_id")})


def written(path: Path, table: pd.DataFrame) -> Path:
    """A table as an atomic file, as a text or as parquet, by the name of `path`."""
    if path.suffix == ".parquet":
        table.to_parquet(path, index=False)
    elif path.suffix == ".csv":
        table.to_csv(path, index=False)
    else:
        table.rename(columns=lambda c: f"{c}:{'float' if c == 'rating' else 'token'}").to_csv(
            path, sep="\t", index=False
        )
    return path


@pytest.mark.parametrize("model", ["CML", "HLR", "MF-ALS", "BPR", "EASE", "MultiVAE"])
@pytest.mark.parametrize("mode", ["full", "uni5"])
def test_the_own_test_part_in_a_file(tmp_path, toy, model, mode):
    """Without a validation part, a run's own test part gives its own figures, to the last bit."""
    options = {**plain(toy, model), "eval_args": {"split": {"RS": [8, 0, 2]}, "mode": mode}}
    result = run(model, **options)
    table = tokens_of(prepare(model, **options).test_data)
    mixed = table.sample(frac=1, random_state=3)
    for name in ("new.inter", "new.csv", "new.parquet", None):
        file = written(tmp_path / name, mixed) if name else mixed
        again = evaluate(result.run_dir, test_file=file)
        assert again.test == result.test
        assert again.interactions["test_file"] == {"read": len(table), "left_out": {}, "kept": len(table)}


@pytest.mark.parametrize("model", ["HLR", "BPR"])
def test_figures_by_hand(tmp_path, toy, model):
    """Recall@5 and NDCG@5 from what the run recommends, for users with other interactions."""
    result = (
        run(model, **toy, protocol="paper", valid_metric="NDCG@10") if model == "HLR" else run(model, **toy)
    )
    fitted = load(result.run_dir)
    known = {user: set(fitted.recommend([user], k=99)["item"]) for user in fitted.users[:9]}
    rows = [(user, item) for user, items in known.items() for item in sorted(items)[::3]]
    rows = [row for row in rows if fitted.data.history.lengths[fitted.data.user_tokens.index(row[0])]]
    file = written(tmp_path / "new.csv", pd.DataFrame(rows, columns=["user_id", "item_id"]))
    found = evaluate(result.run_dir, test_file=str(file), metrics=["Recall", "NDCG"], topk=5)
    wanted = defaultdict(set)
    for user, item in rows:
        wanted[user].add(item)
    recall, ndcg = [], []
    for user, items in wanted.items():
        hits = [item in items for item in fitted.recommend([user], k=5)["item"]]
        ideal = sum(1 / math.log2(rank + 2) for rank in range(min(len(items), 5)))
        recall.append(sum(hits) / len(items))
        ndcg.append(sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits)) / ideal)
    assert found.test == pytest.approx(
        {"recall@5": sum(recall) / len(recall), "ndcg@5": sum(ndcg) / len(ndcg)}, abs=1e-6
    )
    assert 0 < found.test["recall@5"] < 1


def test_what_is_left_out_is_counted_and_said(tmp_path, toy, caplog):
    """Users and items that the run does not have, what it was trained on, and what stands there twice."""
    options = {
        **toy,
        "eval_args": {"split": {"RS": [8, 0, 2]}},
        "val_interval": {"rating": "[2,inf)"},
        "load_col": RATED,
    }
    result = run("CML", **options)
    experiment = prepare("CML", **options)
    test = tokens_of(experiment.test_data).assign(rating=5.0)
    seen = tokens_of(experiment.train_data).head(3).assign(rating=5.0)
    more = pd.DataFrame(
        [("zoe", "i1", 5.0), ("zoe", "nix", 5.0), ("u1", "nix", 5.0), ("u1", "i1", 1.0)], columns=test.columns
    )
    file = written(tmp_path / "new.inter", pd.concat([test, seen, more, test.head(2)]))
    with caplog.at_level("INFO"):
        found = evaluate(result.run_dir, test_file=file)
    assert found.test == result.test
    assert found.interactions["test_file"] == {
        "read": len(test) + 9,
        "left_out": {"val_interval": 1, "unknown_user": 2, "unknown_item": 1, "known": 3, "repeated": 2},
        "kept": len(test),
    }
    assert "1 unknown user(s) are left out: zoe" in caplog.text
    assert "1 unknown item(s) are left out: nix" in caplog.text
    assert f"{file}: {len(test) + 9} interactions read, {len(test)} kept" in caplog.text


def test_a_user_of_whom_nothing_was_learned_is_left_out(tmp_path, toy):
    """Under the paper's split a user may have no training interaction: the vector is as it was drawn."""
    options = {**toy, "eval_args": {"split": {"RS": [2, 0, 8]}, "group_by": "none"}}
    result = run("CML", **options)
    experiment = prepare("CML", **options)
    table, trained = tokens_of(experiment.test_data), set(tokens_of(experiment.train_data)["user_id"])
    rest = table[~table["user_id"].isin(trained)]
    assert len(rest) > 0
    found = evaluate(result.run_dir, test_file=written(tmp_path / "new.csv", table))
    assert found.interactions["test_file"]["left_out"] == {"untrained": len(rest)}


def test_the_command_and_wrong_input(tmp_path, toy, capsys):
    result = run("CML", **toy)
    good = written(tmp_path / "good.csv", tokens_of(prepare("CML", **toy).test_data))
    assert main(["evaluate", result.run_dir, "--test-file", str(good), "--topk=3"]) == 0
    assert re.search(r"ndcg@3 +0\.\d{4} +0\.\d{4}", capsys.readouterr().out)
    trained = written(tmp_path / "seen.csv", tokens_of(prepare("CML", **toy).train_data))
    one = written(tmp_path / "one.csv", pd.DataFrame({"user_id": ["u1"]}))
    for file, pattern in (
        (tmp_path / "none.csv", "none.csv: there is no such file"),
        (trained, r"test_file=.*seen\.csv: has no interaction to test by .*that the run has already"),
        (one, r"one\.csv: must have .*item_id"),
    ):
        assert main(["evaluate", result.run_dir, f"--test_file={file}"]) == 2
        assert re.search(pattern, capsys.readouterr().err.splitlines()[-1]), file
    with pytest.raises(InputError, match="cohorts=99"):
        evaluate(result.run_dir, test_file=good, cohorts=99)
    assert main(["train", "--model=CML", "--test_file=x"]) == 2


def test_ratings_are_not_ranked(tmp_path, toy):
    rated = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"}}
    result = run("BPR", **toy, **rated, threshold={"rating": 3}, load_col=RATED)
    file = written(tmp_path / "new.csv", pd.DataFrame({"user_id": ["u1"], "item_id": ["i1"]}))
    with pytest.raises(InputError, match=r"test_file=.*cannot be given with mode: labeled"):
        evaluate(result.run_dir, test_file=file)
