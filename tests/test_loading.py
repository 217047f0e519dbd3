"""What loading leaves out, of which part, and how that is told; data options that are wrong."""

import copy
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.loaders import build_loaders, interactions, load_split
from recbole_hlr.errors import InputError
from recbole_hlr.experiment.evaluate import evaluate
from recbole_hlr.experiment.run import prepare, run
from recbole_hlr.files import is_file
from recbole_hlr.options.table import DATA_OPTIONS
from recbole_hlr.search.search import tune

HEADER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
RATED = {"inter": ["user_id", "item_id", "rating"]}
QUICK = {"epochs": 1, "show_progress": False, "topk": 3, "valid_metric": "NDCG@3"}


def rows(users: int = 8, items: int = 12, ratings: int = 5) -> list[str]:
    """Three quarters of all pairs, with ratings 1 to `ratings`; user uN has at least seven items."""
    pairs = [(u, i) for u in range(users) for i in range(items) if (u + i) % 4]
    return [f"u{u}\ti{i}\t{(u * i) % ratings + 1}\t{10 * u + i}" for u, i in pairs]


def put(folder: Path, file: str, lines: list[str], header: str = HEADER) -> Path:
    """Write a file of the data set `small`; return the folder to give as `data_path`."""
    path = folder / "small" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(header + "".join(f"{line}\n" for line in lines))
    return folder


def options(folder: Path, **more: object) -> dict:
    return {"dataset": "small", "data_path": str(folder), **QUICK, **more}


def load(folder: Path, model: str = "CML", **more: object):
    """Return a data set, split, and the account of it."""
    data = load_split(HLRConfig(model, options=options(folder, **more)))
    return data, data.dataset.account.as_dict()


def refused(folder: Path, pattern: str, model: str = "CML", **more: object) -> None:
    with pytest.raises(InputError, match=pattern):
        prepare(model, **options(folder, **more))


def sizes(data) -> list[int]:
    return [len(part) for part in data.parts]


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("CML", {}),
        ("CML", {"train_neg_sample_args": {"distribution": "popularity", "sample_num": 2}}),
        ("BPR", {"eval_args": {"mode": "uni3"}}),
        ("MultiVAE", {}),
        ("Pop", {}),
        ("MF-ALS", {"eval_batch_size": 40}),
    ],
)
def test_a_configuration_stays_as_it_was_settled(tmp_path, model, more):
    """Neither the loaders nor anything else of a run writes into it."""
    put(tmp_path, "small.inter", rows())
    config = HLRConfig(model, options=options(tmp_path, **more))
    before = copy.deepcopy(config.final_config_dict)
    build_loaders(config, load_split(config))
    assert config.final_config_dict == before
    experiment = prepare(model, **options(tmp_path, **more))
    experiment.trainer.fit(experiment.train_data, experiment.valid_data)
    experiment.trainer.evaluate(experiment.test_data)
    assert experiment.trainer.config is experiment.config
    assert experiment.config.final_config_dict == before


# --- the account -------------------------------------------------------------------------------------


def test_every_step_of_loading_stands_in_the_account(tmp_path):
    """One row without a user, one without an item, four repeated, 14 below 3, item i0's, then user u9."""
    good = rows()
    lines = ["\ti1\t5\t1", "u1\tNA\t5\t1", *good, *good[:4], "u9\ti1\t5\t99"]
    put(tmp_path, "small.inter", lines)
    put(tmp_path, "small.item", [f"i{i}\t1" for i in range(1, 12)], "item_id:token\tprice:float\n")
    _, account = load(
        tmp_path,
        load_col={"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "price"]},
        rm_dup_inter="last",
        val_interval={"rating": "[3,inf)"},
        user_inter_num_interval="[2,inf)",
    )
    rating = [int(line.split("\t")[2]) for line in good]
    high = [line for line, value in zip(good, rating, strict=True) if value >= 3]
    of_i0 = sum(line.split("\t")[1] == "i0" for line in high)
    assert account["read"] == len(lines)
    assert account["left_out"] == {
        "missing_id": 2,
        "rm_dup_inter": 4,
        "val_interval": sum(value < 3 for value in rating),
        **({"filter_inter_by_user_or_item": of_i0} if of_i0 else {}),
        "inter_num_interval": 1,
    }
    assert account["kept"] == len(high) - of_i0


def test_the_account_is_in_the_log_and_in_the_results(tmp_path, caplog):
    put(tmp_path, "small.inter", ["nan\ti1\t5\t1", *rows()])
    put(tmp_path, "small.item", [f"i{i}\t1" for i in range(6)], "item_id:token\tprice:float\n")
    given = options(
        tmp_path,
        load_col={"inter": ["user_id", "item_id"], "item": ["item_id", "price"]},
        checkpoint_dir=str(tmp_path / "runs"),
    )
    result = run("CML", **given)
    half = sum(int(line.split("\t")[1][1:]) > 5 for line in rows())
    assert result.interactions == {
        "read": len(rows()) + 1,
        "left_out": {"missing_id": 1, "filter_inter_by_user_or_item": half},
        "kept": len(rows()) - half,
    }
    assert (
        json.loads((Path(result.run_dir) / "result.json").read_text())["interactions"] == result.interactions
    )
    log = (Path(result.run_dir) / "log.txt").read_text()
    assert f"{half} whose user or item has no row in the .user or .item file" in log
    assert "small: 1 rows without user_id or item_id are left out, the first is row 1" in log
    assert evaluate(result.run_dir).interactions == result.interactions
    with caplog.at_level("INFO"):
        prepare("CML", **given)
    assert f"{len(rows()) - half} kept" in caplog.text


@pytest.mark.parametrize(
    "lines", [["\ti1\t5\t1", "u1\t\t5\t1"], ["NA\ti1\t5\t1"], ["u1\tnull\t5\t1", "\t\t\t"]]
)
def test_rows_without_an_id(tmp_path, lines):
    for at in (0, 5):
        put(tmp_path, "small.inter", [*rows()[:at], *lines, *rows()[at:]])
        data, account = load(tmp_path)
        assert account["left_out"] == {"missing_id": len(lines)}
        assert sum(sizes(data)) == account["kept"] == len(rows())


def test_side_files_without_an_id_and_with_repeated_rows(tmp_path):
    put(tmp_path, "small.inter", rows())
    lines = ["i0\t1", "i0\t2", "\t3", "i1\t1"]
    put(tmp_path, "small.item", lines, "item_id:token\tprice:float\n")
    data, account = load(
        tmp_path, load_col={"inter": ["user_id", "item_id"], "item": "*"}, topk=2, valid_metric="NDCG@2"
    )
    assert data.dataset.item_num == 3
    assert account["kept"] == sum(line.split("\t")[1] in ("i0", "i1") for line in rows())


def test_no_temporary_folder(tmp_path, monkeypatch):
    def missing() -> None:
        raise FileNotFoundError(2, "No usable temporary directory found")

    put(tmp_path, "small.inter", rows())
    monkeypatch.setattr("tempfile.TemporaryDirectory", missing)
    refused(tmp_path, r"small\.inter: a copy of its header cannot be written .*set TMPDIR")


def test_a_mistake_of_our_own_is_no_mistake_of_the_user(tmp_path, monkeypatch):
    def broken(data: object) -> None:
        raise broken.error

    put(tmp_path, "small.inter", rows())
    monkeypatch.setattr("recbole_hlr.data.atomic.check_options", broken)
    for broken.error in (AttributeError("x"), KeyError("x"), ValueError("x"), TypeError("x")):
        with pytest.raises(type(broken.error)) as caught:
            load(tmp_path)
        assert not isinstance(caught.value, InputError)


@pytest.mark.parametrize(("given", "kept"), [(False, 8), (None, 8), ("first", 4), ("last", 4)])
def test_repeated_pairs(tmp_path, given, kept):
    put(tmp_path, "small.inter", [*rows(), *rows()[:4]])
    config = HLRConfig("CML", options=options(tmp_path, rm_dup_inter=given))
    assert load_split(config).dataset.inter_num == len(rows()) - 4 + kept
    assert config.requested["rm_dup_inter"] == (given or None)


# --- parts that are given ----------------------------------------------------------------------------


def parts(folder: Path, names: tuple[str, ...] = ("train", "valid", "test")) -> Path:
    """Write the rows in turn to the parts, most of them to the first."""
    for n, name in enumerate(names):
        put(folder, f"small.{name}.inter", [r for k, r in enumerate(rows()) if max(k % 6 - 3, 0) == n])
    return folder


@pytest.mark.parametrize("option", ["val_interval", "threshold"])
def test_filters_by_value_apply_to_every_part(tmp_path, option):
    given = {"rating": "[4,inf)"} if option == "val_interval" else {"rating": 4}
    named = {"benchmark_filename": ["train", "valid", "test"], "load_col": RATED}
    whole, _ = load(parts(tmp_path), **named)
    data, account = load(tmp_path, **named, **{option: given})
    expected = [int((part.inter_feat["rating"] >= 4).sum()) for part in whole.parts]
    assert sizes(data) == expected
    assert account["left_out"] == {option: sum(sizes(whole)) - sum(expected)}
    assert data.dataset.config.requested[option] == given


def test_rows_of_parts_without_an_id_or_a_side_row(tmp_path):
    parts(tmp_path)
    test = tmp_path / "small" / "small.test.inter"
    before = len(test.read_text().splitlines()) - 1
    test.write_text(test.read_text() + "\ti1\t5\t1\nu1\ti99\t5\t1\n")
    put(tmp_path, "small.item", [f"i{i}\t1" for i in range(12)], "item_id:token\tprice:float\n")
    named = {"benchmark_filename": ["train", "valid", "test"]}
    data, account = load(
        tmp_path,
        **named,
        load_col={"inter": ["user_id", "item_id"], "item": "*"},
        topk=2,
        valid_metric="NDCG@2",
    )
    assert account["left_out"] == {"missing_id": 1, "filter_inter_by_user_or_item": 1}
    assert sizes(data)[2] == before
    assert int(data.parts[2].inter_feat["user_id"].min()) > 0


@pytest.mark.parametrize("value", ["first", "last"])
def test_repeated_pairs_of_parts_are_refused(tmp_path, value):
    named = {"benchmark_filename": ["train", "valid", "test"], "rm_dup_inter": value}
    refused(
        parts(tmp_path), rf"rm_dup_inter={value} \(keyword argument\): must be null with benchmark", **named
    )


@pytest.mark.parametrize("option", ["user_inter_num_interval", "item_inter_num_interval"])
def test_counts_over_parts_are_refused_or_not_recorded(tmp_path, option):
    named = {"benchmark_filename": ["train", "valid", "test"]}
    refused(
        parts(tmp_path), f"{option}=.*must be null with benchmark_filename", **named, **{option: "[5,inf)"}
    )
    config = HLRConfig("CML", options=options(tmp_path, **named, **{option: "[0,inf)"}))
    assert config.requested[option] is config[option] is None


@pytest.mark.parametrize("way", [{"split": {"RS": [5, 2, 3]}}, {"order": "TO"}, {"group_by": "none"}])
def test_parts_that_are_given_are_not_said_to_be_split(tmp_path, way):
    named = {"benchmark_filename": ["train", "valid", "test"]}
    pattern = f"eval_args=.*{next(iter(way))}.*must be left out with benchmark_filename"
    refused(parts(tmp_path), pattern, **named, eval_args=way)
    config = HLRConfig("CML", options=options(tmp_path, **named, eval_args={"mode": "uni5"}))
    assert config.requested["eval_args"] == {"mode": "uni5"}


def test_a_label_that_is_not_loaded_is_told(tmp_path, caplog):
    put(tmp_path, "small.inter", [f"u{n % 4}\ti{n}\t{n % 2}" for n in range(24)],
        "user_id:token\titem_id:token\tlabel:float\n")  # fmt: skip
    load(tmp_path, load_col={"inter": ["user_id", "item_id", "label"]})
    assert "is not loaded" not in caplog.text
    load(tmp_path, load_col={"inter": ["user_id", "item_id"]})
    assert "column label (LABEL_FIELD) is not loaded" in caplog.text


def test_split_data_serve_equal_options_and_refuse_other_uses_of_labels(tmp_path, monkeypatch):
    put(tmp_path, "small.inter", [f"u{n % 4}\ti{n}\t{n % 3 % 2}" for n in range(48)],
        "user_id:token\titem_id:token\tlabel:float\n")  # fmt: skip
    given = options(tmp_path, load_col={"inter": ["user_id", "item_id", "label"]})
    data = load_split(HLRConfig("BPR", options={**given, "eval_args": {"split": {"RS": [7, 2, 1]}}}))
    monkeypatch.chdir(tmp_path.parent)
    same = {**given, "eval_args": {"split": {"RS": [0.7, 0.2, 0.1]}}, "data_path": tmp_path.name}
    prepare("CML", data=data, **same)
    with pytest.raises(InputError, match=r"data=list .*must be what load_split returns"):
        prepare("CML", data=data.parts, **same)
    with pytest.raises(InputError, match="label 0 are not in it to train by"):
        prepare("NeuMF", data=data, train_neg_sample_args=None, **same)
    rated = {"mode": "labeled", "split": {"RS": [7, 2, 1]}}
    with pytest.raises(InputError, match="label 0 are not in it to validate by"):
        prepare("CML", data=data, **{**same, **RATE, "eval_args": rated})
    with pytest.raises(InputError, match=r"topk=\[3, 500\].*must be at most"):
        prepare("CML", data=data, **{**same, "topk": [3, 500]})
    with pytest.raises(InputError, match="eval_args"):
        prepare("CML", data=data, **{**same, "eval_args": {"split": {"RS": [8, 1, 1]}}})


def test_filters_of_a_shipped_configuration_do_not_block_parts(tmp_path):
    """Those of yelp.yaml are of the whole data set, but for its threshold, which needs the ratings."""
    named = {"benchmark_filename": ["train", "test"], "data_path": str(tmp_path)}
    config = HLRConfig("CML", "yelp", options=named)
    assert [config.requested[key] for key in ("rm_dup_inter", "user_inter_num_interval")] == [None, None]
    assert config.requested["val_interval"] == {"rating": "[4,inf)"}
    config = HLRConfig("CML", "yelp", options={**named, "load_col": {"inter": ["user_id", "item_id"]}})
    assert config.requested["val_interval"] is None
    with pytest.raises(InputError, match="rm_dup_inter=last"):
        HLRConfig("CML", "yelp", options={**named, "rm_dup_inter": "last"})


@pytest.mark.parametrize(
    "names", [["train", "test", "test"], ["train", "train"], ["train"], ["a", "b", "c", "d"]]
)
def test_parts_are_two_or_three_and_different(tmp_path, names):
    refused(parts(tmp_path), r"benchmark_filename=.*\[train, valid, test\] or \[train, test\]",
            benchmark_filename=names)  # fmt: skip


@pytest.mark.parametrize("model", ["CML", "Pop"])
def test_two_parts(tmp_path, model):
    """Nothing is validated: the last epoch counts, a search refuses, an evaluation works."""
    named = options(parts(tmp_path, ("train", "test")), benchmark_filename=["train", "test"])
    named |= {"checkpoint_dir": str(tmp_path / "runs"), "epochs": 2, "stopping_step": 1}
    result = run(model, **named)
    assert (result.valid, result.best_valid_score, result.epochs) == ({}, None, 2 if model == "CML" else 1)
    assert result.test["ndcg@3"] == evaluate(result.run_dir).test["ndcg@3"]
    if model == "CML":
        with pytest.raises(InputError, match="the validation part is empty"):
            tune("CML", space={"scale": {"choice": [1.0]}}, **named)


def test_parts_that_are_empty_or_differ(tmp_path, caplog):
    named = {"benchmark_filename": ["train", "valid", "test"]}
    put(parts(tmp_path), "small.valid.inter", [])
    data, _ = load(tmp_path, **named)
    assert sizes(data)[1] == 0
    assert "small.valid.inter: has a header and no row" in caplog.text
    put(tmp_path, "small.train.inter", [])
    refused(tmp_path, r"small\.train\.inter: has a header and no row", **named)
    put(parts(tmp_path), "small.test.inter", ["u1\ti1\t5"], "user_id:token\titem_id:token\trating:token\n")
    refused(tmp_path, r"small\.test\.inter: its columns", **named, load_col=RATED)


# --- labels ------------------------------------------------------------------------------------------


def labelled(folder: Path) -> Path:
    lines = [line.split("\t") for line in rows()]
    made = [f"{u}\t{i}\t{int(int(rating) > 2)}\t{rating}" for u, i, rating, _ in lines]
    return put(folder, "small.inter", made, "user_id:token\titem_id:token\tlabel:float\trating:float\n")


LABEL = {"inter": ["user_id", "item_id", "label"]}
POSITIVE = sum(int(line.split("\t")[2]) > 2 for line in rows())


@pytest.mark.parametrize("by", ["label", "threshold", "val_interval"])
def test_labels_and_thresholds_make_positives(tmp_path, by):
    """In ranking, three ways to say the same give the same interactions in the same parts."""
    given = {
        "label": {"load_col": LABEL},
        "threshold": {"load_col": RATED, "threshold": {"rating": 3}},
        "val_interval": {"load_col": RATED, "val_interval": {"rating": "[3,inf)"}},
    }
    experiment = prepare("CML", **options(labelled(tmp_path), **given[by]))
    account = experiment.dataset.account.as_dict()
    assert account["left_out"] == {by: len(rows()) - POSITIVE}
    users, items = interactions(experiment.train_data.dataset)
    data = experiment.dataset
    train = {(data.id2token("user_id", int(u)), data.id2token("item_id", int(i)))
             for u, i in zip(users, items, strict=True)}  # fmt: skip
    low = {tuple(line.split("\t")[:2]) for line in rows() if int(line.split("\t")[2]) < 3}
    assert train
    assert not train & low


RATE = {"metrics": ["AUC"], "valid_metric": "AUC", "eval_args": {"mode": "labeled"}}


def test_labels_that_are_learned_from_stay(tmp_path):
    given = options(labelled(tmp_path), load_col=LABEL, train_neg_sample_args=None, mlp_hidden_size=[4])
    data = load_split(HLRConfig("NeuMF", options={**given, **RATE}))
    assert data.dataset.account.as_dict()["left_out"] == {}
    assert set(data.parts[0].inter_feat["label"].tolist()) == {0.0, 1.0}
    ranked = load_split(HLRConfig("NeuMF", options=given))  # learned from, but not ranked
    assert set(ranked.parts[0].inter_feat["label"].tolist()) == {0.0, 1.0}
    assert set(ranked.parts[2].inter_feat["label"].tolist()) == {1.0}
    result = run("NeuMF", **{**given, **RATE}, checkpoint_dir=str(tmp_path / "runs"))
    assert 0 <= result.test["auc"] <= 1


@pytest.mark.parametrize("by", [{"load_col": LABEL}, {"load_col": RATED, "threshold": {"rating": 3}}])
def test_labels_that_are_rated_by_stay_where_they_are_rated(tmp_path, by):
    data, _ = load(labelled(tmp_path), **by, **RATE)
    assert set(data.parts[0].inter_feat["label"].tolist()) == {1.0}
    assert set(data.parts[2].inter_feat["label"].tolist()) == {0.0, 1.0}
    account = data.dataset.account
    assert account.kept == sum(sizes(data))
    assert set(account.left_out) == {"negative"}


@pytest.mark.parametrize(
    ("more", "pattern"),
    [
        (
            {"LABEL_FIELD": "rating", "load_col": RATED},
            r"LABEL_FIELD=rating .*holds \d; a label must be 0 or 1",
        ),
        (
            {"threshold": {"rating": 3}},
            r"threshold=.*needs the column rating, which is not loaded .*load_col",
        ),
        ({"threshold": {"rating": 3}, "load_col": {"inter": "*"}}, "label must not be loaded too"),
        ({"threshold": {"user_id": 3}}, "must name columns of type float, and user_id is token"),
        ({"threshold": {"rating": 3, "label": 1}}, "must be a mapping .* of one column"),
        ({"LABEL_FIELD": "user_id"}, "LABEL_FIELD=user_id .*must differ from USER_ID_FIELD"),
        ({"eval_args": {"mode": "labeled"}}, "mode: labeled: needs the column LABEL_FIELD=label"),
    ],
)
def test_labels_that_cannot_be_meant(tmp_path, more, pattern):
    refused(labelled(tmp_path), pattern, **more)


def test_a_model_without_negatives_needs_labels(tmp_path):
    refused(labelled(tmp_path), "NeuMF without train_neg_sample_args.*column LABEL_FIELD=label", model="NeuMF",
            train_neg_sample_args=None)  # fmt: skip


# --- files and headers -------------------------------------------------------------------------------


def test_a_copy_of_ml_100k_in_the_given_folder_is_taken(tmp_path):
    folder = put(tmp_path, "ml-100k.inter", rows())
    (folder / "small").rename(folder / "ml-100k")
    own = HLRConfig("CML", "ml-100k", options={"data_path": str(folder)})
    assert own["data_path"] == str(folder / "ml-100k")
    assert own.requested["data_path"] == str(folder)
    (folder / "ml-100k" / "ml-100k.inter").rename(folder / "ml-100k" / "u.data")
    with pytest.raises(InputError, match=r"there is no file .*ml-100k\.inter"):
        prepare("Pop", "ml-100k", data_path=str(folder))
    wheel = HLRConfig("CML", "ml-100k", options={"data_path": str(folder / "ml-100k")})
    assert is_file(Path(wheel["data_path"]) / "ml-100k.inter")
    assert wheel["data_path"] == HLRConfig("CML", "ml-100k")["data_path"]


@pytest.mark.parametrize("text", ["", "\n", "\nuser_id:token\titem_id:token\nu\ta\n"])
def test_files_without_a_header(tmp_path, text):
    (tmp_path / "small").mkdir()
    (tmp_path / "small/small.inter").write_text(text)
    refused(tmp_path, r"small\.inter, line 1: is empty; must be name:type of every column")


IDS = {"inter": ["user_id", "item_id"], "user": ["user_id"], "item": ["item_id"]}


@pytest.mark.parametrize("suffix", IDS)
@pytest.mark.parametrize(
    ("kind", "columns", "lines", "pattern"),
    [
        (":token", ["x:token", "x:float"], [], "line 1: column x is given twice"),
        (":float", ["x:token"], [], "line 1: column {id}:float must be {id}:token, for it holds ids"),
        (":token", ["x"], [], "line 1: column 'x' must be name:type"),
        (":token", ["x:token"], [], "has a header and no row below it"),
        (":token", ["x:token_seq"], ["", " "], "has a header and no row below it"),
        (":token", ["x:token"], ["a\tb"], "line 2: has {more} columns; must have {columns}"),
        (":token", ["x:token"], ["a", "a\tb"], "line 3: has {more} columns; must have {columns}"),
        (":token", ["x:float"], ["b"], "line 2: x=b must be a number"),
        (None, ["x:token"], ["b"], r"its column {id} \(..*_ID_FIELD\) is not loaded"),
        ("\ufeff", ["x:token"], ["b"], "byte order mark"),
    ],
)
def test_wrong_headers_of_every_file(tmp_path, suffix, kind, columns, lines, pattern):
    ids = [] if kind is None else [name + kind.replace("\ufeff", ":token") for name in IDS[suffix]]
    header = "\t".join([*ids, *columns])
    put(tmp_path, "small.inter", rows())
    written = ["\t".join([*("a" for _ in ids), line]) if line.strip() else line for line in lines]
    put(tmp_path, f"small.{suffix}", written, ("\ufeff" if kind == "\ufeff" else "") + header + "\n")
    sizes = {"columns": len(ids) + 1, "more": len(ids) + 2, "id": IDS[suffix][0]}
    refused(tmp_path, rf"small\.{suffix}.*" + pattern.format(**sizes), load_col=None)
    if suffix != "inter":
        load(tmp_path)  # what is not loaded need not be right


def test_a_column_of_two_files(tmp_path):
    put(tmp_path, "small.inter", rows())
    put(tmp_path, "small.item", ["i1\t3"], "item_id:token\trating:float\n")
    refused(tmp_path, r"small\.item: column rating is loaded from the \.inter file too", load_col=None)


def test_a_time_that_is_no_number(tmp_path):
    lines = ["\t".join(line.split("\t")[:3]) for line in rows()]
    put(tmp_path, "small.inter", lines, "user_id:token\titem_id:token\ttimestamp:token\n")
    refused(tmp_path, "TIME_FIELD=timestamp .*must be a column timestamp:float, and is timestamp:token",
            load_col=None, eval_args={"order": "TO"})  # fmt: skip


@pytest.mark.parametrize(
    ("more", "pattern"),
    [
        ({"val_interval": {"rating": "[4,inf)"}},
         r"needs the column rating, which is not loaded .*give --load_col={inter: \[user_id, item_id, rating\]}"),
        ({"val_interval": {"stars": "[4,inf)"}}, r"needs the column stars, which is not loaded.*load_col"),
        ({"normalize_field": ["rating"]}, r"normalize_field=.*needs the column rating.*--load_col="),
        ({"numerical_features": ["item_id"]}, "must name columns of type float or float_seq"),
        ({"alias_of_user_id": ["friend"]}, "alias_of_user_id=.*needs the column friend"),
        ({"alias_of_user_id": ["item_id"]}, "should not have the same field"),
        ({"unload_col": {"inter": ["rating"]}}, r"unload_col=.*must be null where load_col names"),
        ({"unload_col": {"inter": ["user_id"]}, "load_col": None}, r"its column user_id \(USER_ID_FIELD\) is not"),
        ({"unload_col": {"inter": ["stars"]}, "load_col": None}, "has no column stars"),
        ({"unused_col": {"inter": ["user_id"]}}, "must not name user_id"),
        ({"unused_col": {"intr": ["rating"]}}, r"unused_col=.*must name files that are loaded, and \.intr is not"),
        ({"load_col": {"inter": ["rating"]}}, r"its column user_id \(USER_ID_FIELD\) is not loaded"),
        ({"ITEM_ID_FIELD": "user_id"}, "ITEM_ID_FIELD=user_id .*must differ from USER_ID_FIELD"),
        ({"USER_ID_FIELD": "neg_item_id"}, "NEG_PREFIX=neg_ .*must be no other column"),
        ({"additional_feat_suffix": ["kg"]}, r"Additional feature file .*small\.kg\] not found"),
        ({"dataset": "x" * 300}, "cannot be read"),
    ],
)  # fmt: skip
def test_options_that_do_not_suit_the_columns(tmp_path, more, pattern):
    put(tmp_path, "small.inter", rows())
    refused(tmp_path, pattern, **more)


@pytest.mark.parametrize(
    ("path", "there"), [("small", False), ("small.inter", True), ("small.inter/x", False)]
)
def test_files_that_are_there(tmp_path, path, there):
    put(tmp_path, "small.inter", [])
    assert is_file(tmp_path / "small" / path) is there


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_files_that_cannot_be_looked_for(tmp_path, path):
    with pytest.raises(InputError, match="cannot be read"):
        is_file(tmp_path / path)


def test_a_folder_that_may_not_be_entered(tmp_path, monkeypatch):
    def stat(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    put(tmp_path, "small.inter", rows())
    monkeypatch.setattr("recbole_hlr.files.os.stat", stat)
    refused(tmp_path, r"cannot be read \(Permission denied\)")


# --- users who have every item -----------------------------------------------------------------------


def greedy(folder: Path) -> Path:
    return put(folder, "small.inter", [*rows(), *(f"all\ti{i}\t5\t1" for i in range(12))])


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("EASE", {}),
        ("EASE", {"eval_args": {"mode": "uni3"}}),  # as many as there are, here none
        ("MF-ALS", {}),
        ("MultiVAE", {"latent_dimension": 2, "mlp_hidden_size": [4]}),
        ("Pop", {"train_neg_sample_args": None}),
    ],
)
def test_a_user_with_every_item_where_none_is_drawn_for_them(tmp_path, model, more):
    experiment = prepare(model, **options(greedy(tmp_path), **more))
    assert len(next(iter(experiment.train_data))) > 0
    assert len(next(iter(experiment.test_data))) > 0


@pytest.mark.parametrize(
    ("model", "more"),
    [
        ("BPR", {}),
        ("CML", {"objective": "triplet"}),
        ("CML", {"objective": "triplet", "train_neg_sample_args": {"distribution": "popularity"}}),
    ],
)
def test_a_user_with_every_item_for_whom_some_would_be_drawn(tmp_path, model, more):
    refused(greedy(tmp_path), "user all has interacted with all 12 items", model=model, **more)


# --- values of data options --------------------------------------------------------------------------

HUGE = 10**20
WRONG = {
    "data_path": [5, ""],
    "encoding": ["base64", "hex", "rot13", "zip", "undefined", "a\0b", "foo", 5],
    "field_separator": ["", 3, "\n", '"', "((", "a*", None],
    "seq_separator": ["", 3, None],
    "USER_ID_FIELD": ["", 3, None],
    "ITEM_ID_FIELD": [[]],
    "LABEL_FIELD": [None],
    "TIME_FIELD": [3],
    "NEG_PREFIX": ["", None],
    "load_col": [3, {}, {"inter": "user_id"}, {"inter": [1]}, {"inter": [{"a": 1}]}, {1: []}, {"user": "*"}],
    "unload_col": [3, ["rating"], {"inter": "rating"}, {"inter": [[1]]}],
    "unused_col": [3, "rating", {"inter": 3}, {"inter": "*"}],
    "additional_feat_suffix": [3, [3], {"kg": 1}],
    "benchmark_filename": [["a"], ["a", "a"], "train", ["a", "b", 3], []],
    "rm_dup_inter": ["maybe", True, 3, "False", ["first"]],
    "val_interval": [3, {"rating": "[4"}, {"rating": "[4,2]"}, {"rating": "[1,2][3,4]"}, {"rating": "[1,2];"},
                     {"user_id": [["a"]]}, {"rating": 4}, {3: "[1,2]"}],
    "filter_inter_by_user_or_item": ["maybe", 3, None],
    "user_inter_num_interval": ["x", "[5,1]", 5, "[nan,inf)"],
    "item_inter_num_interval": ["[1,2];"],
    "threshold": [3, {}, {"rating": "x"}, {"rating": True}, {"a": 1, "b": 2}, {"rating": float("nan")}],
    "seq_len": [3, {"x": 0}, {"x": 1.5}],
    "alias_of_user_id": ["friend", [3], ["a", "a"]],
    "alias_of_item_id": [{"a": 1}],
    "numerical_features": ["rating", None, [3]],
    "normalize_field": ["rating", [[1]]],
    "normalize_all": ["maybe", 3],
    "discretization": [3, {"rating": "ED"}, {"rating": {"method": "ED"}}, {"rating": {"method": "XX"}},
                       {"rating": {"method": "ED", "bucket": 0}}],
    "preload_weight": [3, {"a": ["b"]}],
}  # fmt: skip


def test_every_data_option_has_wrong_values_here():
    assert set(WRONG) == set(DATA_OPTIONS)


@pytest.mark.parametrize(("key", "value"), [(key, value) for key in WRONG for value in WRONG[key]])
def test_wrong_values_are_refused_before_anything_is_read(key, value):
    with pytest.raises(InputError, match=rf"(?s){key}=.*\(keyword argument\): must be "):
        HLRConfig("CML", "small", options={key: value})


@pytest.mark.parametrize("ratios", [[1e308, 1e308, 1e308], [10**308, 10**308, 1e308], [10**400, 1, 1]])
def test_split_ratios_whose_sum_is_no_number(ratios):
    with pytest.raises(InputError, match=r"eval_args=.*: must be finite"):
        HLRConfig("CML", "small", options={"eval_args": {"split": {"RS": ratios}}})


COLUMNS = st.lists(st.sampled_from(["user_id", "item_id", "rating", "tags", "label", "stars"]), unique=True)
SUFFIXES = st.dictionaries(
    st.sampled_from(["inter", "item", "user", "kg"]), COLUMNS | st.just("*"), max_size=2
)
NUMBERS = st.sampled_from([-1, 0, 1, 3, HUGE, 10**400, 1e308, float("inf"), float("nan"), "x", None, True])
COLUMN = st.sampled_from(["user_id", "item_id", "rating", "tags", "label", "stars"])
VALUES = {
    "load_col": st.none() | SUFFIXES.map(lambda named: {"inter": "*", **named}),
    "unload_col": st.none() | SUFFIXES,
    "unused_col": st.none() | SUFFIXES,
    "rm_dup_inter": st.sampled_from(["first", "last", False, True, "no"]),
    "val_interval": st.dictionaries(
        COLUMN, st.sampled_from(["[2,inf)", "(1,3];[4,9]", ["u1", "u2", 3], f"[0,{HUGE}]"]), max_size=2
    ),
    "threshold": st.dictionaries(COLUMN, NUMBERS, max_size=2),
    "numerical_features": COLUMNS,
    "normalize_field": COLUMNS,
    "normalize_all": st.booleans(),
    "discretization": st.dictionaries(
        COLUMN, st.sampled_from([{"method": "ED", "bucket": HUGE}, {"method": "LD"}]), max_size=1
    ),
    "seq_len": st.dictionaries(COLUMN, NUMBERS, max_size=1),
    "alias_of_user_id": COLUMNS,
    "alias_of_item_id": COLUMNS,
    "preload_weight": st.dictionaries(COLUMN, COLUMN, max_size=1),
    "LABEL_FIELD": COLUMN,
    "USER_ID_FIELD": COLUMN,
    "user_inter_num_interval": st.sampled_from(["[2,inf)", "[0,1]", f"[{HUGE},inf)", "[2,3];[5,6]"]),
    "filter_inter_by_user_or_item": st.booleans(),
    "encoding": st.sampled_from(["utf-8", "ascii", "utf-16", "idna", "punycode", "utf-7", "cp1252", "hex"]),
    "eval_args": st.sampled_from([{"split": {"RS": [HUGE, 1, 1]}}, {"order": "TO"}, {"mode": "uni2"}]),
}
LOADED = st.sampled_from([None, {"inter": "*"}, {"inter": ["user_id", "item_id", "rating"], "item": "*"}])


@st.composite
def odd_options(draw) -> dict:
    """Return up to three odd options beside columns that are loaded."""
    keys = draw(st.lists(st.sampled_from(sorted(VALUES)), unique=True, max_size=3))
    return {"load_col": draw(LOADED), **{key: draw(VALUES[key]) for key in keys}}


@settings(max_examples=150, deadline=None, derandomize=True)
@given(odd_options())
def test_data_options_load_or_are_refused(tmp_path_factory, odd):
    """Whatever is given, a data set is loaded and split, with an account that adds up, or refused."""
    folder = tmp_path_factory.getbasetemp() / "odd"
    if not folder.exists():
        folder.mkdir()
        put(folder, "small.inter", rows())
        put(folder, "small.item", [f"i{i}\ta b\t{i % 2}" for i in range(11)],
            "item_id:token\ttags:token_seq\tlabel:float\n")  # fmt: skip
    try:
        config = HLRConfig("BPR", options=options(folder, **odd))
        data = load_split(config)
        build_loaders(config, data)
    except InputError:
        return
    assert data.dataset.account.kept == sum(map(len, data.parts))
