"""prepare() and run(): the parts, the run directory, the trainer's rules, the fitted recommender."""

import errno
import json
import logging
import multiprocessing
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_hlr import MODELS, InputError, evaluate, load, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.triplets import TripletLoader
from recbole_hlr.experiment import exclusive
from recbole_hlr.experiment.rundir import LONG_AGO, LogFile, RunDir
from recbole_hlr.options.yaml_values import load_yaml

FILES = {".lock", "config.yaml", "metrics.jsonl", "result.json", "model.pth", "log.txt"}


@pytest.mark.parametrize("model", MODELS)
def test_a_run_writes_its_directory_and_nothing_else(tmp_path, toy, model, monkeypatch):
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    result = run(model, **toy)
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert {file.name for file in run_dir.iterdir()} == FILES
    assert list((tmp_path / "cwd").iterdir()) == []
    assert result.run_dir == str(run_dir)
    stored = json.loads((run_dir / "result.json").read_text())
    assert stored["test"] == result.test
    assert (
        set(result.valid)
        == set(result.test)
        == {f"{m}@10" for m in ("recall", "mrr", "ndcg", "hit", "precision", "map")}
    )
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    assert max(line["valid_score"] for line in lines) == result.best_valid_score == result.valid["ndcg@10"]
    assert lines[result.best_epoch]["valid_score"] == result.best_valid_score
    assert HLRConfig(config_files=[run_dir / "config.yaml"]).requested == load_yaml(run_dir / "config.yaml")


@pytest.mark.parametrize("model", [*MODELS, "BPR"])
def test_the_same_seed_gives_the_same_result_to_the_last_bit(toy, model):
    one, two, other = run(model, **toy), run(model, **toy), run(model, **toy, seed=5)
    assert one.test == two.test
    assert one.valid == two.valid
    assert one.best_valid_score != other.best_valid_score
    states = [torch.load(f"{r.run_dir}/model.pth", weights_only=True)["state_dict"] for r in (one, two)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_runs_of_the_same_second_get_folders_and_logs_of_their_own(tmp_path, toy):
    before = list(logging.getLogger().handlers)
    folders = {run("CML", **toy).run_dir for _ in range(3)}
    assert len(folders) == 3
    for folder in folders:
        text = (tmp_path / "runs" / folder / "log.txt").read_text()
        assert text.count("run directory") == 1
    assert logging.getLogger().handlers == before


def pairs_of(loader):
    columns = loader._dataset.inter_feat
    return sorted(zip(columns["user_id"].tolist(), columns["item_id"].tolist(), strict=True))


def test_splits_are_those_of_plain_recbole(toy):
    """The order of random numbers is the host's: same seed, same split, for every model."""
    ours, host = prepare("CML", **toy), prepare("BPR", **toy)
    for part in ("train_data", "valid_data", "test_data"):
        assert pairs_of(getattr(ours, part)) == pairs_of(getattr(host, part))


@pytest.mark.parametrize("model", ["CML", "HLR", "MF-ALS", "BPR"])
def test_training_and_validation_part_are_learned_from_together(toy, model):
    apart, both = prepare(model, **toy), prepare(model, **toy, train_on="training_and_validation")
    assert both.valid_data is None
    learned = {pair for part in ("train_data", "valid_data") for pair in pairs_of(getattr(apart, part))}
    assert pairs_of(both.train_data) == sorted(learned)
    assert pairs_of(both.test_data) == pairs_of(apart.test_data)
    result = run(model, **toy, train_on="training_and_validation")
    assert (result.epochs, result.best_valid_score, result.valid) == (toy["epochs"], None, {})
    assert set(result.test) == set(run(model, **toy).test)
    again = evaluate(result.run_dir)
    assert again.test == result.test


def test_nobody_trains_on_both_parts_for_an_unknown_time(toy):
    options = {key: value for key, value in toy.items() if key != "epochs"}
    with pytest.raises(InputError, match=r"train_on=training_and_validation .*: must be given with epochs"):
        prepare("CML", **options, train_on="training_and_validation")


def test_history_is_of_the_training_part_only(toy):
    experiment = prepare("HLR", **toy)
    train = experiment.train_data.dataset.inter_feat
    pairs = set(zip(train["user_id"].tolist(), train["item_id"].tolist(), strict=True))
    history = experiment.model.history
    assert set(zip(history.users().tolist(), history.items.tolist(), strict=True)) == pairs


@pytest.mark.parametrize("sampling", [{"distribution": "popularity"}, {"dynamic": True, "candidate_num": 3}])
@pytest.mark.parametrize("model", MODELS)
def test_other_negative_sampling_goes_through_the_host_s_loader(toy, model, sampling):
    options = {**toy, "train_neg_sample_args": {"sample_num": 2, **sampling}}
    assert not isinstance(prepare(model, **options).train_data, TripletLoader)
    assert np.isfinite(run(model, **options).best_valid_score)


def test_best_state_is_kept_with_saving_off(toy):
    experiment = prepare("CML", **{**toy, "epochs": 12, "learning_rate": 0.3})
    trainer = experiment.trainer
    score, valid = trainer.fit(experiment.train_data, experiment.valid_data, saved=False)
    scores = [record["valid_score"] for record in trainer.epoch_records]
    assert trainer.best_epoch == int(np.argmax(scores)) != len(scores) - 1
    again = trainer.evaluate(experiment.valid_data, load_best_model=False)
    assert again == valid
    assert again["ndcg@10"] == score == max(scores)


def test_scores_are_compared_unrounded_and_a_tie_is_no_improvement(toy, monkeypatch):
    experiment = prepare("CML", **{**toy, "epochs": 50, "stopping_step": 2})
    scores = iter([0.50001, 0.50002, 0.50002, 0.50002, 0.50002, 0.9])
    trainer = experiment.trainer
    monkeypatch.setattr(trainer, "validate", lambda data: (s := next(scores), {"ndcg@10": s}))
    trainer.fit(experiment.train_data, experiment.valid_data)
    assert trainer.best_epoch == 1
    assert len(trainer.epoch_records) == 5  # stops once the count of ties exceeds stopping_step


def test_metrics_are_unrounded(toy):
    result = run("CML", **toy)
    assert any(round(value, 4) != value for value in result.test.values())


def test_rows_stay_in_the_ball_after_each_step(toy):
    experiment = prepare("HLR", **toy, learning_rate=0.5, max_norm=0.7, clip_memories=True)
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    model = experiment.model
    for table in (model.user_embedding.weight, model.item_embedding.weight, model.memory.memories):
        assert table.norm(dim=1).max() <= 0.7 + 1e-6
    assert model.user_embedding.weight.norm(dim=1).max() > 0.69  # the ball is what holds them


def test_without_a_ball_rows_leave_it(toy):
    experiment = prepare("CML", **toy, learning_rate=0.5, geometry="ball", max_norm=None)
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    assert experiment.model.user_embedding.weight.norm(dim=1).max() > 1.5


@pytest.mark.parametrize(
    ("schedule", "rates"),
    [
        ({"name": "exponential", "gamma": 0.5}, [1.0, 0.5, 0.25]),
        ({"name": "StepLR", "step_size": 2, "gamma": 0.1}, [1.0, 1.0, 0.1]),
        (
            {"name": "ReduceLROnPlateau", "factor": 0.1, "patience": 0, "mode": "max", "threshold": 9.0},
            [1.0, 1.0, 0.1],
        ),
    ],
)
def test_learning_rate_schedules_by_name(toy, schedule, rates):
    experiment = prepare("CML", **toy, lr_scheduler=schedule, learning_rate=1.0)
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    assert [r["learning_rate"] for r in experiment.trainer.epoch_records] == pytest.approx(rates)


def test_a_plateau_follows_the_validation_score_in_its_direction(toy):
    """While the score gets better the rate stays; torch's default would take that for a plateau."""
    schedule = {"name": "ReduceLROnPlateau", "factor": 0.1, "patience": 0}
    experiment = prepare("CML", **toy, lr_scheduler=schedule, learning_rate=0.002)
    scores = iter([0.1, 0.2, 0.3])
    experiment.trainer.validate = lambda data: (s := next(scores), {"ndcg@10": s})
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    assert {r["learning_rate"] for r in experiment.trainer.epoch_records} == {0.002}


def test_batches_hold_the_same_positives_whichever_loader_draws_them(toy):
    runs = [
        prepare(
            "CML",
            **toy,
            objective="triplet",
            train_neg_sample_args={"sample_num": 4, "distribution": kind},
        )
        for kind in ("uniform", "popularity")
    ]
    assert [len(parts.train_data) for parts in runs] == [7, 7]
    assert [parts.config["train_batch_size"] for parts in runs] == [16, 16]  # positives, as was asked for


def test_nothing_validated(toy):
    result = run("CML", **toy, eval_step=0)
    assert result.best_valid_score is None
    assert result.best_epoch == 2
    assert "Infinity" not in Path(result.run_dir, "result.json").read_text()
    assert result.valid["ndcg@10"] > 0


def test_gradients_are_clipped(toy):
    options = {**toy, "learner": "sgd", "learning_rate": 1.0, "geometry": "ball", "max_norm": None}
    free = prepare("CML", **options)
    held = prepare("CML", **options, clip_grad_norm={"max_norm": 1e-6})
    before = held.model.user_embedding.weight.detach().clone()
    for experiment in (free, held):
        experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    assert torch.allclose(held.model.user_embedding.weight, before, atol=1e-4)
    assert not torch.allclose(free.model.user_embedding.weight, before, atol=1e-2)


def test_validation_by_the_triplet_loss(toy):
    toy["objective"] = "triplet"
    result = run("HLR", **toy, valid_metric="loss")
    assert result.best_valid_score == result.valid["loss"] > 0
    assert "ndcg@10" in result.valid
    lines = [json.loads(line) for line in Path(result.run_dir, "metrics.jsonl").read_text().splitlines()]
    assert min(line["valid_score"] for line in lines) == result.best_valid_score
    experiment = prepare("HLR", **toy, valid_metric="loss")
    first, _ = experiment.trainer.validate(experiment.valid_data)
    second, _ = experiment.trainer.validate(experiment.valid_data)
    assert first == second  # the same negatives each time
    seen = experiment.trainer.loss_data.sampler
    for part in (experiment.train_data.dataset, experiment.valid_data.dataset):
        pairs = part.inter_feat["user_id"] * seen.num_items + part.inter_feat["item_id"]
        assert torch.isin(pairs, seen._seen).all()


@pytest.mark.parametrize("split", [[0.8, 0.0, 0.2], [0.8, 0.2, 0.0], [1.0, 0.0, 0.0]])
def test_parts_without_interactions(toy, split):
    result = run("HLR", **toy, eval_args={"split": {"RS": split}, "group_by": "none"})
    assert bool(result.valid) is (split[1] > 0)
    assert bool(result.test) is (split[2] > 0)
    assert result.best_epoch == 2 or split[1] > 0


@pytest.mark.parametrize("mode", ["uni5", "full"])
def test_sampled_evaluation_ranks_like_the_host_does(toy, mode):
    assert np.isfinite(run("HLR", **toy, eval_args={"mode": mode}).test["ndcg@10"])


def test_evaluation_batches_follow_the_memory_option(toy):
    small = prepare("HLR", **toy, eval_memory=1e-6)
    large = prepare("HLR", **toy)
    assert len(small.valid_data) > len(large.valid_data) == 1
    assert prepare("HLR", **toy, eval_batch_size=40).valid_data.step == 40 // small.dataset.item_num
    a, b = (e.trainer.evaluate(e.valid_data, load_best_model=False) for e in (small, large))
    assert a == pytest.approx(b, abs=1e-12)


def test_a_fitted_recommender_needs_no_data(tmp_path, toy):
    result = run("HLR", **toy)
    experiment = prepare("HLR", **toy)
    (tmp_path / "data").rename(tmp_path / "gone")
    fitted = load(result.run_dir)
    table = fitted.recommend(["u3", "u1"], k=4)
    assert table["user"].tolist() == ["u3"] * 4 + ["u1"] * 4
    assert table["rank"].tolist() == [1, 2, 3, 4] * 2
    assert (table.groupby("user")["score"].diff().dropna() <= 0).all()
    train = experiment.train_data.dataset
    for user in ("u1", "u3"):
        number = train.token2id("user_id", user)
        rows = train.inter_feat["user_id"] == number
        seen = set(train.id2token("item_id", train.inter_feat["item_id"][rows].numpy()))
        assert not seen & set(table[table["user"] == user]["item"])
        everything = fitted.recommend([user], k=100, exclude_seen=False)
        assert seen <= set(everything["item"])
        assert len(everything) == train.item_num - 1


def test_checkpoints_are_plain_and_the_host_can_read_them(toy):
    """RecBole 1.2: `Trainer.evaluate(model_file=...)` and `resume_checkpoint` read the same keys."""
    from recbole.trainer import Trainer

    result = run("HLR", **toy)
    content = torch.load(f"{result.run_dir}/model.pth", weights_only=True)
    shapes = {key: tuple(value.shape) for key, value in content["state_dict"].items()}
    assert shapes == {
        "user_embedding.weight": (24, 6),
        "item_embedding.weight": (18, 6),
        "memory.keys": (5, 6),
        "memory.memories": (5, 6),
    }
    experiment = prepare("HLR", **toy)
    test = Trainer.evaluate(
        Trainer(experiment.config, experiment.model),
        experiment.test_data,
        model_file=f"{result.run_dir}/model.pth",
    )
    assert {key: round(value, 4) for key, value in result.test.items()} == pytest.approx(dict(test))


def test_tensorboard_only_when_asked_for(toy):
    result = run("CML", **toy, tensorboard=True)
    assert any(
        "tfevents" in path.name
        for path in (__import__("pathlib").Path(result.run_dir) / "tensorboard").iterdir()
    )


def test_the_precision_of_products_is_that_of_the_run(toy):
    try:
        prepare("CML", **toy, matmul_precision="high")
        assert torch.get_float32_matmul_precision() == "high"
        prepare("CML", **toy)
        assert torch.get_float32_matmul_precision() == "highest"
    finally:
        torch.set_float32_matmul_precision("highest")


def test_preparing_makes_no_folder_and_stays_where_it_is(tmp_path, toy, monkeypatch):
    """RecBole 1.2: `Trainer.__init__` makes `saved` and `log_tensorboard` in the working directory."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(os, "chdir", None)  # other threads would move too
    for model in ("CML", "BPR", "EASE", "MF-ALS"):
        options = {key: value for key, value in toy.items() if model != "EASE" or key != "embedding_size"}
        trainer = prepare(model, **options).trainer
        assert trainer.checkpoint_dir == trainer.config["checkpoint_dir"] == toy["checkpoint_dir"]
        assert Path(trainer.saved_model_file).parent == Path(toy["checkpoint_dir"])
    assert list((tmp_path / "cwd").iterdir()) == []
    assert not Path(toy["checkpoint_dir"]).exists()


def test_parts_fitted_by_hand_need_no_run(toy):
    experiment = prepare("CML", **toy)
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    test = experiment.trainer.evaluate(experiment.test_data)
    assert test == run("CML", **toy).test


def test_two_runs_in_two_threads(toy, monkeypatch):
    """They share the global random numbers: the second waits for a moment, then is refused."""
    monkeypatch.setattr(exclusive, "PATIENCE", 0.05)
    alone, ended = run("CML", **toy).test, []
    inside, go_on = threading.Event(), threading.Event()
    from recbole_hlr.train.metric import MetricTrainer

    validate = MetricTrainer.validate

    def slow(self, data):
        inside.set()
        go_on.wait(60)
        return validate(self, data)

    monkeypatch.setattr(MetricTrainer, "validate", slow)
    first = threading.Thread(target=lambda: ended.append(run("CML", **toy).test))
    first.start()
    inside.wait(60)
    (folder, *_) = Path(toy["checkpoint_dir"]).iterdir()
    for other in (
        lambda: run("BPR", **toy),
        lambda: prepare("CML", **toy),
        lambda: evaluate(folder),
        lambda: load(folder),
    ):
        with pytest.raises(InputError, match="another thread of this process is at work on a run"):
            other()
    go_on.set()
    first.join()
    assert ended == [alone]
    assert prepare("CML", **toy)


@pytest.mark.parametrize("source", ["keyword", "command line", "file"])
@pytest.mark.parametrize("given", [{"use_gpu": True}, {"gpu_id": 3}, {"use_gpu": True, "gpu_id": "3"}])
def test_a_gpu_that_was_asked_for_and_is_not_there(tmp_path, toy, monkeypatch, given, source):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    where, options = source, {}
    if source == "keyword":
        options, where = given, "keyword argument"
    elif source == "command line":
        options = {"arguments": [f"--{key}={value}" for key, value in given.items()]}
    else:
        file = tmp_path / "config.yaml"
        file.write_text("".join(f"{key}: {value}\n" for key, value in given.items()))
        options, where = {"config_files": [file]}, file
    key = next(iter(sorted(given)))
    for start in (run, prepare):
        with pytest.raises(InputError, match=rf"^{key}={given[key]} \({where}\): PyTorch finds no GPU here"):
            start("CML", **toy, **options)
    assert not Path(toy["checkpoint_dir"]).exists()


def test_the_default_takes_the_cpu_where_there_is_no_gpu(toy, monkeypatch):
    """As does what a run's config.yaml says of the machine that it was started on."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for given in ({}, {"use_gpu": False, "gpu_id": 3}):
        assert prepare("CML", **toy, **given).config["device"].type == "cpu"
    first = run("CML", **{**toy, "epochs": 1})
    file = Path(first.run_dir, "config.yaml")
    assert not {"use_gpu", "gpu_id"} & set(load_yaml(file))
    assert prepare("CML", **{**toy, "epochs": 1}, config_files=[file])
    file.write_text(file.read_text() + "use_gpu: true\ngpu_id: '3'\n")  # of a machine with GPUs
    assert evaluate(first.run_dir).test == run(resume=first.run_dir).test == first.test
    assert load(first.run_dir).config["device"].type == "cpu"
    assert load_yaml(file)["use_gpu"] is True
    for asked in (run, evaluate):
        with pytest.raises(InputError, match="use_gpu=True"):
            asked(**{"resume" if asked is run else "run_dir": first.run_dir}, use_gpu=True)
    with pytest.raises(InputError, match="use_gpu=True"):
        load(first.run_dir, use_gpu=True)


@pytest.mark.parametrize(
    ("model", "given", "named"),
    [
        ("HLR", {"num_memories": 2 * 10**9, "embedding_size": 10**5}, "num_memories=2000000000"),
        (
            "CML",
            {
                "objective": "triplet",
                "train_neg_sample_args": {"sample_num": 2 * 10**9},
                "train_batch_size": 999,
            },
            "sample_num=2000000000",
        ),
        ("SpectralCF", {"embedding_size": 2 * 10**6}, "embedding_size=2000000"),
        ("MultiVAE", {"mlp_hidden_size": [10**6, 10**9]}, "mlp_hidden_size=1000000000"),
    ],
)
def test_what_does_not_fit_into_memory_names_the_largest_sizes(toy, capsys, model, given, named):
    """In the model or in a step, terabytes that no machine has: one sentence, exit code 2."""
    options = {**toy, **given}
    if model == "MultiVAE":
        del options["embedding_size"]
    words = [f"--{key}={value}" for key, value in options.items()]
    assert main(["train", f"--model={model}", *words]) == 2
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    message = captured.err.splitlines()[-1]
    assert message.startswith(f"error: model={model} on toy: out of memory")
    assert f"; its largest sizes are {named}, " in message
    assert "users=23" in message


@pytest.mark.parametrize("when", ["model", "step"])
def test_other_errors_are_not_taken_for_a_lack_of_memory(toy, monkeypatch, when):
    from recbole_hlr.model.cml import CML

    def broken(*arguments):
        raise RuntimeError("the memory of past defects")

    monkeypatch.setattr(CML, "__init__" if when == "model" else "calculate_loss", broken)
    with pytest.raises(RuntimeError, match="past defects"):
        run("CML", **toy)


@pytest.mark.parametrize(
    ("given", "suspect"),
    [
        ({"objective": "triplet", "margin": 1e37, "train_batch_size": 999}, r"margin=1e\+37"),
        ({"objective": "triplet", "learning_rate": 1e30, "max_norm": None}, r"learning_rate=1e\+30"),
        ({"geometry": "ball", "learning_rate": 1e30, "max_norm": None}, r"learning_rate=1e\+30"),
        ({"scale": 1e37, "train_batch_size": 999}, r"scale=1e\+37"),
    ],
)
def test_a_loss_that_is_not_finite_names_what_is_too_large(toy, given, suspect):
    with pytest.raises(InputError, match=rf"epoch \d: .* is (inf|nan) with {suspect}; must be finite"):
        run("CML", **{**toy, **given})


@pytest.mark.parametrize(
    "file", ["config.yaml", "log.txt", "model.pth", "metrics.jsonl", "users.parquet", "result.json"]
)
def test_a_run_on_a_full_disk_ends_in_one_sentence_and_goes_on(toy, capsys, monkeypatch, file):
    """Whichever file is written when the disk gets full."""
    options = {**toy, "user_metrics": True}
    whole = run("CML", **{**options, "checkpoint_dir": toy["checkpoint_dir"] + "-whole"})
    replace, flush = os.replace, LogFile.flush

    def full(*arguments):
        if file in (Path(arguments[-1]).name if len(arguments) == 2 else "log.txt"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(*arguments) if len(arguments) == 2 else flush(*arguments)

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(LogFile, "flush", full)
    assert main(["train", "--model=CML", *(f"--{key}={value}" for key, value in options.items())]) == 2
    monkeypatch.undo()
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert message.endswith(f"{file}: No space left on device; free some space")
    folders = list(Path(toy["checkpoint_dir"]).iterdir())
    assert len(folders) == (file != "config.yaml")  # a run without its options is none
    for folder in folders:
        assert not list(folder.glob(".*.tmp"))
        assert run(resume=folder).test == whole.test


def test_any_write_that_finds_the_disk_full_is_told(toy, monkeypatch):
    """Also of a library, as TensorBoard's, which names no file."""

    def full(*arguments):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("torch.utils.tensorboard.SummaryWriter", full)
    with pytest.raises(InputError, match="model=CML on toy: Disk quota exceeded; free some space"):
        run("CML", **toy, tensorboard=True)


def test_worker_processes_give_the_same_result_however_python_starts_processes(toy):
    expected = run("CML", **toy).test
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)
    try:
        assert run("CML", **toy, worker=1).test == expected
        run("BPR", **toy, worker=1)
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_folders_of_runs_that_were_killed_while_they_were_made_are_removed(tmp_path):
    for name, age in ((".new-killed", 2 * LONG_AGO), (".new-at-work", 0)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    RunDir.create(tmp_path, "CML-toy", "model: CML\n")
    assert [path.name for path in tmp_path.glob(".*")] == [".new-at-work"]
