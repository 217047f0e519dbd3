"""RecBole's own quick start, trainer, case study and checkpoints, with the plugin's models and its own."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import ray.tune
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.quick_start import load_data_and_model, objective_function, run_recbole
from recbole.trainer import Trainer
from recbole.utils import get_model, get_trainer
from recbole.utils.case_study import full_sort_scores, full_sort_topk

from recbole_hlr import InputError, prepare, run
from recbole_hlr import quick_start as host_ways
from recbole_hlr.model import MODELS
from recbole_hlr.model.hlr import HLR
from recbole_hlr.options.plain import StoredConfig
from tests.conftest import write_atomic

PAGE = Path(__file__).parents[1] / "docs" / "recbole.md"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """A working directory with a data set, for RecBole writes into it, and a command line without options."""
    write_atomic(tmp_path / "dataset", "toy")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["script.py"])
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval: 0.0)  # run_recbole waits a second for it
    return tmp_path


def options(**more) -> dict:
    return {"epochs": 2, "embedding_size": 6, "train_batch_size": 32, "show_progress": False, **more}


def parts(model, **more):
    """Return a plain configuration, RecBole's loaders and the model."""
    config = Config(model=model, dataset="toy", config_dict=options(**more))
    loaders = data_preparation(config, create_dataset(config))
    made = config.model_class(config, loaders[0].dataset)
    return config, loaders, made


@pytest.mark.parametrize("model", [*MODELS, "BPR", "LightGCN"])
def test_the_quick_start_runs_and_its_checkpoint_is_read_again(model, folder):
    result = run_recbole(model=model, dataset="toy", config_dict=options())
    (file,) = (folder / "saved").glob(f"{model}-*.pth")
    config, loaded, *_, test_data = load_data_and_model(str(file))
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, loaded)
    assert trainer.evaluate(test_data, load_best_model=False) == result["test_result"]
    assert set(torch.load(file, weights_only=True)) > {"state_dict", "optimizer", "config"}


@pytest.mark.parametrize("first", ["recbole_hlr", "recbole.trainer"])
def test_the_import_is_light_and_may_come_first_or_last(first):
    code = f"""
import sys, {first}
heavy = {{"numpy", "torch", "recbole", "yaml"}} & set(sys.modules)
assert {first!r} != "recbole_hlr" or not heavy, heavy
import recbole_hlr
from recbole.config import Config
from recbole.utils import get_model, get_trainer
config = Config(model="LightGCN", dataset="ml-100k")
from scipy.sparse import dok_matrix
assert dok_matrix._update and get_model("HLR++").__name__ == "HLRPP"
assert get_trainer(config["MODEL_TYPE"], "BPR")._save_checkpoint.__module__ == "recbole_hlr.quick_start"
import torch
assert "StoredConfig" in {{one.__name__ for one in torch.serialization.get_safe_globals()}}
assert not {{"ray", "recbole_hlr.recommend.load"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=200)


def test_recbole_finds_every_model_by_every_name():
    assert list(MODELS) == list(host_ways.MODEL_NAMES)
    assert all(get_model(name) is MODELS[name] for name in MODELS)
    with pytest.raises(AttributeError, match="did you mean HLR"):
        get_model("hlr")


def test_what_is_given_stays_and_the_rest_is_filled_in():
    config, _, model = parts(HLR, learning_rate=0.5, margin=0.7, compile=False)
    assert (config["learning_rate"], model.objective.margin, model.max_history) == (0.5, 0.7, 10)
    assert config["compile"] == "off"
    assert (config["train_neg_sample_args"]["sample_num"], model.objective.num_negatives) == (1, 1)


def test_a_class_derived_from_a_model_has_its_defaults():
    class Mine(HLR):
        pass

    assert parts(Mine)[2].num_memories == 5


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"margin": -1}, r"margin=-1 \(recbole.config.Config\): must be a number > 0"),
        ({"eval_memory": 0}, "eval_memory=0 .*must be a number > 0"),
        ({"train_neg_sample_args": None}, "train_neg_sample_args=.*must be a mapping"),
        ({"valid_metric": "loss"}, "valid_metric=loss .*recbole_hlr.run"),
        ({"lr_scheduler": {"name": "exponential", "gamma": 0.9}}, "lr_scheduler=.*recbole_hlr.run"),
        ({"pretrained_embeddings": "there"}, "pretrained_embeddings=there .*recbole_hlr.run"),
    ],
)
def test_what_recbole_does_not_check_or_act_on_is_refused(given, reason):
    with pytest.raises(InputError, match=reason):
        parts("HLR", **given)


@pytest.mark.parametrize(
    ("model", "learner"),
    [("HLR", "adam"), ("TransCF", "adamw"), ("CML", "sgd"), ("CML", "adagrad"), ("CML", "rmsprop")],
)
def test_recbole_s_trainer_takes_the_steps_of_a_loop_that_clips_after_each(model, learner):
    given = {"learner": learner, "learning_rate": 0.5, "train_neg_sample_args": {"sample_num": 2}}
    config, loaders, trained = parts(model, **given)
    twin = config.model_class(config, loaders[0].dataset)
    twin.load_state_dict(trained.state_dict())
    batches = list(loaders[0])
    trainer = Trainer(config, trained)
    optimizer = trainer._build_optimizer(params=twin.parameters())
    for epoch in range(3):
        trainer._train_epoch(batches, epoch)
        twin.start_epoch(epoch)
        for batch in batches:
            optimizer.zero_grad()
            twin.calculate_loss(batch).backward()
            optimizer.step()
            twin.clip_weights()
    for name, weight in trained.state_dict().items():
        assert torch.equal(weight, twin.state_dict()[name]), name
    assert trained.user_embedding.weight.norm(dim=1).max() <= 1 + 1e-6


def test_losses_may_be_summed_before_a_step():
    _, loaders, model = parts("HLR")
    first, second = (next(iter(loaders[0])) for _ in range(2))
    (model.calculate_loss(first) + model.calculate_loss(second)).backward()
    assert model.item_embedding.weight.grad.abs().sum() > 0


def test_a_checkpoint_without_validation_is_in_the_ball():
    config, loaders, model = parts("CML", learning_rate=0.5, eval_step=0)
    trainer = Trainer(config, model)
    trainer.fit(loaders[0])
    state = torch.load(trainer.saved_model_file)["state_dict"]
    assert state["item_embedding.weight"].norm(dim=1).max() <= 1 + 1e-6


@pytest.mark.parametrize("model", ["HLR", "TransCF"])
def test_an_epoch_is_started_once_whoever_trains(model, toy, monkeypatch):
    started = []
    start = MODELS[model].start_epoch
    monkeypatch.setattr(
        MODELS[model], "start_epoch", lambda self, epoch: (started.append(epoch), start(self, epoch))
    )
    config, loaders, made = parts(model, epochs=3)
    started.clear()
    Trainer(config, made).fit(*loaders[:2], saved=False)
    assert started == ([1, 2] if model == "HLR" else [0, 1, 2])  # HLR draws those of epoch 0 when it is made
    ours = prepare(model, **toy)
    started.clear()
    ours.trainer.fit(ours.train_data, ours.valid_data)
    assert started == [0, 1, 2]


def test_recbole_s_trainer_takes_what_prepare_returns(toy):
    made = prepare("HLR", **toy)
    trainer = Trainer(made.config, made.model)
    trainer.fit(made.train_data, made.valid_data)
    assert trainer.evaluate(made.test_data)["recall@10"] > 0
    assert made.model.item_embedding.weight.norm(dim=1).max() <= 1 + 1e-6


def test_recbole_s_trainer_goes_on_from_its_checkpoint():
    config, loaders, model = parts("CML", epochs=1)
    first = Trainer(config, model)
    first.fit(*loaders[:2])
    config["epochs"] = 2
    second = Trainer(config, config.model_class(config, loaders[0].dataset))
    second.resume_checkpoint(first.saved_model_file)
    assert second.start_epoch == 1
    for name, weight in second.model.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])
    second.fit(*loaders[:2])
    assert list(second.train_loss_dict) == [1]


def test_mf_als_says_who_trains_it():
    config, loaders, model = parts("MF-ALS")
    with pytest.raises(InputError, match="get_trainer"):
        Trainer(config, model).fit(*loaders[:2])
    before = model.objective()
    get_trainer(config["MODEL_TYPE"], "MF-ALS")(config, model).fit(*loaders[:2])
    assert model.objective() < before


@pytest.mark.parametrize("saved", [True, False])
def test_a_model_whose_state_torch_would_not_read_back_says_so(saved):
    if saved:
        with pytest.raises(InputError, match=r"model=EASE: .*saved=False, or by recbole_hlr.run"):
            run_recbole(model="EASE", dataset="toy", config_dict=options())
    else:
        assert run_recbole(model="EASE", dataset="toy", config_dict=options(), saved=False)["test_result"]


def test_a_run_s_checkpoint_is_not_recbole_s(toy):
    file = Path(run("CML", **toy).run_dir) / "model.pth"
    with pytest.raises(InputError, match=r"use recbole_hlr.load\(RUN_DIR\)"):
        load_data_and_model(str(file))
    config, loaders, model = parts("CML")
    assert Trainer(config, model).evaluate(loaders[2], model_file=file)  # its weights are


def test_no_class_that_evaluates_text_is_declared_to_torch():
    declared = torch.serialization.get_safe_globals()
    assert StoredConfig in declared
    assert Config not in declared


def test_the_objective_reports_to_ray(monkeypatch):
    reported = []
    monkeypatch.setattr(ray.tune, "report", reported.append)
    result = objective_function(options(model="CML", dataset="toy"))
    assert reported == [result["test_result"]]


def test_case_study_ranks_with_what_prepare_returns_as_with_recbole_s_loader(toy):
    made = prepare("HLR", **toy)
    data = made.test_data
    users = data.uid_list[[2, 0, 5]].numpy()
    used = np.array([None] * 24)
    for user in range(24):
        lists = data.uid2history_item[user], data.uid2positive_item[user]
        used[user] = set(torch.cat(lists).tolist())
    host = FullSortEvalDataLoader(made.config, data.dataset, SimpleNamespace(used_ids=used))
    for mine, theirs in (
        (data.uid2history_item, host.uid2history_item),
        (data.uid2positive_item, host.uid2positive_item),
    ):
        for user in users:
            assert mine[user].tolist() == sorted(theirs[user].tolist())
        assert [rows.tolist() for rows in mine[list(users)]] == [sorted(r.tolist()) for r in theirs[users]]
    assert np.array_equal(data.uid2items_num, host.uid2items_num)
    ours, theirs = (full_sort_scores(users, made.model, loader) for loader in (data, host))
    assert torch.equal(ours, theirs)
    assert torch.equal(full_sort_topk(users, made.model, data, k=3)[0], theirs.topk(3)[0])


def test_the_page_runs(folder):
    """For one epoch, on a small data set where it names no file of another."""
    write_atomic(folder / "dataset", "small", users=40, items=30)
    names: dict = {}
    for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S):
        code = re.sub(r'("epochs": |epochs=)\d+', r"\g<1>1", code)
        code = code if "ml-100k.yaml" in code else code.replace('"ml-100k"', '"small"')
        exec(code.replace('"196", "186"', '"u1", "u5"'), names)
    assert names["items"].shape == (2, 5)
