"""The engine on toy trials: schedulers, failures, resume, budget; and Ray itself, well behaved."""

import errno
import math
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from ray import cloudpickle

from recbole_hlr import InputError
from recbole_hlr.host.ray import check_room, temporary_folder
from recbole_hlr.search import options, space, watch
from recbole_hlr.search.progress import TrialProgress
from recbole_hlr.search.record import STUDY_FILE, Record
from recbole_hlr.search.suggest import Suggestions
from recbole_hlr.search.trials import CUT, DONE, FAILED, LOST, OPEN, STOPPED, best_of
from tests.processes import wait_until

# A process of Ray is given the trials themselves, and imports nothing of this file.
cloudpickle.register_pickle_by_value(sys.modules[__name__])
EPOCHS = 6
LINES = {"x": {"choice": [1, 2, 3, 4, 5, 6]}}


def climb(number, values, report):
    """The running best rises to x; the trial of x = 5 breaks, that of x = 6 takes its process along."""
    for epoch in range(EPOCHS):
        if values["x"] == 5 and epoch == 2:
            raise ValueError("five is\nrefused")
        if values["x"] == 6 and epoch == 1:
            os._exit(1)
        report(epoch, values["x"] * (epoch + 1) / EPOCHS)


def search(
    folder: Path, objective=climb, lines=None, algorithm="random", samples=6, larger=True, first=None, **given
):
    lines = lines or LINES
    found = space.make_space(lines, "here")
    chosen = options.make_options(
        {"gpus_per_trial": 0, "grace_period": 2, "cpus_per_trial": 0.5, **given}, "here"
    )
    record = Record(folder / STUDY_FILE, found, larger, options.pruner_of(chosen, 1, EPOCHS))
    suggestions = Suggestions(found, algorithm, 1, samples, first or {key: 3 for key in lines})
    ended = []
    from recbole_hlr.search import engine  # only once Ray is up

    engine.RETRIES = 1
    progress = TrialProgress("score", larger)
    try:
        engine.run_trials(
            objective, suggestions, record, chosen, EPOCHS, progress, lambda t: ended.append(t.number)
        )
    finally:
        record.close()
    return record, ended


def by_x(record):
    return {trial.values["x"]: trial for trial in record.trials}


@pytest.fixture(scope="module")
def climbed(ray_up, tmp_path_factory) -> tuple[Path, Record, list[int]]:
    """A search of which one trial fails and one is lost: its folder, its record, who ended in turn."""
    folder = tmp_path_factory.mktemp("climbed")
    return folder, *search(folder, scheduler="none")


@pytest.mark.slow
def test_a_failing_trial_is_shown_with_its_reason_and_stops_no_other(climbed):
    folder, record, ended = climbed
    trials = by_x(record)
    assert [trials[x].status for x in (1, 2, 3, 4, 5, 6)] == [DONE] * 4 + [FAILED, LOST]
    assert trials[5].reason == "ValueError: five is refused"
    assert "process died" in trials[6].reason
    assert trials[4].curve == pytest.approx([4 * (e + 1) / 6 for e in range(6)])
    assert trials[4].epochs == list(range(6))
    assert best_of(record.trials, True).values == {"x": 4}
    assert record.trials[0].values == {"x": 3}
    assert sorted(ended) == [1, 2, 3, 4, 5, 6]
    assert not (folder / ".ray").exists()


@pytest.mark.parametrize(("algorithm", "larger"), [("random", True), ("grid", False), ("optuna", True)])
def test_every_algorithm_ends_and_asha_stops_the_hopeless(ray_up, tmp_path, algorithm, larger):
    def objective(number, values, report):
        for epoch in range(EPOCHS):
            report(epoch, values["x"] * (epoch + 1) * (1 if larger else -1))

    record, _ = search(
        tmp_path,
        objective,
        {"x": {"choice": [3, 4, 2, 1]}},
        algorithm,
        4,
        larger,
        max_concurrent=1,
        first={"x": 4},
    )
    assert record.trials[0].status == DONE
    assert {trial.status for trial in record.trials[1:] if trial.values["x"] < 4} == {STOPPED}
    assert all(len(trial.curve) == 2 for trial in record.trials if trial.status == STOPPED)
    assert best_of(record.trials, larger).values == {"x": 4}


@pytest.mark.slow
def test_a_search_broken_off_goes_on_as_if_it_never_was(ray_up, tmp_path):
    """One trial at a time: after any of its lines, the record leads to the same trials and scores."""
    lines = {"x": {"uniform": [0.0, 9.0]}}

    def objective(number, values, report):
        for epoch in range(EPOCHS):
            report(epoch, values["x"] * (epoch + 1))

    (tmp_path / "whole").mkdir()
    given = {"lines": lines, "algorithm": "optuna", "samples": 14, "max_concurrent": 1, "cpus_per_trial": 0.1}
    whole, _ = search(tmp_path / "whole", objective, **given)
    text = (tmp_path / "whole" / STUDY_FILE).read_text().splitlines(keepends=True)
    assert {trial.status for trial in whole.trials} == {DONE, STOPPED}
    for kept in (21, 26):
        folder = tmp_path / str(kept)
        folder.mkdir()
        (folder / STUDY_FILE).write_text("".join(text[:kept]) + text[kept][:9])
        again, _ = search(folder, objective, **given)
        assert [(t.values, t.status, t.curve) for t in again.trials] == [
            (t.values, t.status, t.curve) for t in whole.trials
        ]


@pytest.mark.slow
def test_lost_trials_are_tried_again_by_a_resume_and_failed_ones_are_not(climbed, tmp_path):
    shutil.copy(climbed[0] / STUDY_FILE, tmp_path)

    def mended(number, values, report):
        report(1, 10.0 * values["x"])  # the epoch after that of the lost process

    record, ended = search(tmp_path, mended, scheduler="none", samples=6)
    trials = by_x(record)
    assert (trials[6].status, trials[6].curve, trials[6].reason) == (DONE, [1.0, 60.0], "")
    assert trials[5].status == FAILED
    assert ended == [trials[6].number]


def test_a_full_disk_loses_a_trial_and_scores_that_are_no_numbers_fail_it(ray_up, tmp_path):
    """The first is tried again by a resume; the second is an error of the trial's own, and never wins."""

    def objective(number, values, report):
        if values["x"] == 1 and not (tmp_path / "mended").exists():
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                raise InputError("model.pth: no space left") from error
        if values["x"] == 2:
            try:
                raise FileNotFoundError("start.pth")
            except FileNotFoundError:
                raise InputError("start.pth: there is no such file") from None
        report(0, 1.0)
        report(1, {4: math.nan, 5: math.inf}.get(values["x"], 0.5))

    lines = {"x": {"choice": [1, 2, 3, 4, 5]}}
    given = {"scheduler": "none", "samples": 5, "max_concurrent": 1}
    record, _ = search(tmp_path, objective, lines, **given)
    trials = by_x(record)
    assert [trials[x].status for x in range(1, 6)] == [LOST, FAILED, DONE, FAILED, FAILED]
    assert trials[1].reason == "InputError: model.pth: no space left"
    assert trials[4].reason == "ValueError: epoch 1: the validation score is nan"
    assert best_of(record.trials, True) is trials[3]
    (tmp_path / "mended").touch()
    again, ended = search(tmp_path, objective, lines, **given)
    assert ended == [trials[1].number]
    assert by_x(again)[1].status == DONE


def test_a_record_that_cannot_be_written_ends_the_search_with_its_own_sentence(ray_up, tmp_path, monkeypatch):
    """Ray would make a failure of the trial of it, and go on."""

    def full(*args):
        raise InputError("study.jsonl: no space left")

    monkeypatch.setattr(Record, "end", full)
    with pytest.raises(InputError, match=r"^study\.jsonl: no space left$"):
        search(tmp_path, scheduler="none", lines={"x": {"choice": [3, 4]}}, samples=2, max_concurrent=1)
    monkeypatch.undo()
    again = Record(tmp_path / STUDY_FILE, (), True)
    again.close()
    assert {trial.status for trial in again.trials} == {OPEN}


def test_trials_that_fit_on_no_machine_are_refused_at_once(ray_up, tmp_path, monkeypatch):
    here = r"there is 1 with \d+ cpus and \d+ gpus"
    for given, match in (({"cpus_per_trial": 1000}, "cpus_per_trial=1000"), ({"gpus_per_trial": 99}, "=99")):
        with pytest.raises(InputError, match=f"{match}.* must fit on one machine, and {here}"):
            search(tmp_path, **given)
    monkeypatch.setattr("recbole_hlr.host.ray.ray_may_grow", lambda: True)
    check_room(1000, 0)  # an autoscaler may yet find a machine


def test_what_is_waited_for_is_said(monkeypatch, caplog):
    monkeypatch.setattr("recbole_hlr.search.watch.ray_lines", dict)
    monkeypatch.setattr(watch, "describe_room", lambda: "1 with 2 cpus and 0 gpus")
    watched = watch.Watch(1000, 1, pytest.fail)
    with caplog.at_level("INFO", logger="recbole_hlr"):
        watched.look(running=False)
        assert not caplog.messages  # before a minute is over
        monkeypatch.setattr(watch, "PATIENCE", 0)
        watched.look(running=True)
        assert not caplog.messages
        watched.look(running=False)
    text = "waiting for a machine with 1000 cpus and 1 gpus for a trial; there is 1 with 2 cpus and 0 gpus"
    assert caplog.messages == [text]


def test_a_search_that_does_not_notice_is_left(monkeypatch):
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()
    lines = {"gcs_server": lambda: socket.create_connection(address, timeout=5)}
    monkeypatch.setattr("recbole_hlr.search.watch.ray_lines", lambda: lines)
    monkeypatch.setattr(watch, "GRACE", 0.1)
    reasons: list[str] = []
    watched = watch.Watch(1, 0, reasons.append)
    other = server.accept()[0]
    time.sleep(1.5)
    assert not reasons
    server.close()
    other.close()
    assert wait_until(lambda: reasons, 10)
    with pytest.raises(watch.RayDied, match="gcs_server"):
        watched.look(running=True)
    watched.close()


def test_a_process_is_dead_when_nobody_listens_any_more():
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()
    line = watch.Line(lambda: socket.create_connection(address, timeout=5))
    assert not line.is_dead()
    server.accept()[0].close()  # hung up, but there
    assert not line.is_dead()
    other = server.accept()[0]
    assert not line.is_dead()
    server.close()
    assert not line.is_dead()
    other.close()
    assert wait_until(line.is_dead, 5)
    assert line.is_dead()


def test_what_killed_searches_left_in_the_temporary_folder_is_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("hlr-dead", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / ".lock").touch()
    (tmp_path / "hlr-of-another-program").mkdir()
    with temporary_folder() as first:
        assert not (tmp_path / "hlr-dead").exists()
        with temporary_folder():
            assert Path(first).is_dir()  # its process lives
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hlr-of-another-program", "other"]
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="TMPDIR: no folder for Ray's files"), temporary_folder():
        pass


@pytest.mark.slow
def test_the_time_budget_cuts_and_a_larger_one_goes_on(ray_up, tmp_path):
    def slow(number, values, report):
        for epoch in range(EPOCHS):
            report(epoch, values["x"] + epoch)
            time.sleep(3 if number > 1 else 0)

    started = time.monotonic()
    record, _ = search(tmp_path, slow, scheduler="none", samples=3, max_concurrent=1, time_budget=11)
    assert time.monotonic() - started < 25
    statuses = [trial.status for trial in record.trials]
    assert statuses[:2] == [DONE, CUT]
    assert record.trials[1].curve
    again, _ = search(tmp_path, slow, scheduler="none", samples=3, max_concurrent=1, time_budget=11)
    assert [trial.status for trial in again.trials] == statuses  # the budget is spent
    more, _ = search(
        tmp_path,
        lambda n, v, report: report(0, 1.0),
        scheduler="none",
        samples=3,
        max_concurrent=1,
        time_budget=90,
    )
    assert [trial.status for trial in more.trials] == [DONE] * 3


def test_ray_listens_on_loopback_alone_with_a_token_of_its_own(ray_up):
    import ray

    assert ray.util.get_node_ip_address() == "127.0.0.1"
    assert os.environ["RAY_AUTH_MODE"] == "token"
    listening = Path("/proc/net/tcp6")
    if not listening.exists():
        pytest.skip("sockets are listed on Linux alone")
    pids = [int(p) for p in os.listdir("/proc") if p.isdigit()]
    ours = [pid for pid in pids if is_ours(pid)]
    assert ours
    for address in addresses(ours):
        assert address.endswith(("127.0.0.1", "::1")), address


def is_ours(pid: int) -> bool:
    try:
        environ = Path(f"/proc/{pid}/environ").read_bytes()
        return f"RAY_AUTH_TOKEN={os.environ['RAY_AUTH_TOKEN']}".encode() in environ
    except OSError:
        return False


def addresses(pids):
    """The addresses on which these processes listen."""
    sockets = set()
    for pid in pids:
        try:
            for link in Path(f"/proc/{pid}/fd").iterdir():
                target = os.readlink(link)
                if target.startswith("socket:["):
                    sockets.add(target[8:-1])
        except OSError:
            continue
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and words[9] in sockets:
                raw = bytes.fromhex(words[1].split(":")[0])
                packed = b"".join(raw[i : i + 4][::-1] for i in range(0, len(raw), 4))
                found.append(socket.inet_ntop(family, packed))
    assert found
    return found


def test_a_cluster_that_is_not_there_is_named(monkeypatch):
    code = (
        "from recbole_hlr.host.ray import ray_cluster\nfrom recbole_hlr import InputError\n"
        "try:\n    with ray_cluster('127.0.0.1:1'): pass\nexcept InputError as error: print(error)"
    )
    env = {
        **os.environ,
        "RAY_gcs_rpc_server_connect_timeout_s": "1",
        "RAY_gcs_rpc_server_reconnect_timeout_s": "1",
    }
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=env)
    assert "ray_address=127.0.0.1:1: no Ray cluster was found there" in done.stdout, done.stderr


def test_ray_imported_too_early_is_refused():
    code = (
        "import ray\nfrom recbole_hlr.host.ray import ray_cluster\nfrom recbole_hlr import InputError\n"
        "try:\n    with ray_cluster(): pass\nexcept InputError as error: print(error)"
    )
    env = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env)
    assert "call ray.init() yourself first" in done.stdout, done.stderr
