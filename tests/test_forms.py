"""Tables of every form that people have: recognised by their first lines, or told by an option."""

import bz2
import contextlib
import csv
import io
import json
import re
import sys
import zipfile
from datetime import timezone
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr.cli import main
from recbole_hlr.convert import convert, source
from recbole_hlr.convert.check import RESERVED, with_point
from recbole_hlr.convert.dates import Dates
from recbole_hlr.errors import InputError

DAY = 1_550_016_000  # 2019-02-13


def converted(
    folder: Path, data: str | bytes, name: str = "my.txt", **said
) -> tuple[list[list[str]], object]:
    """The rows of the .inter file that a table becomes, without its header, and the report."""
    path = folder / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    report = convert("table", path, folder / "out", name="shop", overwrite=True, **said)
    return lines_of(folder / "out"), report


def lines_of(out: Path, suffix: str = "inter") -> list[list[str]]:
    text = (out / "shop" / f"shop.{suffix}").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")][1:]


def by_number(**numbers: int) -> dict[str, str]:
    return {field: str(number) for field, number in numbers.items()}


UI = [["1", "7"], ["2", "8"]]
UIR = [["1", "7", "4.5"], ["2", "8", "3"]]
UIT = [["1", "7", str(DAY)], ["2", "8", str(DAY + 86400 + 3661)]]
NAMED = {"user": "uid", "item": "sku"}
TIMED = {**NAMED, "time": "ts"}
FORMS = {
    # separators, and names of columns that nobody has to tell
    "commas, usual names": ("userId,itemId,rating\n1,7,4.5\n2,8,3\n", {}, UIR),
    "an atomic file": ("user_id:token\titem_id:token\trating:float\n1\t7\t4.5\n2\t8\t3\n", {}, UIR),
    "Book-Crossing": ('"User-ID";"ISBN";"Book-Rating"\r\n"1";"7";"4.5"\r\n"2";"8";"3"\r\n', {}, UIR),
    "Goodreads 10k": ("user_id,book_id,rating\n1,7,4.5\n2,8,3\n", {}, UIR),
    "hetrec lastfm": ("userID\tartistID\tweight\n1\t7\t4.5\n2\t8\t3\n", {}, UIR),
    "Retailrocket": ("timestamp,visitorid,event,itemid,transactionid\n5,1,view,7,\n6,2,view,8,\n", {}, [[*UI[0], "5"], [*UI[1], "6"]]),
    "bars": ("uid|sku\n1|7\n2|8\n", NAMED, UI),
    "semicolons and decimal commas": ("uid;sku;stars\n1;7;4,5\n2;8;3\n", {**NAMED, "rating": "stars", "decimal": ","}, UIR),
    "thousands": ('uid,sku,n\n1,7,"1,234.5"\n2,8,"12,345,678"\n', {**NAMED, "count": "n", "decimal": "."}, [[*UI[0], "1234.5"], [*UI[1], "12345678"]]),
    "a separator of one's own": ("uid~sku\n1~7\n2~8\n", {**NAMED, "separator": "~"}, UI),
    "one of several signs": ("uid%%sku\n1%%7\n2%%8\n", {**NAMED, "separator": "%%"}, UI),
    "R's write.table": ('"uid" "sku"\n"1" "1" "7"\n"2" "2" "8"\n', {**NAMED, "quotes": "off"}, UI),
    "pandas' index": (",uid,sku\n0,1,7\n1,2,8\n", NAMED, UI),
    # no header, sizes, comments
    "MovieLens 100K": ("1\t7\t4.5\t881250949\n2\t8\t3\t891717742\n", by_number(user=1, item=2, rating=3), UIR),
    "MovieLens 1M": ("1::7::4.5::978300760\n2::8::3::978302109\n", by_number(user=1, item=2, rating=3), UIR),
    "a trust network": ("1 7 4.5\n2 8 3\n", by_number(user=1, item=2, rating=3), UIR),
    "blanks of any number": ("  1   7\t4.5 \n 2  8   3\n", by_number(user=1, item=2, rating=3), UIR),
    "texts without a header": ("a,x\nb,y\n", {**by_number(user=1, item=2), "header": False}, [["a", "x"], ["b", "y"]]),
    "numbers as names": ("0,1\n1,7\n2,8\n", {"user": "0", "item": "1", "header": True}, UI),
    "a line of sizes": ("2 2 9 9\n1 7 4.5\n2 8 3\n", by_number(user=1, item=2, rating=3), UIR),
    "two lines of sizes": ("2\n2\n1 7 4.5\n2 8 3\n", by_number(user=1, item=2, rating=3), UIR),
    "sizes as wide as rows": ("2 2 2\n1 7 4.5\n2 8 3\n", {**by_number(user=1, item=2, rating=3), "skip_lines": 1}, UIR),
    "a title above the header": ("My ratings\n\nuid,sku\n1,7\n2,8\n", {**NAMED, "skip_lines": 1}, UI),
    "MatrixMarket": ("%%MatrixMarket matrix coordinate real general\n% c\n2 8 2\n1 7 4.5\n2 8 3\n", by_number(user=1, item=2, rating=3), UIR),
    "KONECT": ("% bip weighted\n% 2 2 2\n1\t7\t4.5\n2\t8\t3\n", by_number(user=1, item=2, rating=3), UIR),
    # quotes
    "quotes doubled": ('uid,sku,t\n1,7,"say ""so"", yes"\n2,8,x\n', NAMED, UI),
    "quotes escaped": ('uid;sku;t\n1;7;"say \\"so\\"; yes"\n2;8;x\n', {**NAMED, "quotes": "escaped"}, UI),
    "quotes kept": ('uid,sku,t\n1,7,"x\n2,8,5" pipe\n', {**NAMED, "quotes": "kept"}, UI),
    "quotes taken off": ('"uid" "sku"\n"1" "7"\n"2" "8"\n', {**NAMED, "quotes": "off"}, UI),
    # JSON and Python
    "JSON lines": ('{"uid": 1, "sku": "7", "stars": 4.5}\n{"uid": 2, "sku": "8", "stars": 3}\n', {**NAMED, "rating": "stars"}, UIR),
    "JSON lines of mixed types": ('{"uid": 1, "sku": "7"}\n{"uid": "2", "sku": 8.0, "x": [1]}\n', NAMED, UI),
    "a JSON array": ('[{"uid": 1, "sku": "7"}, {"uid": 2, "sku": "8"}]', NAMED, UI),
    "a JSON array on many lines": (json.dumps([{"uid": 1, "sku": "7"}, {"uid": 2, "sku": "8"}], indent=2), NAMED, UI),
    "JSON objects on many lines": ('{\n"uid": 1,\n"sku": 7\n}\n{\n"uid": 2,\n"sku": 8\n}\n', NAMED, UI),
    "Steam's Python dicts": ("{u'uid': u'1', 'sku': 7, 'early': False}\n{u'uid': u'2', 'sku': 8}\n", NAMED, UI),
    # several interactions on a line
    "LightGCN": ("1 7 9\n2\n3 8\n", {}, [["1", "7"], ["1", "9"], ["3", "8"]]),
    "neighbours of names": ("ann: x, y\nbob: x\n", {"form": "adjacency"}, [["ann", "x"], ["ann", "y"], ["bob", "x"]]),
    "Netflix": ("7:\n1,3,2019-02-13\n2,5,2019-02-14\n8:\n1,4,2019-02-13\n", {},
                [["1", "3", str(DAY), "7"], ["2", "5", str(DAY + 86400), "7"], ["1", "4", str(DAY), "8"]]),
    "a matrix": (",7,8,9\n1,4.5,,0\n2,,3,\n", {}, UIR),
    "a matrix that one has to tell": ("7,8\n1,2\n", {"form": "matrix", "header": True}, [["1", "8", "2"]]),
    "MIND": ("1\tU1\t11/13/2019 9:05:58 AM\tN1 N2\tN7-1 N8-0\n2\tU2\t11/15/2019 6:11:30 PM\t\tN7-0\n", {},
             [["U1", "N7", "1573635958", "1"], ["U1", "N8", "1573635958", "0"], ["U2", "N7", "1573841490", "0"]]),
    "lists of items": ('uid,sku\n1,"7 9"\n2,[8]\n', {**NAMED, "form": "lists"}, [["1", "7"], ["1", "9"], ["2", "8"]]),
    "Gowalla": ("1\t2019-02-13T00:00:00Z\t30.23\t-97.79\t7\n2\t2019-02-14T01:01:01Z\t30.2\t-97.7\t8\n", {}, UIT),
    "Foursquare": ("1\t7\tcat\tBar\t40.7\t-73.9\t-240\tTue Feb 12 00:00:00 +0000 2019\n"
                   "2\t8\tcat\tBar\t40.7\t-73.9\t-240\tThu Feb 14 01:01:01 +0000 2019\n",
                   by_number(user=1, item=2, time=8), [[*UI[0], str(DAY - 86400)], UIT[1]]),
    # dates
    "days first": ("uid,sku,ts\n1,7,13/02/2019\n2,8,14/02/2019 01:01:01\n", TIMED, UIT),
    "months first": ("uid,sku,ts\n1,7,2/13/2019\n2,8,2/14/2019 1:01:01 AM\n", TIMED, UIT),
    "days first, as told": ("uid,sku,ts\n1,7,1.2.2019\n", {**TIMED, "dates": "day-first"}, [["1", "7", "1548979200"]]),
    "years of two digits": ("uid,sku,ts\n1,7,13.02.19\n2,8,14.02.19 01:01:01\n", TIMED, UIT),
    "names of months": ("uid,sku,ts\n1,7,\"Feb 13, 2019\"\n2,8,14-Feb-2019 01:01:01\n", TIMED, UIT),
    "Amazon's reviewTime": ('uid,sku,ts\n1,7,"02 13, 2019"\n2,8,"02 14, 2019, 1:01:01 am"\n', TIMED, UIT[:1] + UIT[1:]),
    # encodings and packing
    "Latin-1": ("uid,sku\n1,Größe\n".encode("latin-1"), {**NAMED, "encoding": "latin-1"}, [["1", "Größe"]]),
    "a byte order mark": ("uid,sku\n1,7\n2,8\n".encode("utf-8-sig"), NAMED, UI),
    "zstandard": (pa.compress(b"uid,sku\n1,7\n2,8\n", "zstd", asbytes=True), NAMED, UI),
    "bzip2": (bz2.compress(b"uid,sku\n1,7\n2,8\n"), NAMED, UI),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_forms(tmp_path, form):
    data, said, expected = FORMS[form]
    rows, report = converted(tmp_path, data, **said)
    assert rows == expected
    assert (report.malformed, report.first_malformed) == (0, [])


def test_there_are_thirty_forms_or_more():
    assert len(FORMS) >= 30


# --- typed tables: files and memory -----------------------------------------------------------------------------

TYPED = pd.DataFrame(
    {
        "uid": [1, 2],
        "sku": ["7", "8"],
        "stars": [4.5, 3.0],
        "ts": pd.to_datetime(["2019-02-13", "2019-02-14 01:01:01"], format="mixed"),
    }
)
OF_TYPED = {**NAMED, "rating": "stars", "time": "ts"}
TYPED_ROWS = [[*UIR[0], UIT[0][2]], [*UIR[1], UIT[1][2]]]


def write_arrow_stream(frame: pd.DataFrame, path: Path) -> None:
    table = pa.Table.from_pandas(frame)
    with pa.ipc.new_stream(path, table.schema) as file:
        file.write_table(table, max_chunksize=1)


@pytest.mark.parametrize(
    "write",
    [
        pd.DataFrame.to_parquet,
        pd.DataFrame.to_feather,
        lambda frame, path: frame.to_feather(path, compression="zstd", chunksize=1),
        write_arrow_stream,
        lambda frame, path: (pytest.importorskip("openpyxl"), frame.to_excel(path, index=False)),
    ],
    ids=["parquet", "feather", "feather in parts", "arrow stream", "excel"],
)
def test_typed_files(tmp_path, write):
    path = tmp_path / "my.xlsx"  # what a file is, its first bytes tell, but for pandas' writer of Excel
    write(TYPED, path)
    convert("table", path, tmp_path / "out", name="shop", **OF_TYPED)
    assert lines_of(tmp_path / "out") == TYPED_ROWS
    with pytest.raises(
        InputError, match=r"my\.xlsx: there is no column nope; the columns are uid, sku, stars, ts"
    ):
        convert("table", path, tmp_path / "out", name="other", user="nope", item="sku")


class OfArrow:
    """A table that is known by Arrow's C interface alone, as polars' is."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self.table = pa.Table.from_pandas(frame)
        self.table = self.table.set_column(1, "sku", self.table["sku"].cast(pa.string_view()))

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


@pytest.mark.parametrize(
    "make", [lambda frame: frame, OfArrow, pa.Table.from_pandas, pa.RecordBatch.from_pandas]
)
def test_tables_in_memory(tmp_path, make):
    report = convert(make(TYPED), out=tmp_path, name="shop", **OF_TYPED)
    assert lines_of(tmp_path) == TYPED_ROWS
    assert report.recognised.startswith("a table of 4 columns; user_id from uid")
    convert(make(TYPED), out=tmp_path, name="shop", overwrite=True, where="stars > 4", keep="stars", **NAMED)
    assert lines_of(tmp_path) == [["1", "7", "4.5"]]


def test_a_table_of_polars(tmp_path):
    polars = pytest.importorskip("polars")
    convert(polars.from_pandas(TYPED), out=tmp_path, name="shop", **OF_TYPED)
    assert lines_of(tmp_path) == TYPED_ROWS


def test_odd_tables_in_memory(tmp_path):
    lists = pd.DataFrame({"user": [1, 2, 3], "item": [["7", "9"], [], ["8"]], "n": [1, 2, 3]})
    convert(lists, out=tmp_path, name="shop", keep="n")
    assert lines_of(tmp_path) == [["1", "7", "1"], ["1", "9", "1"], ["3", "8", "3"]]
    ids = pd.DataFrame(
        {0: pd.Categorical(["a", "b", None]), "item": [1.0, 2.5, 3.0], "when": [True, False, True]}
    )
    report = convert(ids, out=tmp_path, name="shop", user="0", item="item", keep="when", overwrite=True)
    assert lines_of(tmp_path) == [["a", "1", "true"], ["b", "2.5", "false"]]
    assert report.first_malformed[0].startswith("DataFrame, line 3: user_id= must be")


@pytest.mark.parametrize(
    ("table", "said", "pattern"),
    [
        (5, {}, "int: must be a table of pandas, polars or pyarrow, or a file"),
        (
            pd.DataFrame({"user": [1, "a", b"x"], "item": [1, 2, 3]}),
            {},
            "DataFrame: has a column that cannot be read",
        ),
        (pd.DataFrame({"user": [{"a": 1}], "item": [1]}), {}, "DataFrame: cannot be read as a table"),
        (pd.DataFrame({"user": [], "item": []}), {}, "DataFrame: no line of it could be read"),
        (
            pd.DataFrame({"a": [1], "b": [2]}),
            {},
            "its columns are a, b; give --user=COLUMN and --item=COLUMN",
        ),
        (TYPED, {**NAMED, "colour": 1}, r"colour=1: is no option of a table"),
        (TYPED, {**NAMED, "name": None}, "name: must be given, the data set's name"),
        (TYPED, {**NAMED, "source": "x"}, "x: cannot be given with a table"),
    ],
)
def test_wrong_tables_in_memory(tmp_path, table, said, pattern):
    with pytest.raises(InputError, match=pattern):
        convert(table, **{"out": tmp_path / "out", "name": "shop", **said})
    assert not list(tmp_path.rglob("shop*"))


def test_excel_without_its_library_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    path = tmp_path / "my.xlsx"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "")
    with pytest.raises(
        InputError, match=r"my\.xlsx: is an Excel workbook, which needs openpyxl; run `pip install"
    ):
        convert("table", path, tmp_path / "out", name="shop")


# --- what cannot be read: one sentence, exit code 2, nothing written ------------------------------------------------


def empty_parquet() -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame({"user": [], "item": []}).to_parquet(buffer)
    return buffer.getvalue()


WRONG = {
    "dates of two orders": ("uid,sku,ts\n1,7,01/02/2019\n", TIMED, "dates such as 01/02/2019 may be day-first or month-first; give --dates"),
    "dates of no order": ("uid,sku,ts\n1,7,13/02/2019\n2,8,02/13/2019\n", TIMED, "may be neither day-first nor month-first"),
    "no names, no header": ("1 7 4\n2 8 3\n", {}, "is read as 3 columns between blanks, without a header; its columns are 1, 2, 3; give --user"),
    "a number too large": ("1 7 4\n2 8 3\n", {"user": 1, "item": 9}, "there is no column 9; the columns are 1, 2, 3"),
    "columns of lines of neighbours": ("1 7\n2\n3 4 5\n", {"user": 1, "form": "adjacency"}, "and so no columns to name"),
    "numbers with commas": ('uid,sku,n\n1,7,"1,5"\n', {**NAMED, "count": "n"}, r"play_count=1,5 must be a number \(--decimal says"),
    "nothing after the skipped": ("uid,sku\n", {"skip-lines": 5}, "has nothing below its first 5 lines"),
    "JSON that is none": ("[{1: 2}]", {}, "must be a JSON object"),
    "a JSON array that is cut off": ('[{"uid": 1, "sku": 2}, {"uid": 1, ', NAMED, "after object 1: is no JSON, or is cut off"),
    "a form that there is not": ("a,b\n", {"form": "xml"}, r"--form=xml \(command line\): must be one of values, json"),
    "a wrong order": ("a,b\n", {"dates": "year"}, r"--dates=year \(command line\): must be one of day-first, month-first"),
    "lines below nothing": ("a,b\n", {"skip-lines": -1}, r"--skip-lines=-1 \(command line\): must be 0 or more"),
    "a separator of a quote": ("a,b\n", {"separator": '"'}, "--separator=.* must be a text without quote"),
    "a web page": ("<!DOCTYPE html>\n<html>", {}, "is a web page, maybe of a download that needs an account"),
    "a pickle": (b"\x80\x04\x95\x10\x00\x00\x00\x00", {}, "is a pickle, which may run anything"),
    "SQLite": (b"SQLite format 3\x00" + b"\x00" * 99, {}, "is an SQLite database"),
    "old Excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", {}, "is an Excel workbook of before 2007"),
    "a tar archive": (b"x" * 257 + b"ustar\x0000" + b"\x00" * 248, {}, "is a tar archive; unpack it"),
    "bytes": (b"uid,sku\n1,\x00\n", {}, "is no text and no other form that is known"),
    "no parquet": (b"PAR1 but not really", {}, "cannot be read as parquet"),
    "parquet without rows": (empty_parquet(), {}, "has no row|no line of it could be read"),
    "no feather": (b"ARROW1 but not really", {}, "cannot be read as feather"),
    "zstandard that is cut off": (pa.compress(b"uid,sku\n1,7\n" * 9999, "zstd", asbytes=True)[:-9], NAMED, "is cut off or damaged"),
    "bzip2 that is cut off": (bz2.compress(b"uid,sku\n1,7\n" * 9999)[:-9], NAMED, "is cut off or damaged"),
}  # fmt: skip


@pytest.mark.parametrize("preview", [False, True])
@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_read_is_one_sentence(tmp_path, capsys, case, preview):
    data, said, pattern = WRONG[case]
    path, out = tmp_path / "my.txt", tmp_path / "out"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    words = [f"--{key}={value}" for key, value in said.items()]
    words += ["--preview"] if preview else ["--name=shop", f"--out={out}"]
    seen = not preview or case not in ("numbers with commas", "a JSON array that is cut off")
    assert main(["convert", "table", str(path), *words]) == (2 if seen else 0)  # by the first rows
    captured = capsys.readouterr()
    assert not seen or re.search(pattern, captured.err)
    assert captured.err.count("\n") == (1 if captured.err else 0)
    assert not list(out.glob("*"))


def test_a_preview_shows_what_will_be_written_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_text("uid;sku;when\n1;7;13.02.2019\nx\n" + "2;8;14.02.2019\n" * 20)
    assert main(["convert", "table", "my.csv", "--user=uid", "--item=sku", "--time=when", "--preview"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[:3] == [
        "read as 3 columns between semicolons, below a header; user_id from uid, item_id from sku, timestamp from when",
        "malformed among the first lines: 1",
        "  line 3: has 1 columns; must have 3",
    ]
    assert shown[4].split() == ["user_id", "item_id", "timestamp"]
    assert [line.split() for line in shown[6:16]] == [
        ["1", "7", str(DAY)],
        *[["2", "8", str(DAY + 86400)]] * 9,
    ]
    assert shown[-1] == "nothing was written"
    assert [file.name for file in tmp_path.iterdir()] == ["my.csv"]


# --- any table ------------------------------------------------------------------------------------------------------

TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\x85\u2028\u2029"),
    min_size=1,
    max_size=8,
)
ID = TEXT.filter(
    lambda text: text == text.strip() and text not in RESERVED and not text.startswith('"') and text
)
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "::": "::", "#": "#"}


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_table_becomes_the_same_table(tmp_path_factory, data):
    """Whatever its separator, its quotes, its encoding, the ends of its lines, and where blocks end."""
    said = data.draw(st.sampled_from(list(SEPARATORS)))
    separator, end = SEPARATORS[said], data.draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = data.draw(st.sampled_from(["utf-8", "utf-8-sig", "latin-1", "cp1252"]))
    quoted = data.draw(st.sampled_from(["always", "needed"])) if len(separator) == 1 else "never"

    def writable(text: str) -> bool:
        with contextlib.suppress(UnicodeEncodeError):
            text.encode(encoding)
            return quoted != "never" or not set(text) & set(separator)
        return False

    ids, value = ID.filter(writable), st.floats(allow_nan=False, allow_infinity=False)
    rows = data.draw(st.lists(st.tuples(ids, ids, value, TEXT.filter(writable)), min_size=1, max_size=9))
    buffer = io.StringIO()
    if quoted == "never":
        for row in [("the user", "the item", "v", "note"), *rows]:
            buffer.write(separator.join(map(str, row)) + end)
    else:
        style = csv.QUOTE_ALL if quoted == "always" else csv.QUOTE_MINIMAL
        writer = csv.writer(buffer, delimiter=separator, quoting=style, lineterminator=end)
        writer.writerows([("the user", "the item", "v", "note"), *rows])
    folder = tmp_path_factory.mktemp("set")
    options = {
        "user": "the user",
        "item": "the item",
        "rating": "v",
        "separator": said,
        "quotes": "kept" if quoted == "never" else None,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "BLOCK", data.draw(st.sampled_from([400, 2**24])))
        found, report = converted(folder, buffer.getvalue().encode(encoding), encoding=encoding, **options)
    assert [(row[0], row[1], float(row[2])) for row in found] == [row[:3] for row in rows]
    assert report.malformed == 0


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(ID, ID, st.floats(-1e9, 1e9) | st.integers(-9, 9)), min_size=1, max_size=9),
    form=st.data(),
)
def test_any_json_becomes_the_same_table(tmp_path_factory, rows, form):
    records = [{"the user": user, "i": item, "v": value} for user, item, value in rows]
    lines = {
        "lines": lambda: "\n".join(json.dumps(record, ensure_ascii=False) for record in records),
        "array": lambda: json.dumps(records),
        "indented": lambda: json.dumps(records, indent=1),
        "python": lambda: "\n".join(map(repr, records)),
    }[form.draw(st.sampled_from(["lines", "array", "indented", "python"]))]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "PIECE", form.draw(st.sampled_from([7, 2**20])))
        found, report = converted(
            tmp_path_factory.mktemp("set"), lines, user="the user", item="i", rating="v"
        )
    assert [(row[0], row[1], float(row[2])) for row in found] == rows
    assert report.malformed == 0


@settings(max_examples=100, deadline=None)
@given(
    times=st.lists(st.datetimes(pd.Timestamp(1971, 1, 1), pd.Timestamp(2068, 1, 1)), min_size=1, max_size=6),
    form=st.sampled_from(["%d/%m/%Y %H:%M:%S", "%m/%d/%y %I:%M:%S %p", "%d.%m.%Y, %H:%M:%S", "%Y/%m/%d %H:%M:%S", "%a %b %d %H:%M:%S +0000 %Y",
                          "%d %B %Y %H:%M:%S", "%b %d, %Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%SZ", "%d-%b-%Y %H:%M:%S"]),
)  # fmt: skip
def test_dates_are_read_as_they_were_written(times, form):
    order = "month-first" if form.startswith("%m") else "day-first"
    found = Dates(order).seconds(pa.array([time.strftime(form) for time in times]))
    assert found.tolist() == [time.replace(microsecond=0, tzinfo=timezone.utc).timestamp() for time in times]


@settings(max_examples=100, deadline=None)
@given(
    value=st.decimals(-(10**9), 10**9, places=2),
    decimal=st.sampled_from([".", ","]),
    between=st.sampled_from(["", "'", "\u00a0", "other"]),
)
def test_numbers_of_every_country(value, decimal, between):
    between = {"other": "." if decimal == "," else ","}.get(between, between)
    text = f"{value:,}".replace(",", "_").replace(".", decimal).replace("_", between)
    assert Decimal(with_point(pa.array([text]), decimal)[0].as_py()) == value
