"""`describe`: its figures are plain loops, every usual mistake is told, and what is wrong ends in one sentence."""

import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError, describe
from recbole_hlr.cli import main
from recbole_hlr.facts.measures import gini, lengths, measured, new_ones, sizes, top
from recbole_hlr.facts.times import moment, unit_of

HOSTILE = "<script>alert(1)</script>"


def write(
    folder: Path, rows: list[tuple], columns: str = "user_id:token item_id:token rating:float timestamp:float"
):
    """Write the data set `shop` and return the options that read it."""
    path = folder / "data" / "shop" / "shop.inter"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(columns.split()), *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return {"dataset": "shop", "data_path": str(folder / "data"), "load_col": None}


def purchases(users: int = 12, items: int = 9, each: int = 5, seed: int = 0) -> list[tuple]:
    """Rows in which nothing is wrong."""
    draw = np.random.default_rng(seed)
    return [
        (f"u{user}", f"i{item}", 1 + int(draw.integers(5)), 1_500_000_000 + 86_400 * int(draw.integers(900)))
        for user in range(users)
        for item in draw.permutation(items)[:each]
    ]


# --- figures ----------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 9)), min_size=1, max_size=40))
def test_figures_are_plain_loops(pairs) -> None:
    users, items = (np.array(side) for side in zip(*pairs, strict=True))
    found = measured(users, items)
    of_items, distinct = Counter(items.tolist()), set(pairs)
    told = sizes(found)
    assert (told["users"], told["items"], told["interactions"]) == (
        len(set(users)),
        len(of_items),
        len(pairs),
    )
    assert told["repeated pairs"] == len(pairs) - len(distinct)
    assert told["density"] == len(distinct) / (len(set(users)) * len(of_items))
    counts = sorted(of_items.values(), reverse=True)
    for share in (0.01, 0.2, 0.5):
        largest = counts[: max(1, round(share * len(counts)))]
        assert top(found.of_items, share) == pytest.approx(sum(largest) / len(pairs))
    apart = sum(abs(a - b) for a in counts for b in counts)
    assert gini(found.of_items) == pytest.approx(apart / (2 * len(counts) * len(pairs)), abs=1e-12)
    quantiles = lengths(found.of_items)
    assert (quantiles["least"], quantiles["most"]) == (counts[-1], counts[0])
    for name, share in (("25 %", 0.25), ("median", 0.5), ("90 %", 0.9)):
        assert quantiles[name] == counts[::-1][int(share * (len(counts) - 1) + 1e-9)]
    half = len(pairs) // 2
    assert new_ones(users[half:], users[:half]).tolist() == [u not in set(users[:half]) for u in users[half:]]


def test_what_is_read_what_is_kept_and_what_each_part_has(tmp_path) -> None:
    rows = purchases(60, each=8)
    found = describe(**write(tmp_path, rows), val_interval={"rating": "[2,inf)"})
    kept = [row for row in rows if row[2] >= 2]
    assert 0 < len(kept) < len(rows)
    assert found.sizes["read"].to_dict() == {
        "users": 60, "items": 9, "interactions": 480, "repeated pairs": 0, "density": 480 / 540
    }  # fmt: skip
    assert found.sizes.loc["interactions", "kept"] == len(kept) == found.parts["interactions"].sum()
    assert found.left_out.to_dict("records") == [
        {"why": "outside val_interval", "interactions": 480 - len(kept)}
    ]
    assert found.lengths.loc["most", "user, read"] == 8
    assert found.times.loc["read"].tolist() == [
        moment(edge(row[3] for row in rows), "s") for edge in (min, max)
    ]
    assert found.warnings == []
    assert "Nothing of what usually goes wrong" in str(found)


def test_who_is_new_to_a_part(tmp_path) -> None:
    data = write(tmp_path, [])
    for part, rows in (
        ("train", purchases(10, 6)),
        ("test", [("u0", "i7", 5, 1.6e9), ("z", "i1", 5, 1.6e9)]),
    ):
        write(tmp_path, rows)
        (tmp_path / "data/shop/shop.inter").rename(tmp_path / f"data/shop/shop.{part}.inter")
    found = describe(**data, benchmark_filename=["train", "test"])
    assert found.parts.loc["test"].to_dict() == {
        "interactions": 2, "users": 2, "items": 2, "new users": 1, "interactions of new users": 1, "new items": 1,
        "interactions of new items": 1,
    }  # fmt: skip
    told = "\n".join(found.warnings)
    assert "the validation part is empty" in told
    assert "50.0% of the test part is of users without an interaction in the training part" in told
    assert "50.0% of the test part is of items" in told


@pytest.mark.parametrize(
    ("time", "unit", "shown"),
    [
        (1_500_000_000, "s", "2017-07-14"),
        (1_500_000_000_123, "ms", "2017-07-14"),
        (1.5e15, "us", "2017-07-14"),
        (1.5e18, "ns", "2017-07-14"),
        (730, None, "730"),
        (1e40, None, "1e+40"),
    ],
)
def test_units_of_times(time, unit, shown) -> None:
    assert unit_of(np.array([time, np.nan])) == unit
    assert moment(time, unit) == shown
    assert moment(np.nan, unit) == ""


# --- what usually goes wrong ------------------------------------------------------------------------------


def changed(**columns) -> list[tuple]:
    """Rows in which nothing is wrong but for columns that a function makes of them."""
    names = ("user", "item", "rating", "time")
    return [
        tuple(columns.get(name, lambda value: value)(value) for name, value in zip(names, row, strict=True))
        for row in purchases()
    ]


@pytest.mark.parametrize(
    ("rows", "pattern"),
    [
        (purchases() * 2, r"^as good as every pair is there twice or more: 60 of 120 interactions \(50.0%\) .*60 of them with the"),
        ([*purchases(), (*purchases()[0][:2], 9, 7)], r"^1 of 61 interactions \(1.6%\) repeat a pair.*rm_dup_inter"),
        (changed(user=lambda u: f" {u}" if u == "u3" else u), r"user_id: 1 users' ids have blanks .* ' u3'; "),
        ([*purchases(), ("u3 ", "i0", 5, 1.6e9)], "' *u3 ', and 1 of them are without these another one's"),
        (changed(item=lambda i: f"{i[1:]}.0"), "item_id: 9 of 9 items' ids look like numbers with a point, such as"),
        ([*purchases(), ("user_id", "i2", 4, 1.6e9)], "user_id: one user is called user_id, as the header is"),
        (changed(user=lambda u: "ann"), "user_id: there is one user alone, ann"),
        (changed(time=lambda t: t * 1000), "timestamp: counts milliseconds since 1970, not seconds"),
        (changed(time=lambda t: t + 6e8), r"timestamp: \d+ of 60 interactions are in the future, the last on 203"),
        (changed(time=lambda t: 1.5e9), "timestamp: is 1500000000 everywhere"),
        (changed(time=lambda t: ""), "timestamp: no interaction has a time"),
        (changed(rating=lambda r: 1), "rating: is 1 everywhere"),
        (changed(rating=lambda r: "" if r == 5 else r), r"rating: \d+ of 60 interactions have no finite value"),
        ([(f"u{n % 9}", f"i{n}", n % 5, 1.5e9 + n) for n in range(60)], "60 of 60 items have one interaction alone"),
        ([(f"u{n}", f"i{n % 9}", n % 5, 1.5e9 + n) for n in range(60)], "60 of 60 users have one interaction alone"),
    ],
)  # fmt: skip
def test_what_usually_goes_wrong_is_told(tmp_path, rows, pattern) -> None:
    found = describe(**write(tmp_path, rows))
    assert [sentence for sentence in found.warnings if re.search(pattern, sentence)], found.warnings
    assert max(map(len, str(found).splitlines())) <= 80


def test_ids_that_are_missing_are_none(tmp_path) -> None:
    found = describe(**write(tmp_path, [*purchases(), ("", "i1", 3, 1.5e9)]))
    assert found.sizes.loc["interactions", "read"] == 60
    assert found.left_out["why"].tolist() == ["without a user or an item id"]


def test_labels_and_thresholds_are_those_of_a_run(tmp_path) -> None:
    rows = [(*row, row[2] > 3) for row in purchases()]
    columns = "user_id:token item_id:token rating:float timestamp:float label:float"
    options = write(tmp_path, [(*row[:4], int(row[4])) for row in rows], columns)
    found = describe(**options)
    assert found.sizes.loc["interactions", "kept"] == sum(row[4] for row in rows) < 60
    options["load_col"] = {"inter": ["user_id", "item_id", "rating"]}
    found = describe(**options, threshold={"rating": 4})
    assert found.sizes.loc["interactions", "kept"] == sum(row[4] for row in rows)
    assert found.times.index.tolist() == ["read"]


# --- the page, the command --------------------------------------------------------------------------------


def test_the_page_needs_no_network_and_escapes_what_it_shows(tmp_path, capsys) -> None:
    rows = changed(user=lambda u: f"{HOSTILE} " if u == "u1" else u)
    columns = "user_id:token item_id:token rating</script><b>:float timestamp:float"
    data = write(tmp_path, rows, columns)
    out = tmp_path / "page.html"
    words = ["describe", "shop", "--data_path", data["data_path"], "--load_col=null", f"--out={out}"]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert str(describe(**data)) in printed
    assert printed.endswith(f"{out}\n")
    text = out.read_text(encoding="utf-8")
    assert HOSTILE not in text
    assert "rating</script>" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r"""<(script|link|img)[^>]*(src|href)=["']?(http|//)""", text)
    assert text.count("plotly-graph-div") == 5  # ranks, shares, histories, time, rating


@pytest.mark.parametrize(
    ("words", "pattern"),
    [
        ([], "DATASET .*is missing"),
        (["shop", "other"], "DATASET .*are shop, other; must be one"),
        (["none"], "dataset=none: there is no file"),
        (["shop", "--val_interval={rating: [9,inf)}"], "val_interval"),
        (["shop", "--val_interval={rating: '[9,inf)'}"], "no interaction is left after filtering"),
        (["shop", "--thresold={rating: 3}"], r"thresold .*did you mean threshold\?"),
        (["shop", "--out=page.pdf"], "--out=page.pdf .*must be an .html file"),
        (["shop", "--out=none/page.html"], "none"),
    ],
)
def test_wrong_input_ends_in_one_sentence(tmp_path, capsys, monkeypatch, words, pattern) -> None:
    data = write(tmp_path, purchases())
    monkeypatch.chdir(tmp_path)
    assert main(["describe", *words, f"--data_path={data['data_path']}", "--load_col=null", "-q"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert re.search(pattern, lines[0]), lines


def test_few_items_are_no_mistake_though_nothing_could_be_ranked(tmp_path) -> None:
    assert describe(**write(tmp_path, purchases(items=5, each=4))).sizes.loc["items", "read"] == 5
    with pytest.raises(InputError, match="there is no file"):
        describe("none", data_path=str(tmp_path))


def test_tables_are_numbers(tmp_path) -> None:
    found = describe(**write(tmp_path, purchases()))
    for table in (found.sizes, found.tail, found.lengths, found.parts):
        assert all(pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes)
