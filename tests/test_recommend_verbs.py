"""`recommend` and `similar` on the command line, and what a run ends with: what is printed, written and refused."""

import os
import re
import signal
from pathlib import Path

import pandas as pd
import pytest

from recbole_hlr import load
from recbole_hlr.cli import main
from tests.conftest import write_atomic
from tests.processes import Process, wait_until

ITEMS = "item_id:token\tmovie_title:token_seq\n" + "".join(f"i{n}\tThe {n}th Film\n" for n in range(1, 18))


def words(folder: Path, model: str, *more: str) -> list[str]:
    options = {
        "data_path": folder / "data",
        "checkpoint_dir": folder / "runs",
        "embedding_size": 6,
        "epochs": 1,
    }
    given = [f"--{key}={value}" for key, value in options.items()]
    return ["train", f"--model={model}", "--dataset=toy", *given, "--show_progress=False", *more]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> str:
    """Return the directory of a run, with titles beside its data."""
    folder = tmp_path_factory.mktemp("verbs")
    file = write_atomic(folder / "data", "toy")
    file.with_suffix(".item").write_text(ITEMS)
    assert main(words(folder, "CML")) == 0
    (found,) = (folder / "runs").iterdir()
    return str(found)


def told(capsys, *arguments: str) -> str:
    """Run a verb that must end well, and return what it prints."""
    capsys.readouterr()
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def refusal(capsys, *arguments: str) -> str:
    """Run a verb that must be refused, and return the sentence."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in captured.err
    return line.removeprefix("error: ")


def test_a_table_for_every_user(run_dir, capsys):
    out = told(capsys, "recommend", run_dir, "--users=u3, u1", "--k", "3")
    first, second = out.strip().split("\n\n")
    assert first.startswith("user u3\n")
    assert second.startswith("user u1\n")
    table = load(run_dir).recommend(["u1"], k=3)
    header, _, *rows = second.splitlines()[1:]
    assert header.split() == ["rank", "item", "title", "score"]
    for row, rank, item, score in zip(rows, table["rank"], table["item"], table["score"], strict=True):
        assert re.split(r"\s{2,}", row.strip()) == [
            str(rank), item, f"The {item[1:]}th Film", f"{score:.4f}".strip(),
        ] or row.split() == [str(rank), item, "The", f"{item[1:]}th", "Film", f"{score:.4f}"]  # fmt: skip


def test_the_options_are_those_of_the_method(run_dir, capsys, tmp_path):
    (tmp_path / "users.csv").write_text("user_id\nu2\nnew\n")
    (tmp_path / "stock.csv").write_text("item_id,price\ni1,3\ni2,4\ni3,5\n")
    (tmp_path / "sold.csv").write_text("item_id\ni2\n")
    (tmp_path / "films.csv").write_text("item,title\ni1,Erster\ni3,Dritter\n")
    files = [f"--{key}={tmp_path / name}" for key, name in (
        ("users-file", "users.csv"), ("items-file", "stock.csv"), ("exclude-items", "sold.csv"),
        ("titles", "films.csv"), ("out", "out.csv"),
    )]  # fmt: skip
    out = told(capsys, "recommend", run_dir, *files, "--include-seen", "--on-unknown=popular", "--k=5")
    assert out == f"{tmp_path / 'out.csv'}: 4 rows\n"
    expected = load(run_dir).recommend(
        ["u2", "new"],
        5,
        False,
        items=["i1", "i3"],
        on_unknown="popular",
        titles={"i1": "Erster", "i3": "Dritter"},
    )
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "out.csv"), expected, check_exact=False, rtol=1e-6)


@pytest.mark.parametrize("suffix", ["parquet", "csv", "jsonl"])
def test_every_user_to_a_file(run_dir, capsys, tmp_path, suffix):
    file = tmp_path / f"recs.{suffix}"
    assert (
        told(capsys, "recommend", run_dir, "--all", f"--out={file}", "--eval_memory=0.001")
        == f"{file}: 230 rows\n"
    )
    read = {
        "parquet": pd.read_parquet,
        "csv": pd.read_csv,
        "jsonl": lambda path: pd.read_json(path, lines=True),
    }
    table = read[suffix](file)
    assert table.columns.tolist() == ["user", "rank", "item", "score"]
    assert table["user"].nunique() == 23


def test_similar(run_dir, capsys):
    out = told(capsys, "similar", run_dir, "--items=i3", "--k=4")
    table = load(run_dir).similar("i3", k=4)
    header, _, *rows = out.splitlines()[1:]
    assert header.split() == ["rank", "similar", "title", "squared_distance"]
    assert [row.split()[1] for row in rows] == table["similar"].tolist()
    assert [row.split()[-1] for row in rows] == [f"{value:.4f}" for value in table["squared_distance"]]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (["--users=u99"], "user u99: is not among the 23 users of the run"),
        (["--users=u1", "--k=0"], "k=0: must be an integer >= 1"),
        (["--users=u1", "--k=x"], "Invalid value for '--k'"),
        (["--users=u1", "--all"], "users (command line): are given together: --users, --all; must be one of"),
        ([], "users (command line): are missing; must be one of --users, --users-file, --all"),
        (["--all"], "--all (command line): needs --out=FILE"),
        (["--all", "--out=recs.doc"], "recs.doc: must end in one of .parquet, .csv, .jsonl"),
        (["--all", "--out=none/recs.csv"], "none/recs.csv: No such file or directory; must be in a folder"),
        (["--users-file=none.csv"], "none.csv: there is no such file"),
        (["--users=u1", "--items-file=bad.csv"], "bad.csv: must have a column item_id; it has a, b"),
        (["--users=u1", "--exclude-items=bad.csv"], "bad.csv: must have a column item_id; it has a, b"),
        (
            ["--users=u1", "--titles=bad.csv"],
            "bad.csv: must have one column of ids, such as item_id; it has a, b",
        ),
        (["--users=u1", "--on-unknown=no"], "Invalid value for '--on-unknown'"),
        (["--users=u1", "--eval-memory=0"], "eval_memory=0 (command line): must be a number > 0"),
        (["--users=u1", "--margin=2"], "No such option '--margin'"),
    ],
    ids=str,
)
def test_what_is_wrong_is_said_in_a_sentence(run_dir, capsys, tmp_path, monkeypatch, given, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert refusal(capsys, "recommend", run_dir, *given).startswith(sentence)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.csv"]


def test_what_is_wrong_with_a_run_or_an_item(run_dir, capsys, tmp_path):
    for verb, given in (("recommend", "--users=u1"), ("similar", "--items=i1")):
        assert refusal(capsys, verb, str(tmp_path), given).startswith(f"{tmp_path}: is no run directory")
    assert refusal(capsys, "similar", run_dir, "--items=i99").startswith(
        "item i99: is not among the 17 items"
    )


def test_a_run_ends_with_what_comes_next(tmp_path, capsys):
    file = write_atomic(tmp_path / "data", "toy")
    out = told(capsys, *words(tmp_path, "MF-ALS"))
    (first,) = (tmp_path / "runs").iterdir()
    assert out.endswith(f"run directory  {first}\nrecommend      recbole-hlr recommend {first} --users=ID\n")
    file.with_suffix(".item").write_text(ITEMS)
    out = told(capsys, *words(tmp_path, "MF-ALS"))
    fitted = load(max((tmp_path / "runs").iterdir(), key=lambda path: path.stat().st_mtime))
    _, _, table = out.partition("--users=ID\n\n")
    assert table.startswith(f"user {fitted.users[0]}\n")
    assert [line.split()[1] for line in table.splitlines()[3:]] == fitted.recommend(fitted.users[0], 5)[
        "item"
    ].tolist()
    assert "th Film" in table
    quiet = told(capsys, *words(tmp_path, "MF-ALS", "--quiet"))
    assert "recommend" not in quiet
    assert "run directory" in quiet
    file.with_suffix(".item").write_text("no header\n")
    assert told(capsys, *words(tmp_path, "MF-ALS")).endswith("--users=ID\n")


SLOW = """
import time
from recbole_hlr.recommend import fitted
scores = fitted.scores_of
def slowly(*given):
    time.sleep(0.2)
    return scores(*given)
fitted.scores_of = slowly
"""


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_killed_export_leaves_nothing_half_written(run_dir, tmp_path, number):
    file = tmp_path / "recs.csv"
    file.write_text("of before")
    process = Process(["recommend", run_dir, "--all", f"--out={file}", "--eval-memory=0.000001"], body=SLOW)
    assert wait_until(lambda: len(os.listdir(tmp_path)) == 2, 60)
    process.send_signal(number)
    process.communicate()
    assert file.read_text() == "of before"
    if number == signal.SIGINT:
        assert os.listdir(tmp_path) == [file.name]
        assert process.returncode == 130
