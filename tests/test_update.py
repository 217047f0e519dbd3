"""`update`: new interactions of old and new users, folded in; what the run knows of items stays."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recbole_hlr import InputError, evaluate, load, run, update
from recbole_hlr.cli import main
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.train import checkpoint
from tests.conftest import short_runs
from tests.toys import NAMES

ITEMS = "item_id:token\tname:token_seq\n" + "".join(f"i{n}\ttitle {n}\n" for n in range(1, 18))


@pytest.fixture(scope="module")
def run_of(tmp_path_factory):
    return short_runs(tmp_path_factory.mktemp("update"), ITEMS)


def new_items(fitted, user: str, count: int = 2) -> list[str]:
    """Return items that the run does not know of a user."""
    return sorted(set(fitted.data.item_tokens[1:]) - set(history_of(fitted, user)))[:count]


def history_of(fitted, user: str) -> list[str]:
    """Return the items that the run knows of a user."""
    number = fitted.data.user_tokens.index(user)
    history = fitted.data.history
    return [
        fitted.data.item_tokens[n] for n in history.items[history.indptr[number] : history.indptr[number + 1]]
    ]


@pytest.mark.parametrize("name", NAMES.values())
def test_users_are_those_who_would_be_folded_in(name, run_of, tmp_path):
    before = load(run_of(name))
    more = {"u3": new_items(before, "u3"), "somebody": ["i2", "i5", "i9"]}
    done = update(run_of(name), more, checkpoint_dir=tmp_path)
    assert (done.users, done.new_users, done.interactions) == (2, 1, {"read": 5, "left_out": {}, "kept": 5})
    after = load(done.run_dir)
    assert after.users == [*before.users, "somebody"]
    assert history_of(after, "u3") == sorted(
        history_of(before, "u3") + more["u3"], key=after.data.item_tokens.index
    )
    whole = {"u3": history_of(after, "u3"), "somebody": more["somebody"]}
    if name in ("HLR++", "TransCF"):  # items have an audience, which users joined
        assert len(after.recommend(list(whole))) > 0
        return
    pd.testing.assert_frame_equal(
        after.recommend(list(whole)), before.recommend_for(whole), check_exact=False
    )
    others = [user for user in before.users if user != "u3"]
    pd.testing.assert_frame_equal(after.recommend(others), before.recommend(others), check_exact=False)
    pd.testing.assert_frame_equal(after.similar("i4"), before.similar("i4"))


def test_the_run_stays_and_its_update_is_updated_again(run_of, tmp_path):
    folder = Path(run_of("CML"))
    content = {path.name: path.read_bytes() for path in folder.iterdir()}
    first = update(folder, {"a": ["i1", "i2"]}, checkpoint_dir=tmp_path / "first")
    second = update(first.run_dir, {"a": ["i3"], "b": ["i1"]})
    assert Path(second.run_dir).parent == tmp_path / "first"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == content
    fitted = load(second.run_dir)
    assert history_of(fitted, "a") == sorted(["i1", "i2", "i3"], key=fitted.data.item_tokens.index)
    together = load(update(folder, {"a": ["i1", "i2", "i3"], "b": ["i1"]}, checkpoint_dir=tmp_path).run_dir)
    pd.testing.assert_frame_equal(fitted.recommend(["a", "b"]), together.recommend(["a", "b"]))
    told = json.loads(RunDir(second.run_dir).update.read_text())
    assert told["updated_from"] == first.run_dir
    assert told["interactions"]["kept"] == 2
    served = tmp_path / "served"
    fitted.export(served)
    found = subprocess.run(
        [sys.executable, served / "score.py", "b", "3"], capture_output=True, text=True, check=True
    )
    assert [line.split()[-2] for line in found.stdout.splitlines() if line.strip()][
        -1
    ] in fitted.data.item_tokens


@pytest.mark.parametrize("table_of", [pd.DataFrame, pa.table])
def test_what_is_left_out_is_counted(table_of, run_of, tmp_path, caplog):
    before = load(run_of("CML"))
    old = history_of(before, "u1")[0]
    table = table_of(
        {
            "user_id": ["u1", "u1", "anna", "anna", "anna", "nobody"],
            "item_id": [old, new_items(before, "u1")[0], "i1", "i1", "nothing", "nothing"],
        }
    )
    with caplog.at_level("INFO"):
        done = update(run_of("CML"), table, checkpoint_dir=tmp_path)
    assert done.interactions["left_out"] == {"unknown_item": 2, "known": 1, "repeated": 1}
    assert (done.interactions["kept"], done.users, done.new_users) == (2, 2, 1)
    assert "2 unknown item(s) are left out" not in caplog.text
    assert "1 unknown item(s) are left out: nothing" in caplog.text
    assert "1 given more than once" in caplog.text
    assert "nobody" not in load(done.run_dir).users
    with pytest.raises(InputError, match="item nothing: is not among the 17 items"):
        update(run_of("CML"), table, on_unknown="raise")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"val_interval": {"rating": "[3,inf)"}}, "val_interval"),
        ({"threshold": {"rating": 3}}, "threshold"),
    ],
)
def test_the_filters_of_the_run_apply(options, reason, toy, tmp_path, caplog):
    toy |= {"load_col": {"inter": ["user_id", "item_id", "rating"]}, **options}
    folder = run("CML", **toy).run_dir
    lines = ["user_id:token\titem_id:token\trating:float", "anna\ti1\t5", "anna\ti2\t2", "anna\ti3\t3"]
    file = tmp_path / "new.inter"
    file.write_text("\n".join(lines) + "\n")
    done = update(folder, file)
    assert done.interactions == {"read": 3, "left_out": {reason: 1}, "kept": 2}
    assert set(history_of(load(done.run_dir), "anna")) == {"i1", "i3"}
    file.write_text("\n".join(lines).replace("\t2", "\ttwo") + "\n")
    with pytest.raises(InputError, match=r"new\.inter, row 2: rating=two must be a number"):
        update(folder, file)
    if reason == "val_interval":
        file.write_text("user_id\titem_id\nanna\ti1\n")
        assert update(folder, file).interactions["kept"] == 1
        assert "has no column rating" in caplog.text


def test_labels_of_a_run_that_has_them(toy, tmp_path):
    path = Path(toy["data_path"], "toy", "toy.inter")
    table = pd.read_csv(path, sep="\t", dtype=str)
    table["label:float"] = np.where(table["rating:float"].astype(int) > 1, "1", "0")
    table.drop(columns="rating:float").to_csv(path, sep="\t", index=False)
    loaded, not_loaded = (
        run("CML", **toy, load_col={"inter": ["user_id", "item_id", *more]}).run_dir
        for more in (["label"], [])
    )
    given = pd.DataFrame({"user_id": ["a", "a"], "item_id": ["i1", "i2"], "label": [1, 0]})
    assert update(loaded, given).interactions == {"read": 2, "left_out": {"label": 1}, "kept": 1}
    assert update(not_loaded, given).interactions["kept"] == 2


def test_wrong_input_is_one_sentence(run_of, tmp_path, toy):
    folder = run_of("CML")
    fitted = load(folder)
    known = {"u1": history_of(fitted, "u1")}
    for given, sentence in (
        (known, f"interactions: has no interaction that is new to {folder}"),
        ({"anna": ["nothing"]}, "has no interaction that is new"),
        (tmp_path / "none.inter", "there is no such file"),
        (pd.DataFrame({"user_id": ["a"]}), "must have the columns user_id and item_id"),
        (3, "must be lists of items"),
    ):
        with pytest.raises(InputError, match=re.escape(sentence)):
            update(folder, given)
    with pytest.raises(InputError, match="on_unknown='popular'"):
        update(folder, known, on_unknown="popular")
    with pytest.raises(InputError, match="is no run directory"):
        update(tmp_path, known)
    with pytest.raises(InputError, match="margin"):
        update(folder, {"a": ["i1"]}, margin=3)
    with pytest.raises(InputError, match="BPR: cannot take in users"):
        update(run("BPR", **toy).run_dir, {"a": ["i1"]})


def test_an_update_is_neither_resumed_nor_evaluated(run_of, tmp_path):
    source = run_of("CML")
    done = update(source, {"a": ["i1"]}, checkpoint_dir=tmp_path)
    with pytest.raises(InputError, match=f"evaluate the run that it was made from, {re.escape(source)}"):
        evaluate(done.run_dir)
    with pytest.raises(InputError, match="resume the run that it was made from"):
        run(resume=done.run_dir)
    content = checkpoint.read(RunDir(done.run_dir).checkpoint)
    checkpoint.save(RunDir(done.run_dir).checkpoint, {**content, "updated_from": 3})
    with pytest.raises(InputError, match="its updated_from must be a text"):
        load(done.run_dir)


def test_the_command(run_of, tmp_path, capsys):
    file = tmp_path / "new.csv"
    file.write_text("user,item\nanna,i1\nanna,i7\nu2,none\n")
    assert main(["update", run_of("HLR"), str(file), f"--checkpoint-dir={tmp_path / 'runs'}"]) == 0
    said = capsys.readouterr()
    assert "3 interactions read, 2 kept; left out: 1 of items that the run does not have" in said.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"run directory    {folder}" in said.out
    assert "users folded in  1, of whom 1 are new" in said.out
    assert main(["recommend", str(folder), "--users=anna", "--k=3"]) == 0
    assert "user anna" in capsys.readouterr().out
    assert main(["update", run_of("HLR"), str(file), "--on-unknown=raise"]) == 2
    assert "error: item none: is not among" in capsys.readouterr().err
    assert main(["update", run_of("HLR"), str(file), "--eval_memory=-1"]) == 2
    assert "eval_memory=-1 (command line)" in capsys.readouterr().err


def test_a_killed_update_leaves_no_run(run_of, tmp_path):
    parent = tmp_path / "runs"
    script = (
        "import sys, time\n"
        "from recbole_hlr.train import checkpoint\n"
        "from recbole_hlr import update\n"
        "def save(path, content):\n"
        "    path.write_bytes(b'half'); print('saving', flush=True); time.sleep(60)\n"
        "checkpoint.save = save\n"
        "update(sys.argv[1], {'a': ['i1']}, checkpoint_dir=sys.argv[2])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script, run_of("CML"), parent], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"saving\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert RunDir.inside(parent) == []
    (hidden,) = parent.iterdir()
    assert hidden.name.startswith(".")
    os.utime(hidden, (time.time() - 7200,) * 2)
    done = update(run_of("CML"), {"a": ["i1"]}, checkpoint_dir=parent)
    assert list(parent.iterdir()) == [Path(done.run_dir)]
