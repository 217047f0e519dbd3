"""Every option is taken, or refused in a sentence that names it, whatever its value."""

import math
import re
from pathlib import Path

import pytest
import recbole.config
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError, prepare
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.metrics.definitions import chosen_by
from recbole_hlr.model.registry import host_models
from recbole_hlr.options.host import CHOICES, CONDITIONS, PATHS, RANGES, host_option
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.train.schedule import check_schedule

TOY = {"dataset": "toy", "data_path": "data"}
HOST_FILES = Path(recbole.config.__file__).parents[1] / "properties" / "model"
MODELS = ("HLR++", "CML", "MF-ALS", "BPR", "EASE", "DiffRec", "NeuMF", "RecVAE", "ConvNCF", "SimpleX", "DMF")
often = settings(max_examples=120, deadline=None, derandomize=True)

INTEGERS = (0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 10**20, 10**400, -(10**20))
FLOATS = (0.0, -1.0, 0.5, 1.0, 1e-300, 1e30, 1e300, math.nan, math.inf, -math.inf)
numbers = st.sampled_from((*INTEGERS, *FLOATS))
names = [name for choices in CHOICES.values() for name in choices if isinstance(name, str)]
texts = st.sampled_from(["", " ", "foo", "1", "nan", "None", "[1", "true", "NDCG@5", "full", "ö\nü", *names])
inner_keys = st.sampled_from(["", "name", "gamma", "RS", "split", "mode", "sample_num", "alpha", "inter", 1])
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, texts),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(inner_keys, inner, max_size=3),
    max_leaves=6,
)


def options_of_model(model: str) -> list[str]:
    more = {"eval_batch_size", "gpu_id", "tail_ratio", "use_gpu"}  # recorded only where they are given
    return sorted((more | set(HLRConfig(model, options=TOY).requested)) - {"model", "dataset"})


options = st.sampled_from([(model, key) for model in MODELS for key in options_of_model(model)])


def refusal(call, *arguments, **more) -> str | None:
    """Return the sentence with which a call is refused; None where it is not."""
    try:
        call(*arguments, **more)
    except InputError as error:
        return str(error)
    return None


def check_refusal(text: str | None, key: str, source: str) -> None:
    if text is not None:
        assert re.search(rf"\b{key}\b.*\({source}\)", text), text
        assert "\n" not in text
        assert len(text) < 1000


@often
@given(options, values)
def test_any_value_of_any_option(option, value):
    model, key = option
    text = refusal(lambda: str(HLRConfig(model, options={**TOY, key: value})))
    check_refusal(text, key, "keyword argument")


@often
@given(options, texts | numbers.map(lambda n: f"{n:e}" if isinstance(n, float) else hex(n)) | values.map(str))
def test_any_text_of_any_option_on_a_command_line(option, text):
    model, key = option
    words = [f"--{key}={text}"]
    check_refusal(refusal(HLRConfig, model, options=TOY, arguments=words), key, "command line")


ARGUMENTS = ("gamma", "step_size", "milestones", "T_max", "T_0", "eta_min", "total_iters", "power", "max_lr")
schedules = st.fixed_dictionaries(
    {"name": st.sampled_from(["step", "MultiStep", "exponential", "cosine", "OneCycleLR", "polynomial", 5])},
    optional={key: values for key in ARGUMENTS},
)


@often
@given(schedules, st.sampled_from([1, 30, 10**9]))
def test_any_schedule(schedule, epochs):
    check_refusal(refusal(check_schedule, schedule, "here", epochs, 0.01), "lr_scheduler", "here")


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "exponential", "gamma": -1},
        {"name": "exponential", "gamma": math.nan},
        {"name": "exponential", "gamma": 1.1},  # infinite within the epochs, but not within the first
        {"name": "step", "step_size": 0},
        {"name": "step", "step_size": 2.5},
        {"name": "step", "step_size": 900, "gamma": "x"},
        {"name": "MultiStep", "milestones": ["a"]},
        {"name": "MultiStep", "milestones": [-5]},
        {"name": "CosineAnnealing", "T_max": 0},
        {"name": "CosineAnnealing", "T_max": 5000, "eta_min": -1},
        {"name": "OneCycle", "max_lr": 1, "total_steps": 999_999},
    ],
)
def test_schedules_that_give_no_learning_rate_in_some_epoch(schedule):
    with pytest.raises(InputError, match=r"lr_scheduler.*\(here\)"):
        check_schedule(schedule, "here", 1_000_000, 0.01)


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "exponential", "gamma": 0.999},
        {"name": "MultiStep", "milestones": [3, 5000]},
        {"name": "CosineAnnealing", "T_max": 5000},
        {"name": "ReduceLROnPlateau", "patience": 0},
        {"name": "OneCycle", "max_lr": 1, "total_steps": 10**9},
        {"name": "Cyclic", "base_lr": 0, "max_lr": 1, "step_size_down": None},
    ],
)
def test_schedules_of_many_epochs_are_taken_at_once(schedule):
    check_schedule(schedule, "here", 10**9, 0.01)


def test_every_option_of_a_host_model_has_a_range_or_choices():
    for model in host_models():
        file = HOST_FILES / f"{model}.yaml"
        for key, default in (load_yaml(file) if file.is_file() else {}).items():
            told = {key, f"{model}.{key}"} & {*RANGES, *CHOICES, *PATHS} or isinstance(default, bool)
            assert told, (model, key)
            option = host_option(model, key, default)
            assert option is not None, (model, key)
            assert option.check(default), (model, key, option.allowed)


def test_every_name_of_the_tables_is_an_option():
    files = {file.stem: load_yaml(file) for file in HOST_FILES.glob("*.yaml")}
    known = {key for content in files.values() for key in content} | {"tail_ratio", "MAX_ITEM_LIST_LENGTH"}
    for name in (*RANGES, *CHOICES, *PATHS):
        model, _, key = name.rpartition(".")
        assert key in (files[model] if model else known), name
    assert {model for one in CONDITIONS for model in one.models.split()} <= set(files)


@pytest.mark.parametrize(
    ("model", "options", "pattern"),
    [
        ("EASE", {"reg_weight": 0}, "reg_weight=0 .*must be a number > 0"),
        ("BPR", {"enable_amp": 3}, "enable_amp=3 .*must be true or false"),
        ("LightGCN", {"enable_amp": True}, "enable_amp=True .*must be false"),
        ("SimpleX", {"aggregator": "max"}, "aggregator=max .*must be one of mean, user_attention"),
        ("NeuMF", {"mlp_hidden_size": "[64,32]"}, "mlp_hidden_size=.*must be a list"),
        ("NeuMF", {"mlp_hidden_size": []}, "mlp_hidden_size=.*not empty"),
        ("NeuMF", {"dropout_prob": 1}, r"dropout_prob=1 .*must be a number in \[0, 1\)"),
        ("NeuMF", {"mf_train": False, "mlp_train": False}, "mf_train=False .*mf_train or mlp_train"),
        ("NeuMF", {"mf_pretrain_path": "none.pth"}, "mf_pretrain_path=.*must be a file that is there"),
        ("FISM", {"reg_weights": [0.1]}, "reg_weights=.*of 2 entries"),
        ("DGCF", {"n_factors": 5}, "n_factors=5 .*multiple of n_factors"),
        ("DGCF", {"embedding_size": 5}, "embedding_size=5 .*multiple of n_factors"),
        ("MultiVAE", {"latent_dimension": 7}, "latent_dimension=7 .*even"),
        ("ConvNCF", {"embedding_size": 16}, "embedding_size=16 .*large enough"),
        ("DiffRec", {"sampling_steps": 6}, "sampling_steps=6 .*sampling_steps <= steps"),
        ("DiffRec", {"time-aware": True}, "time-aware=True .*TIME_FIELD"),
        ("LDiffRec", {"n_cate": 2}, "n_cate=2 .*must be 1"),
        ("CML", {"valid_metric_bigger": False}, "valid_metric_bigger=False .*must be True"),
        ("CML", {"metrics": ["RMSE"]}, r"metrics=\['RMSE'\] .*eval_args=\{mode: labeled\}"),
        ("CML", {"metrics": ["RMSE", "NDCG"]}, "metrics=.*all of rankings, or all of ratings"),
        ("CML", {"nproc": 2}, "nproc=2 .*several processes are not supported"),
        ("BPR", {"ip": "localhost"}, "ip=localhost .*several processes are not supported"),
        ("CML", {"config_file": "a.yaml"}, "config_file .*is no option of CML"),
        ("CML", {"reg_weight": 1}, "reg_weight .*is no option of CML"),
        ("CML", {"MODEL_TYPE": 1}, "MODEL_TYPE .*is no option of CML"),
    ],
)
def test_what_would_crash_or_pass_in_silence(model, options, pattern):
    with pytest.raises(InputError, match=pattern):
        HLRConfig(model, options={**TOY, **options})


def test_a_number_too_long_to_be_written():
    with pytest.raises(InputError, match=r"epochs=\(too many digits\) .*must be finite"):
        HLRConfig("CML", options={**TOY, "epochs": 16**5000})


def test_an_integer_may_stand_for_a_number():
    assert repr(HLRConfig("FISM", options={**TOY, "alpha": 1})["alpha"]) == "1.0"


def test_a_single_metric_needs_no_list():
    assert HLRConfig("CML", options={**TOY, "metrics": "NDCG"})["metrics"] == ["NDCG"]


def test_an_option_that_recbole_spells_with_a_dash():
    arguments = ["--time-aware=true", "--load_col=null", "--learning-rate=0.5"]
    config = HLRConfig("DiffRec", options=TOY, arguments=arguments)
    assert (config["time-aware"], config["learning_rate"]) == (True, 0.5)


NONE = {"train_neg_sample_args": None}


@pytest.mark.parametrize("model", ["BPR", "LightGCN", "SimpleX", "SGL", "HLR"])
def test_models_that_learn_from_negatives_must_have_some(model):
    with pytest.raises(InputError, match=f"train_neg_sample_args=None .*{model} learns from negatives"):
        HLRConfig(model, options={**TOY, **NONE, "objective": "triplet"})


@pytest.mark.parametrize("model", ["MultiVAE", "EASE", "Pop", "MF-ALS"])
def test_models_without_negatives(model):
    assert HLRConfig(model, options={**TOY, **NONE}).requested["train_neg_sample_args"] is None


@pytest.mark.parametrize(
    ("model", "options", "pattern"),
    [
        ("NNCF", {"neigh_info_method": "knn", "neigh_num": 19}, "neigh_num=19 .*must be at most 18 with"),
        ("DGCF", {"train_batch_size": 999}, "train_batch_size=999 .*must be at most 108 for DGCF"),
    ],
)
def test_options_that_are_too_large_for_the_data(toy, model, options, pattern):
    toy.pop("train_batch_size")
    with pytest.raises(InputError, match=pattern):
        prepare(model, **{key: toy[key] for key in toy if key != "embedding_size"}, **options)


@pytest.mark.parametrize("model", ["MultiVAE", "EASE"])
def test_negatives_that_nothing_is_learned_from_cannot_be_dynamic(model):
    dynamic = {"train_neg_sample_args": {"dynamic": True, "candidate_num": 2}}
    with pytest.raises(InputError, match=f"train_neg_sample_args=.*{model} learns from no negatives"):
        HLRConfig(model, options={**TOY, **dynamic})


@pytest.mark.parametrize(
    ("metrics", "cuts", "chosen"),
    [
        (["Recall", "NDCG"], 10, "NDCG@10"),
        (["Recall", "NDCG"], [5, 20], "ndcg@5"),
        (["Hit", "MRR"], [5, 20], "hit@5"),
        ("AUC", [10], "auc"),
        ([], [10], "NDCG@10"),
    ],
)
def test_what_picks_the_best_epoch_where_the_default_is_not_reported(metrics, cuts, chosen):
    assert chosen_by("NDCG@10", metrics, cuts) == chosen


def test_a_cut_alone_chooses_the_metric_and_is_recorded(tmp_path):
    config = HLRConfig("CML", options=TOY, arguments=["--topk=5"])
    assert config["valid_metric"] == "ndcg@5"
    (tmp_path / "config.yaml").write_text(str(config))
    assert HLRConfig(config_files=[tmp_path / "config.yaml"])["valid_metric"] == "ndcg@5"
    with pytest.raises(InputError, match=r"valid_metric=NDCG@10 .*must be one of recall@5"):
        HLRConfig("CML", options={**TOY, "topk": 5, "valid_metric": "NDCG@10"})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SASRec", "sequential"),
        ("DeepFM", "context-aware"),
        ("KGAT", "knowledge-aware"),
        ("XGBoost", "decision tree"),
    ],
)
def test_other_kinds_of_models_are_known(name, kind):
    with pytest.raises(InputError, match=f"model={name}: is a {kind} model of RecBole; only general"):
        HLRConfig(name, options=TOY)


@pytest.mark.parametrize("model", [5, int, ["HLR"]])
def test_models_that_are_none(model):
    with pytest.raises(InputError, match="model="):
        HLRConfig(model, options=TOY)
