"""The benchmark verb: cells, what is skipped, resumed, refused; failures; kills; the tables' figures."""

import errno
import json
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from recbole.evaluator.register import smaller_metrics

from recbole_hlr import InputError
from recbole_hlr.benchmark import run as module
from recbole_hlr.benchmark import worker
from recbole_hlr.benchmark.cells import Cell, stored_cells
from recbole_hlr.benchmark.plan import as_word, begin, command_of, plan
from recbole_hlr.benchmark.pool import died, run_in_processes, run_on_ray
from recbole_hlr.benchmark.request import Request
from recbole_hlr.benchmark.run import benchmark
from recbole_hlr.benchmark.settings import Settings
from recbole_hlr.benchmark.summary import SMALLER
from recbole_hlr.benchmark.worker import run_cell
from recbole_hlr.cli import main
from recbole_hlr.experiment.rundir import RunDir
from recbole_hlr.options.command_line import file_names, parse_arguments
from recbole_hlr.options.yaml_values import load_yaml, parse_scalar
from tests.conftest import write_atomic
from tests.processes import Process, wait_until

FILES = {"results.md", "results.tex", "results.csv", "results.json", "results.html", "significance.csv"}


def here(tasks, jobs, started, ended, told=None):
    """Run the tasks in this process."""
    for task in tasks:
        started(task)
        ended(task, run_cell(task))


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(module, "run_in_processes", here)


@pytest.fixture(scope="module")
def words(tmp_path_factory) -> list[str]:
    """A benchmark's command line on the small data set, without models, seeds and folder."""
    folder = tmp_path_factory.mktemp("data")
    write_atomic(folder, "toy")
    options = folder / "options.yaml"
    options.write_text(
        "all: {train_batch_size: 16}\n"
        "models:\n"
        "  CML: {embedding_size: 6, epochs: 3}\n"
        "  CML-3: {model: cml, embedding_size: 3, epochs: 2}\n"
        f"  Broken: {{model: NAIS, pretrain_path: {options}, epochs: 2}}\n"  # which is no checkpoint
        "  Misspelt: {model: BPR, embeding_size: 3}\n"
    )
    return [f"--data_path={folder}", "--datasets=toy", f"--options={options}"]


@pytest.fixture(scope="module")
def done(words, tmp_path_factory) -> Path:
    """A finished benchmark: two rows of CML, EASE, and two models that fail."""
    out = tmp_path_factory.mktemp("done") / "bench"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "run_in_processes", here)
        models = "--models=CML,CML-3,ease,Broken,Misspelt"
        assert main(["benchmark", *words, models, "--seeds", "2", f"--out={out}"]) == 1
    return out


def state(out: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in out.rglob("*/*/*/*/*")}


# --- cells -----------------------------------------------------------------------------------------------


def test_every_cell_is_a_run_directory_and_every_output_is_written(done):
    assert {file.name for file in done.iterdir()} >= FILES
    for model, folder in (("CML", "CML-toy-*"), ("CML-3", "CML-toy-*"), ("EASE", "EASE-toy-*")):
        for seed in ("1", "2"):
            (run_dir,) = (done / "toy" / model / seed).glob(folder)
            assert {file.name for file in run_dir.iterdir()} >= {"result.json", "users.parquet", "model.pth"}
            assert json.loads((run_dir / "result.json").read_text())["seed"] == int(seed)


def test_models_that_fail_stand_in_the_tables_with_their_reason(done):
    cells = json.loads((done / "results.json").read_text())["cells"]
    assert [cell["status"] for cell in cells if cell["model"] in ("CML", "CML-3", "EASE")] == ["finished"] * 6
    reasons = {cell["model"]: cell["reason"] for cell in cells if cell["status"] == "failed"}
    assert re.match(r"\w+Error: ", reasons["Broken"])
    assert "did you mean embedding_size?" in reasons["Misspelt"]
    text = (done / "results.md").read_text()
    assert "Cells without a result" in text
    assert text.count("did you mean") == 2
    assert "Traceback" in Cell("toy", "Broken", 1, done).record()["trace"]


def test_what_is_finished_is_skipped_and_what_failed_is_tried_again(done, words, quick, monkeypatch):
    tried = []

    def note(tasks, jobs, started, ended, told=None):
        tried.extend(task.cell.model for task in tasks)
        here(tasks, jobs, started, ended)

    monkeypatch.setattr(module, "run_in_processes", note)
    before, table = state(done), (done / "results.csv").read_text()
    again = benchmark([*words, "--models=CML,CML-3,EASE,Broken", "--seeds=2", f"--out={done}"])
    assert tried == ["Broken"] * 2
    assert set(again.failures) == {"toy, Broken, seed 1", "toy, Broken, seed 2"}
    assert (done / "results.csv").read_text() == table
    assert {file: at for file, at in state(done).items() if "Broken" not in file} == {
        file: at for file, at in before.items() if "Broken" not in file
    }


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (["--epochs=9"], "epochs=3.*epochs=9 is asked for; give another --out, or delete"),
        (["--topk=[5, 10]"], r"topk=\[10\], and topk=\[5, 10\]"),
    ],
)
def test_a_cell_with_other_options_is_refused_before_anything_runs(done, words, more, named, monkeypatch):
    monkeypatch.setattr(module, "run_in_processes", None)
    with pytest.raises(InputError, match=named):
        benchmark([*words, "--models=CML,TransCF", "--seeds=2", f"--out={done}", *more])
    assert not (done / "toy" / "TransCF").exists()


def test_where_a_run_happens_may_change(done, words):
    request = Request.of(
        [*words, "--models=CML", "--seeds=2", f"--out={done}", "--use_gpu=false", "--state=ERROR"]
    )
    assert [task.finished for task in plan(request)] == [True, True]


def test_cells_of_two_protocols_are_refused_before_anything_runs(done, words, monkeypatch):
    monkeypatch.setattr(module, "run_in_processes", None)
    with pytest.raises(InputError, match="paper and standard cannot stand in one table"):
        benchmark([*words, "--models=LRML", "--protocol=paper", f"--out={done}"])


def test_models_with_other_data_than_the_others_are_refused_before_anything_runs(
    words, tmp_path, monkeypatch
):
    monkeypatch.setattr(module, "run_in_processes", None)
    (tmp_path / "o.yaml").write_text("models: {EASE: {eval_args: {order: TO}}}")
    words = [word for word in words if "--options" not in word] + [f"--options={tmp_path / 'o.yaml'}"]
    with pytest.raises(InputError, match=r"eval_args=.*'TO'.* \(EASE\): must be the same for all models"):
        benchmark([*words, "--models=CML,EASE", f"--out={tmp_path / 'bench'}"])


def test_a_model_that_is_added_is_ranked_like_those_that_are_there(done, words, monkeypatch):
    monkeypatch.setattr(module, "run_in_processes", None)
    with pytest.raises(InputError, match=r"eval_args=.*uni5.* \(Pop\): must be the same for all models"):
        benchmark([*words, "--models=Pop", "--eval_args={mode: uni5}", f"--out={done}"])


@pytest.mark.parametrize("split", ["{RS: [8, 2, 0]}", "{LS: valid_only}"])
def test_a_split_without_a_test_part_is_refused_before_anything_runs(split, words, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "run_in_processes", None)
    with pytest.raises(InputError, match=r"eval_args=.* \(command line or options file\): .* a test part"):
        benchmark([*words, "--models=EASE", f"--eval_args={{split: {split}}}", f"--out={tmp_path}"])


def test_a_cell_whose_run_leaves_nothing_for_the_tables_fails(words, quick, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(RunDir, "write_users", lambda *_: None)
    assert main(["benchmark", *words, "--models=EASE", "--seeds=1", f"--out={tmp_path}"]) == 2
    assert "left no test metrics of users" in capsys.readouterr().err


def test_a_cell_is_evaluated_with_metrics_of_items(done, capsys):
    (run_dir,) = (done / "toy/EASE/1").glob("EASE-*")
    assert main(["evaluate", str(run_dir), "--metrics=[CatalogueCoverage]"]) == 0
    assert "cataloguecoverage@10" in capsys.readouterr().out
    assert main(["evaluate", str(run_dir), "--user_metrics=true"]) == 2
    assert "cannot change in an evaluation" in capsys.readouterr().err


def test_the_command_of_a_cell_repeats_it(done, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cells = json.loads((done / "results.json").read_text())["cells"]
    cell = next(cell for cell in cells if cell["model"] == "CML-3" and cell["seed"] == 2)
    program, *command = shlex.split(cell["command"])
    assert program == "recbole-hlr"
    assert main(command) == 0
    (result,) = tmp_path.glob("saved/*/result.json")
    assert json.loads(result.read_text())["test"] == cell["test"]


@pytest.mark.parametrize(
    "value",
    [
        1e-05,
        None,
        True,
        [1, "a b"],
        {"RS": [8, 1, 1]},
        "true",
        "1e-3",
        "1e3",
        "[10,inf)",
        "x y",
        3,
        "é",
        "None",
    ],
)
def test_values_on_a_command_line_are_read_back(value):
    assert parse_scalar(as_word("some_key", value)) == value
    assert as_word("data_path", "10") == "10"


@pytest.mark.parametrize(
    "text", ["&a [*a]", "[" * 3000, "!!bool x", "!!timestamp x", "!!float", "{a: 1, a: 2}"]
)
def test_a_text_that_yaml_cannot_read_stays_text(text):
    assert parse_scalar(text) == text


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["None", "null", "~", "a b", " ", "", "1e3", "-1", "--x=y", "[a", "{", "'", '"', "#", "*a", "x: y", "a\nb", "y...", "=", "<<"]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.lists(TEXTS.filter(bool), min_size=1, max_size=3)


@examples(max_examples=60, deadline=None)
@given(
    options=st.dictionaries(st.sampled_from(["margin", "load_col", "lr_scheduler", "x"]), VALUES),
    folder=TEXTS.filter(bool),
    switch=st.booleans(),
    files=NAMES,
)
def test_the_command_of_a_cell_has_its_options_whatever_they_are(options, folder, switch, files):
    given = {**options, "data_path": folder, "compile": switch}
    program, verb, *words = shlex.split(command_of("CML", "a b", 7, files, given))
    assert (program, verb) == ("recbole-hlr", "train")
    read = parse_arguments(words)
    assert file_names(read.pop("config_files")) == files
    assert os.path.normpath(read.pop("data_path")) == os.path.normpath(folder)
    assert read == {
        "model": "CML",
        "dataset": "a b",
        "seed": 7,
        "compile": "on" if switch else "off",
        **options,
    }


def test_a_command_runs_as_it_is_printed(tmp_path, quick, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "my 'data' $HOME"
    write_atomic(folder, "toy")
    (folder / "a b.yaml").write_text("epochs: 1\ntrain_batch_size: 16\n")
    (folder / "o.yaml").write_text(
        "models: {CML: {embedding_size: 6, compile: off, lr_scheduler: {name: step, step_size: 1}}}"
    )
    words = ["--models=CML", "--datasets=toy", "--seeds=1", f"--data_path={folder}"]
    files = [f"--config_files={[str(folder / 'a b.yaml')]}", f"--options={folder / 'o.yaml'}"]
    assert main(["benchmark", *words, *files]) == 0
    (cell,) = json.loads((tmp_path / "bench/results.json").read_text())["cells"]
    assert main(shlex.split(cell["command"])[1:]) == 0
    (result,) = tmp_path.glob("saved/*/result.json")
    assert json.loads(result.read_text())["test"] == cell["test"]


def test_all_models_of_a_seed_share_the_split_and_seeds_do_not(done):
    splits = {}
    for cell in stored_cells(done):
        if cell.run_dir():
            split = pd.read_parquet(cell.run_dir().users).attrs["split"]
            splits.setdefault(cell.seed, set()).add(split)
    assert [len(found) for found in splits.values()] == [1, 1]
    assert splits[1] != splits[2]


# --- figures ---------------------------------------------------------------------------------------------


def test_the_tables_figures_are_those_of_the_stored_users(done):
    report = json.loads((done / "results.json").read_text())
    assert report["main"] == {"toy": "ndcg@10"}
    checked = 0
    for row in report["accuracy"]:
        tables = [
            pd.read_parquet(file)
            for seed in (1, 2)
            for file in done.glob(f"toy/{row['model']}/{seed}/*/users.parquet")
        ]
        assert len(tables) == row["seeds"] == 2
        if row["metric"] not in tables[0]:
            assert row["metric"] == "averagepopularity@10"
            assert row["low"] is row["high"] is None
            continue
        means = [table[row["metric"]].mean() for table in tables]
        assert row["mean"] == pytest.approx(sum(means) / 2, abs=1e-12)
        assert row["std"] == pytest.approx(abs(means[0] - means[1]) / 2**0.5, abs=1e-12)
        assert row["low"] <= row["mean"] <= row["high"]
        text = f"{row['mean']:.4f}"
        for file in ("results.md", "results.tex"):
            assert text in (done / file).read_text()
        checked += 1
    assert checked == 3 * 6


def test_the_comparison_is_that_of_the_stored_users(done):
    report = json.loads((done / "results.json").read_text())
    assert report["baseline"] == "CML"
    row = next(r for r in report["significance"] if r["model"] == "EASE" and r["metric"] == "recall@10")
    means = []
    for model in ("EASE", "CML"):
        files = sorted(done.glob(f"toy/{model}/*/*/users.parquet"))
        tables = [pd.read_parquet(file, columns=["user", "recall@10"]) for file in files]
        means.append(pd.concat(tables).groupby("user")["recall@10"].mean())
    assert row["users"] == len(means[0])
    assert row["difference"] == pytest.approx((means[0] - means[1]).mean())
    assert row["t_p"] <= row["t_holm"] <= 1


def test_the_tables_can_be_made_anew_with_another_baseline(done, capsys):
    stored = (done / "results.csv").read_text()
    for name in FILES:
        (done / name).unlink()
    assert main(["benchmark", f"--out={done}", "--report", "--baseline=ease"]) == 0
    assert "Against EASE" in capsys.readouterr().out
    assert (done / "results.csv").read_text() == stored
    assert (
        main(["benchmark", f"--out={done}", "--report", "--baseline=CML-3"]) == 0
    )  # without its options file
    assert "Against CML-3" in capsys.readouterr().out
    assert main(["benchmark", f"--out={done}", "--report"]) == 0
    assert "Against CML" in capsys.readouterr().out


def test_the_tables_are_made_without_what_trains(done):
    code = f"""
import sys
from recbole_hlr.cli import main
code = main(["benchmark", "--out={done}", "--report"])
heavy = {{"torch", "recbole", "ray", "implicit", "optuna"}} & set(sys.modules)
assert code == 0 and not heavy, (code, heavy)
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_less_is_better_of_the_same_metrics_as_for_the_host():
    assert sorted(SMALLER) == sorted(smaller_metrics)


def test_under_the_papers_protocol_the_tables_say_so(words, quick, tmp_path):
    benchmark([*words, "--models=CML,EASE", "--seeds=1", "--protocol=paper", f"--out={tmp_path}"])
    report = json.loads((tmp_path / "results.json").read_text())
    assert report["protocol"] == "paper"
    assert (tmp_path / "results.md").read_text().startswith("Protocol: paper.")
    assert report["main"]["toy"].startswith("ndcg@")
    assert {row["model"]: row["metric"] for row in report["curves"]} == {"CML": "loss", "EASE": "ndcg@10"}
    without = {row["metric"].split("@")[0] for row in report["accuracy"] if row["low"] is None}
    assert without == {"paperndcg", "medianpopularity", "averagepopularity"}


def test_history_counts_the_training_interactions(done):
    run_dir = Cell("toy", "CML", 1, done).run_dir()
    users = pd.read_parquet(run_dir.users)
    data = pd.read_csv(Path(load_yaml(run_dir.config)["data_path"]) / "toy" / "toy.inter", sep="\t")
    total = data.groupby("user_id:token").size()
    held_out = total.loc[users["user"]].to_numpy() - users["history"].to_numpy()
    assert set(held_out) <= {1, 2}  # of 4 to 8: a tenth each, at least one


def test_folds_are_crossed_with_seeds_and_cut_every_user_s_interactions(words, quick, tmp_path, monkeypatch):
    """Two seeds of three folds are six runs; each seed's test parts have every interaction once."""
    out = tmp_path / "bench"
    command = ["benchmark", *words, "--models=CML-3,EASE", "--folds=3", "--seeds=1,4", f"--out={out}"]
    assert main(command) == 0
    names = {folder.name for folder in out.glob("toy/EASE/*")}
    assert names == {f"{seed}-fold{fold}" for seed in (1, 4) for fold in (1, 2, 3)}
    report = json.loads((out / "results.json").read_text())
    assert report["splits"] == {
        "toy": "3 folds of each user's interactions, at random; the rest 88.9 / 11.1 %"
    }
    rows = [row for row in report["accuracy"] if row["metric"] == "ndcg@10"]
    for row in rows:
        results = [json.loads(file.read_text()) for file in out.glob(f"toy/{row['model']}/*/*/result.json")]
        values = [result["test"]["ndcg@10"] for result in results]
        assert len(set(values)) == row["seeds"] == 6
        assert row["mean"] == pytest.approx(np.mean(values))
        assert row["std"] == pytest.approx(np.std(values, ddof=1))
        assert "fold 2 of 3 of each user's interactions, at random; the rest 88.9 / 11.1 %" in {
            result["split"] for result in results
        }
    digests = {
        (file.parents[1].name, pd.read_parquet(file).attrs["split"])
        for file in out.glob("toy/*/*/*/users.parquet")
    }
    assert len(digests) == len({digest for _, digest in digests}) == 6  # one for both models
    text = (out / "results.md").read_text()
    assert "standard deviation over folds" in text
    assert f"Split: {report['splits']['toy']}" in text
    for file in ("results.tex", "results.html"):
        assert "3 folds of each user" in (out / file).read_text()
    cell = json.loads((out / "toy" / "EASE" / "4-fold2" / "cell.json").read_text())
    assert {"--seed=4", "--folds=3", "--fold=2"} < set(cell["command"].split())
    monkeypatch.setattr(module, "run_in_processes", lambda *_: pytest.fail("all is there"))
    assert main(command) == 0
    with pytest.raises(
        InputError, match=r"folds=3.*and folds=None is asked for|folds=None.*must be the same"
    ):
        benchmark([*words, "--models=EASE", "--seeds=1", f"--out={out}"])


def test_folds_take_the_place_of_seeds():
    request = Request.of(["--folds=5"])
    assert (request.seeds, request.folds) == ([1], [1, 2, 3, 4, 5])
    assert (Request.of([]).seeds, Request.of([]).folds) == ([1, 2, 3, 4, 5], [0])


# --- requests --------------------------------------------------------------------------------------------


def test_seeds_are_a_number_or_a_list():
    assert Request.of(["--seeds", "3"]).seeds == [1, 2, 3]
    assert Request.of(["--seeds=7,5,7"]).seeds == [7, 5]
    assert Request.of([], {"seeds": [4]}).seeds == [4]
    assert Request.of(["--seeds=0,4294967295,0,00"]).seeds == [0, 4294967295]
    for value in (10**20, -3, 0, 2.5, True, None, [], [-1], [2**32], [True], list(range(1001))):
        with pytest.raises(InputError, match="seeds="):
            Request.of([], {"seeds": value})
    for key, value in (("out", 3), ("options", ["a.yaml"]), ("ray_address", {}), ("baseline", [])):
        with pytest.raises(InputError, match=f"{key}=.*must be a text"):
            Request.of([], {key: value})


def test_models_are_named_as_the_paper_does_and_once():
    assert Request.of(["--models=hlrpp,HLR++,bpr"]).models == ["HLR++", "BPR"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--models=CMLL"], "CMLL.*did you mean CML"),
        (["--datasets=toy"], "models .*is missing"),
        (["--models=CML"], "datasets .*is missing"),
        (["--models=CML", "--datasets=../x"], "must be names of folders"),
        (["--seeds=0"], "seeds=0"),
        (["--seeds=a"], "seeds=a"),
        (["--seeds=true"], "seeds=true"),
        (["--seeds=1:30"], "seeds=1:30"),
        (["--seeds=4294967296"], "seeds=4294967296 .*a number of seeds from 1 to 1000, or .* with commas"),
        (["--seeds=1001"], "seeds=1001"),
        (["--seeds=-1"], "seeds=-1"),
        (["--seeds=1,-1"], "seeds=1,-1"),
        ([f"--seeds={10**20}"], "seeds=1000"),
        (["--seeds=1" + "0" * 5000], r"seeds=10+\.\.\. "),
        (["--seeds=4294967296,1"], "seeds=4294967296,1"),
        (["--seeds=2.5"], "seeds=2.5"),
        ([f"--out={'x' * 300}"], r"cannot be read \(File name too long\)"),
        (["--jobs=0"], "jobs=0"),
        (["--jobs=two"], "jobs=two"),
        (["--seed=3"], "seed .*--seeds"),
        (["--fold=3"], "fold .*--folds"),
        (["--folds=1"], "folds=1 .*an integer >= 2"),
        (["--folds=x"], "folds=x .*an integer >= 2"),
        (["--model=CML"], "model .*--models"),
        (["--checkpoint_dir=x"], "checkpoint_dir .*--out"),
        (["--checkpoint-dir=x"], "checkpoint_dir .*--out"),
        (["--report=maybe"], "report=maybe"),
        (["--models=CML", "--datasets=toy", "--baseline=EASE"], "baseline=EASE: must be one of CML"),
        (["--options=nowhere.yaml"], "nowhere.yaml: there is no such"),
        (["--report"], "holds no finished cell"),
        (["--models=CML", "--datasets=toy", "--lerning_rate=1"], "lerning_rate.*did you mean learning_rate"),
    ],
)
def test_wrong_requests_end_in_one_sentence(words, named, tmp_path):
    with pytest.raises(InputError, match=named):
        benchmark([f"--out={tmp_path / 'bench'}", *words] if "--out" not in str(words) else words)
    assert not list((tmp_path / "bench").glob("*/*"))


def test_an_out_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a folder"):
        benchmark(["--models=CML", "--datasets=toy", f"--out={tmp_path / 'file'}"])


def test_two_benchmarks_in_one_folder_are_refused(words, tmp_path, monkeypatch):
    def second(tasks, jobs, started, ended, told=None):
        benchmark([*words, "--models=CML", f"--out={tmp_path}"])

    monkeypatch.setattr(module, "run_in_processes", second)
    with pytest.raises(InputError, match=rf"process {os.getpid()}\b.* is at work on this benchmark"):
        benchmark([*words, "--models=CML", f"--out={tmp_path}"])


def test_what_is_damaged_is_run_again_from_its_checkpoint(words, quick, tmp_path, monkeypatch, caplog):
    rows = [*words, "--models=EASE,CML", "--seeds=1", f"--out={tmp_path}"]
    benchmark(rows)
    tables = [(tmp_path / name).read_text() for name in ("results.csv", "significance.csv")]
    command = Cell("toy", "CML", 1, tmp_path).record()["command"]
    (run_dir,) = (tmp_path / "toy/CML/1").glob("CML-*")
    result = (run_dir / "result.json").read_text()
    for file, content in (
        (run_dir / "result.json", '{"test": {}}'),
        (
            run_dir / "result.json",
            re.sub(r'"averagepopularity@\d+": [\d.]+', '"averagepopularity": NaN', result),
        ),
        (run_dir / "result.json", re.sub(r'("test":[^}]*"ndcg@\d+": )[\d.]+', r"\g<1>0.9", result)),
        (run_dir / "users.parquet", "PAR1"),
        (run_dir / "metrics.jsonl", "nonsense\n"),
        (run_dir.parent / "cell.json", "[]"),
    ):
        file.write_text(content)
        (damaged,) = benchmark([f"--out={tmp_path}", "--report"]).report.cells.query("model == 'CML'").reason
        assert str(file) in damaged
        assert benchmark(rows).failures == {}
        assert (file.name == "cell.json") or str(file) in caplog.text
        assert [(tmp_path / name).read_text() for name in ("results.csv", "significance.csv")] == tables
        assert Cell("toy", "CML", 1, tmp_path).record()["command"] == command
    assert "resumed after epoch 2" in (run_dir / "log.txt").read_text()


def test_a_cell_that_cannot_be_resumed_says_what_to_delete_and_the_others_go_on(words, quick, tmp_path):
    benchmark([*words, "--models=CML,EASE", "--seeds=1", f"--out={tmp_path}"])
    (run_dir,) = (tmp_path / "toy/CML/1").glob("CML-*")
    (run_dir / "config.yaml").write_text("model: &a [*a]")
    again = benchmark([*words, "--models=CML,EASE,Pop", "--seeds=1", f"--out={tmp_path}"])
    (reason,) = again.failures.values()
    assert reason.startswith(f"{run_dir / 'config.yaml'}: is not valid YAML")
    assert reason.endswith(f"; delete {run_dir.parent} to run it anew")
    assert set(again.report.accuracy["model"]) == {"EASE", "Pop"}


def test_a_full_disk_ends_in_a_sentence_and_what_is_finished_stays(
    words, quick, tmp_path, monkeypatch, capsys
):
    rows = ["benchmark", *words, "--models=EASE,Broken,Pop", "--seeds=1", f"--out={tmp_path}"]

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def until_one_is_done(tasks, jobs, started, ended, told=None):
        for task in tasks:
            if task.cell.model == "Broken":  # why it failed cannot be written
                monkeypatch.setattr(os, "fsync", full)
            ended(task, run_cell(task))

    monkeypatch.setattr(module, "run_in_processes", until_one_is_done)
    assert main(rows) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "No space left on device" in line
    monkeypatch.undo()
    assert benchmark([f"--out={tmp_path}", "--report"]).report.accuracy["model"].unique() == ["EASE"]
    monkeypatch.setattr(os, "fsync", full)
    assert main(["benchmark", f"--out={tmp_path}", "--report"]) == 2
    assert "No space left on device" in capsys.readouterr().err


def test_output_that_cannot_be_written_costs_no_result(words, tmp_path, monkeypatch):
    (task,) = plan(Request.of([*words, "--models=EASE", "--seeds=1", f"--out={tmp_path}"]))
    begin(task)
    (task.cell.folder / "output.txt").symlink_to("/dev/full")
    monkeypatch.setattr(worker, "guarded", lambda task: print("x") or worker.Outcome("came to this"))
    assert run_cell(task).reason == "came to this"
    (task.cell.folder / "output.txt").unlink()
    (task.cell.folder / "output.txt").mkdir()
    assert "output.txt: Is a directory; must be" in run_cell(task).reason


def test_a_program_without_a_guard_runs_its_cells_and_not_itself(words, tmp_path):
    """The processes of cells import none of the program that started them."""
    program = tmp_path / "program.py"
    words = [*words, "--models=EASE", "--seeds=1", "--out=bench"]
    program.write_text(
        f"print('here')\nfrom recbole_hlr.benchmark import benchmark\nprint(benchmark({words}).failures)\n"
    )
    done = subprocess.run(
        [sys.executable, program], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert (done.returncode, done.stdout) == (0, "here\n{}\n"), done.stderr


def test_only_a_process_that_was_killed_may_have_been_short_of_memory():
    assert died(-9).endswith("(exit code -9); it may have been short of memory")
    assert died(1) == "its process died (exit code 1)"


def test_when_every_cell_fails_the_reason_is_said(words, quick, tmp_path):
    with pytest.raises(InputError, match=r"no cell came to a result; toy, Broken, seed 1: \w+Error"):
        benchmark([*words, "--models=Broken", "--seeds=1", f"--out={tmp_path}"])


# --- the options file ------------------------------------------------------------------------------------


def settings(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "o.yaml").write_text(text)
    return Settings.read(tmp_path / "o.yaml")


def test_later_sections_win_and_files_are_found_beside_the_options_file(tmp_path):
    (tmp_path / "tuned.yaml").write_text("learning_rate: 0.5\nseed: 3\ncheckpoint_dir: x\n")
    found = settings(
        tmp_path,
        "all: {epochs: 1, margin: 0.1}\ndatasets: {a: {epochs: 2}}\n"
        "models: {hlr++: {epochs: 3}}\ncells: {a/HLRPP: [tuned.yaml, {epochs: 4}]}\n",
    )
    assert found.of("HLR++", "a") == {"epochs": 4, "margin": 0.1, "learning_rate": 0.5}
    assert found.of("HLR++", "b") == {"epochs": 3, "margin": 0.1}
    assert found.of("CML", "a") == {"epochs": 2, "margin": 0.1}
    assert found.unused(["CML"], ["a"]) == ["models: HLR++", "cells: a/HLR++"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("model: {CML: {}}", "must be one of the sections"),
        ("models: [CML]", "must be a mapping"),
        ("models: {CMLL: {}}", "CMLL"),
        ("models: {a/b: {model: CML}}", "letters, digits"),
        ("models: {CML: {seed: 3}}", "seed .*the benchmark's to choose"),
        ("all: {model: CML}", "model .*the benchmark's to choose"),
        ("cells: {CML: {}}", "must be DATASET/MODEL"),
        ("all: 3", "must be options or the name of a YAML file"),
        ("all: missing.yaml", "missing.yaml: there is no such"),
        ("all: 0", r"all \(.*o.yaml\): must be options or the name of a YAML file"),
        ("all: [[]]", "all .*must be options or the name"),
        ("all: {1: 2}", "all .*must be options or the name"),
        ("datasets: {a: {null: 2}}", "datasets: a .*must be options or the name"),
        ("datasets: false", "datasets .*must be a mapping"),
        ("cells: ''", "cells .*must be a mapping"),
        ("cells: [a/CML]", "cells .*must be a mapping"),
        ("models: {CML: {model: [CML]}}", r"model=\['CML'\]: must be the name of a model"),
        ("models: {CML: {model: null}}", "model=None: must be the name of a model"),
        ("1: {}", "key 1 must be a text"),
        ("- all", "must hold `key: value` lines, not a list"),
        ("all: &a {margin: *a}", "is not valid YAML: the value of &a contains itself"),
        ("all: &a [*a]", "contains itself"),
        ("all: &a {b: [{c: *a}]}", "contains itself"),
        ("all: {epochs: !!bool x}", "is not valid YAML"),
        ("all: " + "[" * 3000, "is not valid YAML"),
    ],
)
def test_wrong_options_files_end_in_one_sentence(tmp_path, text, named):
    with pytest.raises(InputError, match=named):
        settings(tmp_path, text)


# --- processes -------------------------------------------------------------------------------------------


def test_a_row_can_start_from_the_same_seeds_cell_of_another_row(words, quick, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "o.yaml").write_text(
        "all: {embedding_size: 6, train_batch_size: 16, epochs: 2}\n"
        "models: {CML-2: {model: CML, pretrained_embeddings: 'bench/toy/CML/{seed}'}}\n"
    )
    rows = [*words[:2], "--options=o.yaml", "--models=CML,CML-2", "--seeds=2,3", "--out=bench"]
    assert benchmark(rows).failures == {}
    for seed in (2, 3):
        assert f"user vectors taken from bench/toy/CML/{seed}\n" in caplog.text
    assert "was trained on" not in caplog.text
    assert all(task.finished for task in plan(Request.of(rows)))


@pytest.mark.slow
def test_a_process_that_dies_fails_its_cell_alone(words, tmp_path):
    tasks = plan(Request.of([*words, "--models=EASE", "--seeds=3", f"--out={tmp_path}"]))
    for task in tasks:
        begin(task)
    outcomes = {}

    def started(task):
        if task.cell.seed == 2:
            for process in multiprocessing.active_children():
                process.kill()

    heard: dict[int, list[str]] = {}
    run_in_processes(
        tasks,
        1,
        started,
        lambda task, outcome: outcomes.update({task.cell.seed: outcome.reason}),
        lambda task, standing: heard.setdefault(task.cell.seed, []).append(standing.parts[0]),
    )
    assert heard[1] == heard[3] == ["epoch 0 of 0 to 0"]
    assert outcomes[1] is outcomes[3] is None
    assert "process died (exit code -9)" in outcomes[2]
    assert not multiprocessing.active_children()


def test_a_machine_without_the_benchmarks_folder_says_so(words, tmp_path):
    (task,) = plan(Request.of([*words, "--models=EASE", "--seeds=1", f"--out={tmp_path}"]))
    assert "must be on storage that all machines share" in run_cell(task).reason
    assert not list(tmp_path.iterdir())


LONG = ["--models=CML,EASE", "--seeds=2", "--epochs=40", "--stopping_step=40"]


def start(words: list[str], out: Path, *more: str) -> Process:
    return Process(["benchmark", *words, *more, f"--out={out}"], new_session=True)


def group_of(process: Process) -> list[int]:
    """The processes of its session that live."""
    listed = subprocess.run(["ps", "-e", "-o", "pid=,sid=,stat="], capture_output=True, text=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(pid) for pid, sid, stat in rows if int(sid) == process.pid and "Z" not in stat]


@pytest.mark.slow
def test_a_benchmark_that_is_killed_goes_on_to_the_same_table(words, tmp_path, monkeypatch):
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    words = [word for word in words if "--options" not in word] + LONG
    with monkeypatch.context() as patch:
        patch.setattr(module, "run_in_processes", here)
        assert benchmark([*words, f"--out={tmp_path / 'whole' / 'bench'}"]).failures == {}
    out = tmp_path / "killed" / "bench"
    process = start(words, out)
    assert wait_until(
        lambda: any(file.stat().st_size for file in out.glob("toy/CML/*/*/metrics.jsonl")), 100, 0.002
    )
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: not group_of(process), 20)  # no process of it goes on
    process.communicate()
    assert not (out / "results.csv").exists()
    again = start(words, out, "--jobs=2")
    _, stderr = again.communicate(timeout=200)
    assert again.returncode == 0, stderr
    lines = stderr.splitlines()  # where there is no terminal, one for each cell that ran
    assert lines, "no cell was left to run"
    assert all(
        re.fullmatch(r"done: toy, (CML|EASE), seed \d, \d:\d\d:\d\d \(\d of \d\)|\d of \d cells .*", line)
        for line in lines
    ), lines
    assert "resumed after epoch" in "".join(file.read_text() for file in out.glob("toy/CML/*/*/log.txt"))
    for name in ("results.csv", "results.md", "significance.csv"):
        assert (out / name).read_text() == (tmp_path / "whole" / "bench" / name).read_text()


@pytest.mark.slow
def test_ctrl_c_stops_at_once_and_says_how_to_go_on(words, tmp_path):
    words = [word for word in words if "--options" not in word] + LONG
    process = start(words, tmp_path / "bench", "--jobs=2")
    assert wait_until(lambda: list(tmp_path.glob("bench/toy/CML/*/*/metrics.jsonl")), 100)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted; the same command goes on"
    assert wait_until(lambda: not group_of(process), 10)


@pytest.mark.slow
def test_cells_run_on_a_ray_cluster(words, tmp_path):
    cluster = pytest.importorskip("recbole_hlr.host.ray", reason="needs the starter of Ray")
    with cluster.ray_cluster():
        tasks = plan(Request.of([*words, "--models=EASE,Broken", "--seeds=1", f"--out={tmp_path}"]))
        for task in tasks:
            begin(task)
        outcomes = {}
        run_on_ray(
            tasks,
            "auto",
            None,
            lambda task: None,
            lambda task, outcome: outcomes.update({task.cell.model: outcome}),
        )
    assert outcomes["EASE"].reason is None
    assert re.match(r"\w+Error: ", outcomes["Broken"].reason)
    assert list(tmp_path.glob("toy/EASE/1/*/users.parquet"))


def test_values_per_user_are_refused_where_no_metric_has_any(toy):
    from recbole_hlr import run

    with pytest.raises(InputError, match=r"user_metrics=True .*none has a value per user"):
        run("CML", **toy, user_metrics=True, metrics=["ItemCoverage"], valid_metric="ItemCoverage@10")


def test_without_the_option_a_run_keeps_no_users(toy):
    from recbole_hlr import run

    kept, plain = (run("CML", **toy, user_metrics=keep) for keep in (True, False))
    assert not (Path(plain.run_dir) / "users.parquet").exists()
    users = pd.read_parquet(Path(kept.run_dir) / "users.parquet")
    assert kept.test == plain.test
    for metric, value in kept.test.items():
        assert np.isclose(users[metric].mean(), value, atol=1e-12)
