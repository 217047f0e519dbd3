"""Converters: round trips through the loader, malformed lines, damaged input, whole output or none."""

import gzip
import json
import logging
import lzma
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr.cli import main
from recbole_hlr.cli.conversion import SOURCES
from recbole_hlr.cli.conversion import convert as formats
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.console import Row
from recbole_hlr.convert import conversion, convert, delimited, json_lines, source, summary
from recbole_hlr.convert.check import MISSING
from recbole_hlr.convert.formats import FORMATS
from recbole_hlr.convert.source import Bytes, Entry
from recbole_hlr.convert.summary import within
from recbole_hlr.data.loaders import load_dataset
from recbole_hlr.errors import InputError

COLUMNS = {"user_id": "uid", "item_id": "sku"}


@pytest.fixture(autouse=True)
def root_level():
    """Leave the root logger as it was, for the tests of other files."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def load(out: Path, name: str, **options):
    """The data set as a run would load it."""
    logging.getLogger().setLevel(logging.ERROR)
    return load_dataset(HLRConfig("CML", name, options={"data_path": str(out), **options}))


def lines_of(out: Path, name: str, suffix: str = "inter") -> list[list[str]]:
    text = (out / name / f"{name}.{suffix}").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


def csv_file(tmp_path: Path, text: str, name: str = "my.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8", newline="")
    return path


def shop(tmp_path: Path, text: str, **options):
    """Convert a table with columns uid, sku, ...; return its report."""
    options = {"columns": COLUMNS, "name": "shop", **options}
    return convert("table", csv_file(tmp_path, text), tmp_path / "out", **options)


# --- formats ----------------------------------------------------------------------------------------------

ML_100K = ["196\t242\t3\t881250949", "186\t302\t3\t891717742", "196\t302\t5\t881250950"]
ML_DAT = [line.replace("\t", "::") for line in ML_100K]
ML_CSV = ["userId,movieId,rating,timestamp", *(line.replace("\t", ",") for line in ML_100K)]
U_ITEM = ["242|Kolya (1996)|24-Jan-1997||http://x|" + "|".join("0" * 5 + "1" + "0" * 13),
          "302|L.A. Café (1997)|01-Jan-1997||http://y|" + "|".join("0" * 6 + "10001" + "0" * 8)]  # fmt: skip
MOVIES_DAT = ["242::Kolya (1996)::Comedy", "302::L.A. Café (1997)::Crime|Film-Noir", "9::Unrated (1990)::War"]
MOVIES_CSV = ["movieId,title,genres", "242,Kolya (1996),Comedy", '302,"L.A. Café (1997)",Crime|Film-Noir']
SETS = {
    "ml-100k": ("u.data", ML_100K, "u.item", U_ITEM, "latin-1"),
    "ml-1m": ("ratings.dat", ML_DAT, "movies.dat", MOVIES_DAT, "latin-1"),
    "ml-10m": ("ratings.dat", ML_DAT, "movies.dat", MOVIES_DAT, "utf-8"),
    "ml-25m": ("ratings.csv", ML_CSV, "movies.csv", MOVIES_CSV, "utf-8"),
}
DOWNLOADED = {"ml-10m": "ml-10M100K"}


@pytest.fixture(params=SETS)
def movielens(request, tmp_path) -> tuple[str, Path]:
    """A MovieLens folder of each generation: the name that its data set gets, and the folder."""
    ratings, lines, movies, catalogue, encoding = SETS[request.param]
    folder = tmp_path / DOWNLOADED.get(request.param, request.param)
    folder.mkdir()
    end = "\r\n" if request.param == "ml-25m" else "\n"
    (folder / ratings).write_text(end.join(lines) + end, newline="")
    (folder / movies).write_text(end.join(catalogue) + end, encoding=encoding, newline="")
    (folder / "README").write_text("about")
    return request.param, folder


def check_movielens(out: Path, name: str) -> None:
    assert lines_of(out, name) == [
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
        *(line.split("\t") for line in ML_100K),
    ]
    assert lines_of(out, name, "item") == [
        ["item_id:token", "movie_title:token_seq", "release_year:token", "class:token_seq"],
        ["242", "Kolya", "1996", "Comedy"],
        ["302", "L.A. Café", "1997", "Crime Film-Noir"],
    ]
    assert sorted(p.name for p in (out / name).iterdir()) == [f"{name}.inter", f"{name}.item"]
    assert sorted(p.name for p in out.iterdir()) == [name]


@pytest.mark.parametrize("given", ["folder", "file", "zip", "packed"])
def test_movielens_in_every_generation_and_packing(movielens, tmp_path, given):
    name, folder = movielens
    path = folder
    ratings, movies = SETS[name][0], SETS[name][2]
    if given == "file":
        path = folder / ratings
    elif given == "zip":
        path = tmp_path / f"{folder.name}.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in folder.iterdir():
                archive.write(file, f"{folder.name}/{file.name}")
            archive.writestr(f"__MACOSX/{folder.name}/ratings.csv", b"junk")
    elif given == "packed":
        path = folder / f"{ratings}.gz"
        path.write_bytes(gzip.compress((folder / ratings).read_bytes()))
        (folder / f"{movies}.xz").write_bytes(lzma.compress((folder / movies).read_bytes()))
        (folder / ratings).unlink()
        (folder / movies).unlink()
    report = convert("movielens", path, tmp_path / "out")
    assert (report.name, report.malformed, report.repeated) == (name, 0, 0)
    assert report.before == (2, 2, 3, 1.5)
    check_movielens(tmp_path / "out", name)


def test_movielens_by_the_command_line(tmp_path, capsys, movielens):
    name, folder = movielens
    assert main(["convert", "movielens", str(folder), "--out", str(tmp_path / "out"), "--name=films"]) == 0
    check_movielens(tmp_path / "out", "films")
    captured = capsys.readouterr()
    assert "titles and genres of 2 of 2 movies" in captured.out
    assert re.search(r"interactions +3\n", captured.out)
    assert captured.err == ""  # no bar off a terminal
    assert name not in captured.out.replace(str(folder), "")


def test_titles_of_movies_that_are_not_listed_and_of_none(tmp_path):
    folder = tmp_path / "ml-25m"
    folder.mkdir()
    (folder / "ratings.csv").write_text("\n".join(ML_CSV))
    report = convert("movielens", folder, tmp_path / "a")
    assert "no movies.csv beside" in report.titles
    assert not list((tmp_path / "a" / "ml-25m").glob("*.item"))
    (folder / "movies.csv").write_text("\n".join(MOVIES_CSV[:2]))
    assert "of 1 of 2 movies" in convert("movielens", folder, tmp_path / "b").titles
    assert lines_of(tmp_path / "b", "ml-25m", "item")[2] == ["302", "", "", ""]


TITLES = [
    '"Great Performances" Cats (1998)',
    "Say \"Hi\", 'you' (2001)",
    "千と千尋の神隠し (2001)",
    "Bröderna & Łódź — ДНК",
    "NaN (2005)",
    "null",
    '"',
    "#NA",
    "Tab\there, line\nbreak and\r\nboth",
    "(500) Days of Summer (2009)",
    "No year (2009-2010)",
    "NBSP\u00a0and \u2028 separator",
    "",
]


def test_titles_survive_to_the_loaded_data_set(tmp_path):
    """Every title loads as its words; a tab or a line break as a space."""
    folder = tmp_path / "ml-25m"
    folder.mkdir()
    ids = {str(n): title for n, title in enumerate(TITLES, start=1)}
    ratings = [f"{user},{item},4,1" for user in (1, 2) for item in ids]
    (folder / "ratings.csv").write_text("\n".join([ML_CSV[0], *ratings]) + "\n")
    frame = pd.DataFrame({"movieId": ids.keys(), "title": ids.values(), "genres": "(no genres listed)"})
    frame.loc[0, "genres"] = "Children's|Sci-Fi"
    frame.to_csv(folder / "movies.csv", index=False, lineterminator="\n")
    report = convert("movielens", folder, tmp_path / "out", name="films")
    assert (report.malformed, report.first_malformed) == (0, [])
    columns = ["item_id", "movie_title", "release_year", "class"]
    data = load(tmp_path / "out", "films", load_col={"inter": ["user_id", "item_id"], "item": columns})
    assert data.item_num == len(ids) + 1
    title_of = loaded_titles(data)
    for item, title in ids.items():
        words = re.sub(r" \(\d{4}\)$", "", title)
        words = re.sub(r"[\t\r\n\u2028]+", " ", words)
        assert title_of[item] == [word for word in words.split(" ") if word], title
    assert loaded_titles(data, "class")["1"] == ["Children's", "Sci-Fi"]
    assert loaded_titles(data, "release_year")["1"] == "1998"


def loaded_titles(data, field: str = "movie_title") -> dict:
    """The values of an item field in a loaded data set, as tokens by item token."""
    found = {}
    for number, values in zip(data.item_feat["item_id"], data.item_feat[field], strict=True):
        item = data.id2token("item_id", int(number))
        if field == "release_year":
            found[item] = data.id2token(field, int(values))
        else:
            found[item] = [str(data.id2token(field, int(v))) for v in values if int(v)]
    return found


def test_echonest(tmp_path):
    path = tmp_path / "train_triplets.txt.zip"
    text = "b80344d0\tSOAKIMP12A8C130995\t1\nb80344d0\tSOAPDEY12A81C210A9\t12\nzz\tSOAKIMP12A8C130995\t0\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train_triplets.txt", text)
    report = convert("echonest", path, tmp_path / "out")
    assert lines_of(tmp_path / "out", "echonest") == [
        ["user_id:token", "item_id:token", "play_count:float"],
        ["b80344d0", "SOAKIMP12A8C130995", "1"],
        ["b80344d0", "SOAPDEY12A81C210A9", "12"],
    ]
    assert report.first_malformed == [
        f"{path}, train_triplets.txt, line 3: play_count=0 must be a number at least 1"
    ]


REVIEW = {
    "review_id": "r",
    "user_id": "-Ab_",
    "business_id": "Ünï",
    "stars": 4.0,
    "useful": 0,
    "text": 'tab\t "quote"\nend',
    "date": "2016-03-09 00:56:38",
}


def test_yelp(tmp_path):
    path = tmp_path / "yelp_academic_dataset_review.json"
    other = {**REVIEW, "user_id": "u2", "stars": 3.5, "date": "1970-01-02"}
    path.write_text("\n".join(json.dumps(r) for r in (REVIEW, other)) + "\n")
    report = convert("yelp", path, tmp_path / "out")
    assert (report.malformed, report.before) == (0, (2, 1, 2, 1.0))
    assert lines_of(tmp_path / "out", "yelp") == [
        ["user_id:token", "item_id:token", "rating:float", "timestamp:float"],
        ["-Ab_", "Ünï", "4", "1457484998"],
        ["u2", "Ünï", "3.5", "86400"],
    ]


AMAZON = {
    "reviews_Books.json.gz": [
        json.dumps({"reviewerID": "A1", "asin": "0000000116", "overall": 4.0, "unixReviewTime": 1019865600}),
        json.dumps({"reviewerID": "A2", "asin": "000000011X", "overall": 2, "unixReviewTime": 1395619200}),
    ],
    "ratings_Books.csv": ["A1,0000000116,4,1019865600", "A2,000000011X,2,1395619200"],
    "Books.csv.xz": ["0000000116,A1,4,1019865600", "000000011X,A2,2,1395619200"],
    "Books.jsonl.gz": [
        json.dumps({"rating": 4, "user_id": "A1", "asin": "x", "parent_asin": "0000000116", "timestamp": 1019865600}),
        json.dumps({"rating": 2, "user_id": "A2", "asin": "y", "parent_asin": "000000011X", "timestamp": 1395619200}),
    ],
    "Books.csv.gz": ["user_id,parent_asin,rating,timestamp", "A1,0000000116,4,1019865600",
                     "A2,000000011X,2,1395619200"],
}  # fmt: skip


@pytest.mark.parametrize("name", AMAZON)
def test_amazon_in_every_round(tmp_path, name):
    pack = {".gz": gzip.compress, ".xz": lzma.compress}.get(Path(name).suffix, bytes)
    (tmp_path / name).write_bytes(pack(("\n".join(AMAZON[name]) + "\n").encode()))
    report = convert("amazon", tmp_path / name, tmp_path / "out")
    assert (report.name, report.malformed) == ("amazon-books", 0)
    assert lines_of(tmp_path / "out", "amazon-books")[1:] == [
        ["A1", "0000000116", "4", "1019865600"],
        ["A2", "000000011X", "2", "1395619200"],
    ]


TABLE = pd.DataFrame(
    {
        "other": ["x\ty", "", "Größe", 'say "so", yes'],
        "sku": ["a b", "ж", "c,d", "0012"],
        "uid": [7, 7, 8, 10**12],
        "stars": [1.5, 3.0, 1e-5, -2.0],
        "ts": pd.to_datetime(
            ["2026-01-31", "1970-01-01 00:00:07", "1969-12-31 23:59:59", "2000-01-01"], format="ISO8601"
        ),
    }
)
TABLE_COLUMNS = {**COLUMNS, "rating": "stars", "timestamp": "ts"}


@pytest.mark.parametrize("suffix", ["csv", "tsv", "bar.txt", "parquet"])
def test_tables(tmp_path, suffix):
    path = tmp_path / f"my.{suffix}"
    if suffix == "parquet":
        TABLE.astype({"other": "category", "sku": "category"}).to_parquet(path)
    else:
        TABLE.to_csv(path, index=False, sep={"csv": ",", "tsv": "\t", "bar.txt": "|"}[suffix])
    report = convert("table", path, tmp_path / "out", name="shop", columns=TABLE_COLUMNS)
    assert (report.malformed, report.before) == (0, (3, 4, 4, 1.0))
    rows = lines_of(tmp_path / "out", "shop")
    assert rows[0] == ["user_id:token", "item_id:token", "rating:float", "timestamp:float"]
    assert [row[:2] for row in rows[1:]] == [
        ["7", "a b"], ["7", "ж"], ["8", "c,d"], ["1000000000000", "0012"]
    ]  # fmt: skip
    assert [float(row[2]) for row in rows[1:]] == [1.5, 3, 1e-5, -2]
    assert [float(row[3]) for row in rows[1:]] == [1769817600, 7, -1, 946684800]
    data = load(tmp_path / "out", "shop", load_col={"inter": [field.split(":")[0] for field in rows[0]]})
    assert (data.user_num, data.item_num, data.inter_num) == (4, 5, 4)
    assert set(data.field2id_token["item_id"][1:]) == {"a b", "ж", "c,d", "0012"}


def test_a_parquet_file_with_odd_types(tmp_path):
    path = tmp_path / "my.parquet"
    frame = pd.DataFrame({"uid": [1.0, np.nan, 2.5], "sku": ["a", "b", None], "n": [2**60, 1, 1]})
    frame.to_parquet(path)
    report = convert("table", path, tmp_path / "out", name="shop", columns={**COLUMNS, "play_count": "n"})
    assert lines_of(tmp_path / "out", "shop")[1:] == [["1", "a", str(2**60)]]
    assert [line.split(", ")[1][:15] for line in report.first_malformed] == [
        "line 2: user_id",
        "line 3: item_id",
    ]


def test_a_parquet_file_with_instants_between_microseconds(tmp_path):
    times = pd.to_datetime(["2026-01-31 00:00:00", "2026-01-31 00:00:00.123456789"], format="mixed")
    path = tmp_path / "my.parquet"
    pd.DataFrame({"uid": ["1", "2"], "sku": ["a", "b"], "ts": times.astype("datetime64[ns]")}).to_parquet(
        path
    )
    convert("table", path, tmp_path / "out", name="shop", columns={**COLUMNS, "timestamp": "ts"})
    seconds = [float(row[2]) for row in lines_of(tmp_path / "out", "shop")[1:]]
    assert seconds == [1769817600, 1769817600.123456]


def test_a_column_called_pk_is_no_archive(tmp_path):
    shop(tmp_path, "PK,uid,sku\n1,2,3\n")
    assert lines_of(tmp_path / "out", "shop")[1:] == [["2", "3"]]


def test_a_table_with_line_breaks_in_values(tmp_path, monkeypatch):
    """Wherever the blocks end; the number of a line counts those within values."""
    text = 'uid,sku,note\n1,a,"two\nlines"\n2,b,"say ""so""\r\n,,,\n"\n3,c\n\n4,"d",""\n5,"e\nf",x\n6,f,x,y\n'
    for block in (25, 40, 1000):
        monkeypatch.setattr(source, "BLOCK", block)
        report = shop(tmp_path, text, overwrite=True)
        assert [row[:2] for row in lines_of(tmp_path / "out", "shop")[1:]] == [
            ["1", "a"], ["2", "b"], ["4", "d"]
        ]  # fmt: skip
        assert [re.sub(r"^.*?csv, ", "", line)[:26] for line in report.first_malformed] == [
            "line 7: has 2 columns; mus", "line 10: item_id=e?f must ", "line 12: has 4 columns; mu"
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "kept", "where"),
    [
        ('uid;sku;note\nx\n1;a;"two\nli,nes"\n2;b\n', [["1", "a"]], [2, 5]),
        ('uid\tsku\tnote\n1\ta\t"two\nlines"\n2\tb\n', [["1", "a"]], [4]),
        ('uid,sku\n1,2\n3,"a\n4,b\n', [["1", "2"], ["4", "b"]], [3]),  # a quote that is not closed
        ('uid\tsku\tnote\n1\ta\t"Heroes\n2\tb\tc\n3\n', [["2", "b"]], [2, 4]),  # in a column not asked for
        ('uid,sku,note\n1,a,"x\n2,b,"y, z"\n3,c,"two\nlines"\n', [["2", "b"], ["3", "c"]], [2]),
        ('uid,sku\n1,2\n3,5" pipe\n4,5\n6\n', [["1", "2"], ["3", '5" pipe'], ["4", "5"]], [5]),
        (f'uid,sku,note\n1,2,"{"x" * 200_000}\n"\n3,4\n5,6,\n', [["1", "2"], ["5", "6"]], [4]),
        ("uid,sku\r1,2\r3\r4,5", [["1", "2"], ["4", "5"]], [3]),  # line breaks of old
        ('"uid\nx",uid,sku\n,1,2\n,3\n', [["1", "2"]], [4]),
    ],
)
def test_odd_tables(tmp_path, text, kept, where):
    """They are read, or refused in a sentence; a line number may be a row's where a row cannot be placed."""
    report = shop(tmp_path, text)
    assert [row[:2] for row in lines_of(tmp_path / "out", "shop")[1:]] == kept
    assert [int(re.search(r"csv, line (\d+)", line)[1]) for line in report.first_malformed] == where


def test_an_open_quote_takes_no_other_line(tmp_path, monkeypatch):
    """Wherever the blocks end; with `strict` the conversion stops there."""
    rows = [f"{n}\ta{n % 7}\t{'?' if n % 40 else chr(34) + 'Heroes'}" for n in range(1, 200)]
    text = "\n".join(["uid\tsku\ttitle", *rows])
    for block in (64, 300, 10**6):
        monkeypatch.setattr(source, "BLOCK", block)
        report = shop(tmp_path, text, overwrite=True)
        assert (report.malformed, report.before.interactions) == (4, 195)
        assert [line.split(", ")[1] for line in report.first_malformed] == [
            f"line {n}: opens a quote that is not closed" for n in (41, 81, 121, 161)
        ]
    with pytest.raises(InputError, match="line 41: opens a quote"):
        shop(tmp_path, text, overwrite=True, strict=True)


def test_blocks_change_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [f"{u},{i}" for u, i in rng.integers(1, 50, (500, 2))]
    rows[17], rows[300], rows[301] = "1,2,3", "NA,3", ""
    text = "\n".join(["uid,sku", *rows])
    whole = shop(tmp_path, text)
    expected = (tmp_path / "out" / "shop" / "shop.inter").read_bytes()
    monkeypatch.setattr(source, "BLOCK", 64)
    monkeypatch.setattr(summary, "PART", 37)
    parts = shop(tmp_path, text, overwrite=True)
    assert (tmp_path / "out" / "shop" / "shop.inter").read_bytes() == expected
    assert whole == parts
    assert whole.first_malformed == [
        f"{tmp_path / 'my.csv'}, line 19: has 3 columns; must have 2",
        f"{tmp_path / 'my.csv'}, line 302: user_id=NA must be not empty, without tab, line break or leading "
        "quote, and no word such as NA, null or [PAD]",
    ]
    assert (whole.malformed, whole.before.interactions) == (2, 497)
    assert whole.repeated == 497 - len({row for row in rows if re.fullmatch(r"\d+,\d+", row)})


OF_TABLE = {"kind": "table", "columns": {**COLUMNS, "rating": "r"}}
LAYOUTS = {  # arguments of `convert`, file, header, a row with an item's id as %, delimiter
    **{f"table {d!r}": (OF_TABLE, "my.csv", f"uid{d}sku{d}r", f"1{d}%{d}5", d) for d in ",;|\t"},
    "ratings.csv": ({"kind": "movielens"}, "ratings.csv", ML_CSV[0], "1,%,5,7", ","),
    "ratings.dat": ({"kind": "movielens"}, "ratings.dat", "", "1::%::5::7", "::"),
    "u.data": ({"kind": "movielens"}, "u.data", "", "1\t%\t5\t7", "\t"),
    "echonest": ({"kind": "echonest"}, "train_triplets.txt", "", "1\t%\t5", "\t"),
    "amazon": ({"kind": "amazon"}, "ratings_Books.csv", "", "1,%,5,7", ","),
    "json": ({"kind": "yelp"}, "review.json", "", json.dumps({**REVIEW, "business_id": "%"}), ""),
}  # fmt: skip
ENDS = st.sampled_from(["\n", "\r", "\r\n"])


@pytest.mark.parametrize("layout", LAYOUTS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_every_line_end_with_every_empty_row_in_every_place(layout, tmp_path_factory, data):
    """A line of blanks is none; one of delimiters alone is malformed, unless it stands before the header."""
    arguments, name, header, row, delimiter = LAYOUTS[layout]
    hollow = delimiter * (len(row.split(delimiter)) - 1) if delimiter else " "
    empty = ["", "  ", hollow, " \t" if delimiter != "\t" else " "]
    gaps = data.draw(st.lists(st.lists(st.sampled_from(empty), max_size=3), min_size=5, max_size=5))
    rows = [row.replace("%", item) for item in "246"]
    lines = list(gaps[0])
    for text, gap in zip([header, *rows], gaps[1:], strict=True):
        lines += [text, *gap]
    same = data.draw(st.none() | ENDS)
    text = "".join(line + (same or data.draw(ENDS)) for line in lines)
    text = text.rstrip("\r\n") if data.draw(st.booleans()) else text
    folder = tmp_path_factory.mktemp("set")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PIECE", data.draw(st.sampled_from([1, 2, 7, 2**20])))
        patch.setattr(source, "BLOCK", data.draw(st.sampled_from([250, 2**24])))
        report = convert(source=csv_file(folder, text, name), out=folder / "out", name="set", **arguments)
    assert [line[1] for line in lines_of(folder / "out", "set")[1:]] == ["2", "4", "6"]
    after = gaps[1:] if header else gaps
    assert report.malformed == sum(gap.count(hollow) for gap in after if delimiter)


def test_a_catalogue_with_line_ends_of_old_and_empty_rows(movielens, tmp_path):
    name, folder = movielens
    movies, lines, encoding = SETS[name][2:]
    ended = "\r".join(["", "  ", *lines[:1], "", *lines[1:], " ", ""])
    (folder / movies).write_text(ended, encoding=encoding, newline="")
    assert convert("movielens", folder, tmp_path / "out").malformed == 0
    check_movielens(tmp_path / "out", name)


# --- what is left out ---------------------------------------------------------------------------------------


def test_ids_that_would_not_load_back_are_left_out(tmp_path):
    """And those are all: what is written loads, token by token, as it was."""
    ids = [
        *sorted(MISSING),
        "[PAD]",
        '"x',
        "a\tb",
        "a\nb",
        "-5",
        "0",
        "ok",
        "é",
        "none",
        "N",
        " NA",
        "a b",
        "'q'",
        'a"',
    ]
    frame = pd.DataFrame({"uid": [f"u{n % 3}" for n in range(len(ids))], "sku": ids})
    path = tmp_path / "my.csv"
    frame.to_csv(path, index=False)
    report = convert("table", path, tmp_path / "out", name="shop", columns=COLUMNS)
    good = ["-5", "0", "ok", "é", "none", "N", " NA", "a b", "'q'", 'a"']
    assert report.malformed == len(ids) - len(good)
    data = load(tmp_path / "out", "shop")
    assert sorted(data.field2id_token["item_id"][1:]) == sorted(good)


def test_the_missing_words_are_those_of_pandas():
    from pandas._libs.parsers import STR_NA_VALUES

    assert set(STR_NA_VALUES) == MISSING


MALFORMED = [
    ("196\t242\t3", "has 3 columns; must have 4"),
    ("-6\t242\t3\t1", "user_id=-6 must be a whole number above 0"),
    ("0\t242\t3\t1", "user_id=0 must be"),
    ("6\t-242\t3\t1", "item_id=-242 must be a whole number above 0"),
    ("6\t1.5\t3\t1", "item_id=1.5 must be"),
    ("6\t2\tfive\t1", "rating=five must be a number at least 0.5 and at most 5"),
    ("6\t2\tnan\t1", "rating=nan must be"),
    ("6\t2\t6\t1", "rating=6 must be"),
    ("6\t2\t\t1", "rating= must be"),
    ("6\t2\t3\tsoon", "timestamp=soon must be a number or a date"),
    ("6\t2\t3\tinf", "timestamp=inf must be"),
    ("\t\t\t", "user_id= must be"),
]


@pytest.mark.parametrize(("line", "reason"), MALFORMED)
def test_malformed_lines_are_numbered_and_left_out(tmp_path, line, reason):
    path = tmp_path / "u.data"
    path.write_text("\n".join([ML_100K[0], "", line, *ML_100K[1:], "", ""]))
    report = convert("movielens", path, tmp_path / "out", name="films")
    assert report.malformed == 1
    assert f"{path}, line 3: {reason}" in report.first_malformed[0]
    assert [row[0] for row in lines_of(tmp_path / "out", "films")[1:]] == ["196", "186", "196"]
    with pytest.raises(InputError, match=re.escape(f"{path}, line 3: {reason}")):
        convert("movielens", path, tmp_path / "strict", name="films", strict=True)
    assert not list((tmp_path / "strict").iterdir())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"user_id": "a"', "is no JSON (Expecting"),
        ("[1, 2]", "is no JSON object"),
        (json.dumps({**REVIEW, "stars": "4"}), 'stars="4" must be a number'),
        (json.dumps({**REVIEW, "stars": None}), "stars=null must be a number"),
        (json.dumps({**REVIEW, "stars": 10**400}), "stars cannot be written"),
        (json.dumps({**REVIEW, "stars": True}), "stars=true must be a number"),
        (json.dumps({**REVIEW, "user_id": 5}), "user_id=5 must be a text"),
        (json.dumps({**REVIEW, "user_id": "\ud800"}), "user_id cannot be written"),
        (json.dumps({**REVIEW, "user_id": "a\tb"}), "user_id=a?b must be"),
        (json.dumps({"user_id": "a", "stars": 3}), "business_id=null must be a text"),
        (json.dumps({**REVIEW, "date": "yesterday"}), "timestamp=yesterday must be"),
        (json.dumps({**REVIEW, "stars": float("nan")}), "rating=nan must be"),
        ("[" * 100000, "is no JSON"),
    ],
)
def test_malformed_json(tmp_path, line, reason):
    path = tmp_path / "review.json"
    good = json.dumps(REVIEW)
    path.write_text("\n".join([good, "", line, good]) + "\n")
    report = convert("yelp", path, tmp_path / "out")
    assert report.malformed == 1
    assert f"line 3: {reason}" in report.first_malformed[0]
    assert (report.before.interactions, report.repeated) == (2, 1)


@pytest.mark.parametrize(
    ("kind", "name", "first", "good"),
    [
        ("movielens", "u.data", "junk", ML_100K[0]),
        ("echonest", "train_triplets.txt", "junk", "a\tb\t1"),
        ("yelp", "review.json", '{"stars": 3}', json.dumps(REVIEW)),
        ("amazon", "ratings_Books.csv", "junk", "A1,0000000116,4,1019865600"),
        ("amazon", "reviews_Books.json", '{"asin": "x"', AMAZON["reviews_Books.json.gz"][0]),
    ],
)
def test_a_damaged_first_line_is_one_malformed_line(tmp_path, kind, name, first, good):
    (tmp_path / name).write_text(f"{first}\n{good}\n")
    report = convert(kind, tmp_path / name, tmp_path / "out", name="set")
    assert (report.malformed, report.before.interactions) == (1, 1)
    assert f"{name}, line 1: " in report.first_malformed[0]


def test_wrong_calls_from_python(tmp_path):
    path = csv_file(tmp_path, "uid,sku\n1,2\n")
    for kind, columns, pattern in [
        ("netflix", COLUMNS, "format netflix: must be one of movielens"),
        ("table", {"user_id": "uid"}, "its columns are uid, sku; give --item=COLUMN"),
        ("table", {**COLUMNS, "colour": "sku"}, "no other than"),
    ]:
        with pytest.raises(InputError, match=pattern):
            convert(kind, path, tmp_path / "out", name="shop", columns=columns)


def test_only_the_first_malformed_lines_are_shown(tmp_path, capsys):
    path = csv_file(tmp_path, "uid,sku\n" + "x\n" * 12 + "1,2\n")
    words = [
        "convert",
        "table",
        str(path),
        "--user=uid",
        "--item=sku",
        "--name=shop",
        f"--out={tmp_path / 'out'}",
    ]
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "malformed lines, left out: 12\n" in out
    assert [int(n) for n in re.findall(r"line (\d+): has 1 columns", out)] == [2, 3, 4, 5, 6]


# --- damaged input: one sentence, exit code 2, nothing written -----------------------------------------------


def refusal(capsys, tmp_path, *words: object) -> str:
    out = tmp_path / "out"
    assert main(["convert", *map(str, words), f"--out={out}"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert not out.exists() or not list(out.iterdir())
    return line


def packed(tmp_path: Path, kind: str) -> Path:
    data = "".join(f"{u}\t{i}\t3\t1\n" for u in range(1, 400) for i in range(1, 60)).encode()
    path = tmp_path / f"u.data.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("u.data", data)
    else:
        path.write_bytes({"gz": gzip.compress, "xz": lzma.compress}[kind](data))
    return path


@pytest.mark.parametrize("kind", ["gz", "xz", "zip"])
@pytest.mark.parametrize("damage", ["cut", "bytes"])
def test_damaged_archives(capsys, tmp_path, kind, damage):
    path = packed(tmp_path, kind)
    data = bytearray(path.read_bytes())
    half = len(data) // 2
    if damage == "cut":
        data = data[:half]
    else:
        data[half : half + 8] = b"\xff" * 8
    path.write_bytes(data)
    line = refusal(capsys, tmp_path, "movielens", path, "--name=films")
    assert re.match(rf"error: {re.escape(str(path))}.*: is cut off or damaged \(", line), line


def test_a_locked_archive_and_one_without_ratings(capsys, tmp_path):
    path = packed(tmp_path, "zip")
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flag of a password, in the file's own header ...
    data[data.index(b"PK\x01\x02") + 8] |= 1  # ... and in the directory
    path.write_bytes(data)
    assert "cannot be unpacked" in refusal(capsys, tmp_path, "movielens", path, "--name=films")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "")
        archive.writestr("b.txt", "")
    line = refusal(capsys, tmp_path, "movielens", path, "--name=films")
    assert line.endswith("must hold a file ratings.csv or ratings.dat or u.data; it holds a.txt, b.txt")


def test_several_files_that_fit(capsys, tmp_path):
    for name in ("reviews_Books.json", "reviews_Music.json.gz"):
        (tmp_path / name).write_text("{}")
    line = refusal(capsys, tmp_path, "amazon", tmp_path)
    assert "holds several files *.json: reviews_Books.json, reviews_Music.json.gz; name one" in line


@pytest.mark.parametrize(
    ("kind", "name", "data", "pattern"),
    [
        ("movielens", "u.data", b"", "is empty"),
        ("movielens", "u.data", b"\n\n", "is empty"),
        ("movielens", "ratings.csv", b"userId,movieId,rating,timestamp\n", "no line of it could be read$"),
        ("movielens", "ratings.csv", b"1,2,3,4\n", "there is no column userId; the columns are 1, 2, 3, 4"),
        ("movielens", "ratings.csv", b"userId,movieId,tag\n1,2,3\n", "there is no column rating"),
        ("movielens", "u.data", b"a\tb\t3\t4\n", "no line of it could be read; .*line 1: user_id=a must be"),
        ("movielens", "u.data", b"1\t2\t3\t4\n\xff\t2\t3\t4\n", r"line 2: is not utf-8 text .*set --encoding"),
        ("movielens", "u.data", "1\t2\t3\t4\n".encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("echonest", "train_triplets.txt", b"a,b,1\n", "line 1: 'a,b,1' must be user, song and play count"),
        ("yelp", "review.json", b'{"stars": 4}\n', r"line 1: '.*stars.*' must be a JSON object with user_id, business_id"),
        ("yelp", "review.json", b"user,item\n1,2\n", "line 1: 'user,item' must be a JSON object with"),
        ("yelp", "review.json", b"[1]\n", "must be a JSON object with"),
        ("yelp", "review.json", b"PK\x03\x04junk", "is cut off or damaged"),
        ("amazon", "ratings_Books.csv", b"a,b\n", "line 1: 'a,b' must be user, item, rating and time"),
        ("movielens", "u.data", b"1\t2\t3\t4" * 100, "no line of it could be read"),
    ],
)  # fmt: skip
def test_input_that_cannot_be_read(capsys, tmp_path, kind, name, data, pattern):
    (tmp_path / name).write_bytes(data)
    line = refusal(capsys, tmp_path, kind, tmp_path / name, "--name=films")
    assert line.startswith(f"error: {tmp_path / name}")
    assert re.search(pattern, line), line


def test_a_line_that_does_not_end(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(source, "BLOCK", 2**10)
    (tmp_path / "u.data").write_bytes(b"\0" * 2**12)
    line = refusal(capsys, tmp_path, "movielens", tmp_path / "u.data", "--name=films")
    assert "a line is longer than 16 MiB" in line


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        (["--user=uid", "--item=nope"], r"there is no column nope; the columns are uid, sku"),
        (["--user=uid", "--item=sku", "--rating=stars"], "there is no column stars"),
        (["--user=uid"], r"its columns are uid, sku; give --item=COLUMN"),
        (
            ["--user=uid", "--item=sku", "--name=ml-1m"],
            r"datasets/ml-1m.yaml reads a column rating, and .* user_id",
        ),
        (["--user=uid", "--item=sku", "--encoding=klingon"], "--encoding=klingon .* must be a text encoding"),
        (["--user=uid", "--item=sku", "--encoding=utf-16"], "--encoding=utf-16 .* must be a text encoding"),
        (["--user=uid", "--item=sku", "--name=a/b"], "must be the name of a folder"),
        (["--user=uid", "--item=sku", "--name=.."], "must be the name of a folder"),
        (["--user=uid", "--item=sku", "--sep=x"], "No such option '--sep'"),
        (["--user=uid", "--item=sku", "--rating=a", "--count=b"], "cannot be given with"),
    ],
)
def test_wrong_arguments_of_a_table(capsys, tmp_path, words, pattern):
    path = csv_file(tmp_path, "uid,sku\n1,2\n")
    name = [] if any(word.startswith("--name") for word in words) else ["--name=shop"]
    assert re.search(pattern, refusal(capsys, tmp_path, "table", path, *words, *name))


def test_other_wrong_words(capsys, tmp_path):
    csv_file(tmp_path, "uid,uid,sku\n1,2,3\n")
    table = ["table", tmp_path / "my.csv", "--name=shop", "--item=sku"]
    assert "more than one column uid" in refusal(capsys, tmp_path, *table, "--user=uid")
    assert "No such command 'netflix'" in refusal(capsys, tmp_path, "netflix", "x")
    assert "cannot be read (No such file" in refusal(capsys, tmp_path, "yelp", tmp_path / "nope")
    (tmp_path / "my.parquet").write_bytes(b"PAR1 but not really")
    table[1] = tmp_path / "my.parquet"
    assert "cannot be read as parquet" in refusal(capsys, tmp_path, *table, "--user=uid")
    (tmp_path / "u.data").write_text(ML_100K[0])
    assert "cannot tell which MovieLens" in refusal(capsys, tmp_path, "movielens", tmp_path / "u.data")
    assert main(["convert"]) == 2
    assert "Missing command (command line); see `recbole-hlr convert --help`" in capsys.readouterr().err
    assert main(["convert", "--help"]) == 0
    assert main(["convert", "table", "-h"]) == 0
    assert "--user COLUMN" in capsys.readouterr().out


def test_the_commands_of_the_documentation_are_understood():
    text = (Path(__file__).parents[1] / "docs" / "data.md").read_text()
    found = [line.split() for line in re.findall(r"^recbole-hlr convert (.*)$", text, re.M)]
    for kind, *rest in found:
        assert formats.commands[kind].make_context(kind, rest).params["source"]
    assert {kind for kind, *_ in found} == set(FORMATS) == set(SOURCES)


def test_encodings(tmp_path):
    path = tmp_path / "my.csv"
    path.write_bytes("uid,sku\nÄ,ß\n".encode("latin-1"))
    with pytest.raises(InputError, match="line 2: is not utf-8 text"):
        convert("table", path, tmp_path / "out", name="shop", columns=COLUMNS)
    convert("table", path, tmp_path / "out", name="shop", columns=COLUMNS, encoding="latin-1")
    assert lines_of(tmp_path / "out", "shop")[1:] == [["Ä", "ß"]]
    path.write_bytes("uid,sku\nÄ,ß\n".encode("utf-8-sig"))
    convert("table", path, tmp_path / "out", name="bom", columns=COLUMNS)
    assert lines_of(tmp_path / "out", "bom")[1:] == [["Ä", "ß"]]


# --- output: whole or not at all ------------------------------------------------------------------------------


def test_an_existing_target_stays_unless_told_otherwise(tmp_path):
    shop(tmp_path, "uid,sku\n1,2\n")
    with pytest.raises(InputError, match=r"out/shop: exists already; give --overwrite"):
        shop(tmp_path, "uid,sku\n3,4\n")
    with pytest.raises(InputError, match="no line of it"):
        shop(tmp_path, "uid,sku\n", overwrite=True)
    assert lines_of(tmp_path / "out", "shop")[1:] == [["1", "2"]]
    shop(tmp_path, "uid,sku\n3,4\n", overwrite=True)
    assert lines_of(tmp_path / "out", "shop")[1:] == [["3", "4"]]
    (tmp_path / "out" / "shop" / "thesis.tex").write_text("")
    with pytest.raises(InputError, match=r"holds thesis\.tex, and is not replaced"):
        shop(tmp_path, "uid,sku\n3,4\n", overwrite=True)
    assert os.listdir(tmp_path / "out") == ["shop"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out/shop: cannot be written"):
        shop(tmp_path, "uid,sku\n1,2\n")
    (tmp_path / "out").unlink()
    with pytest.raises(InputError, match=r"xxx: cannot be written \(File name too long\)"):
        shop(tmp_path, "uid,sku\n1,2\n", name="x" * 300)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_a_conversion_that_is_stopped_leaves_no_data_set(tmp_path, sign):
    """Neither Ctrl-C nor a kill; only the killed one leaves its hidden folder, which is in nobody's way."""
    path, out = tmp_path / "train_triplets.txt", tmp_path / "out"
    path.write_text("a\tb\t1\n" * 4_000_000)
    words = [sys.executable, "-m", "recbole_hlr", "convert", "echonest", str(path), "--out", str(out)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(out.glob(".echonest.*/echonest.inter")):
        time.sleep(0.005)
    process.send_signal(sign)
    _, err = process.communicate(timeout=60)
    assert not (out / "echonest").exists()
    if sign == signal.SIGINT:
        assert (process.returncode, err.strip()) == (130, "interrupted; nothing was written")
        assert not list(out.iterdir())
    path.write_text("a\tb\t1\n")
    assert convert("echonest", path, out).before.interactions == 1


def test_bytes_are_shown(tmp_path):
    bar = Bytes(Entry(tmp_path / "u.data"), 60_000_000)
    bar.done = 15_000_000
    assert bar.rows() == [Row(["u.data", "15.0 of 60.0 MB"], done=0.25)]


# --- sizes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "config",
    [
        {"val_interval": {"rating": "[4,inf)"}, "user_inter_num_interval": "[5,inf)", "item_inter_num_interval": "[5,inf)"},
        {"rm_dup_inter": "last", "val_interval": {"rating": "(1.5,4]"}, "user_inter_num_interval": "[3,20]"},
        {"rm_dup_inter": "first", "val_interval": {"timestamp": "[10,40];(60,90)"}, "item_inter_num_interval": "(4,inf)"},
        {"item_inter_num_interval": "[500,inf)"},
    ],
)  # fmt: skip
def test_sizes_after_filtering_are_those_of_recbole(tmp_path, monkeypatch, config, seed):
    rng = np.random.default_rng(seed)
    rows = np.stack(
        [rng.zipf(1.5, 600) % 60, rng.zipf(1.4, 600) % 50, rng.integers(1, 6, 600), rng.permutation(600)], 1
    )
    text = "uid,sku,stars,ts\n" + "\n".join(",".join(map(str, row)) for row in rows) + "\n"
    config = {"load_col": {"inter": ["user_id", "item_id", "rating", "timestamp"]}, **config}
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr(conversion, "shipped", lambda *names: tmp_path / "shop.yaml")
    monkeypatch.setattr(summary, "PART", 101)
    report = shop(tmp_path, text, columns=TABLE_COLUMNS)
    monkeypatch.undo()
    if not report.after.interactions:
        with pytest.raises(InputError, match="no interaction is left"):
            load(tmp_path / "out", "shop", **config)
        return
    data = load(tmp_path / "out", "shop", **config)
    assert report.after[:3] == (data.user_num - 1, data.item_num - 1, data.inter_num)
    assert report.after.median == data.inter_feat["user_id"].value_counts().median()
    assert report.before.interactions == 600


def test_intervals():
    numbers = np.array([1.0, 2, 3, 4, 5])
    assert within(numbers, "[2,4)").tolist() == [False, True, True, False, False]
    assert within(numbers, "(-inf,1];(4,inf)").tolist() == [True, False, False, False, True]


def test_pyarrow_is_asked_first(tmp_path, monkeypatch):
    """A clean file never goes through the slow path by line."""

    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(json_lines, "by_line", fail)
    monkeypatch.setattr(delimited.csv, "reader", fail)
    path = tmp_path / "review.json"
    path.write_text(json.dumps(REVIEW) + "\n")
    assert convert("yelp", path, tmp_path / "out").before.interactions == 1
