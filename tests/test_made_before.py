"""What earlier versions made still opens: runs, searches and benchmarks of 0.2 and 0.3, kept in tests/data.

An archive holds a small data set and, made from it by `--epochs=2 --embedding_size=6 --train_batch_size=16`: runs of
HLR, MF-ALS and BPR, a search of CML with three trials, and a benchmark of CML and MF-ALS with two seeds.
"""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path

import pytest

from recbole_hlr import InputError, evaluate, load, run, tune
from recbole_hlr.benchmark.run import benchmark
from recbole_hlr.cli import main
from recbole_hlr.search.plan import open_plan
from recbole_hlr.search.search import record_of
from recbole_hlr.search.trials import DONE

DATA = Path(__file__).parent / "data"
HERE = "@HERE@"  # stands in a search's files for the folder in which it was made
MODELS = ("HLR", "MFALS", "BPR")


@pytest.fixture(params=["0.2", "0.3"])
def made(request, tmp_path, monkeypatch) -> Path:
    """Unpack what a version made, and go there: its paths are relative."""
    with tarfile.open(DATA / f"version-{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / f"version-{request.param}"
    for file in folder.glob("searches/**/*"):
        if file.suffix in (".yaml", ".json"):
            file.write_text(file.read_text().replace(HERE, str(folder)))
    monkeypatch.chdir(folder)
    return folder


def run_of(folder: Path, model: str) -> Path:
    (found,) = folder.glob(f"runs/{model}-toy-*")
    return found


def result_of(run_dir: Path) -> dict:
    return json.loads((run_dir / "result.json").read_text())


def search_of(folder: Path) -> Path:
    (found,) = folder.glob("searches/tune-CML-toy-*")
    return found


@pytest.mark.parametrize("model", ["HLR", "MFALS"])
def test_a_run_recommends(made, model):
    table = load(run_of(made, model)).recommend(["u1", "u5"], k=3)
    assert table["user"].tolist() == ["u1"] * 3 + ["u5"] * 3
    assert table["item"].str.fullmatch(r"i\d+").all()
    assert not table.duplicated(["user", "item"]).any()
    assert (table.groupby("user")["score"].diff().dropna() <= 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_a_run_evaluates_to_its_figures(made, model):
    stored, found = result_of(run_of(made, model)), evaluate(run_of(made, model))
    assert found.test == pytest.approx(stored["test"], abs=1e-6)
    assert found.valid == pytest.approx(stored["valid"], abs=1e-6)
    assert (found.best_epoch, found.epochs) == (stored["best_epoch"], stored["epochs"])


@pytest.mark.parametrize("model", MODELS)
def test_a_run_goes_on(made, model):
    run_dir = run_of(made, model)
    before = (run_dir / "metrics.jsonl").read_text()
    assert run(resume=run_dir, epochs=4).epochs == 4
    after = (run_dir / "metrics.jsonl").read_text()
    assert after.startswith(before)
    assert [json.loads(line)["epoch"] for line in after.splitlines()] == [0, 1, 2, 3]


def test_a_search_is_read(made):
    plan = open_plan(search_of(made), {}, {}, "here")
    assert (plan.config.model, plan.options.num_samples, plan.config["epochs"]) == ("CML", 3, 2)
    for _ in range(2):  # taken up, then opened
        with record_of(plan, search_of(made)) as record:
            assert [trial.status for trial in record.trials] == [DONE] * 3
            assert record.trials[0].values == {"learning_rate": 0.002, "margin": 2.5}
            assert [len(trial.curve) for trial in record.trials] == [2] * 3


@pytest.mark.slow
def test_a_search_goes_on_with_one_trial_more(made, ray_up):
    folder = search_of(made)
    before = (folder / "journal.jsonl").read_text()
    result = tune(resume=folder, num_samples=4)
    assert (folder / "journal.jsonl").read_text() == before
    assert [trial.status for trial in result.trials] == [DONE] * 4
    assert len({str(trial.values) for trial in result.trials}) == 4
    assert "learning_rate" in (folder / "best.yaml").read_text()
    assert result.run.test


def test_a_benchmark_is_reported(made, capsys):
    assert main(["benchmark", "--out=bench", "--report"]) == 0
    cells = json.loads((made / "bench" / "results.json").read_text())["cells"]
    assert [(cell["model"], cell["seed"], cell["status"]) for cell in cells] == [
        (model, seed, "finished") for model in ("CML", "MF-ALS") for seed in (1, 2)
    ]
    for cell in cells:
        (file,) = made.glob(f"bench/toy/{cell['model']}/{cell['seed']}/*/result.json")
        assert cell["test"] == pytest.approx(json.loads(file.read_text())["test"])


def test_a_benchmark_goes_on_with_the_rows_that_are_new(made):
    def written() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in made.glob("bench/toy/*/*/*/*")}

    before = written()
    words = [
        "--models=CML,MF-ALS,BPR",
        "--datasets=toy",
        "--data_path=data",
        "--embedding_size=6",
        "--out=bench",
        "--train_batch_size=16",
        "--epochs=2",
        "--seeds=1",
    ]
    with pytest.raises(InputError, match=r"was run with objective=triplet .*, and objective=softmax is"):
        benchmark(words)
    (made / "triplets.yaml").write_text("models: {CML: {objective: triplet}}\n")
    again = benchmark([*words, "--options=triplets.yaml"])
    assert again.failures == {}
    assert set(again.report.accuracy["model"]) == {"CML", "MF-ALS", "BPR"}
    assert {file: at for file, at in written().items() if "BPR" not in file.parts} == before


@pytest.mark.parametrize("version", ["0.2", "0.3"])
def test_no_file_names_the_machine_it_was_made_on(version):
    absolute = re.compile(rb"(?<![\w.@:/])/(home|root|work|tmp|var|opt|srv|mnt|Users)/")
    with tarfile.open(DATA / f"version-{version}.tar.xz") as archive:
        for member in archive:
            assert (member.uid, member.uname, member.mtime) == (0, "", 0)
            content = archive.extractfile(member)
            found = content and absolute.search(content.read())
            assert not found, f"{member.name}: {found.group()}"
