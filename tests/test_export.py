"""What is exported: files that give the run's scores and top-k without this package, whole or not at all."""

import errno
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from scipy import sparse

from recbole_hlr import MODELS, InputError, load, run
from recbole_hlr.cli import main
from recbole_hlr.recommend import exporting, scorer
from recbole_hlr.recommend.ranking import scores_of
from tests.processes import wait_until

OURS = list({model: name for name, model in reversed(MODELS.items())}.values())
USERS = ["007", "7", "1e3", "ä ö", "北京", "a,b", 'q"', "x:y", "-1", "true", "[1]"]
ITEMS = [*USERS[:-1], "nil", "0", "00", "item 5", "🎬", "\\n", "tab"]
ALL = {  # variants whose formulas differ
    "HLR": [{}, {"attend_user": True, "objective": "triplet"},
            {"attend_user": True, "direct_memory": True, "attention_smoothing": 0.7, "item_bias": True},
            {"eval_history": "all"}],
    "HLR++": [{}, {"item_attention": "audience"}, {"attend_target": True, "attend_user": True},
              {"item_attention": "audience", "attend_target": True}],
    "CML": [{}, {"item_bias": True}, {"objective": "triplet"}],
    "LRML": [{}, {"centre_memories": True}],
    "AdaCML": [{}, {"attention_smoothing": 0.7}],
}  # fmt: skip


@pytest.fixture(scope="module")
def options(tmp_path_factory) -> dict:
    """Options of a run on users and items whose ids are texts of all kinds."""
    folder = tmp_path_factory.mktemp("export")
    rng = np.random.default_rng(1)
    (folder / "odd").mkdir()
    lines = [f"{user}\t{item}" for user in USERS for item in rng.choice(ITEMS, 7, replace=False)]
    text = "\n".join(["user_id:token\titem_id:token", *lines]) + "\n"
    (folder / "odd" / "odd.inter").write_text(text, encoding="utf-8")
    return {
        "dataset": "odd", "data_path": folder, "checkpoint_dir": folder / "runs", "epochs": 2, "topk": [3],
        "max_history": 4, "show_progress": False,
    }  # fmt: skip


def known_to(name: str, options: dict) -> dict:
    attends = name in ("HLR", "HLR++", "AdaCML")
    return {key: value for key, value in options.items() if key != "max_history" or attends}


def trained(name: str, options: dict, **more):
    size = {"embedding_size": 6} if name not in ("EASE", "Pop", "ItemKNN", "NeuMF") else {}
    return load(run(name, **{**known_to(name, options), **size, **more}).run_dir)


@pytest.fixture(scope="module")
def cml(options):
    return trained("CML", options)


@pytest.mark.parametrize(
    ("name", "more"),
    [pytest.param(name, more, id=f"{name} {more or ''}") for name in OURS for more in ALL.get(name, [{}])],
)
def test_the_scorer_gives_the_run_s_scores_and_top_k(options, tmp_path, name, more):
    fitted = trained(name, options, **more)
    draw = torch.Generator().manual_seed(3)
    for key, value in fitted.model.state_dict().items():  # far from where training begins
        if not key.startswith("objective"):
            value.copy_(torch.randn(value.shape, generator=draw) * 0.7)
    told = fitted.export(tmp_path / "out")
    found = scorer.Recommender(tmp_path / "out")
    assert found.ids == {"user": fitted.users, "item": fitted.data.item_tokens[1:]}
    assert set(found.ids["item"]) <= set(ITEMS)
    everybody = torch.arange(1, fitted.data.user_num)
    expected = scores_of(fitted.model, everybody, fitted.data.item_num)[:, 1:].numpy()
    scores = np.stack([found.score(user) for user in fitted.users])
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-5)
    assert scores.std(axis=0).min() > 1e-3
    for exclude in (True, False):
        table = fitted.recommend(fitted.users, k=5, exclude_seen=exclude)
        best = [(user, item) for user in fitted.users for item, _ in found.recommend(user, 5, exclude)]
        assert best == list(zip(table["user"], table["item"], strict=True))
    some = found.ids["item"][3:1:-1]
    np.testing.assert_allclose(found.score("007", some), scores[fitted.users.index("007"), [3, 2]], rtol=1e-5)
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert files == {*told["files"], "manifest.json"}
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == told


def test_blocks_of_items_are_joined(options, tmp_path, monkeypatch):
    fitted = trained("HLR", options)
    fitted.export(tmp_path / "out")
    found = scorer.Recommender(tmp_path / "out")
    whole = found.score("7")
    monkeypatch.setattr(scorer, "BLOCK", 100)
    np.testing.assert_allclose(found.score("7"), whole, rtol=1e-6)
    assert found.score("7", []).shape == (0,)


def test_the_scorer_runs_by_itself(cml, tmp_path):
    """In a process that has no package but numpy on its path."""
    cml.export(tmp_path / "out")
    (tmp_path / "only").mkdir()
    for package in ("numpy", "numpy.libs"):
        home = Path(np.__file__).parents[1] / package
        if home.exists():
            (tmp_path / "only" / package).symlink_to(home)
    start = f"""
import runpy, sys
sys.path.insert(0, {str(tmp_path / "only")!r})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    words = [sys.executable, "-S", "-E", "-X", "utf8", "-c", start, tmp_path / "out" / "score.py"]
    done = subprocess.run([*words, "北京", "4"], capture_output=True, text=True, check=True, encoding="utf-8")
    table = cml.recommend("北京", k=4)
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == table["item"].tolist()
    scores = [float(line.split("\t")[1]) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(scores, table["score"], atol=1e-5)
    wrong = subprocess.run([*words, "nobody"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (1, f"nobody: is not among the {len(cml.users)} users\n")


def test_what_the_files_hold(options, tmp_path):
    fitted = trained("HLR", options, item_bias=True)
    told = fitted.export(tmp_path / "out")
    assert (told["model"], told["d"], told["users"], told["geometry"]) == ("HLR", 6, len(USERS), "sphere")
    read = pq.read_table(tmp_path / "out" / "items.parquet")
    assert str(read.schema.field("vector").type) == "fixed_size_list<element: float>[6]"
    assert read["id"].to_pylist() == fitted.data.item_tokens[1:]
    vectors = np.load(tmp_path / "out" / "item_vectors.npy")
    np.testing.assert_array_equal(np.stack(read["vector"].to_numpy(zero_copy_only=False)), vectors)
    np.testing.assert_array_equal(vectors, fitted.model.item_embedding.weight.detach()[1:])
    np.testing.assert_array_equal(read["bias"], np.load(tmp_path / "out" / "item_bias.npy"))
    assert pd.read_parquet(tmp_path / "out" / "users.parquet")["id"].tolist() == fitted.users
    seen = sparse.load_npz(tmp_path / "out" / "history.npz")
    assert seen.shape == (len(fitted.users), len(fitted.data.item_tokens) - 1)
    attended = sparse.load_npz(tmp_path / "out" / "attended.npz")
    assert attended.sum(axis=1).max() == 4 < seen.sum(axis=1).max()
    for number in range(len(fitted.users)):
        rows = fitted.data.history.indptr[number + 1 : number + 3]
        assert (seen[number].indices + 1).tolist() == fitted.data.history.items[slice(*rows)].tolist()
        assert set(attended[number].indices) <= set(seen[number].indices)


# --- models of others -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "formula"), [("BPR", "inner product"), ("LightGCN", None)])
def test_recbole_s_models_with_vectors(options, tmp_path, name, formula):
    fitted = trained(name, options)
    told = fitted.export(tmp_path / "out")
    assert told["formula"] == formula
    found = scorer.Recommender(tmp_path / "out")
    np.testing.assert_array_equal(found.items, fitted.model.item_embedding.weight.detach()[1:])
    if formula:
        assert [one for one, _ in found.recommend("7", 5)] == fitted.recommend("7", 5)["item"].tolist()
    else:
        assert told["score"].startswith("the model's own")
        with pytest.raises(ValueError, match="the formula of this model is not in this file"):
            found.score("7")


@pytest.mark.parametrize("name", ["EASE", "Pop", "NeuMF"])
def test_a_model_without_vectors_is_refused(options, tmp_path, name):
    fitted = trained(name, options)
    with pytest.raises(
        InputError, match=rf"^model={name}: has no user_embedding with a vector of every user"
    ):
        fitted.export(tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_a_formula_that_is_not_the_model_s_is_no_export(cml, tmp_path, monkeypatch):
    monkeypatch.setitem(scorer.TRANSLATIONS, "CML", lambda of, user, items: of.items[items] * 0.1)
    with pytest.raises(InputError, match="the scorer's scores are not the model's"):
        cml.export(tmp_path / "out")
    assert os.listdir(tmp_path) == []


# --- whole or not at all ----------------------------------------------------------------------------------


def test_a_folder_with_something_in_it_is_refused(cml, tmp_path):
    (tmp_path / "kept").write_text("mine")
    for there in (tmp_path, tmp_path / "kept"):
        with pytest.raises(InputError, match=r"is there already; must be a new folder, or an empty one$"):
            cml.export(there)
    with pytest.raises(InputError, match="must be in a folder that can be written"):
        cml.export(tmp_path / "none" / "out")
    assert os.listdir(tmp_path) == ["kept"]
    (tmp_path / "empty").mkdir()
    cml.export(tmp_path / "empty")
    assert scorer.Recommender(tmp_path / "empty").ids["user"] == cml.users


@pytest.mark.parametrize("end", [KeyboardInterrupt(), OSError(errno.ENOSPC, "disk full")], ids=repr)
def test_an_export_that_ends_early_leaves_nothing(cml, tmp_path, monkeypatch, end):
    def failing(*given):
        assert len(os.listdir(tmp_path)) == 1
        raise end

    monkeypatch.setattr(exporting, "_write_lists", failing)
    with pytest.raises(KeyboardInterrupt if isinstance(end, KeyboardInterrupt) else InputError):
        cml.export(tmp_path / "out")
    assert os.listdir(tmp_path) == []


def test_vectors_that_are_not_finite_are_no_export(options, tmp_path):
    fitted = trained("CML", options)
    fitted.model.item_embedding.weight.data[5, 0] = float("nan")
    with pytest.raises(InputError, match="1 of its scores of items are not finite"):
        fitted.export(tmp_path / "out")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_export_leaves_no_folder(cml, tmp_path, monkeypatch, number):
    monkeypatch.setattr(exporting, "_is_right", lambda *given: time.sleep(60))  # all is written
    child = os.fork()
    if not child:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Ray's, where another test has begun it
        try:
            cml.export(tmp_path / "out")
        finally:
            os._exit(0)
    assert wait_until(lambda: list(tmp_path.glob("*/manifest.json")), 30)
    os.kill(child, number)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -number
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    cml.export(tmp_path / "out")
    assert (tmp_path / "out" / "score.py").is_file()


def test_the_command(options, tmp_path, capsys):
    run_dir = run("MF-ALS", **known_to("MF-ALS", options)).run_dir
    capsys.readouterr()
    out = tmp_path / "served models"
    words = shlex.split(f"export {shlex.quote(str(run_dir))} --out={shlex.quote(str(out))}")
    assert main(words) == 0
    told = f"{out}: MFALS, {len(USERS)} users, {len(ITEMS)} items, d = 100; score.py scores them\n"
    assert capsys.readouterr().out == told
    assert main(words) == 2
    assert capsys.readouterr().err.startswith(f"error: {out}: is there already; must be a new folder")
    assert main(["export", str(run_dir), f"--out={tmp_path / 'with'}", "--index", "-q"]) == 0
    assert (tmp_path / "with" / "items.faiss").is_file()
    assert main(["export", str(tmp_path), "--out=x"]) == 2
    assert "is no run directory" in capsys.readouterr().err
    assert main(["export", str(run_dir)]) == 2
    assert "Missing option '--out'" in capsys.readouterr().err
