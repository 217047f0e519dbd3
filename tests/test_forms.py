"""Tables of every form that people have: recognised by their first lines, or told by an option."""

import bz2
import json
from pathlib import Path

import pyarrow as pa
import pytest

from recbole_hlr.convert import convert

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
