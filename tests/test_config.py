"""HLRConfig: where values come from, how they are read, what is refused."""

import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recbole_hlr import MODELS, InputError
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.options.command_line import config_files_word, file_names, parse_arguments
from recbole_hlr.options.shipped import objective_file, shipped
from recbole_hlr.options.table import MODEL_OPTIONS, RUN_OPTIONS
from recbole_hlr.options.yaml_values import load_yaml, parse_scalar
from tests.toys import NAMES, SOFTMAX, defaults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E4", 1e4),
        ("-2.5e+2", -250.0),
        ("0.001", 0.001),
        ("20", 20),
        ("true", True),
        ("False", False),
        ("null", None),
        ("None", None),
        ("[10,inf)", "[10,inf)"),
        ("[5, 10]", [5, 10]),
        ("{max_norm: 1.0}", {"max_norm": 1.0}),
        ("{'RS': [8, 1, 1]}", {"RS": [8, 1, 1]}),
        ("HLR++", "HLR++"),
        ("__import__('os').getpid()", "__import__('os').getpid()"),
        ("!!python/object/apply:os.getpid []", "!!python/object/apply:os.getpid []"),
    ],
)
def test_scalars_are_read_as_yaml_and_never_evaluated(text, value):
    assert parse_scalar(text) == value


def test_both_forms_of_an_option():
    assert parse_arguments(["--a=1", "--b", "2", "--c=x=y", "--d", "-1"]) == {
        "a": 1,
        "b": 2,
        "c": "x=y",
        "d": -1,
    }


def test_dashes_in_a_key_are_underscores():
    assert parse_arguments(["--ray-address=127:30", "--data-path", "a-b", "--LABEL-FIELD=x-1"]) == {
        "ray_address": "127:30",  # text, as under its own name
        "data_path": "a-b",
        "LABEL_FIELD": "x-1",
    }
    with pytest.raises(InputError, match=r"--train_batch_size.*twice, as 1 and 2"):
        parse_arguments(["--train_batch_size=1", "--train-batch-size=2"])


@pytest.mark.parametrize(
    "words", [["epochs=3"], ["-e", "3"], ["--epochs"], ["--epochs", "--seed=1"], ["--a=1", "--a=2"]]
)
def test_other_forms_are_refused(words):
    with pytest.raises(InputError, match="command line"):
        parse_arguments(words)


def test_order_of_sources(tmp_path, toy):
    first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
    first.write_text("scale: 0.1\nlearning_rate: 1e-2\nepochs: 7\nseed: 1\n")
    second.write_text("learning_rate: 2e-2\nepochs: 8\nseed: 2\n")
    toy.pop("epochs")
    config = HLRConfig(
        "HLR", config_files=[first, second], options={**toy, "epochs": 9, "seed": 3}, arguments=["--seed=4"]
    )
    assert (config["scale"], config["learning_rate"], config["epochs"], config["seed"]) == (0.1, 0.02, 9, 4)
    assert config["num_memories"] == load_yaml(shipped("properties", "model", "HLR.yaml"))["num_memories"]
    assert config["valid_metric"] == "NDCG@10"  # overall.yaml, not RecBole's MRR@10
    assert config.sources["scale"] == str(first)
    assert config.sources["seed"] == "command line"
    assert config.sources["num_memories"] == "model/HLR.yaml"


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (None, []),
        ("", []),
        ("a.yaml  b.yaml", ["a.yaml", "b.yaml"]),
        ("['a b.yaml', c.yaml]", ["a b.yaml", "c.yaml"]),
        ("[a.yaml", ["[a.yaml"]),
        (["a b.yaml", Path("c.yaml")], ["a b.yaml", "c.yaml"]),
    ],
)
def test_names_of_configuration_files(value, names):
    assert file_names(value) == names


@settings(deadline=None)
@given(st.lists(st.text(min_size=1), min_size=1))
@example(["a b.yaml", "c.yaml"])
@example(["null"])
@example(["[a]", "b\n"])
def test_names_of_configuration_files_survive_a_command(names):
    """In one line, which can stand in a comment."""
    word = config_files_word(names)
    (again,) = shlex.split(shlex.join([word]))
    assert file_names(parse_arguments([again])["config_files"]) == names
    assert "\n" not in word


def test_config_files_on_the_command_line(tmp_path, arguments):
    (tmp_path / "a.yaml").write_text("scale: 0.3\n")
    (tmp_path / "b.yaml").write_text("scale: 0.4\n")
    files = f"--config_files={tmp_path / 'a.yaml'} {tmp_path / 'b.yaml'}"
    assert HLRConfig("CML", arguments=[*arguments, files])["scale"] == 0.4


def test_data_set_files_are_found_and_come_after_the_host_s():
    config = HLRConfig("HLR", "ml-100k")
    assert config["user_inter_num_interval"] == "[10,inf)"
    assert config["val_interval"] == {"rating": "[4,inf)"}
    assert config["RATING_FIELD"] == "rating"


def test_argv_of_the_process_is_never_read(monkeypatch, toy):
    monkeypatch.setattr(sys, "argv", ["prog", "--seed=77", "--node-ip-address=1.2.3.4", "file"])
    assert HLRConfig("HLR", options=toy)["seed"] == 2020


def test_two_configurations_do_not_share_state(toy):
    one = HLRConfig("HLR", "ml-100k")
    two = HLRConfig("HLR", options=toy)
    assert one.parameters["Dataset"] is not two.parameters["Dataset"]
    assert two["user_inter_num_interval"] == "[0,inf)"


@pytest.mark.parametrize(("text", "value"), [("on", "on"), ("off", "off"), ('"on"', "on"), ("auto", "auto")])
def test_a_switch_may_be_bare_in_a_file(tmp_path, toy, text, value):
    (tmp_path / "my.yaml").write_text(f"compile: {text}\nlazy_adam: {text}\n")
    config = HLRConfig("CML", config_files=[tmp_path / "my.yaml"], options=toy)
    assert (config["compile"], config["lazy_adam"]) == (value, value)


def test_a_model_class_stands_for_its_name(toy):
    from recbole_hlr.model import HLR

    assert HLRConfig(HLR, options=toy).model == "HLR"


def test_names_of_models_in_any_case(toy):
    assert HLRConfig("hlr", options=toy).model == "HLR"
    assert HLRConfig("bpr", options={k: v for k, v in toy.items()}).model == "BPR"


def test_part_of_a_mapping_leaves_the_rest_at_its_default(toy):
    config = HLRConfig(
        "HLR",
        options={
            **toy,
            "objective": "triplet",
            "train_neg_sample_args": {"sample_num": 3},
            "eval_args": {"order": "TO"},
        },
    )
    assert config["train_neg_sample_args"]["distribution"] == "uniform"
    assert config["eval_args"]["split"] == {"RS": [0.8, 0.1, 0.1]}


@pytest.mark.parametrize("objective", ["triplet", "softmax"])
@pytest.mark.parametrize("model", NAMES.values())
def test_effective_configuration_is_complete_yaml_and_gives_itself(tmp_path, toy, model, objective):
    schedule = {"name": "exponential", "gamma": 0.9}
    config = HLRConfig(model, options={**toy, "objective": objective, "lr_scheduler": schedule})
    (tmp_path / "effective.yaml").write_text(str(config))
    again = HLRConfig(config_files=[tmp_path / "effective.yaml"])
    assert str(again) == str(config)
    options = defaults(model) if objective == "triplet" else SOFTMAX
    assert set(options) <= set(yaml.safe_load(str(config)))


def test_every_option_of_a_model_is_one_that_some_model_has():
    assert set(MODEL_OPTIONS) <= {*SOFTMAX, *(key for model in MODELS for key in defaults(model))}


def test_device_is_chosen_without_touching_the_environment(monkeypatch, toy):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    config = HLRConfig("HLR", options={**toy, "use_gpu": False})
    import os

    assert config["device"] == torch.device("cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"


WRONG = {
    "embedding_size": [0, -1, 1.5, "ten", True],
    "objective": ["hinge", 1, None],
    "scale": [0, -1.0, "x"],
    "geometry": ["cube", 1],
    "learn_scale": ["x", 1],
    "item_bias": ["x", 1],
    "candidates": ["some", 0, 1.5, True],
    "candidate_distribution": ["alike", 1],
    "user_weight": [-0.1, 1.1, "x"],
    "denominator_exponent": [0, "x"],
    "disliked": ["hated", True, 1],
    "disliked_weight": [0, -1, "x"],
    "negatives": ["hated", 2],
    "disliked_share": [-0.1, 1.1, "x"],
    "train_memory": [0, -1, "x", 1e10],
    "margin": [0, -0.2, "big", None, float("inf")],
    "max_norm": [0, -1, "x"],
    "negative_reduction": ["sum", 1, None],
    "negative_temperature": [0, "x"],
    "num_memories": [0, 2.5],
    "max_history": [0, None],
    "eval_history": ["some"],
    "history_sampling": ["popular"],
    "attend_user": ["yes", 1],
    "share_negative_relation": ["x"],
    "attention_smoothing": [0, 1.1],
    "clip_memories": [0],
    "direct_memory": [2, True],
    "max_memory_norm": [0, "x"],
    "initial_key_norm": [0, "x", None],
    "centre_memories": ["x", 1],
    "orthogonal_memories": ["x", 1],
    "protocol": ["papr", "Paper", None, True, ["paper"]],
    "test_history": ["all", "validation", None, True],
    "train_on": ["both", None, True],
    "folds": [0, 1, 1001, 2.0, True, "five"],
    "fold": [0, -1, 1001, 1.0, True, "one"],
    "fold_in_share": [0, 1, -0.5, 1.5, True, None, "most"],
    "item_attention": ["users", 1, None],
    "attend_target": ["yes", 1],
    "neighbour_weight": [-0.1, "x", None],
    "distance_weight": [-0.1, "x", None],
    "neighbour_refresh": ["step", 1, None],
    "pretrained_embeddings": [5, ""],
    "freeze_embeddings": ["x", 1, True],
    "regularization": [0, -1, "x", None],
    "regularization_scaling": [-0.1, 2.1, "x"],
    "confidence_weight": [0, -1, "x"],
    "cg_steps": [0, 2.5],
    "compile": ["yes", 1, None],
    "lazy_adam": ["yes", 1, None],
    "matmul_precision": ["bf16", 1, None],
    "epochs": [0, -3, 1.5],
    "train_batch_size": [0],
    "eval_batch_size": [0],
    "eval_memory": [0, -1],
    "learning_rate": [0, -1, "fast"],
    "learner": ["adamm", "sparse_adam"],
    "lr_scheduler": ["exponential", {"gamma": 0.9}, {"name": "nope"}, {"name": "exponential"}, {"name": "step", "x": 1}, {"name": "step", "step_size": 0}, {"name": "exponential", "gamma": "x"}, {"name": "LambdaLR"}, {"name": "step", "step_size": 5, "last_epoch": 3}],
    "weight_decay": [-1],
    "clip_grad_norm": [5, {"max_norm": -1}, {"norm": 1}, {"max_norm": 1, "norm_type": 0}],
    "train_neg_sample_args": [{"sample_num": 0}, {"distribution": "zipf"}, {"num": 1}, {"dynamic": True}, {"alpha": "x"}, {"sample_num": "none"}, {"distribution": None}, 5, None, {"distribution": "none"}],
    "eval_args": [{"split": {"RS": [1, 2]}}, {"split": {"XX": 1}}, {"mode": "fulll"}, {"order": "XO"}, {"groupby": "user"}, 3],
    "eval_step": [-1],
    "stopping_step": [-1],
    "topk": [0, [], [5, 0], "ten"],
    "metric_decimal_place": [-1],
    "cohorts": [-1, 1.5, None, True],
    "user_metrics": ["yes", 1, None],
    "seed": [-1, 1.5, 2**32],
    "show_progress": ["x"],
    "tensorboard": ["x"],
    "use_gpu": ["x"],
    "shuffle": ["x"],
    "reproducibility": ["x"],
    "state": ["LOUD"],
    "worker": [-1, "a"],
    "loss_decimal_place": ["x"],
    "gpu_id": ["0,1", [0, 1], -1, 1.5, None, True],
    "transform": ["foo", "mask_itemseq", 5, False],
    "data_path": [5, ""],
    "checkpoint_dir": [5, None],
    "NEG_PREFIX": [5],
    "encoding": ["foo", 5],
    "load_col": [{}, {"inter": "user_id"}, "x"],
    "benchmark_filename": [5, "train", ["a", "a"]],
    "val_interval": [4, {"rating": 4}, {"rating": ">=4"}, {"rating": "[4,inf"}, {"rating": "[4;5]"}],
    "user_inter_num_interval": ["abc", "[1,2", 5],
    "item_inter_num_interval": ["[x,2]"],
    "save_dataset": [True],
    "dataset": ["a/b", "..", 5],
    "metrics": [[], ["NDGC"], "Precission"],
    "valid_metric": ["NDCG@20", "AUC", "recall", 5, ""],
}  # fmt: skip


def model_with(option: str) -> str:
    """HLR or, where it has no such option, the first model that has."""
    return next((name for name in ("HLR", *MODELS) if option in defaults(name)), "HLR")


def test_every_checked_option_has_wrong_values_here():
    assert set(MODEL_OPTIONS) | set(RUN_OPTIONS) <= set(WRONG)


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in WRONG.items() for value in values]
)
def test_wrong_values_are_refused_with_name_place_and_range(toy, key, value):
    model = model_with(key)
    objective = "triplet" if key in load_yaml(objective_file("triplet")) else "softmax"
    with pytest.raises(InputError) as caught:
        HLRConfig(model, options={**toy, "objective": objective, key: value})
    text = str(caught.value)
    assert key in text
    assert "keyword argument" in text
    assert "must be" in text or key == "lr_scheduler", text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("model", "options", "allowed"),
    [
        ("HLR", {}, "false unless pretrained_embeddings is given"),
        ("CML", {"pretrained_embeddings": "runs/x"}, "false: CML has nothing else to learn"),
        ("AdaCML", {"pretrained_embeddings": "runs/x"}, "false: AdaCML has nothing else to learn"),
    ],
)
def test_tables_are_frozen_only_where_something_is_left_to_learn(toy, model, options, allowed):
    with pytest.raises(InputError, match=f"freeze_embeddings=True .*must be {allowed}"):
        HLRConfig(model, options={**toy, **options, "freeze_embeddings": True})
    options = {"pretrained_embeddings": "runs/x", "freeze_embeddings": True}
    assert HLRConfig("LRML", options={**toy, **options})["freeze_embeddings"]


def test_a_wrong_value_in_a_file_names_the_file(tmp_path, toy):
    (tmp_path / "my.yaml").write_text("scale: -0.2\n")
    with pytest.raises(InputError, match=r"scale=-0\.2 \(.*my\.yaml\): must be a number > 0"):
        HLRConfig("HLR", config_files=[tmp_path / "my.yaml"], options=toy)


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("lerning_rate", "learning_rate"), ("num_memory", "num_memories"), ("Epochs", "epochs"), ("qqqq", None)],
)
def test_unknown_keys_are_refused_with_the_nearest(toy, key, nearest):
    with pytest.raises(InputError, match=rf"{key} \(command line\): is no option of HLR") as caught:
        HLRConfig("HLR", options=toy, arguments=[f"--{key}=1"])
    assert (f"did you mean {nearest}?" in str(caught.value)) is (nearest is not None)


def test_an_option_of_another_model_is_unknown(toy):
    with pytest.raises(InputError, match="num_memories"):
        HLRConfig("CML", options={**toy, "num_memories": 5})


def test_texts_stay_as_they_are_written():
    words = [
        "--dataset=001",
        "--data_path=a #1",
        "--encoding=None",
        "--TIME_FIELD=null",
        "--checkpoint_dir=~/x",
    ]
    read = parse_arguments(words)
    assert (read["dataset"], read["data_path"], read["encoding"], read["TIME_FIELD"]) == (
        "001",
        "a #1",
        None,
        None,
    )
    assert read["checkpoint_dir"] == str(Path.home() / "x")
    with pytest.raises(InputError, match="must not be empty"):
        parse_arguments(["--checkpoint_dir="])


def test_keywords_may_be_paths_numpy_numbers_and_tuples(tmp_path, toy):
    more = {
        "data_path": tmp_path / "data",
        "learning_rate": np.float64(0.1),
        "topk": (5, 10),
        "embedding_size": np.int64(8),
    }
    config = HLRConfig("HLR", options={**toy, **more})
    assert (config["learning_rate"], config["topk"], config["embedding_size"]) == (0.1, [5, 10], 8)
    assert "learning_rate: 0.1" in str(config)


def test_metrics_without_a_cut(toy):
    config = HLRConfig("HLR", options={**toy, "metrics": ["GAUC", "NDCG"], "valid_metric": "GAUC"})
    assert config["valid_metric"] == "GAUC"


def test_yaml_merge_keys_and_quoted_names_of_files(tmp_path, toy):
    file = tmp_path / "with space.yaml"
    file.write_text("scale: 0.3\nlr_scheduler:\n  <<: {gamma: 0.5, name: cosine}\n  name: exponential\n")
    config = HLRConfig("HLR", options=toy, arguments=[f"--config_files=['{file}']"])
    assert config["lr_scheduler"] == {"name": "exponential", "gamma": 0.5}


@pytest.mark.parametrize(
    "text",
    [
        "scale: 1\nscale: 2",
        "lr_scheduler: {a: 1, a: 1}",
        "lr_scheduler: {<<: {a: 1}, a: 2, a: 3}",
        "lr_scheduler: {on: 1, true: 2}",
    ],
)
def test_a_key_given_twice_is_refused(tmp_path, toy, text):
    (tmp_path / "two.yaml").write_text(text)
    with pytest.raises(InputError, match=r"two\.yaml.*('scale'|'a'|True) is given twice"):
        HLRConfig("HLR", config_files=[tmp_path / "two.yaml"], options=toy)


@pytest.mark.parametrize("text", ["5: x", "on: true", "epochs: 2019-13-45"])
def test_keys_and_dates_that_are_none(tmp_path, toy, text):
    (tmp_path / "odd.yaml").write_text(text)
    with pytest.raises(InputError, match=r"odd\.yaml"):
        HLRConfig("HLR", config_files=[tmp_path / "odd.yaml"], options=toy)


@pytest.mark.parametrize(("name", "nearest"), [("HRL", "HLR"), ("LightGNC", "LightGCN"), ("EASY", "EASE")])
def test_unknown_models_are_refused_with_the_nearest(toy, name, nearest):
    with pytest.raises(InputError, match=rf"model={name}: is not known \(did you mean {nearest}\?\)"):
        HLRConfig(name, options=toy)


def test_sequential_models_are_refused(toy):
    with pytest.raises(InputError, match="SASRec"):
        HLRConfig("SASRec", options=toy)


@pytest.mark.parametrize("missing", ["model", "dataset"])
def test_model_and_data_set_must_be_given(toy, missing):
    toy = {**toy, "model": "HLR"}
    del toy[missing]
    with pytest.raises(InputError, match=f"--{missing}"):
        HLRConfig(options=toy)


@pytest.mark.parametrize("text", ["a: [1", "a: 1\na: 2\n", "- 1\n", "\x00", "just text"])
def test_damaged_files_are_refused_with_their_name(tmp_path, toy, text):
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"bad\.yaml"):
        HLRConfig("HLR", config_files=[file], options=toy)


def test_a_missing_file_is_refused(tmp_path, toy):
    with pytest.raises(InputError, match=r"none\.yaml: there is no such configuration file"):
        HLRConfig("HLR", config_files=[tmp_path / "none.yaml"], options=toy)
