"""Values per user, cohorts of users, and the evaluation of a saved run."""

import json
import os
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from recbole.evaluator import DataStruct, Evaluator

from recbole_hlr import InputError, evaluate, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.metrics import evaluator
from recbole_hlr.metrics.evaluator import cohort_rows
from recbole_hlr.options.command_line import take_word

MEANS = ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP", "PaperMRR", "PaperMAP", "PaperHitRate"]
OTHERS = ["PaperNDCG", "MedianPopularity", "CatalogueCoverage", "AveragePopularity", "GiniIndex", "GAUC"]


# --- values per user --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["HLR", "BPR"])
@pytest.mark.parametrize("mode", ["full", "uni9"])
def test_values_per_user_have_the_metrics_as_their_means(toy, model, mode):
    options = {**toy, "metrics": MEANS + OTHERS, "topk": [3, 5], "valid_metric": "NDCG@5"}
    experiment = prepare(model, **options, eval_args={"mode": mode})
    trainer = experiment.trainer
    trainer.fit(experiment.train_data, experiment.valid_data)
    state = torch.get_rng_state(), np.random.get_state()
    metrics = trainer.evaluate(experiment.test_data)
    torch.set_rng_state(state[0])
    np.random.set_state(state[1])
    table = trainer.per_user(experiment.test_data)
    assert list(table.columns) == ["user", *(f"{name.lower()}@{k}" for name in MEANS for k in (3, 5))]
    assert (table.dtypes[1:] == np.float64).all()
    for name in table.columns[1:]:
        assert table[name].mean() == pytest.approx(metrics[name], abs=1e-14), name
        assert table[name].nunique() > 1


def best_items(experiment, user: str, k: int) -> list[int]:
    """The best `k` items of a user in the test part, from the scores of that user alone."""
    test = experiment.test_data._dataset
    number = test.token2id("user_id", user)
    scores = experiment.model.full_sort_predict({"user_id": torch.tensor([number])}).view(-1)
    for part in (experiment.train_data._dataset, experiment.valid_data._dataset):
        scores[part.inter_feat["item_id"][part.inter_feat["user_id"] == number]] = -torch.inf
    scores[0] = -torch.inf
    return scores.topk(k).indices.tolist()


def test_values_are_those_of_the_user_beside_them(toy):
    """Recall of every user, counted by hand."""
    experiment = prepare("CML", **toy, topk=[4], valid_metric="MAP@4", eval_batch_size=40)
    assert len(experiment.test_data) > 5
    table = experiment.trainer.per_user(experiment.test_data).set_index("user")
    test = experiment.test_data.dataset
    assert len(table) == len(set(test.inter_feat["user_id"].tolist())) < test.user_num
    for user, row in table.iterrows():
        number = test.token2id("user_id", user)
        wanted = set(test.inter_feat["item_id"][test.inter_feat["user_id"] == number].tolist())
        assert row["recall@4"] == len(wanted.intersection(best_items(experiment, user, 4))) / len(wanted), (
            user
        )


@pytest.mark.parametrize("model", ["HLR", "BPR"])
def test_metrics_of_items_against_plain_loops(toy, model):
    """Through `prepare` and `evaluate`, before any training; RecBole's own work on numpy 2."""
    items = ["ItemCoverage", "AveragePopularity", "CatalogueCoverage", "MedianPopularity"]
    options = {**toy, "metrics": [*items, "Recall"], "topk": [2, 3], "valid_metric": "Recall@3"}
    experiment = prepare(model, **options, eval_args={"split": {"RS": [6, 2, 2]}})
    found = experiment.trainer.evaluate(experiment.test_data)
    users = experiment.trainer.per_user(experiment.test_data)["user"]
    trained = experiment.train_data._dataset.inter_feat["item_id"].tolist()
    for k in (2, 3):
        lists = [best_items(experiment, user, k) for user in users]
        distinct = {item for best in lists for item in best}
        means = [statistics.fmean(trained.count(item) for item in best) for best in lists]
        median = statistics.median(trained.count(item) for item in distinct)
        assert 2 < len(distinct) < 17
        assert found[f"itemcoverage@{k}"] == pytest.approx(len(distinct) / 18)
        assert found[f"cataloguecoverage@{k}"] == pytest.approx(len(distinct) / 17)
        assert found[f"averagepopularity@{k}"] == pytest.approx(statistics.fmean(means))
        assert found[f"medianpopularity@{k}"] == median


def test_an_evaluation_keeps_its_own_users_whatever_is_evaluated_after_it(toy):
    experiment = prepare("CML", **toy, metrics=["Recall", "CatalogueCoverage"], valid_metric="Recall@10")
    trainer, parts = experiment.trainer, (experiment.test_data, experiment.valid_data)
    alone = [trainer.per_user(part) for part in parts]
    spread = [trainer.evaluation(part).cohorts(3, seed=1) for part in parts]
    assert not alone[0].equals(alone[1])
    assert spread[0] != spread[1]
    found = [trainer.evaluation(part) for part in parts]
    for i, one in enumerate(found):
        assert one.per_user().equals(alone[i])
        assert one.cohorts(3, seed=1) == spread[i]
        assert one.metrics == trainer.evaluate(parts[i], load_best_model=False)
    assert trainer.evaluation(None) is None


def test_nothing_per_user(toy):
    experiment = prepare("CML", **toy, metrics=OTHERS, valid_metric="GAUC")
    with pytest.raises(InputError, match=r"metrics=paperndcg.* none of them is a mean over users"):
        experiment.trainer.per_user(experiment.test_data)
    with pytest.raises(InputError, match="no interactions"):
        experiment.trainer.per_user(None)


# --- cohorts ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("users", "count"), [(23, 5), (23, 1), (5, 5), (24, 4)])
def test_every_user_is_in_one_cohort_of_equal_size(users, count):
    rows = cohort_rows(users, count, seed=3)
    assert len(rows) == count
    assert sorted(torch.cat(rows).tolist()) == list(range(users))
    sizes = [len(cohort) for cohort in rows]
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


def test_cohorts_are_drawn_by_the_seed_and_have_an_upper_size(monkeypatch):
    one, again, other = (torch.cat(cohort_rows(100, 5, seed)).tolist() for seed in (1, 1, 2))
    assert one == again != other
    assert one != sorted(one)
    monkeypatch.setattr(evaluator, "COHORT_USERS", 7)
    rows = cohort_rows(100, 5, seed=1)
    assert [len(cohort) for cohort in rows] == [7] * 5
    assert torch.cat(rows).tolist() == one[:35]


def test_cohorts_are_evaluated_alone(toy):
    """Every metric, those of items included, is that of RecBole for the cohort's users alone."""
    options = {**toy, "metrics": MEANS + OTHERS, "topk": [3, 5], "valid_metric": "MAP@5", "seed": 4}
    result = run("CML", **options, cohorts=3)
    plain = run("CML", **options)
    assert plain.cohorts == {}
    assert plain.test == result.test
    assert set(result.cohorts) == set(result.test)
    experiment = prepare("CML", **options)
    trainer = experiment.trainer
    trainer.fit(experiment.train_data, experiment.valid_data)
    last = trainer.evaluation(experiment.test_data).collected
    values = []
    for rows in cohort_rows(len(experiment.test_data.uid_list), 3, seed=4):
        part = DataStruct()
        for name in ("rec.topk", "rec.items", "rec.meanrank"):
            part.set(name, torch.stack([last.get(name)[row] for row in rows.tolist()]))
        part.set("data.num_items", experiment.dataset.item_num)
        part.set("data.count_items", experiment.train_data.dataset.item_counter)
        values.append(Evaluator.evaluate(trainer.evaluator, part))
    for name, spread in result.cohorts.items():
        of_cohorts = np.array([value[name] for value in values], dtype=np.float64)
        assert spread["mean"] == pytest.approx(of_cohorts.mean(), abs=1e-13)
        deviation = np.sqrt(((of_cohorts - of_cohorts.mean()) ** 2).sum() / 3)
        assert spread["std"] == pytest.approx(deviation, abs=1e-13)
        assert spread["std"] > 0 or len(set(of_cohorts)) == 1
    stored = json.loads(Path(result.run_dir, "result.json").read_text())
    assert stored["cohorts"] == result.cohorts


def test_cohorts_in_the_table(arguments, capsys):
    assert main(["train", "--model=CML", *arguments, "--cohorts=2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"CML +validation +test \(cohorts\)", out)
    run_dir = out.split("run directory")[1].split()[0]
    spread = json.loads(Path(run_dir, "result.json").read_text())["cohorts"]
    ndcg = spread["ndcg@10"]
    assert re.search(rf"ndcg@10 +0\.\d{{4}} +{ndcg['mean']:.4f} ± {ndcg['std']:.4f}\n", out)


def test_more_cohorts_than_users(toy):
    with pytest.raises(InputError, match=r"cohorts=24 \(keyword argument\): must be at most 23"):
        run("CML", **toy, cohorts=24)
    assert not Path(toy["checkpoint_dir"]).exists()


def test_cohorts_without_a_test_part(toy):
    assert run("CML", **toy, cohorts=2, eval_args={"split": {"RS": [8, 2, 0]}}).cohorts == {}


def test_cohorts_of_metrics_that_have_no_users(toy):
    rated = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"}}
    with pytest.raises(InputError, match=r"cohorts=2 .*must be 0 with AUC"):
        prepare("BPR", **toy, **rated, cohorts=2)


# --- a saved run ----------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(f): (f.stat().st_mtime_ns, f.read_bytes()) for f in sorted(folder.rglob("*")) if f.is_file()}


@pytest.mark.parametrize("model", ["HLR", "CML", "BPR", "EASE", "MultiVAE"])
@pytest.mark.parametrize(
    "more", [{}, {"cohorts": 4, "metrics": MEANS + OTHERS, "topk": [2, 10]}], ids=["", "all"]
)
def test_a_saved_run_evaluated_gives_its_metrics_to_the_last_bit(tmp_path, toy, monkeypatch, model, more):
    """And writes nothing, anywhere."""
    result = run(model, **{k: v for k, v in toy.items() if k != "embedding_size"}, **more)
    before = contents(tmp_path)
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    torch.manual_seed(99)
    again = evaluate(result.run_dir)
    assert contents(tmp_path) == before
    assert list((tmp_path / "cwd").iterdir()) == []
    assert (again.valid, again.test, again.cohorts) == (result.valid, result.test, result.cohorts)
    assert set(again.seconds) == {"prepare", "evaluate"}
    same = {
        "model",
        "dataset",
        "seed",
        "valid_metric",
        "best_valid_score",
        "best_epoch",
        "epochs",
        "parameters",
    }
    for name in same | {"run_dir", "version"}:
        assert getattr(again, name) == getattr(result, name), name


def test_the_best_state_is_evaluated_not_the_last(toy):
    result = run("CML", **{**toy, "epochs": 12, "learning_rate": 0.3})
    assert result.best_epoch != result.epochs - 1
    assert evaluate(result.run_dir).test == result.test


@pytest.mark.parametrize("mode", ["full", "uni5"])
def test_the_validation_loss_is_computed_again(toy, mode):
    result = run("HLR", **toy, valid_metric="loss", eval_args={"mode": mode})
    again = evaluate(result.run_dir)
    assert again.valid["loss"] == result.valid["loss"] == again.best_valid_score
    assert (again.valid, again.test) == (result.valid, result.test)
    by_metric = run("HLR", **toy)
    assert set(evaluate(by_metric.run_dir, valid_metric="loss").valid) == {"loss", *by_metric.valid}


def test_sampled_candidates_of_the_test_part_are_those_of_the_run(toy):
    result = run("BPR", **toy, eval_args={"mode": "uni5"})
    assert evaluate(result.run_dir).test == result.test


def test_a_run_that_was_interrupted_is_evaluated_as_far_as_it_came(toy, monkeypatch):
    from recbole_hlr.errors import RunInterrupted
    from recbole_hlr.train.metric import MetricTrainer

    validate = MetricTrainer.validate

    def interrupt(self, data):
        if len(self.epoch_records) == 2:
            raise KeyboardInterrupt
        return validate(self, data)

    monkeypatch.setattr(MetricTrainer, "validate", interrupt)
    with pytest.raises(RunInterrupted) as stop:
        run("CML", **toy)
    monkeypatch.undo()
    again = evaluate(stop.value.run_dir)
    assert again.epochs == 2
    assert again.valid[again.valid_metric] == again.best_valid_score
    assert again.test == run("CML", **{**toy, "epochs": 2}).test


def test_what_may_be_given_anew(tmp_path, toy):
    result = run("CML", **toy, topk=[5], valid_metric="NDCG@5")
    again = evaluate(result.run_dir, topk=(3, 5))
    assert {key: again.test[key] for key in result.test} == result.test
    assert set(again.valid) == {
        f"{m}@{k}" for m in ("recall", "mrr", "ndcg", "hit", "precision", "map") for k in (3, 5)
    }
    other = evaluate(result.run_dir, metrics="PaperMRR", topk=7, cohorts=2, eval_memory=1e-6, use_gpu=False)
    assert set(other.test) == set(other.cohorts) == {"papermrr@7"}
    assert (other.valid_metric, other.best_valid_score) == ("ndcg@5", result.best_valid_score)
    assert evaluate(result.run_dir, arguments=["--eval_batch_size=40"]).test == pytest.approx(
        result.test, abs=1e-12
    )
    (tmp_path / "data").rename(tmp_path / "moved")
    assert evaluate(result.run_dir, data_path=tmp_path / "moved").test == result.test


def test_the_mode_alone_of_eval_args(toy):
    split = {"split": {"RS": [0.5, 0.2, 0.3]}, "group_by": "none"}
    result = run("CML", **toy, eval_args=split)
    sampled = evaluate(result.run_dir, eval_args={"mode": "uni3"})
    assert sampled.test["recall@10"] > result.test["recall@10"]
    assert evaluate(result.run_dir, eval_args={**split, "mode": "full"}).test == result.test
    assert evaluate(result.run_dir, arguments=["--eval_args={mode: uni3}"]).test == sampled.test
    for wrong in ({"order": "TO"}, {"split": {"LS": "valid_and_test"}, "mode": "uni3"}):
        with pytest.raises(InputError, match=r"eval_args=.*only its mode can change in an evaluation"):
            evaluate(result.run_dir, eval_args=wrong)
    with pytest.raises(InputError, match=r"eval_args=3 \(keyword argument\): must be"):
        evaluate(result.run_dir, eval_args=3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": 5},
        {"scale": 0.3},
        {"model": "HLR"},
        {"dataset": "other"},
        {"epochs": 9},
        {"checkpoint_dir": "x"},
        {"train_batch_size": 3},
    ],
)
def test_everything_else_is_refused(toy, wrong):
    result = run("CML", **toy)
    (key,) = wrong
    with pytest.raises(InputError, match=f"{key}={wrong[key]}.*cannot change in an evaluation"):
        evaluate(result.run_dir, **wrong)
    same = {"seed": 2020, "epochs": 3, "model": "cml"}
    assert evaluate(result.run_dir, **same).test == result.test


def test_wrong_options_of_an_evaluation(tmp_path, toy):
    result = run("CML", **toy)
    for wrong, pattern in (
        ({"metrics": ["NDGC"]}, "metrics=NDGC"),
        ({"metrics": []}, "metrics=None"),
        ({"topk": "ten"}, "topk=ten"),
        ({"topk": [50]}, "topk"),
        ({"cohorts": 24}, "cohorts=24"),
        ({"valid_metric": "NDCG@7"}, "valid_metric=NDCG@7"),
        ({"topq": 5}, r"topq .*did you mean topk\?"),
        ({"config_files": ["x.yaml"]}, "config_files"),
    ):
        with pytest.raises(InputError, match=pattern):
            evaluate(result.run_dir, **wrong)
    (tmp_path / "b.yaml").write_text("topk: 3\n")
    with pytest.raises(InputError, match="config_files: cannot be given"):
        evaluate(result.run_dir, arguments=[f"--config_files={tmp_path / 'b.yaml'}"])


def test_other_data_are_noticed(tmp_path, toy):
    result = run("EASE", **{k: v for k, v in toy.items() if k != "embedding_size"})
    file = tmp_path / "data" / "toy" / "toy.inter"
    file.write_text(file.read_text().replace("u1\ti", "u1\tj", 1))
    with pytest.raises(InputError, match="is not the one that this run was started with"):
        evaluate(result.run_dir)


def test_a_configuration_that_was_edited(toy):
    result = run("CML", **toy)
    file = Path(result.run_dir, "config.yaml")
    text = file.read_text()
    file.write_text(re.sub(r"^(topk|eval_args|metrics):.*\n(?:[- ].*\n)*", "", text, flags=re.M))
    assert "topk" not in file.read_text()
    assert evaluate(result.run_dir).test == result.test  # what is not given is at its default
    file.write_text(text.replace("embedding_size: 6", "embedding_size: 7").replace("seed: 2020", "seed: 1"))
    with pytest.raises(InputError, match=r"config\.yaml: .*embedding_size=7 \(6\), seed=1 \(2020\)"):
        evaluate(result.run_dir)


def error(capsys, *words: str) -> str:
    assert main(["evaluate", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err.splitlines()[-1]


def test_the_command_line(tmp_path, toy, capsys):
    result = run("CML", **toy)
    assert main(["evaluate", result.run_dir, "--topk", "3", "--cohorts=2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"CML +validation +test \(cohorts\)", out)
    assert re.search(r"ndcg@3 +0\.\d{4} +0\.\d{4} ± 0\.\d{4}", out)
    assert f"best epoch     {result.best_epoch} of 0 to 2, by ndcg@10" in out
    assert "fit" not in out
    assert "translation" not in out  # CML has none
    hlr = run("HLR", **toy)
    assert main(["evaluate", hlr.run_dir]) == 0
    found = re.search(
        r"^translation +length (\S+), deviation (\S+) over pairs, in (\S+) directions$",
        capsys.readouterr().out,
        re.M,
    )
    assert found is not None
    length, deviation, directions = hlr.translation.values()
    assert found.groups() == (f"{length:.4f}", f"{deviation:.4f}", f"{directions:.1f}")
    assert re.search(r"RUN_DIR \(command line\): is missing", error(capsys))
    assert re.search(r"RUN_DIR \(command line\): is missing", error(capsys, "--topk=3"))
    assert re.search(r"RUN_DIR \(command line\): are a, b; must be one", error(capsys, "a", "b"))
    assert re.search(r"nowhere: is no run directory", error(capsys, "nowhere"))
    assert re.search(r"toy: is no run directory", error(capsys, str(tmp_path / "data" / "toy")))
    assert re.search(r"seed=5 \(command line\): cannot change", error(capsys, result.run_dir, "--seed=5"))
    os.remove(Path(result.run_dir, "model.pth"))
    assert re.search(r"model\.pth: there is no such checkpoint", error(capsys, result.run_dir))


@pytest.mark.parametrize(
    "words", [["run", "--a=1", "--b", "-2"], ["--a=1", "--b", "-2", "run"], ["--a=1", "run", "--b", "-2"]]
)
def test_the_word_that_is_no_option(words):
    assert take_word(words, "RUN_DIR") == ("run", ["--a=1", "--b", "-2"])
