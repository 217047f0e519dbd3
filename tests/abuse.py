"""Abuse at random: `python tests/abuse.py --minutes 5 --seed 1` prints cases and failures, exit code 1 if any failed.

What is tried: odd values of options (of `train`, `evaluate` and `benchmark`, by the command line and from
Python), odd data files, damaged runs, benchmarks and searches, kills and interrupts, full disks, broken
streams. Every case ends right (exit code 0 and finite figures, the same as those of an undamaged run) or
in one sentence (exit code 2). A case depends on the seed, its number and `--kinds` alone: `--case 17`
repeats the 17th.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

PATIENCE = 180.0  # seconds for a case
MEMORY = 6 * 2**30  # bytes of address space for a case
MODELS = ("CML", "HLR", "HLR++", "LRML", "TransCF", "AdaCML", "MF-ALS", "BPR", "EASE", "ItemKNN", "Pop")
SMALL = {"train_batch_size": 32, "show_progress": False, "topk": [3], "epochs": 2}
SMALL["valid_metric"] = "NDCG@3"
WITHOUT_VECTORS = ("EASE", "ItemKNN", "Pop")
# What a case may not choose freely: where files go, how long it takes, and what else it would load.
FIXED = {"model", "dataset", "data_path", "checkpoint_dir", "epochs", "show_progress", "resume", "state"}


LATE = ("epoch ", "model=")  # how the sentence begins that a run may end in after its directory was made


class Wrong(Exception):
    """A case that did not end as it must."""


def odd_value(rng: random.Random) -> Any:
    """Return a value that an option rarely expects."""
    simple: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.choice([True, False]),
        lambda: rng.choice([0, 1, -1, 2, 3, 7, 1000, 2**31, 10**20, -(10**9)]),
        lambda: rng.choice([0.0, 0.5, -0.5, 1.5, 1e-300, 1e300, math.inf, -math.inf, math.nan]),
        lambda: rng.choice(
            ["", "abc", "None", "nan", "1e999", "[4,inf)", "ü", "../x", "a b", "\t", "__import__"]
        ),
        lambda: [odd_value(rng) for _ in range(rng.randrange(3))],
        lambda: {rng.choice(["name", "split", "mode", "a", "inter"]): odd_value(rng)},
    ]
    return rng.choice(simple)()


def odd_like(rng: random.Random, value: Any) -> Any:
    """Return a value of the kind of `value`, or near it: many of these are allowed."""
    if isinstance(value, bool) or value is None:
        return rng.choice([not value, "on", "off", 0, 1, "no"])
    if isinstance(value, int | float):
        return rng.choice([0, -value, 2 * value, value + 1, value + 0.5, value / 1e6, str(value), [value]])
    if isinstance(value, str):
        return rng.choice([value.upper(), value[:-1], f" {value}", [value], {value: value}])
    if isinstance(value, dict):
        return {key: rng.choice([one, odd_like(rng, one), odd_value(rng)]) for key, one in value.items()}
    return rng.choice([value * 2, value[:1], [odd_like(rng, one) for one in value], {"a": value}])


def odd_options(rng: random.Random, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return one to three options with odd values."""
    keys = rng.sample(sorted(set(defaults) - FIXED), rng.choice([1, 1, 2, 3]))
    return {key: odd_like(rng, defaults[key]) if rng.random() < 0.5 else odd_value(rng) for key in keys}


# --- what the cases share --------------------------------------------------------------------------------


def write_data(folder: Path, name: str = "toy", seed: int = 0) -> Path:
    """Write a small data set, 23 users with 4 to 8 of 17 items each; return its file."""
    rng = random.Random(seed)
    lines = ["user_id:token\titem_id:token\trating:float\ttimestamp:float"]
    for user in range(1, 24):
        for item in rng.sample(range(1, 18), rng.randrange(4, 9)):
            lines.append(f"u{user}\ti{item}\t{rng.randrange(1, 6)}\t{rng.randrange(1000)}")
    file = folder / name / f"{name}.inter"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def words(**options: Any) -> list[str]:
    """Return options as a command line has them."""
    return [f"--{key}={json.dumps(v) if isinstance(v, list | dict) else v}" for key, v in options.items()]


def small(model: str, **options: Any) -> dict[str, Any]:
    """Return the options of a model's short training, with others."""
    vectors = {} if model in WITHOUT_VECTORS else {"embedding_size": 6}
    return {**SMALL, **vectors, "model": model, "dataset": "toy", **options}


def call(arguments: list[str]) -> tuple[int, str]:
    """Run the command line in this process; return its exit code and what it printed to standard error."""
    from recbole_hlr.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    return code, err.getvalue()


def judge(code: int, errors: str) -> bool:
    """Return whether a command did its work; raise `Wrong` where it ended in neither of the two right ways."""
    if "Traceback" in errors:
        raise Wrong(f"exit code {code}, a traceback:\n{errors[-3000:]}")
    if code == 0:
        return True
    said = [line for line in errors.splitlines() if line.startswith("error: ")]
    if code != 2 or len(said) != 1 or not errors.endswith(f"{said[0]}\n"):
        raise Wrong(f"exit code {code}, must be 0, or 2 after one sentence:\n{errors[-3000:]}")
    return False


def attempt(work: Callable[[], Any]) -> Any:
    """Return what a call from Python returns, None where it refuses in one sentence."""
    from recbole_hlr import InputError

    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return work()
    except InputError as error:
        if "\n" in str(error).strip():
            raise Wrong(f"more than a sentence: {error}") from None
        return None


def finite(found: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return metrics; raise `Wrong` where one is not finite."""
    if not all(math.isfinite(value) for part in found.values() for value in part.values()):
        raise Wrong(f"figures that are no numbers: {found}")
    return found


def figures(run_dir: Path) -> dict[str, Any]:
    """Return the metrics of a finished run; raise `Wrong` where one is not finite."""
    result = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))
    return finite({part: result[part] for part in ("valid", "test")})


def only_run(folder: Path) -> Path:
    """Return the one run directory in a folder."""
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    if len(found) != 1:
        raise Wrong(f"{len(found)} run directories, must be one")
    return found[0]


def good_run(shared: Path, model: str) -> Path:
    """Return a finished run of a model, trained at the first call and shared by all cases."""
    parent = shared / "runs" / model
    if not parent.exists():
        write_data(shared / "data")
        given = small(model, data_path=shared / "data", checkpoint_dir=parent)
        code, errors = call(["train", *words(**given)])
        if code:
            raise Wrong(errors)
    return only_run(parent)


# --- kinds of cases ----------------------------------------------------------------------------------------
# Each takes its random numbers, an empty folder and the folder that all cases share; it returns what it did.


def options_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Train with odd values of one to three options, by the command line or from Python."""
    from recbole_hlr import run
    from recbole_hlr.config.config import HLRConfig

    model = rng.choice(MODELS)
    write_data(folder / "data")
    base = small(model, data_path=str(folder / "data"), checkpoint_dir=str(folder / "runs"), epochs=1)
    odd = odd_options(rng, HLRConfig(options=base).requested)
    if rng.random() < 0.5:
        code, errors = call(["train", *words(**{**base, **odd})])
        done, what = judge(code, errors), f"{model} {words(**odd)}"
        begun = list(folder.glob("runs/[!.]*"))
        if begun and not done and not errors.rpartition("error: ")[2].startswith(LATE):
            raise Wrong(f"{what}: refused after the run directory was made:\n{errors[-1000:]}")
    else:
        done, what = attempt(lambda: run(**{**base, **odd})) is not None, f"{model} {odd} from Python"
    if done:
        figures(only_run(folder / "runs"))
    return f"{what}: {'ran' if done else 'refused'}"


def evaluate_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Evaluate a run with odd values of options."""
    from recbole_hlr import evaluate
    from recbole_hlr.experiment.evaluate import EVALUATE_KEYS
    from recbole_hlr.options.yaml_values import load_yaml

    good = good_run(shared, rng.choice(["CML", "MF-ALS", "BPR"]))
    stored = load_yaml(good / "config.yaml")
    among = stored if rng.random() < 0.2 else {key: stored.get(key) for key in EVALUATE_KEYS}
    odd = odd_options(rng, among)
    if rng.random() < 0.5:
        what, done = words(**odd), judge(*call(["evaluate", str(good), *words(**odd)]))
    else:
        result = attempt(lambda: evaluate(good, **odd))
        what, done = f"{odd} from Python", result is not None
        if result is not None:
            finite({"valid": result.valid, "test": result.test})
    return f"{what}: {'evaluated' if done else 'refused'}"


def benchmark_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Run a benchmark with odd values of its own options; seldom is there anything to do."""
    from recbole_hlr.options.table import BENCHMARK_KEYS as OWN

    write_data(shared / "data")
    given = {
        **SMALL,
        "models": "Pop",
        "datasets": "toy",
        "seeds": 1,
        "epochs": 1,
        "data_path": shared / "data",
    }
    key = rng.choice([*OWN, "topk", "seed"])
    odd = {key: odd_like(rng, given.get(key)) if rng.random() < 0.4 else odd_value(rng)}
    if odd == {"seeds": 1000}:
        return "1000 runs: left out"
    done = judge(*call(["benchmark", *words(**{**given, "out": folder / "bench", **odd})]))
    return f"{words(**odd)}: {'ran' if done else 'refused'}"


def insert(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """Put a row without values somewhere."""
    lines.insert(rng.randrange(len(lines)), rng.choice([b"", b"\t\t\t", b"   "]))
    return lines


def replace_value(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """Put something odd in the place of a value, or of a column's name."""
    at = rng.randrange(len(lines))
    cells = lines[at].split(b"\t")
    cells[rng.randrange(len(cells))] = rng.choice([b"", b"NA", b"nan", b"1e999", b"\xff", b'"', b"0"])
    lines[at] = b"\t".join(cells)
    return lines


def replace_header(rng: random.Random, lines: list[bytes]) -> list[bytes]:
    """Change a part of the header."""
    old = rng.choice([b"token", b"float", b"user_id", b":", b"\t"])
    lines[0] = lines[0].replace(old, rng.choice([b"float", b"", b"token_seq", b" "]))
    return lines


CHANGES: dict[str, Callable[[random.Random, list[bytes]], list[bytes]]] = {
    "bytes": lambda rng, lines: invert(rng, b"\n".join(lines)).split(b"\n"),
    "cut": lambda rng, lines: [*lines[: rng.randrange(len(lines)) + 1], b"u1\ti"],
    "few": lambda rng, lines: lines[: rng.randrange(1, 5)],
    "ends": lambda rng, lines: rng.choice([b"\r\n", b"\r", b"\n\n"]).join(lines).split(b"\n"),
    "repeated": lambda rng, lines: lines + lines[1:] * rng.randrange(1, 3),
    "blank": insert,
    "value": replace_value,
    "header": replace_header,
}


def invert(rng: random.Random, content: bytes) -> bytes:
    """Return bytes of which some, in a row, are inverted."""
    at, count = rng.randrange(len(content)), rng.choice([1, 2, 64])
    return content[:at] + bytes(255 - byte for byte in content[at : at + count]) + content[at + count :]


def account_adds_up(file: Path, run_dir: Path) -> None:
    """Raise `Wrong` where a run does not account for every row of its file."""
    account = json.loads((run_dir / "result.json").read_text(encoding="utf-8"))["interactions"]
    rows = sum(bool(line.strip(b" ")) for line in re.split(rb"[\r\n]+", file.read_bytes())) - 1
    if account["read"] != rows or account["kept"] != rows - sum(account["left_out"].values()):
        raise Wrong(f"{rows} rows, but the account is {account}")


def data_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Train on a file with odd bytes, lines or columns."""
    file = write_data(folder / "data", seed=rng.randrange(100))
    lines, changes = file.read_bytes().split(b"\n"), rng.choices(list(CHANGES), k=rng.randrange(1, 4))
    for change in changes:
        lines = CHANGES[change](rng, lines)
    file.write_bytes(b"\n".join(lines))
    model = rng.choice(["CML", "HLR", "BPR", "Pop"])
    given = small(model, epochs=1, data_path=folder / "data", checkpoint_dir=folder / "runs")
    done = judge(*call(["train", *words(**given)]))
    if done:
        run_dir = only_run(folder / "runs")
        figures(run_dir)
        account_adds_up(file, run_dir)
    return f"{model} on a file with {', '.join(changes)}: {'ran' if done else 'refused'}"


def damage(rng: random.Random, file: Path) -> str:
    """Damage a file in some way; return how."""
    content = file.read_bytes()
    how = rng.choice(["invert", "truncate", "empty", "remove", "folder", "zeros", "swap"])
    at = rng.randrange(max(len(content), 1))
    if how in ("remove", "folder"):
        file.unlink()
    if how == "folder":
        file.mkdir()
    if how == "invert" and content:
        file.write_bytes(invert(rng, content))
    if how in ("truncate", "empty"):
        file.write_bytes(content[: at if how == "truncate" else 0])
    if how == "zeros":
        file.write_bytes(content[:at] + bytes(len(content[at : at + 50])) + content[at + 50 :])
    if how == "swap":
        file.write_bytes(content[at:] + content[:at])
    return how


def damaged_run_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Damage a file of a finished run; evaluate, load or resume it. What is taken must come out as before."""
    from recbole_hlr import evaluate, load

    model = rng.choice(["CML", "HLR", "MF-ALS", "BPR"])
    good = good_run(shared, model)
    run_dir = folder / "run"
    shutil.copytree(good, run_dir)
    name = rng.choice(["model.pth", "model.pth", "config.yaml", "metrics.jsonl", "result.json", "log.txt"])
    how = damage(rng, run_dir / name)
    verb = rng.choice(["evaluate", "evaluate by command", "resume", "load"])
    before: Any = figures(good)
    if verb == "evaluate by command":
        done, after = judge(*call(["evaluate", str(run_dir), "--show_progress=False"])), before
    elif verb == "evaluate":
        result = attempt(lambda: evaluate(run_dir))
        done, after = result is not None, result and {"valid": result.valid, "test": result.test}
    elif verb == "resume":
        done = judge(*call(["train", f"--resume={run_dir}", "--show_progress=False"]))
        after = figures(run_dir) if done else None
    else:
        before = load(good).recommend(["u1", "u2"], k=3).to_csv()
        found = attempt(lambda: load(run_dir).recommend(["u1", "u2"], k=3))
        done, after = found is not None, None if found is None else found.to_csv()
    if done and after != before:
        raise Wrong(f"{model} {name} {how}, {verb}: came to {after}, was {before}")
    return f"{model} {name} {how}, {verb}: {'as before' if done else 'refused'}"


def good_search(shared: Path) -> Path:
    """Return a finished search of two trials, made at the first call."""
    parent = shared / "searches"
    if not parent.exists():
        parent.mkdir()
        write_data(shared / "data")
        given = small("CML", data_path=shared / "data", checkpoint_dir=parent, epochs=1)
        given.update(space='{"learning_rate": {"choice": [0.1, 0.01]}}', num_samples=2)
        process = start(["tune", *words(**given)], shared)
        errors = process.communicate(timeout=PATIENCE)[1].decode(errors="replace")
        if process.returncode:
            shutil.rmtree(parent)
            raise Wrong(errors)
    return only_run(parent)


def options_of(file: Path) -> dict[str, Any]:
    """Return the options in a YAML file; its comments name its folder."""
    from recbole_hlr.options.yaml_values import load_yaml

    return load_yaml(file)


def damaged_search_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Damage a file of a search; go on with it. A search that ends must name the same winner."""
    good = good_search(shared)
    search = folder / "search"
    shutil.copytree(good, search)
    files = [
        search / "study.jsonl",
        search / "search.yaml",
        *search.rglob("model.pth"),
        search / "trials.csv",
    ]
    file = rng.choice(files)
    how = damage(rng, file)
    process = start(["tune", f"--resume={search}"], folder)
    errors = process.communicate(timeout=PATIENCE)[1].decode(errors="replace")
    done = judge(process.returncode, errors)
    best = [options_of(path / "best.yaml") for path in (search, good)] if done else [{}, {}]
    if best[0] != best[1]:
        raise Wrong(f"{file.name} {how}: another winner")
    return f"{file.relative_to(search)} {how}: {'the same winner' if done else 'refused'}"


def damaged_benchmark_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Damage a file of a benchmark; report on it."""
    good = shared / "bench"
    if not good.exists():
        write_data(shared / "data")
        given = {**SMALL, "models": "CML,MF-ALS", "datasets": "toy", "seeds": 2, "out": good, "epochs": 1}
        code, errors = call(["benchmark", *words(**given, data_path=shared / "data")])
        if code:
            shutil.rmtree(good, ignore_errors=True)
            raise Wrong(errors)
    out = folder / "bench"
    shutil.copytree(good, out)
    file = rng.choice(
        sorted(path for path in out.rglob("*") if path.is_file() and not path.name.startswith("."))
    )
    how = damage(rng, file)
    done = judge(*call(["benchmark", f"--out={out}", "--report"]))
    return f"{file.relative_to(out)} {how}: {'reported' if done else 'refused'}"


def start(
    arguments: list[str], folder: Path, limit: int | None = None, **streams: Any
) -> subprocess.Popen[bytes]:
    """Start the command line in a process of its own, whose files may have at most `limit` bytes."""

    def before() -> None:
        import resource

        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (most, most))  # Ray maps more than it uses
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    (folder / "tmp").mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "TMPDIR": str(folder / "tmp"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }
    streams = {
        "stdin": subprocess.DEVNULL,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
        **streams,
    }
    return subprocess.Popen(
        [sys.executable, "-m", "recbole_hlr", *arguments],
        cwd=folder,
        env=environment,
        preexec_fn=before,
        **streams,
    )


def train_words(folder: Path, shared: Path, model: str) -> list[str]:
    """Return a training long enough to be hit."""
    write_data(shared / "data")
    given = small(model, epochs=12, stopping_step=20, data_path=shared / "data")
    return ["train", *words(**given, checkpoint_dir=folder / "runs")]


def long_run(shared: Path, model: str) -> dict[str, Any]:
    """Return the figures of that training when nothing happens to it."""
    folder = shared / "long" / model
    if not folder.exists():
        folder.mkdir(parents=True)
        if judge(*call(train_words(folder, shared, model))) is False:
            raise Wrong("the training itself was refused")
    return figures(only_run(folder / "runs"))


def go_on(folder: Path, shared: Path, model: str, what: str) -> str:
    """Resume what an end left; it must come to the figures of a run that nothing happened to."""
    runs = [path for path in (folder / "runs").glob("[!.]*")] if (folder / "runs").exists() else []
    if not runs:
        return f"{model} {what}: nothing was begun"
    if not judge(*call(["train", f"--resume={runs[0]}", "--show_progress=False"])):
        raise Wrong(f"{model} {what}: cannot be resumed")
    if figures(runs[0]) != long_run(shared, model):
        raise Wrong(f"{model} {what}: other figures than an unbroken run's")
    left = [path.name for path in (*runs[0].glob(".*.tmp"), *folder.glob("tmp/recbole_hlr*"))]
    if left:
        raise Wrong(f"{model} {what}: {left} was left behind")
    return f"{model} {what}: resumed to the same"


def kill_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Kill, interrupt or terminate a training at a random moment and resume it."""
    model = rng.choice(["CML", "HLR", "MF-ALS", "BPR"])
    long_run(shared, model)
    name = rng.choice(["SIGKILL", "SIGINT", "SIGTERM"])
    process = start(train_words(folder, shared, model), folder)
    deadline, wait = time.monotonic() + 60, rng.random() * 1.5
    while (
        time.monotonic() < deadline
        and process.poll() is None
        and not list(folder.glob("runs/[!.]*/model.pth"))
    ):
        time.sleep(0.02)
    time.sleep(wait if rng.random() < 0.5 else wait / 20)
    process.send_signal(getattr(signal, name))
    errors = process.communicate(timeout=PATIENCE)[1].decode(errors="replace")
    allowed = {"SIGKILL": (0, -signal.SIGKILL), "SIGINT": (0, 130), "SIGTERM": (0, -signal.SIGTERM)}[name]
    if process.returncode not in allowed or "Traceback" in errors:
        raise Wrong(f"{model} {name}: exit code {process.returncode}\n{errors[-3000:]}")
    if process.returncode == 130 and "--resume=" not in errors:
        raise Wrong(f"{model} {name}: no word of how to go on\n{errors[-3000:]}")
    return go_on(folder, shared, model, name)


def disk_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Let no file grow beyond a few bytes or kilobytes, as on a full disk; then resume with room."""
    model = rng.choice(["CML", "HLR", "MF-ALS", "BPR"])
    limit = rng.choice([0, 100, 1000, 5000, 20_000, 40_000, 60_000])
    process = start(train_words(folder, shared, model), folder, limit)
    errors = process.communicate(timeout=PATIENCE)[1].decode(errors="replace")
    done = judge(process.returncode, errors)
    long_run(shared, model)
    return go_on(folder, shared, model, f"files of at most {limit} bytes ({'ran' if done else 'refused'})")


def stream_case(rng: random.Random, folder: Path, shared: Path) -> str:
    """Train with an output that takes nothing; the run must be whole."""
    model = rng.choice(["CML", "Pop"])
    how = rng.choice(["stdout full", "stderr full", "stdout closed pipe", "stderr closed pipe"])
    stream = how.split()[0]
    if how.endswith("full"):
        target = open("/dev/full", "wb")  # noqa: SIM115
    else:
        reading, writing = os.pipe()
        os.close(reading)
        target = os.fdopen(writing, "wb")
    with target:
        process = start(train_words(folder, shared, model), folder, **{stream: target})
        errors = (process.communicate(timeout=PATIENCE)[1] or b"").decode(errors="replace")
    if "Traceback" in errors or process.returncode != 0:
        raise Wrong(f"{model} {how}: exit code {process.returncode}\n{errors[-3000:]}")
    figures(only_run(folder / "runs"))
    return f"{model} {how}: the run is whole"


KINDS: dict[str, tuple[int, Callable[[random.Random, Path, Path], str]]] = {  # how often, of all
    "options": (40, options_case),
    "evaluate": (8, evaluate_case),
    "benchmark": (2, benchmark_case),
    "data": (20, data_case),
    "damaged run": (20, damaged_run_case),
    "damaged benchmark": (8, damaged_benchmark_case),
    "damaged search": (1, damaged_search_case),
    "kill": (6, kill_case),
    "full disk": (4, disk_case),
    "streams": (2, stream_case),
}


# --- running them --------------------------------------------------------------------------------------------


def run_case(seed: int, number: int, shared: Path, kinds: list[str]) -> tuple[str, str, bool]:
    """Run one case; return its kind, what it did or why it failed, and whether it is right."""
    rng = random.Random(f"{seed} {number}")
    kind = rng.choices(kinds, [KINDS[name][0] for name in kinds])[0]
    with tempfile.TemporaryDirectory(prefix="abuse-", ignore_cleanup_errors=True) as name:
        before = os.getcwd()
        os.chdir(name)  # an odd value may be where to write
        try:
            return kind, KINDS[kind][1](rng, Path(name), shared), True
        except Wrong as error:
            return kind, str(error), False
        except Exception:
            return kind, traceback.format_exc(), False
        finally:
            os.chdir(before)


def work(pipe: Connection, seed: int, shared: Path, kinds: list[str]) -> None:
    """Run the cases whose numbers come through a pipe (the body of a process of its own)."""
    import resource
    import warnings

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    warnings.simplefilter("ignore")
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(run_case(seed, pipe.recv(), shared, kinds))


def cases(
    numbers: Iterator[int], seed: int, shared: Path, kinds: list[str]
) -> Iterator[tuple[int, str, str, bool]]:
    """Yield the outcome of every case; one that hangs or takes its process with it has failed."""
    context = multiprocessing.get_context("spawn")
    process: Any = None
    for number in numbers:
        if process is None:
            pipe, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, seed, shared, kinds), daemon=False)
            process.start()
            theirs.close()
        pipe.send(number)
        try:
            if not pipe.poll(PATIENCE * 2):
                raise TimeoutError
            yield number, *pipe.recv()
        except (EOFError, TimeoutError, ConnectionError) as error:
            process.kill()
            process.join()
            how = "hangs" if isinstance(error, TimeoutError) else f"died with exit code {process.exitcode}"
            yield number, "any", f"the process of the case {how}", False
            process = None
    if process is not None:
        pipe.close()
        process.join()


def main(arguments: list[str] | None = None) -> int:
    """Run cases for some minutes, or some cases; return 1 where one failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cases", type=int, help="stop after so many")
    parser.add_argument("--case", type=int, help="run this one alone, and say what it did")
    parser.add_argument(
        "--kinds", nargs="*", default=list(KINDS), choices=list(KINDS), help="of these kinds alone"
    )
    parser.add_argument("--verbose", action="store_true", help="say what every case did")
    given = parser.parse_args(arguments)
    end = time.monotonic() + given.minutes * 60

    def numbers() -> Iterator[int]:
        number = 0
        while time.monotonic() < end and (given.cases is None or number < given.cases):
            number += 1
            yield number

    done, failed = Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="abuse-shared-", ignore_cleanup_errors=True) as name:
        wanted = numbers() if given.case is None else iter([given.case])
        for number, kind, text, right in cases(wanted, given.seed, Path(name), given.kinds):
            done[kind] += 1
            failed += not right
            if not right or given.verbose or given.case is not None:
                print(f"case {number} ({kind}){'' if right else ' FAILED'}: {text}", flush=True)
    for kind, count in done.items():
        print(f"{kind}: {count} cases")
    print(f"{sum(done.values())} cases, {failed} failures (seed {given.seed})")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
