"""A report on made-up cells: ranks, missing seeds, refusals, and the page in a real browser."""

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError
from recbole_hlr.benchmark import benchmark
from recbole_hlr.benchmark.cells import Cell, stored_cells
from recbole_hlr.benchmark.finished import EPOCH, RESULT, VALIDATED
from recbole_hlr.benchmark.page import section
from recbole_hlr.benchmark.results import make_report, read_cells
from recbole_hlr.benchmark.tables import as_json, as_text
from recbole_hlr.cli import main
from tests.cells import make_benchmark, make_cell

HOSTILE = "<img src=x onerror=alert(1)>&amp;"
REASON = "</script><script>alert(2)</script>"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1300,1000"
)


def report_of(out: Path, *words: str) -> dict:
    benchmark([f"--out={out}", "--report", *words])
    return json.loads((out / "results.json").read_text())


def accuracy(report: dict, metric: str = "ndcg@5") -> dict[str, dict]:
    return {row["model"]: row for row in report["accuracy"] if row["metric"] == metric}


# --- figures -------------------------------------------------------------------------------------------


def test_the_best_and_the_second_are_marked_among_models_with_all_seeds(tmp_path):
    for seed in (1, 2, 3):
        for model, lift in (("CML", 0), ("EASE", 0.1), ("BPR", -0.1)):
            make_cell(tmp_path, "shop", model, seed, lift)
    make_cell(tmp_path, "shop", "Pop", 1, lift=0.5)
    report = report_of(tmp_path)
    assert {m: row["rank"] for m, row in accuracy(report).items()} == {
        "CML": 2,
        "EASE": 1,
        "BPR": None,
        "Pop": None,
    }
    assert {row["rank"] for row in accuracy(report, "averagepopularity@5").values()} == {None}
    text, latex = (tmp_path / "results.md").read_text(), (tmp_path / "results.tex").read_text()
    best, second = (f"{accuracy(report)[model]['mean']:.4f}" for model in ("EASE", "CML"))
    assert f"**{best}**" in text
    assert f"<u>{second}</u>" in text
    assert rf"\textbf{{{best}}} $\pm$ " in latex
    assert rf"\underline{{{second}}}" in latex
    assert latex.count(r"\textbf") == text.count("**") / 2 == 2  # one for each of two metrics
    assert "Pop (1 of 3 seeds)" in text
    assert {"\\toprule", "\\midrule", "\\bottomrule"} <= set(re.findall(r"\\\w+rule", latex))


def test_models_that_lack_different_seeds_are_not_marked(tmp_path):
    for model, seeds in (("CML", (2, 3)), ("EASE", (1, 2)), ("BPR", (1, 2, 3))):
        for seed in seeds:
            make_cell(tmp_path, "shop", model, seed)
    report = report_of(tmp_path)
    assert {m: row["rank"] for m, row in accuracy(report).items()} == {"CML": None, "EASE": None, "BPR": None}
    text = (tmp_path / "results.md").read_text()
    assert "CML (2 of 3 seeds)" in text
    assert "EASE (2 of 3 seeds)" in text


def quarters(users: pd.DataFrame) -> pd.DataFrame:
    """One metric alone, the same for all."""
    return users.drop(columns="recall@5").assign(**{"ndcg@5": 0.25})


def test_figures_stand_under_their_metrics_where_models_were_measured_by_others(tmp_path):
    make_cell(tmp_path, "shop", "CML", 1)
    make_cell(tmp_path, "shop", "EASE", 1, change_users=quarters, test={"hit@5": 0.75, "ndcg@5": 0.25})
    shown = section(make_report(tmp_path, [], [], None), "shop")
    texts = {
        row["label"]: dict(zip(shown["metrics"], (cell["text"] for cell in row["cells"]), strict=True))
        for row in shown["rows"]
    }
    assert texts["EASE"]["hit@5"] == "0.7500"
    assert texts["EASE"]["ndcg@5"].startswith("0.2500 [")
    assert texts["EASE"]["recall@5"] == texts["EASE"]["averagepopularity@5"] == texts["CML"]["hit@5"] == ""
    page = report_of(tmp_path) and (tmp_path / "results.html").read_text()
    assert page.count('<td data-value=""></td>') == 3


def test_rows_come_in_the_order_that_is_asked_for(tmp_path):
    make_benchmark(tmp_path)
    report = report_of(tmp_path, "--models=Pop,EASE")
    assert list(accuracy(report)) == ["Pop", "EASE", "CML"]
    assert report["baseline"] == "Pop"


def test_a_comparison_takes_the_seeds_that_both_have(tmp_path):
    make_benchmark(tmp_path)
    tests = pd.DataFrame(report_of(tmp_path, "--baseline=CML")["significance"])
    rows = tests[tests["metric"] == "ndcg@5"].set_index("model")
    assert rows["seeds"].to_dict() == {"EASE": 3, "Pop": 2}
    assert rows["verdict"].to_dict() == {"EASE": "better", "Pop": "worse"}
    assert (rows["t_holm"] >= rows["t_p"]).all()


def test_curves_groups_and_costs_are_those_of_the_cells(tmp_path):
    make_benchmark(tmp_path)
    report = report_of(tmp_path)
    assert len(report["curves"]) == 8 * 2
    assert {row["value"] for row in report["curves"]} == {0, 0.1}
    assert {row["train_seconds"] for row in report["cost"]} == {3.0}
    groups = pd.DataFrame(report["groups"])
    assert (groups.groupby("model")["users"].sum() == 40).all()
    ease = groups[groups["model"] == "EASE"]
    overall = (ease["value"] * ease["users"]).sum() / 40
    assert overall == pytest.approx(accuracy(report)["EASE"]["mean"])


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"protocol": "paper"}, "paper and standard cannot stand in one table"),
        ({"split": "another"}, "have different splits"),
    ],
)
def test_what_cannot_stand_in_one_table_is_refused(tmp_path, changes, named):
    make_benchmark(tmp_path)
    make_cell(tmp_path, "shop", "BPR", 1, **changes)
    with pytest.raises(InputError, match=named):
        report_of(tmp_path)


def test_a_cell_with_two_runs_is_refused(tmp_path):
    make_benchmark(tmp_path)
    cell = tmp_path / "shop" / "CML" / "1"
    shutil.copytree(cell / "a-run", cell / "b-run")
    with pytest.raises(InputError, match="holds 2 runs; must hold one"):
        report_of(tmp_path)


def test_one_model_with_one_seed_is_neither_marked_nor_compared(tmp_path):
    make_cell(tmp_path, "shop", "CML", 1)
    report = report_of(tmp_path)
    assert {row["rank"] for row in report["accuracy"]} == {None}
    assert {row["std"] for row in report["accuracy"]} == {None}
    assert report["significance"] == []
    text = (tmp_path / "results.md").read_text()
    assert "Against" not in text
    assert "nan" not in text.lower()


def of_seed(users: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Two users fewer, others with each seed, and histories in another order of length."""
    kept = users.drop(index=[seed, 10 + seed]).copy()
    kept["history"] = kept["history"] * seed**2 + kept.index
    return kept


def test_groups_are_the_same_users_for_all_models(tmp_path):
    """Whatever seeds a model lacks, and whoever is tested with a seed."""
    for seed in (1, 2, 3):
        for model in ("CML", "EASE", "Pop"):
            if (model, seed) not in {("EASE", 1), ("Pop", 2), ("Pop", 3)}:
                make_cell(tmp_path, "shop", model, seed, change_users=partial(of_seed, seed=seed))
    report = make_report(tmp_path, ["CML"], [], None)
    tables = {
        (cell.model, cell.seed): pd.read_parquet(cell.folder / "a-run" / "users.parquet").set_index("user")
        for cell in stored_cells(tmp_path)
    }
    lengths = pd.concat([tables["CML", seed]["history"] for seed in (1, 2, 3)], axis=1).mean(axis=1)
    lengths = lengths.loc[tables["Pop", 1].index]  # whom every model has ranked
    part = pd.qcut(lengths, 4, labels=False)
    groups = report.groups
    for model, seeds in (("CML", (1, 2, 3)), ("EASE", (2, 3)), ("Pop", (1,))):
        values = pd.concat([tables[model, seed]["ndcg@5"] for seed in seeds], axis=1).mean(axis=1)
        of_model = groups[groups["model"] == model]
        assert of_model["value"].tolist() == pytest.approx(values.groupby(part).mean().tolist())
        assert of_model["users"].tolist() == part.value_counts(sort=False).sort_index().tolist()
        assert of_model["group"].tolist() == groups["group"].unique().tolist()


def test_a_terminal_shows_plain_tables_and_the_file_has_markdown(tmp_path, capsys):
    make_benchmark(tmp_path)
    Cell("shop", "a_b", 1, tmp_path).write(command="recbole-hlr train", failure="no <memory>")
    assert main(["benchmark", f"--out={tmp_path}", "--report"]) == 0
    shown, text = capsys.readouterr().out, (tmp_path / "results.md").read_text()
    for mark in ("**", "<u>", "|", "#", "\\"):
        assert mark in text
        assert mark not in shown
    rows = accuracy(json.loads((tmp_path / "results.json").read_text()))
    for model, mark in (("EASE", "*"), ("CML", "+"), ("Pop", "")):
        mean, std, low, high = (f"{rows[model][key]:.4f}" for key in ("mean", "std", "low", "high"))
        assert f"{mean}{mark} ± {std} [{low}, {high}]" in shown
    assert "shop\n====" in shown
    assert "no <memory>" in shown


# --- damage --------------------------------------------------------------------------------------------

FILES = [
    "cell.json",
    *(f"a-run/{name}" for name in ("result.json", "metrics.jsonl", "config.yaml", "users.parquet")),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*RESULT, *EPOCH, *VALIDATED, "failure", "model", "dataset"]), inner),
    max_leaves=5,
)  # fmt: skip


def damage(file: Path, data) -> None:
    """Empty, cut, overwrite, replace or take away a file, or change one of its values."""
    content = file.read_bytes()
    how = data.draw(st.sampled_from(["empty", "cut", "bytes", "other", "value", "gone", "folder", "loop"]))
    if how in ("cut", "bytes"):
        at = data.draw(st.integers(0, len(content) - 1))
        rest = data.draw(st.binary(min_size=1, max_size=8)) + content[at + 8 :] if how == "bytes" else b""
        file.write_bytes(content[:at] + rest)
    elif how == "other" or (how == "value" and file.suffix != ".json"):
        file.write_text(json.dumps(data.draw(JSON)))
    elif how == "value":
        value = json.loads(content)
        key = data.draw(st.sampled_from(sorted(value)))
        file.write_text(json.dumps({**value, key: data.draw(JSON)}))
    else:
        file.unlink()
        if how == "empty":
            file.touch()
        elif how == "folder":
            file.mkdir()
        elif how == "loop":
            file.symlink_to(file.name)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_report_names_a_damaged_cell_and_goes_on_with_the_rest(tmp_path_factory, data):
    out = tmp_path_factory.mktemp("bench")
    for model in ("CML", "Pop"):
        cell = make_cell(out, "shop", model, 1)
    name = data.draw(st.sampled_from(FILES))
    damage(cell.folder / name, data)
    rows, done = read_cells(out)
    assert [row["model"] for row in rows] == ["CML", "Pop"]
    assert rows[0]["status"] == "finished"
    assert rows[1]["status"] in ("finished", "unfinished", "failed", "damaged")
    assert [one.cell.model for one in done] == [row["model"] for row in rows if row["status"] == "finished"]
    if rows[1]["status"] == "damaged":
        assert str(cell.folder) in rows[1]["reason"]
    else:
        report = make_report(out, ["Pop", "CML"], [], None)
        assert json.loads(as_json(report))["cells"]
        assert ("Cells without a result" in as_text(report)) == (rows[1]["status"] != "finished")


@pytest.mark.parametrize(
    ("name", "content", "named"),
    [
        ("cell.json", "", "cell.json: is not the JSON"),
        ("cell.json", "[]", "cell.json: must hold the cell's command"),
        ("cell.json", '{"command": 3}', "cell.json: must hold the cell's command"),
        ("cell.json", "{}", "cell.json: must hold the cell's command"),
        ("a-run/result.json", "{}", "result.json: protocol is missing"),
        ("a-run/result.json", "[" * 99_999, "result.json: is not the JSON"),
        ("a-run/metrics.jsonl", '{"epoch": 0}\n', "metrics.jsonl: train_seconds is missing"),
        ("a-run/config.yaml", "- model", "config.yaml: must hold `key: value` lines"),
        ("a-run/config.yaml", "model: &a [*a]", "config.yaml: is not valid YAML: the value of &a contains itself"),
        ("a-run/users.parquet", "PAR1", "users.parquet: cannot be read as parquet"),
    ],
)  # fmt: skip
def test_damage_stands_in_the_tables_with_its_file(tmp_path, name, content, named):
    make_benchmark(tmp_path)
    (tmp_path / "shop" / "CML" / "1" / name).write_text(content)
    report = report_of(tmp_path)
    assert {m: row["seeds"] for m, row in accuracy(report).items()} == {"CML": 2, "EASE": 3, "Pop": 2}
    (row,) = (row for row in report["cells"] if row["status"] != "finished")
    assert (row["status"], row["model"], row["seed"]) == ("damaged", "CML", 1)
    assert named in row["reason"]
    for file in ("results.md", "results.html"):
        assert "damaged" in (tmp_path / file).read_text()


def test_a_cell_that_cannot_be_entered_is_named(tmp_path):
    make_benchmark(tmp_path)
    (tmp_path / "shop" / "BPR").mkdir()
    (tmp_path / "shop" / "BPR" / "1").symlink_to("1")
    (tmp_path / "shop" / "BPR" / "2").write_text("")
    cells = {cell["seed"]: cell for cell in report_of(tmp_path)["cells"] if cell["model"] == "BPR"}
    assert {cell["status"] for cell in cells.values()} == {"damaged"}
    assert "cannot be read (Too many levels of symbolic links)" in cells[1]["reason"]
    assert "cannot be read (Not a directory)" in cells[2]["reason"]


def test_values_of_users_that_are_damaged_are_not_averaged(tmp_path):
    """Each page of the table has a checksum, so that other figures are no figures."""
    make_benchmark(tmp_path)
    run_dir = Cell("shop", "CML", 1, tmp_path).run_dir()
    users = pd.read_parquet(run_dir.users)
    run_dir.write_users(users)
    content = bytearray(run_dir.users.read_bytes())
    at = content.index(users["recall@5"].to_numpy()[7].tobytes())
    content[at + 5] ^= 1
    run_dir.users.write_bytes(content)
    (row,) = (row for row in report_of(tmp_path)["cells"] if row["status"] != "finished")
    assert "users.parquet: cannot be read as parquet" in row["reason"]


@pytest.mark.parametrize(
    "content",
    ["models: 3", "models: [3]", "baseline: []", "colour: red", "models: &a [*a]", "- models", "\0"],
)
def test_a_damaged_plan_is_refused_with_what_to_do(tmp_path, content):
    make_benchmark(tmp_path)
    (tmp_path / "benchmark.yaml").write_text(content)
    with pytest.raises(InputError, match=r"benchmark\.yaml: .*delete it"):
        report_of(tmp_path)


# --- the page ------------------------------------------------------------------------------------------


def test_every_text_on_the_page_is_escaped(tmp_path):
    make_benchmark(tmp_path, HOSTILE)
    failed = make_cell(tmp_path, HOSTILE, "BPR", 1)
    shutil.rmtree(failed.folder / "a-run")
    failed.write(dataset=HOSTILE, model="BPR", seed=1, failure=REASON, command="echo '<b>'")
    report_of(tmp_path)
    page = (tmp_path / "results.html").read_text()
    assert "<img" not in page.replace("plotly.js", "").split("</head>")[1]
    assert REASON not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(2)" in page
    assert page.count("<b>'") == 0
    assert not re.search(r"""<(script|link|img)[^>]*(src|href)=["']?(http|//)""", page)


@pytest.fixture
def browser():
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in FLAGS.split():
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


def refuse_noise(browser, script) -> None:
    """Nothing is logged, fetched, or slipped in through a name."""
    assert browser.get_log("browser") == []
    assert (
        script(
            "performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))"
        )
        == []
    )
    assert script("document.images.length") == 0


@pytest.mark.slow
def test_the_page_in_a_browser_shows_the_figures_sorts_and_logs_nothing(tmp_path, browser):
    make_benchmark(tmp_path, HOSTILE)
    make_benchmark(tmp_path, "other")
    report = report_of(tmp_path)
    browser.get((tmp_path / "results.html").as_uri())

    def script(code: str):
        return browser.execute_script(f"return {code}")

    refuse_noise(browser, script)
    assert script("[...document.querySelectorAll('h2')].map(h => h.textContent)") == [
        HOSTILE,
        "other",
        "Cells",
    ]

    titles = script("[...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert "Download plot as a PNG" in titles
    assert not [
        title for title in titles if re.search("share|cloud|chart", title, re.I)
    ]  # nothing is uploaded

    # every figure is drawn, with the figures of the JSON
    assert script("document.querySelectorAll('.plotly-graph-div').length") == 8
    assert script(
        "[...document.querySelectorAll('.plotly-graph-div')].every(d => d.querySelector('.main-svg'))"
    )
    rows = [row for row in report["accuracy"] if row["dataset"] == HOSTILE and row["metric"] == "ndcg@5"]
    figure = "document.querySelectorAll('.plotly-graph-div')[0]"
    shown = script(f"(t => [[...t.x], [...t.error_x.array]])({figure}._fullData.find(t => t.visible))")
    assert shown[0] == pytest.approx([row["mean"] for row in rows])
    assert shown[1] == pytest.approx([row["high"] - row["mean"] for row in rows])
    ticks = f"[...{figure}.querySelectorAll('.ytick text')]"
    from_the_top = ".sort((a, b) => a.getBoundingClientRect().y - b.getBoundingClientRect().y)"
    assert script(f"{ticks}{from_the_top}.map(t => t.textContent)") == [row["model"] for row in rows]

    # the table has them too, and sorts by a click, the other way round by a second one
    def column(number: int) -> list[str]:
        cells = "document.querySelector('table.accuracy tbody').rows"
        return script(f"[...{cells}].map(r => r.cells[{number}].textContent)")

    headers = script(
        "[...document.querySelector('table.accuracy').tHead.rows[0].cells].map(h => h.textContent)"
    )
    where = headers.index("ndcg@5")
    unsorted = column(where)
    assert [text.split(" ")[0] for text in unsorted] == [f"{row['mean']:.4f}" for row in rows]
    header = browser.find_elements("css selector", "table.accuracy th")[where]
    header.click()
    assert column(where) == sorted(unsorted) != unsorted
    header.click()
    assert column(where) == sorted(unsorted, reverse=True)
    browser.find_elements("css selector", "table.accuracy th")[0].click()
    assert column(0) == sorted(column(0))

    # the menu of the first figure shows another metric
    browser.execute_script(
        f"{figure}.querySelector('.updatemenu-header').dispatchEvent(new MouseEvent('click'))"
    )
    titles = f"[...{figure}.querySelectorAll('.updatemenu-dropdown-button text')].map(t => t.textContent)"
    assert script(titles) == ["recall@5", "ndcg@5", "averagepopularity@5"]

    # every cell has its command
    commands = script("[...document.querySelectorAll('table.cells code')].map(c => c.textContent)")
    assert commands == [cell["command"] for cell in report["cells"]]
    assert browser.get_log("browser") == []
