"""What a person sees while work goes on: on terminals of 80 and of 200 columns, in a file, and when they break."""

import io
import logging
import os
import re
import sys
import time

import pytest

from recbole_hlr import console
from recbole_hlr.benchmark.cells import Cell, Task
from recbole_hlr.benchmark.progress import CellProgress
from recbole_hlr.cli import main
from recbole_hlr.console import Display, Row, clock, screen
from recbole_hlr.search.progress import TrialProgress
from recbole_hlr.search.trials import DONE, FAILED, Trial
from recbole_hlr.train.progress import Standing
from tests.processes import Process
from tests.screens import Terminal

WIDTHS = [80, 200]
OFTEN = """
import os
from recbole_hlr.console import display
display.EVERY = 0.04
os.environ.pop("COLUMNS", None)  # of the tests' own runner
"""
SLOWLY = (
    OFTEN
    + """
import time
from recbole_hlr.train.trainer import RunTrainer
validate = RunTrainer._valid_epoch
def slowly(self, *given, **more):
    time.sleep(0.1)
    return validate(self, *given, **more)
RunTrainer._valid_epoch = slowly
"""
)
TIME = r"\d+:\d\d:\d\d"
BAR = r"(  [━╸╺]{10,60})?"
EPOCH = rf"epoch +\d+ of 0 to 24(  ends in {TIME}( to {TIME})?)?{BAR}"
SCORES = r"ndcg@10 0\.\d{4}  best 0\.\d{4} at epoch \d+  patience \d+ of \d+"


@pytest.fixture
def words(arguments) -> list[str]:
    kept = [word for word in arguments if not word.startswith(("--show_progress", "--epochs"))]
    return ["train", "--model=CML", *kept, "--epochs=25", "--stopping_step=20"]


def shown(process: Process, terminal: Terminal) -> tuple[list[list[str]], str]:
    """Return the screens of a process that ends well, and its standard output."""
    screens = terminal.watch(process)
    out, _ = process.communicate()
    assert process.returncode == 0, screens[-1]
    terminal.close()
    return screens, out


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_a_fit_shows_epoch_scores_patience_and_time(words, width):
    terminal = Terminal(width)
    screens, out = shown(Process(words, body=SLOWLY, terminal=terminal.name), terminal)
    rows = [line for lines in screens for line in lines if " of 0 to " in line]
    assert len({line.split()[1] for line in rows}) > 5  # it moves
    assert any(re.search(rf"ends in {TIME} to {TIME}", row) for row in rows)
    for row in rows:
        assert re.fullmatch(EPOCH, row), row
    for row in (line for lines in screens for line in lines if "patience" in line):
        assert re.fullmatch(SCORES, row), row
    last = screens[-1]  # no more than the messages
    assert not [line for line in last if " of 0 to " in line or "patience" in line or "━" in line]
    told = [line.split()[1] for line in last if re.match(r"epoch +\d+  loss", line)]
    assert told == [*map(str, range(10)), "24"]  # later ones within seconds are left to log.txt
    assert re.search(r"CML +validation +test", out)


@pytest.mark.slow
@pytest.mark.parametrize("silent", ["--quiet", "--show_progress=false"])
def test_who_asks_for_silence_gets_it(words, silent):
    terminal = Terminal(80)
    screens, _ = shown(Process([*words, silent], body=SLOWLY, terminal=terminal.name), terminal)
    assert not [line for lines in screens for line in lines if "━" in line]
    assert (screens[-1] == []) is (silent == "--quiet")


@pytest.mark.slow
def test_a_terminal_that_is_closed_ends_no_work(words, tmp_path):
    terminal = Terminal(80)
    process = Process(words, body=SLOWLY, terminal=terminal.name)
    seen = []
    terminal._watch(lambda: any("━" in line for line in terminal.lines()), 60, seen)
    terminal.close()
    out, _ = process.communicate()
    assert process.returncode == 0
    assert re.search(r"CML +validation +test", out)


def driven(code: str, width: int) -> list[list[str]]:
    """Return the screens while a process runs `code`."""
    terminal = Terminal(width)
    head = "from recbole_hlr.console import console_logging\nconsole_logging()\nimport time\n"
    return shown(Process(["--version"], body=OFTEN + head + code, terminal=terminal.name), terminal)[0]


SEARCH = """
from recbole_hlr.search.progress import TrialProgress
from recbole_hlr.search.trials import Trial
values = {"learning_rate": 0.00979, "margin": 2.364, "embedding_size": 100, "train_neg_sample_args.sample_num": 10}
trials = [Trial(number, values) for number in (1, 2, 3)]
progress = TrialProgress("ndcg@10", True, True, 500, 3600.0)
progress.start(trials, 6)
trials[2].epochs, trials[2].curve = [0], [0.1712]
progress.update(trials, 2)
trials[0].status, trials[0].seconds, trials[0].reason = "failed", 30.0, "ValueError: five is refused"
progress.ended(trials[0], trials, 2)
for epoch in range(12):
    trials[1].epochs.append(epoch)
    trials[1].curve.append(0.1 + epoch / 100)
time.sleep(0.3)
trials[1].status, trials[1].seconds = "done", 60.0
progress.ended(trials[1], trials, 1)
time.sleep(0.3)
progress.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_a_search_shows_its_trials_the_best_and_the_time(width):
    screens = driven(SEARCH, width)
    (middle, *_) = [lines for lines in screens if any("epoch 11 of 0 to 499" in line for line in lines)]
    text = "\n".join(middle)
    assert re.search(
        rf"^1 of 6 trials done  1 failed  2 running  ends in about {TIME}(  |\n    )budget {TIME} left{BAR}$",
        text,
        re.M,
    ), text
    assert re.search(r"^best: trial 2  ndcg@10 0\.2100 at epoch 11  learning_rate=0\.00979", text, re.M)
    assert re.search(rf"^trial 2  epoch 11 of 0 to 499  best 0\.2100 at epoch 11  {TIME}", text, re.M)
    assert re.search(rf"^trial 3  epoch 0 of 0 to 499  best 0\.1712 at epoch 0  {TIME}", text, re.M)
    assert ("train_neg_sample_args.sample_num=10" in middle[-1]) is (width == 200)  # whole, or not at all
    assert re.search(r"^trial 1 of 6 failed: ValueError: five is refused  \(learning_rate", text, re.M)
    last = screens[-1]
    assert last[0].startswith("trial 1 of 6 failed")
    assert "trial 2 of 6 done  ndcg@10 0.2100 at epoch 11  best so far" in "\n".join(last)
    assert not [line for line in last if "running" in line or "━" in line]
    assert all(len(line) <= width for lines in screens for line in lines)


BENCHMARK = """
from types import SimpleNamespace
from pathlib import Path
from recbole_hlr.benchmark.cells import Cell
from recbole_hlr.benchmark.progress import CellProgress
from recbole_hlr.train.progress import Standing
tasks = [SimpleNamespace(cell=Cell("ml-100k", model, seed, Path("x"))) for seed in (1, 2) for model in ("CML", "HLR")]
with CellProgress(5, [task.cell for task in tasks]) as progress:
    for task in tasks[:3]:
        progress.started(task)
    progress.ended(tasks[0], None)
    progress.ended(tasks[1], "no memory")
    progress.started(tasks[3])
    progress.told(tasks[2], Standing(["epoch  12 of 0 to 499", "best ndcg@10 0.1843 at epoch 9",
                                      "ends in 0:01:10 to 1:02:00", "patience 8 of 11"], 3720.0))
    time.sleep(0.3)
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
def test_a_benchmark_shows_its_cells_and_the_time(width):
    screens = driven(BENCHMARK, width)
    (middle, *_) = [lines for lines in screens if any("epoch  12 of 0" in line for line in lines)]
    text = "\n".join(middle)
    assert re.search(rf"^2 of 5 cells done  1 failed  2 running  ends in about {TIME}{BAR}$", text, re.M), (
        text
    )
    cell = "ml-100k, CML, seed 2  epoch  12 of 0 to 499  best ndcg@10 0.1843 at epoch 9"
    more = rf"  ends in 0:01:10 to 1:02:00  patience 8 of 11  {TIME}" if width == 200 else ""
    assert re.search(f"^{re.escape(cell)}{more}$", text, re.M), text
    assert re.search(rf"^ml-100k, HLR, seed 2  no epoch done yet  {TIME}$", text, re.M)
    assert [line for line in screens[-1] if not line.startswith("recbole-hlr")] == [
        "1 of 5 cells are there already",
        "done: ml-100k, CML, seed 1, 0:00:00 (2 of 5)",
        "failed: ml-100k, HLR, seed 1: no memory",
    ]


def test_what_others_print_stands_above_the_display():
    code = """
import logging, sys, warnings
logging.basicConfig(format="%(message)s")
from recbole_hlr.console import Display, Row, say
with Display(lambda: [Row(["first", "row"]), Row(["second"])]):
    time.sleep(0.2)
    print("printed", file=sys.stderr)
    logging.getLogger("other").warning("logged")
    say("said")
    time.sleep(0.2)
"""
    screens = driven(code, 80)
    assert ["printed", "logged", "said", "first  row", "second"] in screens
    assert screens[-1] == ["printed", "logged", "said"]


def test_off_a_terminal_nothing_is_drawn_and_lines_are_plain(words, capsys):
    assert main(words) == 0
    err = capsys.readouterr().err
    assert not re.search(r"\x1b|\r|━", err)
    told = [line.split()[1] for line in err.splitlines() if line.startswith("epoch")]
    assert told == [*map(str, range(10)), "24"]


def test_lines_that_follow_fast_are_left_out_of_the_console(monkeypatch, capsys):
    handler, now = console.ConsoleHandler(), [100.0]
    monkeypatch.setattr("recbole_hlr.console.messages.time.monotonic", lambda: now[0])
    for seconds, passing in ((0, True), (1, True), (1, False), (5, True), (6, True)):
        now[0] = 100.0 + seconds
        record = logging.LogRecord("x", logging.INFO, "", 0, f"{seconds} {passing}", (), None)
        record.passing = passing
        handler.handle(record)
    assert capsys.readouterr().err.splitlines() == ["0 True", "1 False", "6 True"]


@pytest.mark.parametrize(
    ("width", "lines"),
    [
        (40, ["one two  three four  five  six  seven"]),
        (30, ["one two  three four  five  six"]),
        (21, ["one two  three four", "    five  six  seven"]),
        (9, ["one two", "    three four", "    five", "    six"]),
    ],
)
def test_lines_are_broken_between_parts_alone(width, lines):
    assert Row(["one two", "three four", "five", "six"], ["seven"]).lines(width) == lines


def test_what_has_no_room_gives_way_to_what_has():
    assert Row(["a"], ["much too long", "b"]).lines(6) == ["a  b"]


def test_messages_are_broken_at_blanks_and_paths_are_whole():
    path = "/" + "a" * 30
    assert (
        screen.wrapped(f"epoch   0  at {path} it is\nnext", 20) == f"epoch   0  at\n  {path}\n  it is\nnext"
    )


def test_times_are_told_as_hours_minutes_and_seconds():
    assert [clock(seconds) for seconds in (0.4, 59.6, 3723, 90061)] == [
        "0:00:00", "0:01:00", "1:02:03", "1 day, 1:01:01",
    ]  # fmt: skip


def test_rows_that_raise_and_screens_that_break_end_nothing(monkeypatch):
    class Broken:
        drawn = 0

        def draw(self, rows):
            Broken.drawn += 1
            raise OSError("gone")

        def say(self, text):
            raise OSError("gone")

        def close(self):
            raise OSError("gone")

    monkeypatch.setattr("recbole_hlr.console.display.EVERY", 0.01)
    monkeypatch.setattr(screen, "in_notebook", lambda: True)
    monkeypatch.setattr(screen, "Notebook", Broken)
    for rows in (lambda: [Row(["x"])], lambda: 1 / 0):
        with Display(rows):
            console.say("lost")
            time.sleep(0.1)
    assert Broken.drawn > 1
    assert screen._open == []


def test_one_display_at_a_time(monkeypatch):
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with Display(list), Display(list):
        assert len(screen._open) == 1
    assert screen._open == []
    assert "\x1b[?25l" not in sys.stderr.getvalue()  # the cursor is never hidden


# --- times that are left ---------------------------------------------------------------------------------------


def test_the_time_left_of_a_search(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("recbole_hlr.search.progress.time.monotonic", lambda: now[0])
    trials = [Trial(1, {}), Trial(2, {})]
    progress = TrialProgress("loss", False, False, epochs=10)
    progress.start(trials, 4)
    progress.update(trials, 2)
    assert "ends" not in str(progress.rows())
    now[0] += 20
    trials[0].epochs, trials[0].curve = (
        [1],
        [0.5],
    )  # two epochs in 20 s: 100 s each at most; 80 + 80 are left, and two of 100
    assert "ends in at most 0:03:00" in progress.rows()[0].parts
    trials[0].status, trials[0].seconds = DONE, 50.0
    progress.ended(trials[0], trials, 1)
    assert "ends in about 0:02:10" in progress.rows()[0].parts  # 30 + 50 + 50, one at a time
    trials[1].status, trials[1].seconds = FAILED, 30.0
    progress.ended(trials[1], trials, 0)
    assert progress.rows()[0].parts == ["2 of 4 trials done", "1 failed", "starting", "ends in about 0:01:20"]


def test_the_time_left_of_a_benchmark(monkeypatch, tmp_path):
    now = [1000.0]
    monkeypatch.setattr("recbole_hlr.benchmark.progress.time.monotonic", lambda: now[0])
    cells = [Cell("toy", model, seed, tmp_path) for seed in (1, 2) for model in ("CML", "HLR")]
    tasks = [Task(cell, cell.model, {}, [], "", "", {}) for cell in cells]
    progress = CellProgress(4, cells)
    progress.started(tasks[0])
    progress.started(tasks[1])
    assert progress.rows()[0].parts == ["0 of 4 cells done", "2 running"]
    now[0] += 10
    progress.told(tasks[1], Standing(["epoch 0 of 0 to 9"], 90.0))
    # 100 s at most for an HLR, and for want of better for a CML: 90 + 90 are left, and two of 100
    assert "ends in at most 0:03:10" in progress.rows()[0].parts
    progress.ended(tasks[0], None)
    progress.started(tasks[2])
    assert "ends in about 0:01:40" in progress.rows()[0].parts  # 10 + 90 + 100, two at a time
    assert progress.rows()[1].parts == ["toy, HLR, seed 1", "epoch 0 of 0 to 9"]
    assert os.fspath(tmp_path)
