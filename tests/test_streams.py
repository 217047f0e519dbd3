"""Streams that cannot be written or cannot say it: no run is lost to its own printing."""

import errno
import io
import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recbole_hlr import InputError, load
from recbole_hlr.cli import listing, main
from recbole_hlr.cli.commands import group
from recbole_hlr.cli.verbs import Verb
from recbole_hlr.console import Display, Row, Unfailing
from recbole_hlr.host.ray import start
from recbole_hlr.model import MODELS
from recbole_hlr.model.registry import host_models
from recbole_hlr.options.shipped import SPELLED
from recbole_hlr.version import __version__

VERBS = [name for name, verb in group.commands.items() if isinstance(verb, Verb)]


class Broken(io.RawIOBase):
    """A device that refuses every byte."""

    def __init__(self, number: int, terminal: bool = False) -> None:
        self.number, self.terminal = number, terminal

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return self.terminal

    def write(self, data: object) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.fixture(autouse=True)
def unreported(monkeypatch):
    """Keep what is logged out of pytest's report, which is sent as UTF-8 from process to process."""
    for handler in logging.getLogger().handlers:
        monkeypatch.setattr(handler, "emit", lambda record: None)


def broken(number: int, terminal: bool = False, buffered: bool = False) -> io.TextIOWrapper:
    device = io.BufferedWriter(Broken(number, terminal))
    return io.TextIOWrapper(device, encoding="utf-8", write_through=not buffered, line_buffering=not buffered)


@pytest.fixture
def words(arguments) -> list[str]:
    """Return the command line of a run of one epoch, with progress bars where they can be seen."""
    quick = [word for word in arguments if not word.startswith(("--epochs", "--show_progress"))]
    return ["train", "--model=CML", *quick, "--epochs=1"]


def finished(tmp_path: Path) -> Path:
    """Return the folder of the one run, which is complete."""
    (run_dir,) = (tmp_path / "runs").iterdir()
    assert json.loads((run_dir / "result.json").read_text())["test"]
    assert "epoch   0  loss" in (run_dir / "log.txt").read_text()
    return run_dir


ERRORS = [errno.EPIPE, errno.ENOSPC, errno.EIO, errno.EBADF]


@pytest.mark.parametrize("buffered", [True, False])
@pytest.mark.parametrize("number", ERRORS, ids=lambda number: errno.errorcode[number])
def test_a_run_outlives_its_streams(tmp_path, words, monkeypatch, number, buffered):
    monkeypatch.setattr(sys, "stdout", broken(number, buffered=buffered))
    monkeypatch.setattr(sys, "stderr", broken(number, terminal=True, buffered=buffered))
    assert main(words) == 0
    finished(tmp_path)


def test_streams_that_are_not_there(tmp_path, words, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(words) == 0
    finished(tmp_path)


def print_a_lot(arguments: list[str]) -> int:
    """Stand for a verb: print, log and open a display."""
    print("±" * 10_000)
    sys.stdout.flush()
    logging.getLogger("recbole_hlr").warning("mean ± deviation %s", os.fsdecode(b"\xff"))
    with Display(lambda: [Row(["±"])]):
        print("±", file=sys.stderr)
    return 1


@pytest.mark.parametrize("number", ERRORS, ids=lambda number: errno.errorcode[number])
@pytest.mark.parametrize("verb", VERBS)
def test_the_code_of_every_verb_is_that_of_its_work(monkeypatch, verb, number):
    monkeypatch.setattr(group.commands[verb], "action", print_a_lot)
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, broken(number, terminal=True))
    before = sys.stdout, sys.stderr
    assert main([verb]) == 1
    assert main(["nonsense"]) == 2
    assert (sys.stdout, sys.stderr) == before


@pytest.mark.parametrize("number", ERRORS, ids=lambda number: errno.errorcode[number])
def test_output_that_is_lost_is_told_where_somebody_may_miss_it(monkeypatch, number):
    err = io.StringIO()
    monkeypatch.setattr(sys, "stdout", broken(number, buffered=True))
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["--help"]) == 0
    told = "" if number == errno.EPIPE else f"warning: standard output is lost ({os.strerror(number)})\n"
    assert err.getvalue() == told


def test_what_a_terminal_has_no_letters_for_is_escaped(tmp_path, words, monkeypatch):
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding="ascii") for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    folder = tmp_path / "Läufe"
    words = [word for word in words if "checkpoint_dir" not in word]
    assert main([*words, "--cohorts=2", f"--checkpoint_dir={folder}"]) == 0
    assert main(["evaluate", "Läufe", "--topk=3"]) == 2
    out, err = (stream.buffer.getvalue().decode() for stream in streams.values())
    assert r" \xb1 0." in out
    assert r"/L\xe4ufe/CML-toy" in out
    assert r"error: L\xe4ufe: is no run directory" in err


def test_names_that_are_not_utf_8(tmp_path, words, capsys):
    odd = os.fsdecode(b"r\xff")
    (tmp_path / "data").rename(tmp_path / odd)
    words = [word for word in words if not word.startswith(("--checkpoint_dir", "--data_path"))]
    data = f"--data_path={tmp_path / odd}"
    runs = f"--checkpoint_dir={tmp_path / odd / 'runs'}"
    assert main([*words, data, runs, "--user_metrics=true"]) == 0
    run_dir = finished(tmp_path / odd)
    assert json.loads((run_dir / "result.json").read_text())["run_dir"] == str(run_dir)
    assert main(["evaluate", str(run_dir), "--topk=3", "--metrics=NDCG"]) == 0
    assert main(["train", f"--resume={run_dir}", "--epochs=2"]) == 0
    assert len(load(run_dir).recommend("u1", k=2)) == 2
    captured = capsys.readouterr()
    assert r"/r\udcff/runs/CML-toy" in captured.out
    assert "Traceback" not in captured.err
    assert "Logging error" not in captured.err


def test_a_search_where_paths_are_no_text(monkeypatch):
    """Ray sends its command line as UTF-8."""
    import ray

    monkeypatch.setattr(ray, "init", lambda **options: os.fsdecode(b"\xff").encode())
    with pytest.raises(InputError, match="all paths must be UTF-8 text"):
        start(None, None)


def test_a_working_directory_that_has_been_deleted(tmp_path, words, capsys, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    for given in (*([verb, *words[1:]] for verb in VERBS), ["convert", "yelp", "x", "--out=y"]):
        assert main(given) == 2
        assert capsys.readouterr().err.startswith("error: working directory: has been deleted")
    assert main(["--version"]) == main(["--help"]) == 0


def test_a_run_whose_streams_are_closed(tmp_path, words):
    command = shlex.join([sys.executable, "-m", "recbole_hlr", *words])
    done = subprocess.run(
        f"exec {command} <&- >&- 2>&-", shell=True, capture_output=True, text=True, timeout=100
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert torch.load(finished(tmp_path) / "model.pth", weights_only=True)["epoch"] == 0


@pytest.mark.parametrize(
    ("streams", "told"),
    [
        ("| true", ""),
        (">/dev/full", f"warning: standard output is lost ({os.strerror(errno.ENOSPC)})\n"),
        (">&-", ""),
        ("2>&- >/dev/full", ""),
        ("2>/dev/full >/dev/full", ""),
    ],
)
def test_a_process_whose_reader_is_gone(tmp_path, streams, told):
    """Nothing at the interpreter's own end either, where it writes what was left in a buffer."""
    code = "import sys, time; time.sleep(0.2); from recbole_hlr.cli import main; sys.exit(main(['--help']))"
    command = f"{{ {shlex.quote(sys.executable)} -c {shlex.quote(code)}; echo $? >rc; }} {streams}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert ((tmp_path / "rc").read_text(), done.stderr) == ("0\n", told)


def test_a_file_never_gets_the_number_of_a_standard_stream():
    code = (
        "import os; from recbole_hlr.console import unfailing_streams\n"
        "with unfailing_streams(): os._exit(os.open(os.devnull, os.O_RDONLY))"
    )
    command = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} <&- >&- 2>&-"
    assert subprocess.run(command, shell=True, timeout=100).returncode > 2


def test_help_and_version_load_no_library():
    code = (
        "import sys; from recbole_hlr.cli import main\n"
        "codes = main(['--version']), main(['-V']), main(['tune', '--model=HLR', '--help']), main(['trian'])\n"
        "sys.exit(repr((codes, {'torch', 'recbole', 'pandas', 'ray', 'scipy'} & set(sys.modules))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stderr.endswith("((0, 0, 0, 2), set())\n")
    assert done.stdout.splitlines()[:2] == [f"recbole-hlr {__version__}"] * 2


@pytest.mark.parametrize(
    ("word", "meant"), [("trian", "train"), ("Tune", "tune"), ("benchmarks", "benchmark")]
)
def test_a_misspelt_verb(capsys, word, meant):
    assert main([word]) == 2
    assert capsys.readouterr().err.endswith(f" (did you mean {meant}?)\n")


def test_every_verb_is_in_the_help_and_has_its_own(capsys):
    main(["--help"])
    text = capsys.readouterr().out
    for verb in group.commands:
        assert f"\n  {verb} " in text
        assert main([verb, "--help"]) == 0
        own = capsys.readouterr().out
        assert own.startswith(f"Usage: recbole-hlr {verb}")
        assert f"Example: recbole-hlr {verb}" in own


def test_help_with_a_model_lists_its_options_with_kind_and_default(capsys):
    assert main(["train", "--model=hlr++", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "--margin=2.5 (a number > 0) margin of the hinge, Eq. 8" in text
    assert "--item_attention=" in text
    assert "--seed=2020 (an integer from 0 to 4294967295) of all that is drawn [RecBole]" in text
    assert main(["train", "--model=HLRR", "--help"]) == 2
    assert "did you mean HLR" in capsys.readouterr().err


def test_options_are_searched_by_name_and_meaning(capsys):
    assert main(["options", "--model", "HLR", "memory", "radius"]) == 0
    text = capsys.readouterr().out
    assert "max_memory_norm" in text
    assert "num_memories" not in text
    assert main(["options", "lerning_rate"]) == 2
    assert capsys.readouterr().err == (
        "error: lerning_rate (command line): no option has it in its name or meaning "
        "(did you mean learning_rate?)\n"
    )


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("recbole-hlr tr", {"train"}),
        ("recbole-hlr train --model=HL", {"HLR", "HLR++"}),
        ("recbole-hlr train --model=HLR --num_m", {"--num_memories"}),
        ("recbole-hlr train --model HLR --resu", {"--resume"}),
        ("recbole-hlr convert table x --us", {"--user", "--users", "--user-id"}),
    ],
)
def test_a_shell_completes(words, offered):
    asked = {
        "_RECBOLE_HLR_COMPLETE": "zsh_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    command = [sys.executable, "-m", "recbole_hlr"]
    done = subprocess.run(command, env={**os.environ, **asked}, capture_output=True, text=True, timeout=100)
    assert done.stderr == ""
    assert set(done.stdout.splitlines()[1::3]) == offered


def test_the_names_that_the_command_line_completes_are_those_of_all_models():
    known = {SPELLED.get(name, name) for name in {*MODELS, *host_models()}}
    assert set(listing.models()) - known <= {"RaCT"}  # refused when it is run
    assert known <= set(listing.models())
    assert {stem: MODELS[name].__name__ for stem, name in SPELLED.items()} == {stem: stem for stem in SPELLED}


def test_an_unfailing_stream_is_otherwise_the_stream():
    plain = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = Unfailing(plain)
    assert (stream.encoding, stream.isatty(), stream.write("ab")) == ("utf-8", False, 2)
    stream.flush()
    assert plain.buffer.getvalue() == b"ab"


def test_quiet_says_the_result_alone_and_verbose_what_was_given(capsys, arguments):
    assert main(["train", "--model=CML", *arguments, "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "ndcg@10" in said.out
    assert main(["train", "--model=CML", *arguments, "-v"]) == 0
    assert "embedding_size=6 (command line)" in capsys.readouterr().err
    assert main(["train", "--model=CML", *arguments, "--quiet", "--verbose"]) == 2
    assert capsys.readouterr().err == "error: --quiet (command line): cannot be given with --verbose\n"
    assert main(["train", "--model=CML", *arguments]) == 0
    assert "epoch   0" in capsys.readouterr().err
