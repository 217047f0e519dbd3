"""docs/coming-from.md: its commands and its Python run, its options are there, and no key of theirs is missing."""

import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix, save_npz

from recbole_hlr.metrics.definitions import metric_types
from recbole_hlr.options.command_line import parse_arguments
from recbole_hlr.options.table import TABLE
from recbole_hlr.options.yaml_values import as_list
from tests.processes import Process

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "coming-from.md").read_text(encoding="utf-8")
PORT = {
    "hlrm_type", "num_inter", "num_relations", "emb_size", "loss_margin", "lr", "lr_scheduler_gamma", "clip", "patience",
    "is_pretrained_embs", "freeze_embs", "save_model", "save_dir", "train_batch_size", "eval_batch_size", "topk",
    "eval_size", "epochs",
}  # fmt: skip
USERS, ITEMS, SIZE = 30, 24, 100


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)


LINES = [line for line in PAGE.splitlines() if line.startswith("| ") and "option here" not in line]
CELLS = [line.split(" | ")[:2] for line in LINES]
ROWS = [(re.findall("`(.+?)`", theirs), re.findall("`(.+?)`", ours)) for theirs, ours in CELLS]
OURS = sorted({token for _, ours in ROWS for token in ours})


# --- the tables ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", OURS)
def test_every_option_here_exists_and_may_have_the_value_shown(token):
    key, _, value = token.partition("=")
    entry = TABLE[key]
    if not value:
        return
    given = parse_arguments([f"--{token}"])[key]
    if key == "metrics":
        assert {name.lower() for name in as_list(given)} <= metric_types.keys()
    elif key == "valid_metric":
        assert given == "loss"
    else:
        assert entry.option is not None
        assert entry.option.check(given), entry.option.allowed


def test_every_row_names_an_option_or_says_that_there_is_none():
    assert len(ROWS) > 40
    assert [theirs for theirs, ours in CELLS if "`" not in ours and ours != "none"] == []


def test_every_flag_of_the_port_is_there():
    shown = {word.removeprefix("--") for theirs, _ in ROWS for word in theirs if word.startswith("--")}
    assert shown == PORT


def released() -> set[tuple[str, str]]:
    """Return pairs of an option and the authors' key, as the comments of properties/ have them."""
    files = [
        *(ROOT / "properties" / "paper").rglob("*.yaml"),
        ROOT / "properties" / "protocol" / "paper.yaml",
    ]
    lines = "\n".join(file.read_text(encoding="utf-8") for file in files)
    keys = "[a-z]+_[a-z_]+|margin|copy|beta|regularization"
    return set(re.findall(rf"^([a-z_]+):.*released: ({keys})\b", lines, re.M))


def test_the_authors_keys_are_those_of_the_shipped_files():
    """Where a row has as many keys as options, each stands in the place of its option."""
    pairs = released()
    assert len(pairs) > 14
    for option, key in pairs:
        ((theirs, ours),) = (row for row in ROWS if key in row[0])
        named = [token.partition("=")[0] for token in ours]
        assert option in named, key
        assert len(named) != len(theirs) or named.index(option) == theirs.index(key), key


# --- commands and Python ---------------------------------------------------------------------------------


def commands(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    return [line.split(" #")[0].strip() for line in lines]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what the page's commands read: a small download, a cached split, the port's weights."""
    rng = np.random.default_rng(0)
    taken = np.argsort(rng.random((USERS, ITEMS)), axis=1)[:, :20]  # (U, 20)
    lines = [f"{user + 1},{item + 101},5.0,{user + item}" for user in range(USERS) for item in taken[user]]
    with zipfile.ZipFile(tmp_path / "ml-20m.zip", "w") as archive:
        archive.writestr("ml-20m/ratings.csv", "\n".join(["userId,movieId,rating,timestamp", *lines]) + "\n")
    cache = tmp_path / "cache" / "ml-20m" / "fo"
    cache.mkdir(parents=True)
    for part, places in (("train", slice(0, 14)), ("valid", slice(14, 16)), ("test", slice(16, 20))):
        items = taken[:, places]
        users = np.repeat(np.arange(USERS), items.shape[1])
        matrix = csr_matrix((np.ones(items.size), (users, items.ravel())), shape=(USERS, ITEMS))
        save_npz(cache / f"{part}_interactions.npz", matrix)
    ids = {"user_ids": np.arange(USERS) + 1, "item_ids": np.arange(ITEMS) + 101}
    np.savez(cache / "entities.npz", **ids)
    weights = {"user_emb.weight": torch.randn(USERS, SIZE), "item_emb.weight": torch.randn(ITEMS, SIZE)}
    torch.save(weights, tmp_path / "hlrm_base.pt")
    (tmp_path / "my.yaml").write_text("learning_rate: 0.01\n")
    (tmp_path / "more.yaml").write_text("embedding_size: 8\n")
    (tmp_path / "hyper.test").write_text("learning_rate choice [0.01, 0.001]\n")
    (tmp_path / "properties").symlink_to(ROOT / "properties")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str, folder: Path) -> str:
    """Run a command of the page, with one epoch and one seed, and return what it says."""
    newest = max((folder / "saved").glob("*"), key=lambda path: path.stat().st_mtime, default=folder)
    program, *words = shlex.split(line.replace("RUN_DIR", str(newest)).replace("--seeds 3", "--seeds 1"))
    if program == "python":
        verb = {"run_recbole_hlr.py": "train", "run_hyper_hlr.py": "tune"}[words[0]]
        assert f'main(["{verb}", *sys.argv[1:]])' in (ROOT / words[0]).read_text(encoding="utf-8")
        words[0] = verb
    if words[0] in ("train", "tune", "benchmark"):
        words = [*(word for word in words if not word.startswith("--epochs")), "--epochs=1"]
    process = Process(words, cwd=folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out + err


@pytest.mark.slow
def test_the_authors_commands_run(folder):
    convert, *rest = commands(blocks("sh")[0])
    sizes = dict(re.findall(r"^(users|items|interactions) +\d+ +(\d+) ", run(convert, folder), re.M))
    assert sizes == {"users": "30", "items": "24", "interactions": "600"}
    said = [run(line, folder) for line in rest]
    assert "paperndcg@5" in said[1]
    assert "±" in said[1]
    assert all("paper" in text for text in said)


@pytest.mark.slow
def test_the_ports_commands_run(folder):
    run(commands(blocks("sh")[0])[0], folder)
    trained, evaluated = (run(line, folder) for line in commands(blocks("sh")[1]))
    assert "480 + 60 + 60 interactions" in trained
    assert "by loss" in trained
    assert "paperhitrate@10" in evaluated


@pytest.mark.slow
@pytest.mark.parametrize("line", commands(blocks("sh")[2]))
def test_the_commands_for_recboles_users_run(line, folder):
    assert "ndcg@10" in run(line, folder)


@pytest.mark.slow
def test_a_split_and_vectors_of_theirs_are_taken_over(folder):
    subprocess.run([sys.executable, "-c", blocks("python")[0]], cwd=folder, check=True, timeout=100)
    paper, frozen = (run(line, folder) for line in commands(blocks("sh")[3]))
    parts = "420 + 60 + 120 interactions"
    assert parts in paper
    assert parts in frozen
    assert f"{USERS} of {USERS} user vectors" in frozen
    assert f"{ITEMS} of {ITEMS} item vectors" in frozen


def test_every_block_of_commands_is_run_above():
    assert len(blocks("sh")) == 4
    assert len(blocks("python")) == 1
    assert not re.findall("```(?!sh|python|\n)", PAGE)


def test_commands_that_need_the_hinge_ask_for_it():
    hinge = ("margin", "negative_reduction", "train_neg_sample_args", "share_negative_relation")
    lines = [line for block in blocks("sh") for line in commands(block)]
    needy = [line for line in lines if any(f"--{key}=" in line for key in hinge)]
    assert len(needy) >= 2
    assert all("--objective=triplet" in line for line in needy)


@pytest.mark.parametrize("name", ["README.md", "docs/recbole.md"])
def test_the_page_is_linked(name):
    assert "coming-from.md" in (ROOT / name).read_text(encoding="utf-8")
