"""The two protocols: what the paper's preset sets, what wins over it, and the history at test time."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from recbole_hlr import MODELS, InputError, load, prepare, run
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.interactions import HistoryBatch
from recbole_hlr.experiment.run import attending_for_test
from recbole_hlr.model import MetricRecommender
from recbole_hlr.options.protocol import SETTINGS_OF, one_protocol
from recbole_hlr.options.shipped import shipped
from recbole_hlr.options.yaml_values import load_yaml
from tests.golden import SHARED

CLASSES = sorted({model.__name__ for model in MODELS.values()})
WITH_HISTORY = sorted(
    {model.__name__ for model in MODELS.values() if getattr(model, "attends_to_history", False)}
)
METRIC = sorted({model.__name__ for model in MODELS.values() if issubclass(model, MetricRecommender)})
WITHOUT_LOSS = sorted({*CLASSES, "BPR"} - set(METRIC))
PUBLISHED = ("ml-20m", "echonest", "yelp", "amazon-books")
PAPER = "--protocol=paper"
PRESET = {
    "objective": "triplet",
    "eval_args": {
        "split": {"RS": [0.72, 0.08, 0.2]},
        "group_by": "none",
        "order": "RO",
        "mode": {"valid": "full", "test": "full"},
    },
    "epochs": 100,
    "stopping_step": 1000000,
    "valid_metric": "loss",
    "metrics": [
        "NDCG",
        "Recall",
        "Precision",
        "PaperNDCG",
        "PaperMRR",
        "PaperMAP",
        "PaperHitRate",
        "MedianPopularity",
    ],
    "cohorts": 5,
    "test_history": "training_and_validation",
}


def came_with_the_protocol(config: HLRConfig) -> set[str]:
    return {key for key, file in config.sources.items() if file.startswith(("protocol/", "paper/"))}


# --- what the preset sets, and what wins over it -----------------------------------------------------


@pytest.mark.parametrize("model", METRIC)
def test_the_preset_in_force(model):
    config = HLRConfig(model, "shop", arguments=[PAPER])  # for which nothing was published
    assert {key: config[key] for key in PRESET} == PRESET
    assert config["valid_metric_bigger"] is False
    assert {config.sources[key] for key in PRESET} == {"protocol/paper.yaml"}


def test_the_preset_names_options_that_every_model_has():
    known = set(HLRConfig("BPR", "ml-100k").final_config_dict)
    assert set(load_yaml(shipped("properties", "protocol", "paper.yaml"))) <= known


@pytest.mark.parametrize("model", CLASSES)
def test_a_standard_run_has_none_of_it(model):
    plain, named = HLRConfig(model, "ml-100k"), HLRConfig(model, "ml-100k", arguments=["--protocol=standard"])
    assert str(plain) == str(named)
    assert came_with_the_protocol(plain) == set()
    assert (plain["protocol"], plain["valid_metric"], plain["test_history"]) == (
        "standard",
        "NDCG@10",
        "training",
    )
    assert plain["eval_args"]["split"] == {"RS": [0.8, 0.1, 0.1]}
    assert plain["eval_args"]["group_by"] == "user"


def test_a_model_s_file_gives_way_to_the_published_settings():
    own, published = (
        load_yaml(shipped("properties", f)) for f in ("objective/triplet.yaml", "paper/ml-20m/HLR.yaml")
    )
    config = HLRConfig("HLR", "ml-20m", arguments=[PAPER])
    assert own["margin"] != published["margin"] == config["margin"] == 0.2
    assert config.sources["margin"] == "paper/ml-20m/HLR.yaml"
    assert config["learner"] == "adam"
    assert config["negative_temperature"] == own["negative_temperature"]  # nobody published one


@pytest.mark.parametrize("dataset", ["ml-100k", "ml-1m"])
def test_the_smaller_movielens_take_the_settings_of_the_largest_and_keep_their_own_filters(dataset):
    largest, smaller = (HLRConfig("HLR", name, arguments=[PAPER]) for name in ("ml-20m", dataset))
    published = load_yaml(shipped("properties", "paper", "ml-20m", "HLR.yaml"))
    assert {key: smaller[key] for key in published} == {key: largest[key] for key in published}
    assert smaller["user_inter_num_interval"] == "[10,inf)"
    assert smaller.sources["user_inter_num_interval"] == f"datasets/{dataset}.yaml"


@pytest.mark.parametrize("file", sorted(shipped("datasets").glob("*.yaml")), ids=lambda file: file.stem)
def test_no_data_set_s_file_undoes_the_preset(file):
    published = {key for name in shipped("properties", "paper").rglob("*.yaml") for key in load_yaml(name)}
    assert not set(load_yaml(file)) & (set(PRESET) | published)


def test_order_of_the_files():
    names = [name for _, name in HLRConfig("HLR", "ml-1m", arguments=[PAPER])._internal_files("HLR", "ml-1m")]
    assert names[-7:] == [
        "model/HLR.yaml", "objective/triplet.yaml", "protocol/paper.yaml", "paper/ml-20m/HLR.yaml",
        "dataset/sample.yaml", "dataset/ml-1m.yaml", "ml-1m.yaml",
    ]  # fmt: skip


def test_the_user_wins_over_the_protocol(tmp_path):
    file = tmp_path / "my.yaml"
    file.write_text("margin: 0.9\nepochs: 7\nlearning_rate: 0.5\nprotocol: paper\n")
    options = {"epochs": 8, "learning_rate": 0.6}
    config = HLRConfig("HLR", "ml-20m", [file], options, ["--learning_rate=0.7", "--test_history=training"])
    assert (config["margin"], config["epochs"], config["learning_rate"]) == (0.9, 8, 0.7)
    assert config["test_history"] == "training"
    assert config["num_memories"] == 20  # the rest of the preset stays
    assert [config.sources[key] for key in ("margin", "epochs", "learning_rate", "num_memories")] == [
        str(file), "keyword argument", "command line", "paper/ml-20m/HLR.yaml",
    ]  # fmt: skip
    part = HLRConfig("HLR", "ml-20m", arguments=[PAPER, "--eval_args={order: TO}"])["eval_args"]
    assert (part["order"], part["group_by"]) == ("TO", "none")


def test_the_effective_configuration_gives_itself(tmp_path):
    config = HLRConfig("HLR", "yelp", arguments=[PAPER, "--margin=0.9"])
    (tmp_path / "effective.yaml").write_text(str(config))
    assert str(HLRConfig(config_files=[tmp_path / "effective.yaml"])) == str(config)


@pytest.mark.parametrize("model", WITHOUT_LOSS)
def test_a_model_without_a_triplet_loss_keeps_a_metric_to_validate_by(model):
    config = HLRConfig(model, "shop", arguments=[PAPER])
    expected = {**PRESET, "valid_metric": "NDCG@10"}
    assert {key: config[key] for key in PRESET} == expected
    assert config.sources["valid_metric"] == "properties/overall.yaml"
    with pytest.raises(InputError, match="valid_metric=loss"):
        HLRConfig(model, "shop", arguments=[PAPER, "--valid_metric=loss"])


# --- the published settings --------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", PUBLISHED)
@pytest.mark.parametrize("model", CLASSES)
def test_published_settings_are_options_of_their_model_and_pass_the_checks(model, dataset):
    published = load_yaml(shipped("properties", "paper", dataset, f"{model}.yaml"))
    known = set(HLRConfig(model, "ml-100k", options={"objective": "triplet"}).final_config_dict)
    assert set(published) <= known
    config = HLRConfig(model, dataset, arguments=[PAPER])
    assert {key: config.requested[key] for key in published if key != "train_neg_sample_args"} == {
        key: value for key, value in published.items() if key != "train_neg_sample_args"
    }
    preset = set(PRESET) - ({"valid_metric"} if model in WITHOUT_LOSS else set())
    assert came_with_the_protocol(config) == set(published) | preset


RELEASED = {
    "learning_rate": "learning_rate",
    "train_batch_size": "batch_size",
    "embedding_size": "embedding_dim",
    "max_norm": "clip_norm",
    "margin": "margin",
    "num_memories": "num_memories",
    "max_history": "max_num_prefs",
    "share_negative_relation": "copy",
    "attention_smoothing": "beta",
    "neighbour_weight": "alpha_reg_nbr",
    "distance_weight": "alpha_reg_dist",
}


@pytest.mark.parametrize(
    ("model", "run_name"),
    [
        ("CML", "cml"),
        ("LRML", "lrml"),
        ("TransCF", "transcf"),
        ("AdaCML", "attcml"),
        ("HLR", "hlre"),
        ("HLRPP", "jpte"),
    ],
)
def test_settings_of_ml_20m_are_those_of_the_authors_code_as_it_was_run(model, run_name):
    record = SHARED.parent / "peer" / "ml-100k" / "results.json"
    if not record.is_file():
        pytest.skip(f"{record} is not there")
    settings = json.loads(record.read_text())["runs"][run_name]["settings"]
    published = load_yaml(shipped("properties", "paper", "ml-20m", f"{model}.yaml"))
    ours = {RELEASED[key]: value for key, value in published.items() if key in RELEASED}
    assert ours == {key: settings[key] for key in RELEASED.values() if key in settings}
    assert published["train_neg_sample_args"]["sample_num"] == settings["n_negatives"]
    assert PRESET["epochs"] == settings["epochs_run"]


def test_there_is_a_folder_for_each_published_data_set_and_no_other():
    assert {folder.name for folder in shipped("properties", "paper").iterdir()} == set(PUBLISHED)
    assert set(SETTINGS_OF.values()) <= set(PUBLISHED)
    assert not set(SETTINGS_OF) & set(PUBLISHED)


def test_every_line_of_the_yaml_files_says_its_type_and_source():
    for file in [
        *shipped("properties", "paper").rglob("*.yaml"),
        shipped("properties", "protocol", "paper.yaml"),
    ]:
        lines = [line for line in file.read_text().splitlines() if line[0] not in "# "]
        assert all(" # (" in line or line.startswith(("eval_args", "  ")) for line in lines), file


@pytest.mark.parametrize(
    ("dataset", "model", "said"),
    [
        ("ml-20m", "CML", "settings published for CML, paper/ml-20m/CML.yaml"),
        ("toy", "CML", "no settings were published for CML on toy; its own defaults apply"),
        ("ml-20m", "BPR", "no settings were published for BPR on ml-20m; its own defaults apply"),
    ],
)
def test_one_line_of_the_log_says_which_settings_apply(tmp_path, toy, dataset, model, said):
    (tmp_path / "data" / "toy").rename(tmp_path / "data" / dataset)
    (tmp_path / "data" / dataset / "toy.inter").rename(tmp_path / "data" / dataset / f"{dataset}.inter")
    unfiltered = {"user_inter_num_interval": None, "item_inter_num_interval": None, "val_interval": None}
    options = {**toy, **unfiltered, "dataset": dataset, "load_col": {"inter": ["user_id", "item_id"]}}
    logs = [
        Path(run(model, **options, protocol=protocol).run_dir, "log.txt").read_text().splitlines()
        for protocol in ("paper", "standard")
    ]
    (line,) = (line for line in logs[0] if "protocol" in line)
    assert line.endswith(f"protocol paper: {said}")
    assert not any("protocol" in line for line in logs[1])


def test_the_split_is_random_over_interactions(toy):
    experiment = prepare("CML", **toy, arguments=[PAPER])
    parts = (experiment.train_data, experiment.valid_data, experiment.test_data)
    sizes = [len(part.dataset) for part in parts]
    assert [round(size / sum(sizes), 2) for size in sizes] == pytest.approx([0.72, 0.08, 0.2], abs=0.02)
    left_out = set(range(1, experiment.dataset.user_num)) - set(
        parts[1].dataset.inter_feat["user_id"].tolist()
    )
    assert left_out  # by user, everybody with 5 interactions or more would have one


# --- the history at test time ------------------------------------------------------------------------


def far_apart(model: str) -> dict:
    """Options with which vectors grow long in a few steps, so that what is attended to changes the ranks."""
    free = {"max_memory_norm": None, "orthogonal_memories": False}
    options = {"learning_rate": 0.3, "max_norm": 3.0, **free}
    return {
        key: value for key, value in options.items() if key in HLRConfig(model, "ml-100k").final_config_dict
    }


def records(result) -> list[dict]:
    lines = [json.loads(line) for line in Path(result.run_dir, "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if "seconds" not in key} for line in lines]


@pytest.mark.parametrize("model", WITH_HISTORY)
def test_the_wider_history_changes_the_test_evaluation_and_nothing_else(toy, model):
    options = {**toy, **far_apart(model)}
    narrow, wide = (run(model, **options, test_history=h) for h in ("training", "training_and_validation"))
    assert wide.test != narrow.test
    assert wide.valid == narrow.valid
    assert records(wide) == records(narrow)
    states = [torch.load(f"{r.run_dir}/model.pth", weights_only=True) for r in (narrow, wide)]
    assert states[0]["data"]["items"].tolist() == states[1]["data"]["items"].tolist()
    for part in ("best", "last"):
        if states[0][part] is not None:
            weights = [state[part]["state_dict"] for state in states]
            assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    fitted = [load(result.run_dir).recommend(["u1", "u2"]) for result in (narrow, wide)]
    assert fitted[0].equals(fitted[1])  # a loaded model attends to the training part


@pytest.mark.parametrize("model", sorted({*CLASSES, "BPR"} - set(WITH_HISTORY)))
def test_models_without_a_history_to_attend_to_ignore_it(toy, model):
    narrow, wide = (run(model, **toy, test_history=h) for h in ("training", "training_and_validation"))
    assert wide.test == narrow.test


def items_by_user(*parts) -> dict[int, set[int]]:
    found: dict[int, set[int]] = {}
    for part in parts:
        pairs = part.dataset.inter_feat
        for user, item in zip(pairs["user_id"].tolist(), pairs["item_id"].tolist(), strict=True):
            found.setdefault(user, set()).add(item)
    return found


@pytest.mark.parametrize("model", WITH_HISTORY)
def test_test_metrics_by_hand(toy, model):
    """Recall@3 and NDCG@3 by loops, from distances to which histories of both parts are given by hand."""
    options = {**toy, **far_apart(model), "eval_history": "all", "topk": [3], "valid_metric": "NDCG@3"}
    experiment = prepare(model, **options, test_history="training_and_validation")
    trainer, net = experiment.trainer, experiment.model
    trainer.fit(experiment.train_data, experiment.valid_data)

    def distances(user: int, items: list[int], attended: list[int]) -> list[float]:
        history = HistoryBatch(
            torch.tensor([attended or [0]]), torch.tensor([[True] * len(attended) or [False]])
        )
        return net.pair_distances(torch.tensor([user]), torch.tensor([items]), history)[0].tolist()

    def by_hand(*parts) -> list[float]:
        attended, values = items_by_user(*parts), []
        known = items_by_user(experiment.train_data, experiment.valid_data)
        for user, wanted in items_by_user(experiment.test_data).items():
            others = sorted(set(range(1, net.n_items)) - known.get(user, set()))
            ranked = sorted(
                zip(distances(user, others, sorted(attended.get(user, set()))), others, strict=True)
            )
            hits = [item in wanted for _, item in ranked[:3]]
            gain = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits))
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(len(wanted), 3)))
            values.append((sum(hits) / len(wanted), gain / ideal))
        return [sum(column) / len(values) for column in zip(*values, strict=True)]

    def measured() -> list[float]:
        test = trainer.evaluate(experiment.test_data, load_best_model=False)
        return [test["recall@3"], test["ndcg@3"]]

    net.eval()
    with torch.no_grad():
        narrow, wide = by_hand(experiment.train_data), by_hand(experiment.train_data, experiment.valid_data)
    assert narrow != wide
    with attending_for_test(experiment):
        assert measured() == pytest.approx(wide)
    assert measured() == pytest.approx(narrow)  # and back again


def test_without_a_validation_part_there_is_nothing_to_add(toy):
    split = {"split": {"RS": [0.8, 0.0, 0.2]}, "group_by": "none"}
    narrow, wide = (
        run("HLR", **toy, eval_args=split, test_history=h) for h in ("training", "training_and_validation")
    )
    assert wide.test == narrow.test


# --- never in one table ------------------------------------------------------------------------------


def test_results_carry_their_protocol(toy):
    for words, name in (([], "standard"), ([PAPER], "paper")):
        result = run("CML", **toy, arguments=words)
        stored = json.loads(Path(result.run_dir, "result.json").read_text())
        assert stored["protocol"] == result.protocol == name


def test_runs_of_two_protocols_are_refused_in_one_table():
    standard, paper = SimpleNamespace(protocol="standard"), SimpleNamespace(protocol="paper")
    assert one_protocol([paper, paper]) == "paper"
    with pytest.raises(InputError, match="runs of paper and standard cannot stand in one table"):
        one_protocol([standard, paper, standard])


def test_a_run_cannot_change_its_protocol_when_it_is_resumed(toy):
    result = run("CML", **toy, objective="triplet")
    with pytest.raises(InputError, match=r"protocol=paper .*cannot change in a resumed run"):
        run(resume=result.run_dir, arguments=[PAPER])
