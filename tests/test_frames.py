"""A table in memory in the place of a data set: what a run on it is, what becomes of ids, and resuming."""

import datetime
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recbole_hlr import InputError, describe, evaluate, load, prepare, run
from recbole_hlr.options.yaml_values import load_yaml
from tests.conftest import write_atomic
from tests.test_recommend import Columns


@pytest.fixture
def frame(tmp_path) -> pd.DataFrame:
    """The interactions of a small data set, as their file has them."""
    table = pd.read_csv(write_atomic(tmp_path / "data", "toy"), sep="\t")
    return table.rename(columns=lambda name: name.partition(":")[0])


@pytest.fixture
def short(tmp_path) -> dict:
    return {
        "checkpoint_dir": str(tmp_path / "runs"), "embedding_size": 6, "epochs": 3, "train_batch_size": 16,
        "show_progress": False,
    }  # fmt: skip


def read_back(parts) -> pd.DataFrame:
    """The file that a table was written to."""
    return pd.read_csv(next(Path(parts.config["data_path"]).glob("*.inter")), sep="\t", dtype=str)


KINDS = {
    "pandas": lambda frame: frame,
    "Arrow": lambda frame: pa.Table.from_pandas(frame),
    "another library": lambda frame: Columns(pa.Table.from_pandas(frame)),
    "categories": lambda frame: frame.astype({"user_id": "category", "item_id": "category"}),
    "categories of views": lambda frame: pa.Table.from_pandas(frame).set_column(
        0, "user_id", pa.DictionaryArray.from_arrays(
            pa.array([int(user[1:]) - 1 for user in frame["user_id"]], pa.uint32()),
            pa.array([f"u{n}" for n in range(1, 24)], pa.string_view()),
        )
    ),
    "a strange index": lambda frame: frame.set_index(frame.index[::-1] * 2),
    "large texts": lambda frame: pa.Table.from_pandas(frame).cast(
        pa.schema([("user_id", pa.large_string()), ("item_id", pa.string_view()), ("rating", pa.int32()),
                   ("timestamp", pa.uint64())])
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_on_a_table_is_that_on_its_file(tmp_path, frame, short, kind):
    of_file = run(
        "CML", "toy", **short, data_path=str(tmp_path / "data"),
        load_col={"inter": ["user_id", "item_id", "rating", "timestamp"]},
    )  # fmt: skip
    given = frame.copy()
    of_table = run("CML", KINDS[kind](frame), **short)
    assert of_table.test == of_file.test
    assert of_table.valid == of_file.valid
    pd.testing.assert_frame_equal(frame, given)  # what is given is left as it is
    assert load(of_table.run_dir).recommend("u1", k=2).equals(load(of_file.run_dir).recommend("u1", k=2))
    assert evaluate(of_table.run_dir).test == of_file.test


def test_the_same_table_is_the_same_data_set_and_another_another(frame, short):
    one, two = prepare("CML", frame, **short), prepare("CML", dataset=pa.Table.from_pandas(frame), **short)
    other = prepare("CML", frame[1:], **short)
    assert one.config.dataset == two.config.dataset != other.config.dataset
    folder = Path(one.config["data_path"]).parent
    assert folder == Path(short["checkpoint_dir"], "tables")
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        {one.config.dataset, other.config.dataset}
    )


def test_options_work_as_on_files(frame, short):
    frame = frame.rename(columns={"user_id": "who"})
    options = {"USER_ID_FIELD": "who", "threshold": {"rating": 3}, "eval_args": {"order": "TO"}}
    parts = prepare("CML", frame, **short, **options)
    assert parts.dataset.account.kept == (frame["rating"] >= 3).sum()
    chosen = prepare("CML", frame, **short, USER_ID_FIELD="who", load_col={"inter": ["who", "item_id"]})
    assert set(chosen.dataset.field2type) == {"who", "item_id", "label"} - {"label"}
    found = describe(frame, checkpoint_dir=short["checkpoint_dir"], USER_ID_FIELD="who")
    assert found.sizes.loc["interactions", "read"] == len(frame)


@pytest.mark.parametrize(
    ("ids", "texts"),
    [
        ([5, 6, 7], ["5", "6", "7"]),
        (np.array([5, 6, 7], dtype=np.uint64), ["5", "6", "7"]),
        ([5.0, 6.0, 7.5], ["5", "6", "7.5"]),
        ([5, "6", 7.0], ["5", "6", "7"]),
        ([True, False, "x"], ["True", "False", "x"]),
        ([datetime.date(2026, 1, 1), "b", ("c", 1)], ["2026-01-01", "b", "('c', 1)"]),
        (["  blank", "ö", "a b"], ["  blank", "ö", "a b"]),
    ],
)
def test_ids_of_any_type_become_texts(short, ids, texts):
    users = pd.Series(ids).repeat(10)
    frame = pd.DataFrame({"user_id": users, "item_id": list(range(10)) * 3}).reset_index(drop=True)
    parts = prepare("CML", frame, **short, topk=5)
    assert list(parts.dataset.field2id_token["user_id"][1:]) == texts
    assert sorted(parts.dataset.field2id_token["item_id"][1:]) == [str(n) for n in range(10)]


def test_other_columns_are_numbers_seconds_or_texts(frame, short):
    frame["when"] = pd.Timestamp("2026-01-31 12:00:00.5") + pd.to_timedelta(range(len(frame)), unit="s")
    frame["day"] = datetime.date(1970, 1, 3)
    frame["liked"] = frame["rating"] > 3
    frame["price"] = 0.1 + frame["rating"] / 3
    frame.loc[3, "price"] = None
    frame["shop"] = "Öl & Co"
    parts = prepare("CML", frame, **short)
    back = read_back(parts)
    assert list(back) == [
        "user_id:token", "item_id:token", "rating:float", "timestamp:float", "when:float", "day:float",
        "liked:float", "price:float", "shop:token",
    ]  # fmt: skip
    assert back["when:float"].tolist() == [f"{1769860800.5 + n:.1f}" for n in range(len(frame))]
    assert set(back["day:float"]) == {str(2 * 86_400)}
    assert back["liked:float"].astype(int).eq(frame["rating"] > 3).all()
    assert back["price:float"].astype(float).equals(frame["price"])
    assert set(back["shop:token"]) == {"Öl & Co"}
    assert "shop" not in parts.dataset.field2type  # read, were it asked for
    assert "price" in parts.dataset.field2type


def test_a_missing_id_is_left_out_and_counted(frame, short):
    frame.loc[[2, 5], "user_id"] = None
    assert prepare("CML", frame, **short).dataset.account.left_out == {"missing_id": 2}


def test_a_run_is_resumed_and_needs_its_table(frame, short):
    whole = run("HLR", frame, **short)
    cut = run("HLR", frame, **{**short, "epochs": 2})
    stored = load_yaml(Path(cut.run_dir, "config.yaml"))
    shutil.rmtree(stored["data_path"])
    assert len(load(cut.run_dir).recommend("u1", k=2)) == 2  # without the table
    with pytest.raises(InputError, match=r"there is no file .*run\(resume=RUN_DIR, dataset=table\)$"):
        run(resume=cut.run_dir, epochs=3)
    with pytest.raises(InputError, match="is not the table that the run was started with, table-"):
        run(resume=cut.run_dir, dataset=frame[1:], epochs=3)
    resumed = run(resume=cut.run_dir, dataset=frame, epochs=3)
    assert resumed.test == whole.test
    assert run(resume=cut.run_dir, epochs=3).test == whole.test  # the file is there again


def test_a_run_on_files_is_not_resumed_with_a_table(tmp_path, frame, short):
    of_file = run("CML", "toy", **short, data_path=str(tmp_path / "data"))
    with pytest.raises(InputError, match=r"dataset=a table .*cannot change in the run .*, which has toy"):
        run(resume=of_file.run_dir, dataset=frame)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda t: t.rename(columns={"user_id": "uid"}), "must have one column user_id; it has uid, item_id"),
        (lambda t: t[:0], "has no row$"),
        (lambda t: t.assign(tags=[["a"]] * len(t)), r"column 'tags' is of list<.*leave it out$"),
        (lambda t: t.assign(gap=pd.Timedelta(1, "s")), "column 'gap' is of duration"),
        (lambda t: t.rename(columns={"rating": "a:b"}), "column 'a:b' is of int64; .* without a colon"),
        (lambda t: t.assign(item_id=["NA", *t["item_id"][1:]]), "item_id='NA' in row 0: must be not empty"),
        (lambda t: t.assign(user_id=[*t["user_id"][:-1], "a\tb"]), r"user_id='a\\tb' in row \d+: must be"),
        (
            lambda t: t.assign(text="a\nb"),
            "has a text that cannot stand in an atomic file .*leave the column out",
        ),
        (lambda t: t.assign(mixed=[{}, *range(len(t) - 1)]), "cannot be read as a table"),
        (lambda t: t.to_dict(), "dataset=.*must be the name of a folder in data_path"),
    ],
)
def test_wrong_tables_end_in_one_sentence(frame, short, change, pattern):
    with pytest.raises(InputError, match=pattern) as told:
        run("CML", change(frame), **short)
    assert "\n" not in str(told.value)
    assert not Path(short["checkpoint_dir"]).exists() or not list(Path(short["checkpoint_dir"]).rglob("*.*"))


@pytest.mark.parametrize(
    ("options", "pattern"),
    [
        ({"data_path": "here"}, "data_path=here: cannot be given with a table"),
        ({"benchmark_filename": ["train", "test"]}, "benchmark_filename=.*cannot be given with a table"),
        ({"arguments": ["--dataset=toy"]}, "dataset=toy: cannot be given with a table"),
        ({"thresold": 3}, r"did you mean threshold\?"),
        ({"checkpoint_dir": "/proc/none"}, "/proc/none/tables: .*must be a folder that can be written"),
    ],
)
def test_wrong_options_end_in_one_sentence(frame, short, options, pattern):
    with pytest.raises(InputError, match=pattern):
        prepare("CML", frame, **{**short, **options})
