"""Atomic files that are packed, or parquet: read as they lie, as if they were plain."""

import gzip
import logging
import lzma
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from recbole_hlr.cli import main
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.data.loaders import load_dataset
from recbole_hlr.data.packed import SUFFIXES
from recbole_hlr.errors import InputError

ROWS = [(f"u{n % 5}", f"i{n * 7 % 11}", str(n % 5 + 1), str(1000 + n)) for n in range(40)]
INTER = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n" + "".join(
    "\t".join(row) + "\n" for row in ROWS
)
TITLES = ['Say "so"', "千と千尋 の", "x", "", *"abcdefg"]
ITEM = "item_id:token\tmovie_title:token_seq\tprice:float\n" + "".join(
    f"i{n}\t{title}\t{n / 2}\n" for n, title in enumerate(TITLES)
)
LOADED = {"inter": ["user_id", "item_id", "rating", "timestamp"], "item": ["item_id", "movie_title", "price"]}


@pytest.fixture(autouse=True)
def root_level():
    """Leave the root logger as it was, for the tests of other files."""
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    yield
    logging.getLogger().setLevel(level)


def as_frame(text: str) -> pd.DataFrame:
    """A table as a person would have it: ids of numbers and floats typed, names without type."""
    header, *rows = (line.split("\t") for line in text.removesuffix("\n").split("\n"))
    frame = pd.DataFrame(rows, columns=header)
    for name in header:
        if name.endswith(":float"):
            frame[name] = frame[name].astype(float)
        if name.endswith("_seq"):
            frame[name] = frame[name].str.split(" ")
    return frame.rename(columns=lambda name: name.partition(":")[0])


def put(folder: Path, name: str, text: str, suffix: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / (name + suffix)
    pack = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
    pack[".zst"] = lambda data: pa.compress(data, "zstd", asbytes=True)
    if suffix == ".parquet":
        as_frame(text).to_parquet(path)
    else:
        path.write_bytes(pack[suffix](text.encode()))
    return path


def load(root: Path, **options):
    return load_dataset(
        HLRConfig("CML", "shop", options={"data_path": str(root), "load_col": LOADED, **options})
    )


def same(one, other) -> None:
    """Both data sets hold the same rows, numbered alike."""
    for feat in ("inter_feat", "item_feat"):
        pd.testing.assert_frame_equal(getattr(one, feat), getattr(other, feat))
    for field, tokens in one.field2id_token.items():
        assert list(tokens) == list(other.field2id_token[field]), field
    assert one.field2type == other.field2type


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_data_set_that_is_packed_is_the_same(tmp_path, suffix):
    for root, form in (("plain", ""), ("packed", suffix)):
        (tmp_path / root).mkdir()
        put(tmp_path / root / "shop", "shop.inter", INTER, form)
        put(tmp_path / root / "shop", "shop.item", ITEM, form)
    same(load(tmp_path / "packed"), load(tmp_path / "plain"))
    assert len(list((tmp_path / "packed" / "shop").iterdir())) == 2  # nothing is unpacked beside


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_parts_that_are_packed(tmp_path, suffix):
    lines = INTER.splitlines(keepends=True)
    for root, form in (("plain", ""), ("packed", suffix)):
        (tmp_path / root).mkdir()
        for part, rows in (("train", lines[1:30]), ("test", lines[30:])):
            put(tmp_path / root / "shop", f"shop.{part}.inter", lines[0] + "".join(rows), form)
        put(tmp_path / root / "shop", "shop.item", ITEM, "")
    options = {"benchmark_filename": ["train", "test"]}
    one, other = (load(tmp_path / root, **options) for root in ("packed", "plain"))
    same(one, other)
    assert one.file_size_list == other.file_size_list == [29, 11]


def test_a_run_on_a_packed_data_set(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "shop", "shop.inter", INTER, ".gz")
    words = [
        "--model=CML",
        "--dataset=shop",
        f"--data_path={tmp_path}",
        "--epochs=1",
        "--topk=3",
        "--embedding_size=4",
    ]
    assert main(["train", *words, "--valid_metric=NDCG@3", "--rm_dup_inter=last"]) == 0
    assert "shop: 40 interactions read" in capsys.readouterr().err


def test_typed_ids_and_words_that_are_missing(tmp_path):
    frame = pd.DataFrame({"user_id": [1.0, 2.0, 3.0], "item_id": [7, 8, 9], "t": ["a", None, "NA"]})
    (tmp_path / "shop").mkdir()
    frame.to_parquet(tmp_path / "shop" / "shop.inter.parquet")
    data = load(tmp_path, load_col={"inter": ["user_id", "item_id", "t"]})
    assert list(data.field2id_token["user_id"]) == ["[PAD]", "1", "2", "3"]
    assert list(data.field2id_token["item_id"]) == ["[PAD]", "7", "8", "9"]
    assert set(data.field2id_token["t"]) == {"[PAD]", "a"}


def refused(root: Path, **options) -> str:
    with pytest.raises(InputError) as refusal:
        load(root, **options)
    return str(refusal.value)


def test_two_forms_of_one_file(tmp_path):
    folder = tmp_path / "shop"
    put(folder, "shop.inter", INTER, "")
    put(folder, "shop.item", ITEM, "")
    put(folder, "shop.item", ITEM, ".gz")
    assert load(tmp_path, load_col={"inter": LOADED["inter"]}).inter_num == 40  # it is not loaded
    assert "shop: has shop.item and shop.item.gz; must have one of them" in refused(tmp_path)
    put(folder, "shop.inter", INTER, ".parquet")
    assert "shop: has shop.inter and shop.inter.parquet; must" in refused(tmp_path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_that_is_cut_off(tmp_path, suffix):
    path = put(
        tmp_path / "shop", "shop.inter", INTER + "".join(f"u\t{n * n}\t1\t{n}\n" for n in range(9999)), suffix
    )
    path.write_bytes(path.read_bytes()[:-2000])
    sentence = refused(tmp_path, load_col={"inter": LOADED["inter"]})
    assert sentence.startswith(str(path)), sentence
    assert "cut off or damaged" in sentence or "cannot be read as parquet" in sentence


def test_what_is_wrong_within_a_packed_file(tmp_path):
    folder = tmp_path / "shop"
    path = put(folder, "shop.inter", INTER + "u\ti\tmany\t1\n", ".gz")
    put(folder, "shop.item", ITEM, "")
    assert refused(tmp_path) == f"{path}: line 42: rating=many must be a number"
    put(folder, "shop.inter", INTER + "u\ti\n", ".gz")
    assert refused(tmp_path) == f"{path}, line 42: has 2 columns; must have 4 as the header has"
    path.unlink()
    path = put(folder, "shop.inter", INTER.replace("user_id:token", "user_id:word"), ".xz")
    assert f"{path}, line 1: column 'user_id:word' must be name:type" in refused(tmp_path)
    path.unlink()
    (folder / "shop.inter.parquet").write_bytes(b"no parquet")
    assert "shop.inter.parquet: cannot be read as parquet" in refused(tmp_path)
    pd.DataFrame({"user_id": ["1"], "item_id": ["2"], "rating:float": ["x"]}).to_parquet(
        folder / "shop.inter.parquet"
    )
    sentence = refused(tmp_path, load_col={"inter": ["user_id", "item_id", "rating"]})
    assert "shop.inter.parquet: cannot be read as parquet (" in sentence
