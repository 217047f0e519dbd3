"""The wheel, the shipped files, and the shop window: everything README.md shows is run."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.processes import Process

ROOT = Path(__file__).parents[1]
SHIPPED = sorted(
    f"recbole_hlr/{path.relative_to(ROOT)}"
    for part in ("properties", "datasets")
    for path in (ROOT / part).rglob("*.yaml")
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel from a copy of the tree, with the build tools that are installed."""
    folder = tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "saved", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, folder / "source", ignore=ignored)
    words = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--quiet", "-w", folder, folder / "source"]
    subprocess.run(words, check=True, timeout=300)
    (file,) = folder.glob("*.whl")
    return file


@pytest.mark.slow
def test_the_wheel_holds_every_yaml_and_the_type_marker(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert SHIPPED
    for name in [
        *SHIPPED,
        "recbole_hlr/py.typed",
        "recbole_hlr/model/hlr.py",
        "recbole_hlr/benchmark/page.html",
        "recbole_hlr/recommend/relations.html",
    ]:
        assert name in names, name
    assert not [name for name in names if name.startswith(("tests", "properties", "datasets"))]


@pytest.mark.slow
def test_the_wheel_alone_runs_the_main_job(wheel, tmp_path):
    """In an environment that has the dependencies but not this tree."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "env"], check=True, timeout=100)
    python = tmp_path / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    probe = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    site = Path(probe.stdout.strip())
    (site / "dependencies.pth").write_text(
        sysconfig.get_path("purelib") + "\n"
    )  # its own .pth files are not read
    subprocess.run([python, "-m", "pip", "install", "--no-deps", "--quiet", wheel], check=True, timeout=100)
    where = "import recbole_hlr; print(recbole_hlr.__file__)"
    out = subprocess.run([python, "-c", where], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert str(site) in out.stdout
    tool = python.with_name("recbole-hlr")
    words = [
        tool,
        "train",
        "--model=HLR",
        "--dataset=ml-100k",
        "--epochs=1",
        "--train_neg_sample_args={sample_num: 1}",
    ]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "887 users, 822 items" in done.stderr
    assert (tmp_path / "saved").is_dir()


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of a language in README.md."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


def commands() -> list[str]:
    """Return the commands that README.md shows and that train something."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    lines = [line.split(" #")[0].strip() for line in lines]
    return [line for line in lines if re.match(r"(python run_|recbole-hlr )", line)]


def test_readme_shows_commands():
    assert sum("--model=HLR" in line for line in commands()) >= 2


FIRST = [
    next(line for line in commands() if line.startswith(program)) for program in ("python", "recbole-hlr")
]


@pytest.fixture(scope="module")
def readme_run(tmp_path_factory) -> Path:
    """Make the run that RUN_DIR stands for."""
    folder = tmp_path_factory.mktemp("readme")
    process = Process(["train", "--model=HLR", "--dataset=ml-100k", "--epochs=1"], cwd=folder)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    (run_dir,) = (folder / "saved").iterdir()
    return run_dir


@pytest.mark.slow
@pytest.mark.parametrize("line", commands())
def test_every_command_of_the_readme_runs(line, tmp_path, request):
    """Word by word, with one epoch where it trains; the first of each program in a process of its own."""
    shutil.copy(ROOT / "run_recbole_hlr.py", tmp_path)
    (tmp_path / "my.yaml").write_text("scale: 2.0\n")
    later = "".join(f"196\t{item}\n" for item in range(1, 50))
    (tmp_path / "new.inter").write_text("user_id:token\titem_id:token\trating:float\nsomebody\t50\t5\n")
    (tmp_path / "later.inter").write_text(f"user_id:token\titem_id:token\n{later}")
    alone = line in FIRST
    if "RUN_DIR" in line:
        shutil.copytree(request.getfixturevalue("readme_run"), tmp_path / "run")
        line = line.replace("RUN_DIR", str(tmp_path / "run"))
    if "--model" in line and " options " not in line:
        line += " --epochs=1" if "--epochs" not in line else ""
        line = re.sub(r"--epochs=\d+", "--epochs=1", line)
    line = line.replace("--seeds 5", "--seeds 1").replace("--folds=5", "--folds=2")
    if " tune " in line:
        line += " --max-concurrent=1"  # a process for trials takes seconds to import torch
    if "ml-1m" in line:
        pytest.skip("ml-1m is not shipped")
    code, out, err = (in_a_shell if alone else forked)(line, tmp_path)
    assert code == 0, err
    assert out.strip()


def in_a_shell(line: str, folder: Path) -> tuple[int, str, str]:
    """Run a command as it is typed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    done = subprocess.run(line, shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=400)
    return done.returncode, done.stdout, done.stderr


def forked(line: str, folder: Path) -> tuple[int | None, str, str]:
    """Run the words of a command in a fork of a process that has imported everything."""
    program, *words = shlex.split(line)
    if program == "python":
        script, *words = words
        assert 'main(["train", *sys.argv[1:]])' in (ROOT / script).read_text()
        words = ["train", *words]
    process = Process(words, cwd=folder)
    out, err = process.communicate(timeout=400)
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_the_python_of_the_readme_runs(code, tmp_path):
    code = re.sub(r"epochs=\d+", "epochs=1", code)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr


def test_nothing_speaks_of_the_machine_it_was_made_on():
    words = re.compile("/" + r"(root|work|opt)/|pypi-m" + "ore|/tm" + "p/v")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    files = [ROOT / name for name in listed.stdout.splitlines()] if listed.returncode == 0 else []
    for file in files:
        if file.suffix in {".py", ".md", ".yaml", ".cfg", ".toml", ".txt", ""} and file.is_file():
            found = words.search(file.read_text(encoding="utf-8"))
            assert not found, f"{file}: {found.group()}"


OPTIONS = sorted(
    file for file in (ROOT / "properties").rglob("*.yaml") if not {"search", "paper"} & set(file.parts)
)


@pytest.mark.parametrize("file", OPTIONS, ids=lambda file: file.name)
def test_every_shipped_option_is_read_by_some_code(file):
    """By the package or, for RecBole's, by RecBole; paper/ names options of these files (test_protocol)."""
    import recbole

    from recbole_hlr.options.yaml_values import load_yaml

    folders = (ROOT / "recbole_hlr", Path(recbole.__file__).parent)
    source = "\n".join(
        path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py")
    )
    for key in load_yaml(file):
        assert re.search(rf"""config\[["']{key}["']\]|self\["{key}"\]|values\["{key}"\]""", source), key
