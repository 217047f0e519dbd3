"""Scores that are no numbers are never ranked, and weights that are none never kept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from recbole_hlr import InputError, evaluate, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.train import checkpoint

WRONG = [float("nan"), float("inf"), -float("inf")]
MODES = ["full", "uni3", "pop3"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", WRONG)
@pytest.mark.parametrize("model", ["CML", "BPR"])
def test_a_single_score_that_is_not_finite_is_an_error(toy, monkeypatch, model, value, mode):
    parts = prepare(model, **toy, eval_args={"mode": mode})
    user = int(parts.test_data.uid_list[-1])
    test = parts.test_data._dataset.inter_feat
    item = int(test["item_id"][test["user_id"] == user][0])
    predict, rank = parts.model.predict, parts.model.full_sort_predict

    def wrong_pair(pairs):
        hit = (pairs["user_id"] == user) & (pairs["item_id"] == item)
        return predict(pairs).masked_fill(hit, value)

    def wrong_list(users):
        scores = rank(users).view(len(users), -1)
        scores[users["user_id"] == user, item] = value
        return scores

    monkeypatch.setattr(parts.model, "predict", wrong_pair)
    monkeypatch.setattr(parts.model, "full_sort_predict", wrong_list)
    with pytest.raises(InputError, match=rf"model={model}: 1 of its scores are not finite, such as {value}"):
        parts.trainer.evaluate(parts.test_data)


@pytest.mark.parametrize("value", WRONG)
def test_what_is_not_ranked_may_be_anything(toy, monkeypatch, value):
    """Padding, and what a user has seen: some models of the host divide by zero there."""
    parts = prepare("CML", **toy)
    expected = parts.trainer.evaluate(parts.test_data)
    rank, history = parts.model.full_sort_predict, parts.test_data.history

    def with_gaps(users):
        scores = rank(users)
        scores[:, 0] = value
        seen = history.draw(users["user_id"], None)
        rows, places = seen.mask.nonzero(as_tuple=True)
        scores[rows, seen.items[rows, places]] = value
        return scores

    monkeypatch.setattr(parts.model, "full_sort_predict", with_gaps)
    assert parts.trainer.evaluate(parts.test_data) == expected


@pytest.mark.parametrize("mode", MODES)
def test_a_model_without_an_answer_is_named(toy, mode, capsys):
    words = [f"--{key}={value}" for key, value in toy.items() if key != "embedding_size"]
    words += ["--model=ADMMSLIM", "--rho=1e-44", f"--eval_args={{mode: {mode}}}"]
    assert main(["train", *words]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "model=ADMMSLIM" in error
    assert "after epoch 0 are not finite, such as nan" in error


def test_ratings_are_checked_too(toy, monkeypatch):
    rated = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "uni3"}}
    parts = prepare("BPR", **toy, **rated)
    monkeypatch.setattr(parts.model, "predict", lambda pairs: torch.full((len(pairs),), torch.nan))
    with pytest.raises(InputError, match=r"model=BPR: .* not finite"):
        parts.trainer.evaluate(parts.test_data)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"valid_metric": "loss"},
        {"eval_step": 0},
        {"lazy_adam": "on"},
        {"eval_args": {"split": {"RS": [8, 0, 2]}, "group_by": "none"}},
    ],
    ids=["metric", "loss", "nothing validated", "lazy", "no validation part"],
)
def test_weights_that_are_not_finite_are_not_kept(toy, more):
    one_batch = {**toy, "epochs": 1, "train_batch_size": 1000}
    parts = prepare("CML", **{**one_batch, **more})

    def poison(*_):
        with torch.no_grad():
            parts.model.item_embedding.weight[3, 1] = torch.nan

    parts.trainer.optimizer.register_step_post_hook(poison)
    with pytest.raises(InputError, match=r"epoch 0: not all numbers of .*item_embedding\.weight are finite"):
        parts.trainer.fit(parts.train_data, parts.valid_data)
    assert parts.trainer.best_state is None


@pytest.mark.parametrize("metric", ["NDCG@10", "loss"])
def test_a_learning_rate_beyond_all_numbers_leaves_no_result(toy, metric):
    with pytest.raises(InputError, match="learning_rate"):
        run("CML", **toy, geometry="ball", max_norm=None, learning_rate=1e37, valid_metric=metric)
    assert not list(Path(toy["checkpoint_dir"]).glob("*/result.json"))


def test_a_saved_run_whose_weights_are_not_finite(toy):
    result = run("CML", **toy)
    file = Path(result.run_dir, "model.pth")
    content = {key: part for key, part in checkpoint.load(file).items() if key not in ("format", "digest")}
    content["best"]["state_dict"]["user_embedding.weight"][:] = torch.nan
    checkpoint.save(file, content)
    with pytest.raises(InputError, match=rf"model=CML: .* after epoch {result.best_epoch} are not finite"):
        evaluate(result.run_dir)
