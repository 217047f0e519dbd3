"""Checkpoints that are damaged, changed, or of another model: always a sentence, never other figures."""

import copy
import json
import random
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recbole_hlr import InputError, evaluate, load, prepare, run
from recbole_hlr.cli import main
from recbole_hlr.experiment.pretrained import read_pretrained
from recbole_hlr.options.yaml_values import load_yaml
from recbole_hlr.train import checkpoint
from recbole_hlr.train.contents import digest
from recbole_hlr.train.snapshot import load_model_state, model_state
from recbole_hlr.train.state import FIELDS, take_back
from tests.conftest import write_atomic

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=3),
    st.just([]),
    st.just({}),
    st.just(()),
    st.builds(torch.zeros, st.just((2, 3))),
    st.builds(torch.arange, st.integers(0, 5)),
)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory) -> Path:
    """A run of CML in two epochs."""
    folder = tmp_path_factory.mktemp("checkpoint")
    write_atomic(folder / "data", "toy")
    options = {"data_path": folder / "data", "checkpoint_dir": folder / "runs", "show_progress": False}
    return Path(run("CML", "toy", embedding_size=6, epochs=2, train_batch_size=16, **options).run_dir)


@pytest.fixture(scope="module")
def content(run_dir) -> dict[str, Any]:
    return checkpoint.load(run_dir / "model.pth")


def fields(value: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of all values in nested ones."""
    found = [path]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += fields(item, (*path, key))
    return found


def replaced(content: dict[str, Any], path: tuple, value: Any) -> dict[str, Any]:
    """Return a copy of nested values with another one at a path."""
    changed = copy.deepcopy(content)
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@FUZZ
@given(data=st.data())
def test_damaged_bytes_are_never_taken(tmp_path, run_dir, content, data):
    """Inverted bytes and cut ends: a sentence, or, where nothing that is read was hit, the same values."""
    blob = bytearray((run_dir / "model.pth").read_bytes())
    start = data.draw(st.integers(0, len(blob) - 1))
    for place in range(start, min(start + data.draw(st.sampled_from([1, 8, 64, 4096])), len(blob))):
        blob[place] ^= data.draw(st.sampled_from([0xFF, 0x01])) if place == start else 0xFF
    if data.draw(st.booleans()):
        del blob[data.draw(st.integers(0, len(blob))) :]
    (tmp_path / "model.pth").write_bytes(blob)
    try:
        taken = checkpoint.load(tmp_path / "model.pth")
    except InputError:
        return
    assert digest(taken) == digest(content)


@FUZZ
@given(data=st.data())
def test_any_value_replaced_is_noticed(tmp_path, content, data):
    """What is written is what is read: no other value of any field passes."""
    path = data.draw(st.sampled_from(fields(content)[1:]))
    changed = replaced(content, path, data.draw(PLAIN))
    torch.save(changed, tmp_path / "model.pth")
    if digest(changed) == digest(content) or repr(changed["format"]) in ("1", "True"):  # without a digest
        return
    with pytest.raises(InputError, match=r"model\.pth: is (a damaged|no) checkpoint"):
        checkpoint.load(tmp_path / "model.pth")


@FUZZ
@given(data=st.data())
def test_checkpoints_without_a_digest_are_read_or_refused(tmp_path, content, data):
    """Those of version 0.2: what their fields cannot be is refused; nothing else is raised."""
    path = data.draw(st.sampled_from([p for p in fields(content)[1:] if len(p) < 4]))
    changed = {**replaced(content, path, data.draw(PLAIN)), "format": 1}
    del changed["digest"]
    torch.save(changed, tmp_path / "model.pth")
    try:
        taken = checkpoint.load(tmp_path / "model.pth")
    except InputError:
        return
    assert all(check(taken[key]) for key, (_, check) in FIELDS.items())


WRONG = [
    (("best",), {}),
    (("best", "state_dict"), []),
    (("data",), []),
    (("data",), {}),
    (("epoch",), "x"),
    (("epoch",), 9),
    (("best_epoch",), 2),
    (("epochs",), []),
    (("epochs", 0, "valid"), None),
    (("config",), {"model": "CML"}),
    (("data", "items"), torch.full((108,), 99)),
    (("data", "indptr"), torch.tensor([0, 108])),
    (("data", "user_tokens"), ["[PAD]", "u1", "u1"]),
    (("optimizer",), {"state": 3}),
    (("random", "torch"), torch.zeros(3, dtype=torch.uint8)),
    (("random", "numpy"), ["MT19937"]),
    (("loader",), [1]),
    (("best_valid_score",), 2.0),
    (("best_valid_result",), {}),
]


@pytest.mark.parametrize(("path", "value"), WRONG, ids=[".".join(map(str, path)) for path, _ in WRONG])
def test_contents_that_are_well_formed_and_wrong(tmp_path, run_dir, content, path, value, monkeypatch):
    """Also with a digest that is right; whichever way they are read."""
    file, kept = run_dir / "model.pth", (run_dir / "model.pth").read_bytes()
    written = {key: item for key, item in content.items() if key not in ("format", "digest")}
    try:
        checkpoint.save(file, replaced(written, path, value))
        for read in (lambda: run(resume=run_dir), evaluate, load, read_pretrained):
            with pytest.raises(InputError, match=r"model\.pth: is a damaged checkpoint: its? .*must"):
                read(run_dir) if read in (evaluate, load, read_pretrained) else read()
    finally:
        file.write_bytes(kept)


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda weights: weights.pop("user_embedding.weight"), "user_embedding.weight is in one of them"),
        (lambda weights: weights.update(more=torch.zeros(2)), "more is in one of them"),
        (
            lambda weights: weights.update({"item_embedding.weight": torch.zeros(18, 7)}),
            r"item_embedding.weight is \(18, 7\) of float32, must be \(18, 6\) of float32",
        ),
        (
            lambda weights: weights.update({"item_embedding.weight": torch.zeros(18, 6).int()}),
            r"item_embedding.weight is \(18, 6\) of int32, must be \(18, 6\) of float32",
        ),
    ],
)
def test_the_state_of_another_model(run_dir, content, change, pattern):
    model = load(run_dir).model
    state = copy.deepcopy(content["best"])
    change(state["state_dict"])
    with pytest.raises(InputError, match=f"the checkpoint does not fit the model: {pattern}"):
        load_model_state(model, state)
    state = {**content["best"], "counters": {"forward": 3}}
    with pytest.raises(InputError, match="does not fit the model, which has no forward"):
        load_model_state(model, state)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("param_groups", 0, "betas"), 0.9),
        (("param_groups", 0, "betas"), (0.9,)),
        (("param_groups", 0, "lr"), None),
        (("param_groups", 0, "amsgrad"), True),
        (("param_groups", 0, "differentiable"), 0.0),
        (("param_groups", 0, "params"), [0]),
        (("state", 0, "exp_avg"), torch.zeros(5)),
        (("state", 0, "exp_avg"), 3),
        (("state", 9), {"step": torch.zeros(2)}),
        (("param_groups", 0, "betas"), (0.9, 1.5)),
        (("param_groups", 0, "lr"), -1.0),
        (("state", 0), {"step": torch.tensor(3.0)}),
        (("state", 0, "step"), torch.tensor(-1.0)),
        (("state", 0, "step"), torch.tensor(True)),
    ],
)
def test_the_state_of_another_optimizer(run_dir, content, path, value):
    options = load_yaml(run_dir / "config.yaml")
    experiment = prepare(options.pop("model"), options.pop("dataset"), **options)
    state = {**content, "optimizer": replaced(content["optimizer"], path, value)}
    with pytest.raises(InputError, match="the checkpoint does not fit the optimizer"):
        take_back(experiment.trainer, state, experiment.train_data)


@pytest.mark.parametrize("value", [{}, None, 3, torch.zeros(2), {"__array__": torch.zeros(18, 18).int()}])
def test_attributes_of_another_kind(toy, value):
    trainer = prepare("EASE", toy["dataset"], data_path=toy["data_path"]).trainer
    state = model_state(trainer.model)
    load_model_state(trainer.model, state)
    state["other_parameter"]["item_similarity"] = value
    with pytest.raises(InputError, match=r"does not fit the model: item_similarity is .*, must be "):
        load_model_state(trainer.model, state)


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("part", [torch.zeros(3).to_sparse(), torch.zeros(3, device="meta"), "itself"])
def test_what_has_no_numbers_of_its_own(tmp_path, content, number, part):
    changed = {**content, "format": number, "more": part}
    changed["more"] = changed if part == "itself" else part
    torch.save(changed, tmp_path / "model.pth")
    with pytest.raises(InputError, match="must hold plain values"):
        checkpoint.load(tmp_path / "model.pth")


def test_a_checkpoint_of_version_0_2_is_read(tmp_path, content):
    old = {**content, "format": 1, "version": "0.2.0"}
    del old["digest"]
    torch.save(old, tmp_path / "model.pth")
    assert digest(checkpoint.load(tmp_path / "model.pth")) == digest(old)


def test_the_digest_tells_kinds_orders_and_shapes_apart():
    values: list[Any] = [
        None,
        0,
        False,
        0.0,
        "0",
        "",
        [],
        {},
        (),
        [0],
        (0,),
        [[0]],
        [[], 0],
        {"a": 1, "b": 2},
    ]
    values += [{"b": 1, "a": 2}, {"b": 2, "a": 1}, {0: 1}, {"0": 1}, [{}], [[{}]], [torch.zeros(0)]]
    values += [
        torch.zeros(shape, dtype=d) for shape in (0, (), 1, 4, (2, 2)) for d in (torch.int32, torch.float)
    ]
    assert len({digest(value) for value in values}) == len(values)
    assert digest(torch.arange(6).reshape(2, 3).t()) == digest(torch.tensor([[0, 3], [1, 4], [2, 5]]))


def test_ctrl_c_while_a_checkpoint_is_written(tmp_path, arguments, capsys, monkeypatch):
    """At any of the writer's calls: exit code 130, how to go on, a whole checkpoint, nothing beside it."""
    write, chance = checkpoint.Noting.write, random.Random(1)

    def interrupted(self, data):
        if chance.random() < 0.1:
            signal.raise_signal(signal.SIGINT)
        return write(self, data)

    monkeypatch.setattr(checkpoint.Noting, "write", interrupted)
    assert main(["train", "--model=CML", *arguments]) == 130
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert capsys.readouterr().err.splitlines()[-1] == f"interrupted; continue with --resume={run_dir}"
    assert checkpoint.load(run_dir / "model.pth")["epoch"] == 0
    assert not list(run_dir.glob(".*.tmp"))


def test_ctrl_c_while_a_checkpoint_is_read(run_dir, monkeypatch):
    """The reader is C++ that calls Python, too: an interrupt there would be a damaged file."""
    read = torch.load

    def interrupted(*arguments, **options):
        signal.raise_signal(signal.SIGINT)
        return read(*arguments, **options)

    monkeypatch.setattr(torch, "load", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.load(run_dir / "model.pth")


@pytest.mark.parametrize("limit", [100, 4_000, 20_000])
def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, content, limit):
    """A limit on the size of files stands for the full disk, at the writer's first call or a later one."""
    file, before = tmp_path / "model.pth", resource.getrlimit(resource.RLIMIT_FSIZE)
    written = {key: value for key, value in content.items() if key not in ("format", "digest")}
    checkpoint.save(file, written)
    kept = file.read_bytes()
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(InputError) as refusal:
            checkpoint.save(file, written)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(refusal.value) == f"{file}: File too large; free some space; the file written before is kept"
    assert file.read_bytes() == kept
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_of_the_writer_that_is_not_the_disk_s_stays_itself(tmp_path, content, monkeypatch):
    def broken(*arguments):
        raise RuntimeError("a bug, perhaps of memory")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        checkpoint.save(tmp_path / "model.pth", content)


def test_a_result_says_on_which_device(run_dir, capsys):
    device = json.loads((run_dir / "result.json").read_text())["device"]
    assert f"device: {device}" in (run_dir / "log.txt").read_text()
    assert main(["evaluate", str(run_dir)]) == 0
    captured = capsys.readouterr()
    assert f"\ndevice         {device}\n" in captured.out
    assert f"device: {device}" in captured.err
