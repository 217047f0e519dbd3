"""Runs that are killed or interrupted, and resumed."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from recbole_hlr import InputError, evaluate, run
from recbole_hlr.cli import main
from recbole_hlr.files import locked
from recbole_hlr.options.yaml_values import dump_yaml, load_yaml
from recbole_hlr.train import checkpoint
from tests.processes import Process, wait_until

HLR = ["--model=HLR", "--epochs=60", "--stopping_step=60", "--max_history=3"]
VAE = [
    "--model=MultiVAE",
    "--epochs=60",
    "--stopping_step=60",
    "--mlp_hidden_size=[8]",
    "--latent_dimension=4",
]
BPR = ["--model=BPR", "--epochs=60", "--stopping_step=60"]
HELD_OUT = ["--model=CML", "--epochs=60", "--stopping_step=60", "--eval_args={split: {HU: [6, 2, 2]}}"]
FOLD = ["--model=BPR", "--epochs=60", "--stopping_step=60", "--folds=3", "--fold=2"]


def command(arguments: list[str], more: list[str], folder: Path) -> list[str]:
    """The toy's command line with some of its options replaced."""
    more = [*more, f"--checkpoint_dir={folder}"]
    replaced = {word.split("=")[0] for word in more} | (
        {"--embedding_size"} if "MultiVAE" in more[0] else set()
    )
    return [word for word in arguments if word.split("=")[0] not in replaced] + more


def finish(words: list[str]) -> Path:
    process = Process(["train", *words])
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return Path(out.split("run directory")[1].split()[0])


def outcome(run_dir: Path) -> dict:
    """Everything that two equal runs have in common: metrics, epochs without times, final weights."""
    result = json.loads((run_dir / "result.json").read_text())
    lines = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["train_seconds"], line["valid_seconds"]
    content = torch.load(run_dir / "model.pth", weights_only=True)
    return {
        "result": {k: result[k] for k in ("valid", "test", "best_epoch", "best_valid_score", "epochs")},
        "lines": lines,
        "weights": {k: v.tolist() for k, v in content["state_dict"].items()},
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "words", [HLR, BPR, VAE, HELD_OUT, FOLD], ids=["HLR", "BPR", "MultiVAE", "held-out", "fold"]
)
def test_a_run_killed_at_random_moments_ends_like_one_never_killed(tmp_path, arguments, words):
    whole = outcome(finish(command(arguments, words, tmp_path / "whole")))
    parent, chance = tmp_path / "killed", random.Random(sum(map(ord, words[-1])))
    process = Process(["train", *command(arguments, words, parent)])
    wait_until(lambda: process.poll() is not None or list(parent.glob("[!.]*/config.yaml")), 100, 0.005)
    kills = 0
    for _ in range(3):
        time.sleep(chance.uniform(0.0, 0.12))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.communicate()
        (run_dir,) = parent.glob("[!.]*")
        before = done(run_dir)
        process = Process(["train", f"--resume={run_dir}"])
        wait_until(lambda p=process, d=run_dir, b=before: p.poll() is not None or done(d) > b, 100, 0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert kills >= 1
    assert finish([f"--resume={run_dir}"]) == run_dir
    assert outcome(run_dir) == whole


def done(run_dir: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return len((run_dir / "metrics.jsonl").read_text().splitlines())
    return 0


@pytest.mark.slow
def test_a_run_killed_while_a_checkpoint_is_written(tmp_path, arguments):
    """The process dies with half of the file written, twice, at different epochs."""
    whole = outcome(finish(command(arguments, HLR, tmp_path / "whole")))
    body = """
import os, signal, torch
real, count = torch.save, [0]
def save(content, file):
    count[0] += 1
    if count[0] == {at}:
        import io
        memory = io.BytesIO(); real(content, memory)
        file.write(memory.getvalue()[: len(memory.getvalue()) // 2]); file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    real(content, file)
torch.save = save
"""
    parent = tmp_path / "killed"
    process = Process(["train", *command(arguments, HLR, parent)], body.format(at=1))
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    (run_dir,) = parent.glob("[!.]*")
    assert not (run_dir / "model.pth").exists()
    process = Process(["train", f"--resume={run_dir}"], body.format(at=9))
    process.communicate(timeout=100)
    assert process.returncode == -signal.SIGKILL
    assert torch.load(run_dir / "model.pth", weights_only=True)["epoch"] == 7
    finish([f"--resume={run_dir}"])
    assert outcome(run_dir) == whole


def test_ctrl_c_leaves_a_resumable_run_and_says_how(tmp_path, arguments, capsys, monkeypatch):
    from recbole_hlr.train.metric import MetricTrainer

    validate = MetricTrainer.validate

    def interrupt(self, data):
        if len(self.epoch_records) == 1:
            raise KeyboardInterrupt
        return validate(self, data)

    monkeypatch.setattr(MetricTrainer, "validate", interrupt)
    assert main(["train", "--model=HLR", *arguments]) == 130
    monkeypatch.undo()
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert f"--resume={run_dir}" in capsys.readouterr().err
    resumed = run(resume=run_dir)
    options = {a[2:].split("=")[0]: a.split("=", 1)[1] for a in arguments}
    assert resumed.test == run("HLR", arguments=[f"--{k}={v}" for k, v in options.items()]).test
    assert resumed.run_dir == str(run_dir)


def test_ctrl_c_after_the_work_changes_no_exit_code():
    """Python would end by the signal while it puts its modules away."""
    code = """
import atexit, os, signal
from recbole_hlr.cli import main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))  # runs after those registered later
raise SystemExit(main(["--version"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_while_the_result_is_printed_says_how_to_see_it_again(toy, monkeypatch, capsys):
    def interrupted(result):
        raise KeyboardInterrupt

    monkeypatch.setattr("recbole_hlr.cli.output.describe", interrupted)
    assert main(["train", "--model=MF-ALS", *(f"--{key}={value}" for key, value in toy.items())]) == 130
    (run_dir,) = Path(toy["checkpoint_dir"]).glob("[!.]*")
    assert f"interrupted; continue with --resume={run_dir}\n" in capsys.readouterr().err
    assert (run_dir / "result.json").is_file()


def test_a_finished_run_resumed_gives_its_result_again(toy):
    first = run("HLR", **toy)
    again = run(resume=first.run_dir)
    assert (again.test, again.valid, again.epochs) == (first.test, first.valid, first.epochs)


def test_more_epochs_go_on_where_the_run_ended(toy):
    first = run("HLR", **toy)
    longer = run(resume=first.run_dir, epochs=6)
    assert longer.epochs == 6
    assert longer.test == run("HLR", **{**toy, "epochs": 6}).test


def test_what_may_change_is_kept(toy):
    """Also the run's own memory budget and batches: a resumed run evaluates like a fresh one."""
    first = run("HLR", **toy)
    run(resume=first.run_dir, epochs=5, eval_memory=0.5)
    stored = load_yaml(Path(first.run_dir, "config.yaml"))
    assert (stored["epochs"], stored["eval_memory"]) == (5, 0.5)
    assert "eval_batch_size" not in stored
    assert run("HLR", "toy", resume=first.run_dir).epochs == 5


def test_more_patience_goes_on_after_an_early_stop(toy):
    first = run("CML", **{**toy, "epochs": 60, "stopping_step": 0})
    assert first.epochs < 60
    longer = run(resume=first.run_dir, stopping_step=60)
    assert longer.epochs == 60
    assert longer.test == run("CML", **{**toy, "epochs": 60, "stopping_step": 60}).test


def test_configuration_files_cannot_be_given(tmp_path, toy):
    first = run("CML", **toy)
    (tmp_path / "b.yaml").write_text("scale: 0.1\n")
    for given in (
        {"config_files": [tmp_path / "b.yaml"]},
        {"arguments": [f"--config_files={tmp_path / 'b.yaml'}"]},
    ):
        with pytest.raises(InputError, match="config_files"):
            run(resume=first.run_dir, **given)


def test_only_harmless_options_can_change(toy):
    first = run("HLR", **toy)
    for wrong in ({"scale": 0.3}, {"model": "CML"}, {"dataset": "other"}, {"seed": 5}):
        with pytest.raises(InputError, match=f"{next(iter(wrong))}.*cannot change in a resumed run"):
            run(resume=first.run_dir, **wrong)


def test_changed_data_are_noticed(tmp_path, toy):
    first = run("HLR", **toy)
    file = tmp_path / "data" / "toy" / "toy.inter"
    file.write_text(file.read_text().replace("u1\ti", "u1\tj", 1))
    with pytest.raises(InputError, match="is not the one that this run was started with"):
        run(resume=first.run_dir)


def test_a_configuration_that_was_edited_is_refused(toy):
    """What `--resume` may change may be edited as well; all else stands in model.pth, and is named."""
    first = run("CML", **{**toy, "epochs": 1})
    file = Path(first.run_dir, "config.yaml")
    text = file.read_text()
    edited = text.replace("train_batch_size: 16", "train_batch_size: 9").replace("seed: 2020", "seed: 1")
    file.write_text(edited)
    for resumed in (lambda: run(resume=first.run_dir), lambda: evaluate(first.run_dir)):
        with pytest.raises(
            InputError, match=r"config\.yaml: .* has seed=1 \(2020\), train_batch_size=9 \(16\), must"
        ):
            resumed()
        assert file.read_text() == edited
    file.write_text(text.replace("epochs: 1\n", ""))
    with pytest.raises(InputError, match=r"config\.yaml: .* has epochs=\d+ \(1\)"):
        run(resume=first.run_dir)
    file.write_text(text.replace("epochs: 1\n", "epochs: 2\n"))
    assert run(resume=first.run_dir).epochs == 2


def test_a_run_of_a_version_with_fewer_options_goes_on(toy):
    first = run("CML", **{**toy, "epochs": 1})
    file, stored = Path(first.run_dir, "config.yaml"), Path(first.run_dir, "model.pth")
    content = checkpoint.load(stored)
    del content["format"], content["digest"], content["config"]["matmul_precision"]
    checkpoint.save(stored, content)
    text = file.read_text()
    file.write_text(text.replace("matmul_precision: highest\n", ""))
    assert file.read_text() != text
    assert run(resume=first.run_dir).test == first.test


def test_a_run_whose_options_were_written_otherwise_goes_on_again_and_again(tmp_path, toy):
    """Versions before wrote how data are split beside parts that are given."""
    lines = (tmp_path / "data" / "toy" / "toy.inter").read_text()
    for part in ("train", "test"):
        (tmp_path / "data" / "toy" / f"toy.{part}.inter").write_text(lines)
    first = run("CML", **{**toy, "epochs": 1, "benchmark_filename": ["train", "test"]})
    file, stored = Path(first.run_dir, "config.yaml"), Path(first.run_dir, "model.pth")
    content, options = checkpoint.load(stored), load_yaml(file)
    for written in (content["config"], options):
        written["eval_args"] = {"split": {"RS": [0.8, 0.1, 0.1]}, "order": "RO", **written["eval_args"]}
    del content["format"], content["digest"]
    checkpoint.save(stored, content)
    file.write_text(dump_yaml(options))
    for _ in range(2):
        assert run(resume=first.run_dir).test == first.test
        assert evaluate(first.run_dir).test == first.test


def test_a_run_that_is_at_work_is_not_resumed_by_another_process(toy):
    first = run("CML", **{**toy, "epochs": 1})
    folder = Path(first.run_dir)
    with locked(folder, "run"):
        before = {file: file.read_bytes() for file in folder.iterdir()}
        with pytest.raises(InputError, match=f"process {os.getpid()} on .* is at work on this run"):
            run(resume=folder, epochs=5)
        assert {file: file.read_bytes() for file in folder.iterdir()} == before
        assert evaluate(folder).test == first.test  # reads only


def test_a_run_keeps_others_out_from_its_first_step_on(toy, monkeypatch):
    from recbole_hlr.train.metric import MetricTrainer

    validate, refused = MetricTrainer.validate, []

    def locks(self, data):
        (folder,) = Path(toy["checkpoint_dir"]).iterdir()
        with pytest.raises(InputError, match="is at work on this run"), locked(folder, "run"):
            raise AssertionError
        refused.append(folder)
        return validate(self, data)

    monkeypatch.setattr(MetricTrainer, "validate", locks)
    first = run("CML", **{**toy, "epochs": 1})
    run(resume=first.run_dir, epochs=2)
    assert refused == [Path(first.run_dir)] * 2


def test_what_a_killed_run_left_behind_is_removed(toy):
    first = run("CML", **{**toy, "epochs": 1})
    (Path(first.run_dir) / ".model.pth.4711.tmp").write_text("half")
    run(resume=first.run_dir)
    assert not list(Path(first.run_dir).glob("*.tmp"))
    assert not list(Path(first.run_dir).glob(".*.pid"))


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half a file", b"not a checkpoint at all" * 50])
def test_a_damaged_checkpoint_is_named(toy, damage):
    first = run("CML", **toy)
    Path(first.run_dir, "model.pth").write_bytes(damage)
    with pytest.raises(InputError, match=r"model\.pth: cannot be read as a checkpoint"):
        run(resume=first.run_dir)


def test_a_checkpoint_that_would_run_code_is_not_loaded(tmp_path, toy):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "trapped"),))

    first = run("CML", **toy)
    torch.save({"format": 1, "trap": Trap()}, Path(first.run_dir, "model.pth"))
    with pytest.raises(InputError, match=r"model\.pth"):
        run(resume=first.run_dir)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("path", ["nowhere", "."])
def test_resuming_what_is_no_run(tmp_path, path):
    with pytest.raises(InputError, match="is no run directory"):
        run(resume=tmp_path / path)
