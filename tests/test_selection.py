"""Which rows and columns of a table become interactions: conditions, samples, repeated pairs, side files."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr.convert import convert, source, summary
from recbole_hlr.convert.where import Where
from recbole_hlr.errors import InputError

LOG = pd.DataFrame(
    {
        "uid": ["1", "1", "2", "2", "3"],
        "sku": ["7", "7", "8", "7", "9"],
        "behavior": ["buy", "buy", "view", "buy", "cart"],
        "price": ["4.5", "5.5", "3", "", "1"],
        "unit price": ["10", "9", "8", "x", "6"],
        "ts": ["5", "4", "3", "2", "1"],
        "tag": ["red one", "", 'NA "', '"y"', "tab\there"],
    }
)
NAMED = {"user": "uid", "item": "sku"}


def shop(folder: Path, table=LOG, **said) -> list[list[str]]:
    """The lines of the .inter file, as values, that a table becomes."""
    path = folder / "log.csv"
    table.to_csv(path, index=False)
    convert("table", path, folder / "out", name="shop", overwrite=True, **{**NAMED, **said})
    return lines_of(folder)


def lines_of(folder: Path, suffix: str = "inter") -> list[list[str]]:
    text = (folder / "out" / "shop" / f"shop.{suffix}").read_text(encoding="utf-8")
    return [line.split("\t") for line in text.removesuffix("\n").split("\n")]


CONDITIONS = {
    "behavior == 'buy'": "113",
    "behavior == 'buy' and price > 4": "11",
    "behavior != 'buy' or price >= 5.5": "123",
    "not behavior == 'buy'": "23",
    "behavior in ('cart', 'view')": "23",
    "behavior not in ['cart', 'view']": "112",
    "price in (3, 4.5)": "12",
    "3 < price <= 4.5": "1",
    "price < -1 or price == 1.0": "3",
    "`unit price` > 8": "11",
    "price < `unit price`": "1123",
    "uid == '1'": "11",
    "uid == 1": "11",
    "ts <= 2": "23",
}
CONDITIONS["behavior == 'buy'"] = "112"


@pytest.mark.parametrize("condition", CONDITIONS)
def test_conditions(tmp_path, condition):
    rows = shop(tmp_path, where=condition)
    assert rows[0] == ["user_id:token", "item_id:token"]
    assert "".join(row[0] for row in rows[1:]) == CONDITIONS[condition]


WRONG = [
    "", "price", "price >", "1 < 2", "'a' == 'b'", "price + 1 > 2", "len(price) > 1", "price.real > 1", "price[0] > 1",
    "__import__('os').system('true')", "price > (lambda: 1)()", "(x := 5) > price", "price if price else 1",
    "[p for p in price]", "f'{price}' == 'x'", "price is 3", "price in 'abc'", "price > True", "price == None",
    "price in behavior", "price > 3; 4", "not " * 3000 + "price > 3", "(" * 300 + "price", "behavior < 3 < 'x'",
]  # fmt: skip


@pytest.mark.parametrize("condition", WRONG)
def test_what_is_no_condition_is_refused_and_nothing_is_run(condition):
    columns = {name: pa.array(LOG[name]) for name in LOG}
    with pytest.raises(InputError, match=r"^where=.*must be a condition such as"):
        Where(condition).of(columns)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_conditions_are_those_of_python(data):
    """Whatever is put together: the rows are those for which Python's own expression is true."""
    numbers = data.draw(st.lists(st.integers(-3, 3) | st.floats(-3, 3), min_size=1, max_size=8))
    words = data.draw(
        st.lists(st.sampled_from(["a", "b", "it's", "1"]), min_size=len(numbers), max_size=len(numbers))
    )
    leaf = st.builds(
        lambda name, op, value: f"{name} {op} {value!r}",
        st.just("x"), st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), st.integers(-3, 3),
    ) | st.builds(
        lambda op, value: f"w {op} {value!r}", st.sampled_from(["==", "!="]), st.sampled_from(["a", "it's", "z"])
    ) | st.sampled_from(["w in ('a', 'z')", "x not in (1, 2)", "-2 <= x < 2"])  # fmt: skip
    tree = st.recursive(
        leaf, lambda sub: st.builds("({} {} {})".format, sub, st.sampled_from(["and", "or"]), sub) | sub.map("not ({})".format)
    )  # fmt: skip
    text = data.draw(tree)
    found = Where(text).of({"x": pa.array([repr(n) for n in numbers]), "w": pa.array(words)})
    assert found.to_pylist() == [eval(text, {"x": x, "w": w}) for x, w in zip(numbers, words, strict=True)]


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"there is no column colour; the columns are uid, sku, behavior"):
        shop(tmp_path, where="colour == 'x'")
    with pytest.raises(InputError, match=r"none of its rows is left by where=price > 100"):
        shop(tmp_path, where="price > 100")
    (tmp_path / "my.txt").write_text("1 7 8\n2 9\n")
    with pytest.raises(InputError, match="there is no column stars; there are user_id, item_id"):
        convert("table", tmp_path / "my.txt", tmp_path / "out", name="x", where="stars > 1")


def test_conditions_on_matrices_and_json(tmp_path):
    (tmp_path / "m.csv").write_text(",7,8\n1,4,2\n2,0,5\n")
    convert("table", tmp_path / "m.csv", tmp_path / "out", name="shop", form="matrix", where="rating > 3")
    assert lines_of(tmp_path)[1:] == [["1", "7", "4"], ["2", "8", "5"]]
    (tmp_path / "m.json").write_text(
        json.dumps([{"u": 1, "i": 2, "ok": True}, {"u": 2, "i": 2, "ok": False}])
    )
    convert(
        "table",
        tmp_path / "m.json",
        tmp_path / "out",
        name="shop",
        user="u",
        item="i",
        where="ok == 'true'",
        overwrite=True,
    )
    assert lines_of(tmp_path)[1:] == [["1", "2"]]


# --- repeated pairs -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sum", "max", "last", "count"])
@pytest.mark.parametrize("timed", [True, False])
def test_repeated_pairs_are_made_one_as_by_pandas(tmp_path, monkeypatch, how, timed):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"uid": rng.integers(1, 8, 300), "sku": rng.integers(1, 8, 300),
                          "stars": rng.integers(1, 6, 300) / 2, "ts": rng.permutation(300), "tag": rng.integers(0, 99, 300)})  # fmt: skip
    monkeypatch.setattr(source, "BLOCK", 700)
    monkeypatch.setattr(summary, "PART", 61)
    said = {"rating": "stars"} if how != "count" else {}
    said |= {"time": "ts"} if timed else {}
    header, *rows = shop(tmp_path, frame, aggregate=how, keep="tag:token", **said)
    ordered = frame.sort_values("ts", kind="stable") if timed else frame
    groups = ordered.groupby(["uid", "sku"])
    value = groups.size() if how == "count" else groups["stars"].agg(how)
    expected = pd.DataFrame({"value": value, "tag": groups["tag"].last(), "ts": groups["ts"].last()})
    at = header.index("play_count:float" if how == "count" else "rating:float")
    found = {(int(row[0]), int(row[1])): row for row in rows}
    assert len(found) == len(rows) == len(expected)
    for pair, row in expected.iterrows():
        assert float(found[pair][at]) == row["value"]
        assert found[pair][header.index("tag:token")] == str(int(row["tag"]))
        assert not timed or found[pair][header.index("timestamp:float")] == str(int(row["ts"]))
    assert len(list((tmp_path / "out" / "shop").iterdir())) == 1


def test_what_cannot_be_aggregated(tmp_path):
    for said, needed in [({"aggregate": "sum"}, "last or count"), ({"aggregate": "count", "rating": "price"}, "sum, max or last"),
                         ({"aggregate": "mean"}, "one of sum, max, count, last")]:  # fmt: skip
        with pytest.raises(InputError, match=rf"^aggregate={said['aggregate']}: must be {needed}"):
            shop(tmp_path, **said)


# --- columns --------------------------------------------------------------------------------------------------


def test_columns_that_are_kept_have_the_types_of_their_values(tmp_path):
    header, *rows = shop(tmp_path, keep="price,behavior,tag,ts:token")
    assert header[2:] == ["price:float", "behavior:token", "tag:token_seq", "ts:token"]
    assert [row[2] for row in rows] == ["4.5", "5.5", "3", "", "1"]
    assert [row[4] for row in rows] == ["red one", "", 'NA "', ' "y"', "tab here"]
    with pytest.raises(InputError, match="there is no column colour"):
        shop(tmp_path, keep="colour")
    with pytest.raises(InputError, match=r"keep=rating: must be a column .* called other than"):
        shop(tmp_path, keep="rating")
    path = tmp_path / "log.csv"
    report = convert(
        "table", path, tmp_path / "out", name="shop", overwrite=True, keep="unit price:float", **NAMED
    )
    assert report.first_malformed == [f"{path}, line 5: unit price=x must be a number"]


def test_samples_of_users_are_the_same_again_and_hold_all_of_a_user(tmp_path, monkeypatch):
    frame = pd.DataFrame({"uid": np.arange(6000) % 2000, "sku": np.arange(6000) % 77})
    monkeypatch.setattr(source, "BLOCK", 3000)
    rows = shop(tmp_path, frame, sample_users=0.1, seed=1)[1:]
    users = {row[0] for row in rows}
    assert len(rows) == 3 * len(users)
    assert 150 < len(users) < 250
    assert shop(tmp_path, frame.sample(frac=1, random_state=0), sample_users=0.1, seed=1)[0] == [
        "user_id:token",
        "item_id:token",
    ]
    assert {row[0] for row in lines_of(tmp_path)[1:]} == users
    shop(tmp_path, frame, sample_users=0.1, seed=2)
    assert {row[0] for row in lines_of(tmp_path)[1:]} != users
    assert len(shop(tmp_path, frame, sample_users=1.0)) == 6001
    for share in (0, -1, 1.5, float("nan")):
        with pytest.raises(InputError, match=r"sample_users=.* must be above 0 and at most 1"):
            shop(tmp_path, sample_users=share)


# --- side files -----------------------------------------------------------------------------------------------


def test_items_and_users_beside(tmp_path):
    items = tmp_path / "items.csv"
    items.write_text(
        'sku,name,weight,of:kind,\n7,"Big\tBox",1.5,a,x\n9,Cup,,b,x\n7,again,2,c,x\n99,never,1,d,x\n'
    )
    users = tmp_path / "users.jsonl"
    users.write_text(
        '{"user_id": 1, "age": 30, "likes": ["red wine", "tea"], "at": {"x": 1}}\n{"user_id": "3", "age": 31}\n'
    )
    path = tmp_path / "log.csv"
    LOG.to_csv(path, index=False)
    report = convert(
        "table", path, tmp_path / "out", name="shop", items=items, item_id="sku", users=users, **NAMED
    )
    assert lines_of(tmp_path, "item") == [
        ["item_id:token", "name:token_seq", "weight:float", "of_kind:token"],
        ["7", "Big Box", "1.5", "a"], ["8", "", "", ""], ["9", "Cup", "", "b"],
    ]  # fmt: skip
    assert lines_of(tmp_path, "user") == [
        ["user_id:token", "age:float", "likes:token_seq"], ["1", "30", "red_wine tea"], ["2", "", ""], ["3", "31", ""],
    ]  # fmt: skip
    assert report.sides == [
        "shop.item: name:token_seq, weight:float, of_kind:token, of 2 of 3",
        "shop.user: age:float, likes:token_seq, of 2 of 3",
    ]
    said = {**NAMED, "overwrite": True}
    convert("table", path, tmp_path / "out", name="shop", items=items, **said)  # sku is called as usual
    for wrong, pattern in [
        ({"items": items, "item_id": "name"}, "items.csv: has no row of any item_id"),
        ({"items": items, "item_id": "nope"}, "there is no column nope"),
        ({"item_id": "sku"}, "item_id: needs items"),
        ({"users": tmp_path / "nope"}, "nope: cannot be read"),
    ]:
        with pytest.raises(InputError, match=pattern):
            convert("table", path, tmp_path / "out", name="shop", **wrong, **said)
    assert lines_of(tmp_path, "item")[1][0] == "7"  # as it was before
