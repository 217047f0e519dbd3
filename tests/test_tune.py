"""Whole searches: selection, outputs, repetition, kills, Ctrl-C, clusters."""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recbole.model.general_recommender import BPR

from recbole_hlr import InputError, run, tune
from recbole_hlr.cli import main
from recbole_hlr.config.config import HLRConfig
from recbole_hlr.errors import RunInterrupted
from recbole_hlr.options.yaml_values import dump_yaml, load_yaml
from recbole_hlr.search import search as whole
from recbole_hlr.search.job import Job
from recbole_hlr.search.options import NAMES
from recbole_hlr.search.plan import Plan, check_space, make_plan, open_plan
from recbole_hlr.search.record import STUDY_FILE
from recbole_hlr.search.space import KINDS, find_space
from recbole_hlr.search.trials import CUT, DONE, STOPPED, best_of
from tests.processes import Process, wait_until

ROOT = Path(__file__).parents[1]
RATES = {"learning_rate": {"choice": [1e-9, 0.05]}}
OUTPUTS = {"search.yaml", STUDY_FILE, "trials.csv", "best.yaml", "report.html", "log.txt", "trials"}


def planted(folder: Path) -> dict:
    """Two groups of users, two of items. Valid items are the own group's, test items the other's.

    A model that learns is good on the validation part and, because each user leaves two items of
    the own group over, which then come first, bad on the test part.
    """
    lines: dict = {"train": [], "valid": [], "test": []}
    for user in range(24):
        own = [f"{'ab'[user % 2]}{(user // 2 + i) % 10}" for i in range(10)]
        lines["train"] += [(user, item) for item in own[:7]]
        lines["valid"].append((user, own[7]))
        lines["test"].append((user, f"{'ba'[user % 2]}{user // 2 % 10}"))
    (folder / "planted").mkdir(parents=True)
    for part, pairs in lines.items():
        text = "user_id:token\titem_id:token\n" + "".join(f"u{user}\t{item}\n" for user, item in pairs)
        (folder / "planted" / f"planted.{part}.inter").write_text(text)
    return {
        "dataset": "planted",
        "data_path": str(folder),
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "checkpoint_dir": str(folder / "runs"),
        "embedding_size": 6,
        "train_batch_size": 16,
        "epochs": 8,
        "topk": 1,
        "valid_metric": "NDCG@1",
        "show_progress": False,
    }


def plan_of(given: dict) -> Plan:
    return make_plan("CML", None, (), given, {}, RATES, {}, "here")


def test_the_validation_part_chooses_where_the_test_part_disagrees(ray_up, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {**planted(tmp_path), "checkpoint_dir": "runs"}
    result = tune("CML", space=RATES, num_samples=3, max_concurrent=1, **given)
    assert result.best.values == {"learning_rate": 0.05}
    other = run("CML", **given, learning_rate=1e-9)
    assert other.test["ndcg@1"] > result.run.test["ndcg@1"]  # the plant: the loser is better on the test part
    assert other.best_valid_score < result.run.best_valid_score == result.best.score
    folder = Path(result.run_dir)
    assert {file.name for file in folder.glob("[!.]*")} == OUTPUTS
    assert [file.parent.name for file in folder.glob("trials/*/result.json")] == [f"{result.best.number:04d}"]
    assert [file.parent.name for file in folder.glob("trials/*/model.pth")] == [f"{result.best.number:04d}"]
    check_outputs(result, folder)


def check_outputs(result, folder):
    table = pd.read_csv(folder / "trials.csv", float_precision="round_trip")
    assert table["learning_rate"].tolist() == [0.01, *[t.values["learning_rate"] for t in result.trials[1:]]]
    assert table["score"].max() == result.best.score
    page = (folder / "report.html").read_text()
    for word in ("Plotly.newPlot", "Values and scores", "Best validation score by epoch", "learning_rate"):
        assert word in page, word
    assert 'src="http' not in page
    assert "<link" not in page
    best = load_yaml(folder / "best.yaml")
    assert best["learning_rate"] == 0.05
    assert "model" not in best
    verb, *words = shlex.split(result.command)[1:]
    assert verb == "train"
    again = run(arguments=words)
    assert again.test == result.run.test
    assert again.best_epoch == result.run.best_epoch


def test_trials_get_no_test_part(tmp_path):
    plan = plan_of(planted(tmp_path))
    job, test = whole.make_job(plan, tmp_path / "run")
    assert [len(part) > 0 for part in job.data.parts] == [True, True, False]
    assert len(test) == 24
    assert job.uses_gpu is False  # where there is none
    plan.options.gpus_per_trial = 0.5
    assert whole.make_job(plan, tmp_path / "run")[0].uses_gpu


def test_a_winner_without_its_checkpoint_is_not_tested_untrained(tmp_path):
    plan = plan_of(planted(tmp_path))
    job, test = whole.make_job(plan, tmp_path / "run")
    with pytest.raises(InputError, match=r"model\.pth: is missing"):
        job.evaluate(1, {"learning_rate": 0.05}, test)


def searched(monkeypatch, plan: Plan, folder: Path, run_trials=lambda *_: None, conclude=lambda *_: None):
    """Go through a search whose trials are what `run_trials` makes of them."""
    monkeypatch.setattr(whole, "ray_cluster", contextlib.nullcontext)
    monkeypatch.setattr(whole, "conclude", conclude)
    monkeypatch.setitem(sys.modules, "recbole_hlr.search.engine", SimpleNamespace(run_trials=run_trials))
    folder.mkdir(exist_ok=True)
    return whole.search(plan, folder)


def without_ray(monkeypatch, run_trials) -> None:
    """Let searches have their trials run by `run_trials`, which is given what the engine's is."""
    monkeypatch.setattr(whole, "ray_cluster", contextlib.nullcontext)
    monkeypatch.setitem(sys.modules, "recbole_hlr.search.engine", SimpleNamespace(run_trials=run_trials))


class Stopped(Exception):
    """A trial fell behind."""


def in_turn(objective, suggestions, record, options, longest, *_) -> None:
    """Run trials one after another in this process: in plain words, what comes to the same on Ray."""
    while (values := suggestions.next(record)) is not None:
        trial = record.add(values, 0.0)

        def report(epoch, score, trial=trial):
            if record.report(trial, epoch, score) and len(trial.curve) < longest:
                raise Stopped

        try:
            objective(trial.number, trial.values, report)
            trial.status = DONE
        except Stopped:
            trial.status = STOPPED
        record.end(trial, 0.0)


def test_the_winner_s_command_runs_as_printed_in_a_folder_of_any_name(tmp_path, monkeypatch):
    without_ray(monkeypatch, in_turn)
    parent = tmp_path / "it's a [b], c:\n# $d"
    given = {**planted(tmp_path), "checkpoint_dir": str(parent), "epochs": 1, "num_samples": 2}
    result = tune("CML", space=RATES, **given)
    assert (
        load_yaml(Path(result.run_dir, "best.yaml"))["learning_rate"] == result.best.values["learning_rate"]
    )
    program, *words = shlex.split(result.command)
    assert program == "recbole-hlr"
    assert main(words) == 0
    (again,) = parent.glob("CML-planted-*")
    assert json.loads((again / "result.json").read_text())["test"] == result.run.test


def test_a_second_process_leaves_a_running_search_alone(tmp_path, monkeypatch):
    """A new one and a resumed one, which has the lock before it reads or writes anything."""
    tried = []

    def run_trials(objective, suggestions, record, *rest):
        with open(record.path, "ab") as file:
            file.write(b"half")  # as the running process may just be writing
        before = {path: path.read_bytes() for path in record.path.parent.glob("[!.]*") if path.is_file()}
        with pytest.raises(InputError, match=f"process {os.getpid()} .*is at work on this search"):
            tune(resume=record.path.parent, num_samples=77)
        assert before == {path: path.read_bytes() for path in before}
        os.truncate(record.path, len(before[record.path]) - 4)
        tried.append(1)
        in_turn(objective, suggestions, record, *rest)

    without_ray(monkeypatch, run_trials)
    result = tune("CML", space=RATES, num_samples=2, **{**planted(tmp_path), "epochs": 1})
    unfinished = Path(result.run_dir, "trials", "0002", ".model.pth.7.tmp")
    unfinished.touch()  # as a kill leaves it
    tune(resume=result.run_dir, num_samples=5)
    assert not unfinished.exists()
    assert len(tried) == 2
    assert load_yaml(Path(result.run_dir, "search.yaml"))["search"]["num_samples"] == 5


def test_what_broke_a_search_off_is_told_and_the_table_written_where_it_can_be(tmp_path, monkeypatch):
    given, broken = {**planted(tmp_path), "epochs": 1, "num_samples": 2}, []

    def run_trials(*args):
        in_turn(*args)
        raise broken[-1]

    def full(trials):
        raise InputError("trials.csv: no space left")

    without_ray(monkeypatch, run_trials)
    broken.append(InputError("Ray broke off"))
    with pytest.raises(InputError, match="Ray broke off"):
        tune("CML", space=RATES, **given)
    (folder,) = (tmp_path / "runs").iterdir()
    assert pd.read_csv(folder / "trials.csv")["status"].tolist() == [DONE, DONE]
    monkeypatch.setattr(whole.report, "table_of", full)
    with pytest.raises(InputError, match="Ray broke off"):
        tune(resume=folder)
    broken.append(KeyboardInterrupt())
    with pytest.raises(RunInterrupted):
        tune(resume=folder)


@pytest.mark.parametrize("kind", ["nothing", "run", "file"])
def test_only_a_search_is_resumed(tmp_path, capsys, kind):
    path = tmp_path / "there"
    if kind == "run":
        path.mkdir()
        (path / "config.yaml").write_text("model: CML\n")
    elif kind == "file":
        path.write_text("x")
    before = sorted(tmp_path.rglob("*"))
    assert main(["tune", f"--resume={path}"]) == 2
    error = capsys.readouterr().err
    assert f"{path}: is no run directory of a search" in error
    assert (f"train --resume={path}" in error) == (kind == "run")
    assert sorted(tmp_path.rglob("*")) == before


ODD = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4), st.dates(), st.just(10**20),
    st.just([]), st.just({}), st.just({1: 2}), st.just(["x", {"y": []}]),
)  # fmt: skip


def damaged(draw, content):
    """`content` with one of its parts, at any depth, replaced, renamed or left out."""
    key = draw(st.sampled_from(sorted(content)))
    if isinstance(content[key], dict) and content[key] and draw(st.integers(0, 5)):
        return {**content, key: damaged(draw, content[key])}
    rest = {k: v for k, v in content.items() if k != key}
    way = draw(st.sampled_from(["replaced", "renamed", "left out"]))
    if way == "replaced":
        return {**rest, key: draw(ODD)}
    return {**rest, draw(st.sampled_from([1, "other"])): content[key]} if way == "renamed" else rest


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_search_yaml_is_opened_or_refused_in_one_sentence(tmp_path, data):
    folder = tmp_path / "run"
    if not folder.exists():
        folder.mkdir()
        (folder / "whole.yaml").write_text(plan_of(planted(tmp_path)).as_text())
    text = (folder / "whole.yaml").read_text()
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(
            st.sampled_from(["", "\0", "\x80", "\n", ": ", "- ", "{", "&a [*a]", '"', "\t", "!!x "])
        )
        text = text[:at] + piece + (text[at:] if data.draw(st.booleans()) else "")
    else:
        text = dump_yaml(damaged(data.draw, load_yaml(folder / "whole.yaml")))
    (folder / "search.yaml").write_text(text, encoding="utf-8")
    try:
        open_plan(folder, {}, {}, "here")
    except InputError as error:
        sentence = str(error)
    else:
        return
    assert "search.yaml" in sentence
    assert "keyword argument" not in sentence


def test_a_line_that_search_yaml_lost_is_not_replaced_by_a_default(tmp_path):
    (tmp_path / "run").mkdir()
    text = plan_of(planted(tmp_path)).as_text()
    for line in ("  algorithm: random\n", "  scale: 3.0\n"):
        assert line in text
        (tmp_path / "run" / "search.yaml").write_text(text.replace(line, ""))
        with pytest.raises(InputError, match=f"search.yaml: has no line {line.split(':')[0].strip()}"):
            open_plan(tmp_path / "run", {}, {}, "here")


def test_a_search_of_an_older_version_takes_later_options_at_their_defaults(tmp_path):
    (tmp_path / "run").mkdir()
    content = yaml.safe_load(plan_of(planted(tmp_path)).as_text())
    del content["made"], content["search"]["ray_address"], content["options"]["test_history"]
    (tmp_path / "run" / "search.yaml").write_text(dump_yaml(content))
    plan = open_plan(tmp_path / "run", {"data_path": str(tmp_path)}, {}, "here")
    assert plan.options.ray_address is plan.data is None
    assert plan.config["test_history"] == plan_of(planted(tmp_path / "new")).config["test_history"]


def test_a_search_goes_on_with_its_own_data_alone(tmp_path):
    plan, folder = plan_of(planted(tmp_path)), tmp_path / "run"
    folder.mkdir()
    whole.keep_or_refuse_data(plan, folder, *whole.make_job(plan, folder))
    again = open_plan(folder, {}, {}, "here")
    assert again.data == plan.data
    whole.keep_or_refuse_data(again, folder, *whole.make_job(again, folder))
    file = tmp_path / "planted" / "planted.test.inter"
    *lines, last = file.read_text().splitlines()
    file.write_text("\n".join([*lines, last.split("\t")[0] + "\ta9"]) + "\n")
    with pytest.raises(InputError, match="is not the one that this search was started with"):
        whole.keep_or_refuse_data(again, folder, *whole.make_job(again, folder))


@pytest.mark.parametrize("way", ["cut", "of another trial"])
def test_a_trial_begins_again_where_its_checkpoint_is_not_its_own(tmp_path, way):
    """The second is there where lines of the record were lost and other values were suggested anew."""
    job, test = whole.make_job(plan_of({**planted(tmp_path), "epochs": 2}), tmp_path / "run")
    first, second = {"learning_rate": 0.05}, {"learning_rate": 0.01 if way != "cut" else 0.05}
    told: list = []
    job.train(1, first, lambda epoch, score: None)
    file = tmp_path / "run" / "trials" / "0001" / "model.pth"
    if way == "cut":
        os.truncate(file, file.stat().st_size // 2)
        with pytest.raises(InputError, match=r"model\.pth"):
            job.evaluate(1, first, test)
    job.train(1, second, lambda epoch, score: told.append((epoch, score)))
    job.train(2, second, lambda epoch, score: told.append((epoch, score)))
    assert told[:2] == told[2:]
    assert [epoch for epoch, _ in told] == [0, 1, 0, 1]
    job.train(1, second, lambda epoch, score: told.append((epoch, score)))  # its own is kept
    assert "resumed after epoch 1" in (file.parent / "log.txt").read_text()


@pytest.mark.parametrize("way", ["given", "tried"])
def test_a_start_that_has_seen_the_test_part_is_warned_of(tmp_path, monkeypatch, toy, way):
    """Where another seed split; the trials themselves have no test part to look at."""
    first = run("CML", **toy, seed=6)
    lines = {"pretrained_embeddings": {"choice": [first.run_dir]}, **RATES} if way == "tried" else RATES
    given = {} if way == "tried" else {"pretrained_embeddings": first.run_dir}
    for seed, warned in ((6, False), (5, True)):
        plan = make_plan("CML", None, (), {**toy, "seed": seed, **given}, {}, lines, {}, "here")
        searched(monkeypatch, plan, tmp_path / str(seed))
        text = (tmp_path / str(seed) / "log.txt").read_text()
        assert (f"{first.run_dir} was trained on" in text) == warned


def test_more_cohorts_than_users_are_refused_before_the_first_trial(tmp_path):
    given = {**planted(tmp_path), "cohorts": 25}
    with pytest.raises(InputError, match=r"cohorts=25 .* at most 24, the users of the test part"):
        whole.make_job(plan_of(given), tmp_path / "run")


def test_a_resume_whose_budget_is_spent_keeps_the_winner(tmp_path, monkeypatch):
    """Here a trial that the budget cut."""
    plan, best = plan_of(planted(tmp_path)), []

    def run_trials(objective, suggestions, record, *_):
        for score, status in ((0.1, DONE), (0.2, CUT)):
            trial = record.add({"learning_rate": score}, 1.0)
            trial.status = status
            record.report(trial, 0, score)
            record.end(trial, 2.0)

    def conclude(plan, folder, job, test, trials):
        best.append(best_of(trials, True))

    searched(monkeypatch, plan, tmp_path / "run", run_trials, conclude)
    table = (tmp_path / "run" / "trials.csv").read_text()
    searched(monkeypatch, plan, tmp_path / "run", conclude=conclude)
    assert [(trial.number, trial.status, trial.score) for trial in best] == [(2, CUT, 0.2)] * 2
    assert (tmp_path / "run" / "trials.csv").read_text() == table


def test_the_options_of_a_search_may_be_given_again_in_any_spelling(tmp_path, monkeypatch):
    given = planted(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "search.yaml").write_text(plan_of(given).as_text())
    monkeypatch.chdir(tmp_path.parent)
    again = open_plan(tmp_path / "run", {"model": "cml", "data_path": tmp_path.name}, {}, "here")
    assert again.config.model == "CML"
    for key, value in (("model", "HLR"), ("data_path", "elsewhere"), ("seed", 7)):
        with pytest.raises(InputError, match=f"{key}={value}.*cannot change in a resumed search"):
            open_plan(tmp_path / "run", {key: value}, {}, "here")


def test_a_search_of_a_model_of_ones_own_is_kept_and_opened_again(tmp_path):
    class Own(BPR):
        pass

    given = {key: value for key, value in planted(tmp_path).items() if key != "embedding_size"}
    plan = make_plan(Own, None, (), given, {}, RATES, {}, "here")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "search.yaml").write_text(plan.as_text())
    assert open_plan(tmp_path / "run", {"model": Own}, {}, "here").config.model_class is Own


def test_a_trial_with_a_checkpoint_does_not_need_the_pretrained_tables_any_more(tmp_path):
    given = {**planted(tmp_path), "epochs": 2}
    first, values = run("CML", **given), {"learning_rate": 0.05}
    given["pretrained_embeddings"] = first.run_dir
    job, test = whole.make_job(plan_of(given), tmp_path)
    job.train(1, values, lambda epoch, score: None)
    shutil.rmtree(first.run_dir)
    assert job.evaluate(1, values, test).epochs == 2
    with pytest.raises(InputError, match="there is no such checkpoint"):
        job.train(2, values, print)


def test_the_checkpoint_of_the_best_ended_trial_stays_while_a_better_one_runs(tmp_path, monkeypatch):
    """The better one may fail, and the best that ended then wins."""
    forgotten: list = []
    monkeypatch.setattr(Job, "forget", lambda self, number: forgotten.append(number))

    def run_trials(objective, suggestions, record, options, longest, progress, ended):
        for number, score in enumerate((0.1, 0.2, 0.9), 1):
            trial = record.add({"learning_rate": score}, 1.0)
            record.report(trial, 0, score)
            if number < 3:
                trial.status = DONE
                record.end(trial, 2.0)
        ended(record.trials[1])

    searched(monkeypatch, plan_of(planted(tmp_path)), tmp_path / "run", run_trials)
    assert forgotten == [1]


def test_a_trial_takes_the_gpu_that_ray_gave_it(tmp_path, monkeypatch):
    """Ray shows a trial its own GPU alone, as number 0, whatever `gpu_id` the search was given."""
    asked: list = []
    monkeypatch.setattr(Job, "prepared", lambda self, *args, **options: asked.append(options) or 1 / 0)
    plan = plan_of({**planted(tmp_path), "gpu_id": 3})
    plan.options.gpus_per_trial = 0.5
    with pytest.raises(ZeroDivisionError):
        whole.make_job(plan, tmp_path / "run")[0].train(1, {}, print)
    assert asked == [{"use_gpu": True, "gpu_id": 0}]


def test_the_docs_name_every_option_and_no_other():
    text = (ROOT / "docs" / "search.md").read_text()
    table = set(re.findall(r"^\| `--([a-z_-]+)`", text, re.M))
    assert {name.replace("-", "_") for name in table} == {*NAMES, "space", "params_file", "resume"}


def test_the_yaml_of_the_docs_is_a_space_of_hlr(tmp_path):
    text = (ROOT / "docs" / "search.md").read_text()
    (block,) = re.findall(r"^```yaml\n(.*?)^```", text, re.M | re.S)
    (tmp_path / "space.yaml").write_text(block)
    found = find_space(tmp_path / "space.yaml", "HLR")
    check_space(found, HLRConfig("HLR", "ml-100k"))
    assert {dimension.kind for dimension in found} == set(KINDS)


@pytest.mark.slow
def test_a_resumed_search_runs_more_trials_and_nothing_twice(ray_up, monkeypatch, toy):
    lines = {"learning_rate": {"loguniform": [1e-3, 1e-1]}}
    given = {"space": lines, "max_concurrent": 1, "scheduler": "none", **toy}
    first = tune("HLR", num_samples=2, **given)
    before = Path(first.run_dir, STUDY_FILE).read_bytes()
    more = tune(resume=first.run_dir, num_samples=3)
    after = Path(first.run_dir, STUDY_FILE).read_bytes()
    assert after.startswith(before)
    assert len(more.trials) == 3
    assert [t.curve for t in more.trials[:2]] == [t.curve for t in first.trials]
    assert more.run_dir == first.run_dir
    without_ray(monkeypatch, in_turn)
    once = tune("HLR", num_samples=3, **given)
    assert [(t.values, t.curve) for t in once.trials] == [(t.values, t.curve) for t in more.trials]
    assert once.best.number == more.best.number
    for wrong, match in (
        ({"algorithm": "optuna"}, "algorithm=optuna.*cannot change"),
        ({"scale": 2.0}, r"scale=2\.0.*cannot change"),
        ({"model": "CML"}, "model=CML.*cannot change"),
        ({"space": "paper"}, "space=paper.*cannot change"),
    ):
        with pytest.raises(InputError, match=match):
            tune(resume=first.run_dir, **wrong)


@pytest.mark.slow
def test_an_option_that_is_given_is_not_searched(monkeypatch, toy):
    without_ray(monkeypatch, in_turn)
    lines = {"scale": {"choice": [1.0, 2.0]}, "num_memories": {"choice": [3, 4]}}
    result = tune("HLR", space=lines, num_samples=2, scale=0.7, **toy)
    assert {tuple(trial.values) for trial in result.trials} == {("num_memories",)}
    assert load_yaml(Path(result.run_dir, "best.yaml"))["scale"] == 0.7


@pytest.mark.slow
def test_a_search_on_which_every_trial_fails_ends_in_one_sentence(ray_up, toy):
    lines = {"direct_memory": {"choice": [True, False]}}
    with pytest.raises(InputError, match="direct_memory"):  # it needs attend_user
        tune("HLR", space=lines, num_samples=2, max_concurrent=1, **toy)
    with pytest.raises(InputError, match=r"no trial came to a score; trial 1: .*loss"):
        tune(
            "CML",
            space={"scale": {"choice": [1.0]}},
            num_samples=1,
            geometry="ball",
            max_norm=None,
            learning_rate=1e30,
            **toy,
        )


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--model=HLR"], "--dataset"),
        (["--algorithm=bayes"], "algorithm=bayes"),
        (["--num-samples=0"], "num_samples=0"),
        (["--space=nowhere.yaml"], "nowhere.yaml: there is no such"),
        (["--params_file=nowhere"], "space=nowhere"),
        (["--eval_step=0"], "eval_step=0"),
        (["--train_on=training_and_validation"], "train_on=training_and_validation"),
        (["--algorithm=grid"], "learning_rate: loguniform: has no list"),
        (["--space=paper"], "margin: is no option of HLR.*with objective=softmax.*objective=triplet"),
        (["--time-budget=soon"], "time_budget=soon"),
        (["--resume=nowhere"], "nowhere: is no run directory of a search"),
        (["--num-sample=3"], "num_sample.*did you mean"),
    ],
)
def test_wrong_input_ends_in_one_sentence_before_anything_is_written(
    tmp_path, monkeypatch, capsys, words, match
):
    monkeypatch.chdir(tmp_path)
    base = ["--model=HLR", "--dataset=ml-100k"] if words != ["--model=HLR"] else []
    base = [] if "resume" in words[0] else base
    assert main(["tune", *base, *words]) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(match, error), error
    assert "\n" not in error
    assert not list(tmp_path.iterdir())


def start(words: list[str], folder: Path, token: str, real: bool = False) -> Process | subprocess.Popen:
    """Start a search in a session of its own; its Ray processes carry `token`, its home is a folder.

    Only a `real` one starts up as a user's does, the others are forks.
    """
    (folder / "home").mkdir(exist_ok=True)
    (folder / "cwd").mkdir(exist_ok=True)
    env = {
        "RAY_AUTH_TOKEN": token,
        "RAY_AUTH_MODE": "token",
        "HOME": str(folder / "home"),
        "OMP_NUM_THREADS": "1",
    }
    if not real:
        return Process(["tune", *words], cwd=folder / "cwd", env=env, new_session=True)
    return subprocess.Popen(
        [sys.executable, "-m", "recbole_hlr", "tune", *words], env={**os.environ, **env, "PYTHONPATH": str(ROOT)},
        cwd=folder / "cwd", text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


def alive(token: str) -> dict[int, str]:
    """Command lines of the processes whose environment holds `token`."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if token.encode() in (entry / "environ").read_bytes():
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue
    return found


def ended(parent: Path) -> int:
    return sum(path.read_text().count('"user_attr": {"end"') for path in parent.glob(f"tune-*/{STUDY_FILE}"))


def words_of(toy: dict, folder: Path, trials: int = 4, epochs: int = 30) -> list[str]:
    (folder / "space.yaml").write_text(
        "learning_rate: {loguniform: [0.001, 0.1]}\nscale: {uniform: [0.5, 3.0]}\n"
    )
    given = {**toy, "epochs": epochs, "stopping_step": epochs, "space": folder / "space.yaml"}
    given |= {"num-samples": trials, "max-concurrent": 1, "algorithm": "optuna", "model": "HLR"}
    return [f"--{key}={value}" for key, value in given.items()]


def outcome(parent: Path) -> list:
    (run_dir,) = parent.glob("tune-*")
    plan = open_plan(run_dir, {}, {}, "here")
    with whole.record_of(plan, run_dir) as record:
        rows = [(trial.number, trial.status, trial.values, trial.curve) for trial in record.trials]
    best = (run_dir / "best.yaml").read_text().splitlines()[2:]
    return [rows, [line for line in best if "_dir" not in line]]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_a_search_killed_twice_ends_like_one_never_killed_and_leaves_no_process(tmp_path, toy, monkeypatch):
    words = words_of(toy, tmp_path)
    words = [word for word in words if not word.startswith("--checkpoint_dir")]
    with monkeypatch.context() as patch:
        without_ray(patch, in_turn)
        tune(arguments=[*words, f"--checkpoint_dir={tmp_path / 'whole'}"])
    parent = tmp_path / "killed"
    # of a killed search two of Ray's helpers try to reach the others, without this for a minute
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    process = start([*words, f"--checkpoint_dir={parent}"], tmp_path, "b" * 64)
    for number in (1, 2):
        assert wait_until(lambda n=number: ended(parent) >= n, 200)
        assert process.poll() is None
        time.sleep(0.7)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        (run_dir,) = parent.glob("tune-*")
        process = start([f"--resume={run_dir}"], tmp_path, "b" * 64)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "to repeat it   recbole-hlr train --model=HLR --dataset=toy" in out
    assert outcome(parent) == outcome(tmp_path / "whole")
    assert wait_until(lambda: not alive("b" * 64), 150, 0.5), alive("b" * 64)
    assert not list((tmp_path / "home").iterdir())
    assert not list((tmp_path / "cwd").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_ctrl_c_stops_cleanly_and_says_how_to_resume(ray_up, tmp_path, toy):
    """The signal goes to the whole group, as from a terminal."""
    process = start(words_of(toy, tmp_path), tmp_path, "c" * 64, real=True)
    parent = tmp_path / "runs"
    assert wait_until(lambda: ended(parent) >= 1 or process.poll() is not None, 200)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    (run_dir,) = parent.glob("tune-*")
    assert process.returncode == 130, err
    assert err.strip().splitlines()[-1] == f"interrupted; continue with --resume={run_dir}"
    assert "Traceback" not in err
    assert wait_until(lambda: not alive("c" * 64), 10, 0.2), alive("c" * 64)
    assert (run_dir / "trials.csv").is_file()
    assert not (run_dir / ".ray").exists()
    result = tune(resume=run_dir)
    assert {trial.status for trial in result.trials} <= {DONE, STOPPED}
    assert len(result.trials) == 4


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_a_killed_helper_of_ray_ends_the_search_with_how_to_resume(tmp_path, toy):
    helper = "raylet"  # gcs_server is the other one, for which Ray may wait with all threads of its process
    token = "e" * 64
    process = start(words_of(toy, tmp_path), tmp_path, token)
    assert wait_until(lambda: ended(tmp_path / "runs") >= 1 or process.poll() is not None, 200)
    (pid,) = [pid for pid, command in alive(token).items() if command.split(" ")[0].endswith(f"/{helper}")]
    os.kill(pid, signal.SIGKILL)
    out, err = process.communicate(timeout=50)  # Ray itself would give up after 60 seconds
    (run_dir,) = (tmp_path / "runs").glob("tune-*")
    assert process.returncode == 2, err
    assert err.strip().splitlines()[-1] == (
        f"error: {run_dir}: Ray broke off (its process {helper} has died); "
        f"go on with recbole-hlr tune --resume={run_dir}"
    )
    assert "Traceback" not in err
    assert out == ""
    assert pd.read_csv(run_dir / "trials.csv")["status"].tolist()[0] == "done"
    assert not (run_dir / ".ray").exists()


CLUSTER = """
import sys, threading, time
from pathlib import Path
from types import SimpleNamespace
import ray
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
second = cluster.add_node(num_cpus=1)
parent = Path(sys.argv[1])

def kill():
    # both machines are at work: two trials have begun and none has ended
    while len([f for f in parent.glob("tune-*/trials/*/metrics.jsonl") if f.read_text().count("\\n") > 3]) < 2:
        time.sleep(0.05)
    cluster.remove_node(second, allow_graceful=False)
    print("killed", file=sys.__stderr__, flush=True)

threading.Thread(target=kill, daemon=True).start()
from recbole_hlr.cli import main
code = main(["tune", f"--ray-address={cluster.address}", *sys.argv[2:]])
ray.shutdown()
cluster.shutdown()
sys.exit(code)
"""


@pytest.mark.slow
def test_a_search_on_two_machines_survives_the_loss_of_one(tmp_path, toy):
    words = words_of(toy, tmp_path, trials=2, epochs=100)
    env = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    words = [word for word in words if not word.startswith("--max-concurrent")] + ["--scheduler=none"]
    done = subprocess.run(
        [sys.executable, "-c", CLUSTER, str(tmp_path / "runs"), *words], env=env, text=True, capture_output=True,
        timeout=500, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "killed" in done.stderr
    (run_dir,) = (tmp_path / "runs").glob("tune-*")
    table = pd.read_csv(run_dir / "trials.csv")
    assert table["status"].tolist() == ["done"] * 2
    assert table["last_epoch"].tolist() == [99] * 2
    again = sum("resumed" in log.read_text() for log in run_dir.glob("trials/*/log.txt"))
    assert again >= 1  # the trial of the lost machine went on from its last epoch on the other


@pytest.mark.slow
def test_eight_trials_on_ml_100k(ray_up, tmp_path):
    result = tune(
        "CML", "ml-100k", num_samples=8, epochs=6, grace_period=2, checkpoint_dir=str(tmp_path), max_concurrent=2,
        show_progress=False,
    )  # fmt: skip
    assert len(result.trials) == 8
    assert all(trial.status in ("done", "stopped") for trial in result.trials)
    assert "stopped" in {trial.status for trial in result.trials}
    defaults = result.trials[0]
    assert defaults.values["learning_rate"] == HLRConfig("CML", "ml-100k")["learning_rate"]
    assert result.best.score >= defaults.score > 0.01
    assert result.run.test["ndcg@10"] > 0.1


def test_ctrl_c_before_the_first_trial(toy, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole, "make_job", interrupt)
    with pytest.raises(RunInterrupted) as caught:
        tune("HLR", **toy)
    assert Path(caught.value.run_dir, "search.yaml").is_file()


@pytest.mark.slow
def test_recbole_s_habit(ray_up, tmp_path, arguments):
    """`run_hyper_hlr.py` reads `hyper.test`; options may stand with dashes or underscores."""
    (tmp_path / "hyper.test").write_text("scale choice [0.5,1.5]\nnum_memories choice [3]\n")
    words = [
        f"--params_file={tmp_path}/hyper.test",
        "--cpus_per_trial=0.5",
        "--max-concurrent=2",
        "--model=HLR",
    ]
    result = tune(arguments=[*arguments, *words])
    assert [trial.values for trial in result.trials[1:]] in (
        [{"scale": 0.5, "num_memories": 3}, {"scale": 1.5, "num_memories": 3}],
        [{"scale": 1.5, "num_memories": 3}, {"scale": 0.5, "num_memories": 3}],
    )
    script = (ROOT / "run_hyper_hlr.py").read_text()
    assert 'main(["tune", *sys.argv[1:]])' in script
