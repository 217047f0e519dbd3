"""Files written whole or not at all, whatever happens meanwhile, and the lock of a folder."""

import errno
import logging
import os
import signal

import pytest
from filelock import FileLock

from recbole_hlr import InputError
from recbole_hlr.experiment.rundir import LogFile, RunDir
from recbole_hlr.files import locked, uninterrupted, write_text, write_whole


def failing(error: Exception):
    """What writes half of a file and then fails."""

    def write(file) -> None:
        file.write(b"half")
        raise error

    return write


@pytest.mark.parametrize(
    ("number", "needed"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EFBIG, "free some space"),
        (errno.EACCES, "must be in a folder that can be written"),
        (errno.EROFS, "must be in a folder that can be written"),
    ],
)
def test_a_file_that_cannot_be_written_says_why_and_the_one_before_is_kept(tmp_path, number, needed):
    path = tmp_path / "file"
    for before in (None, "old"):
        if before:
            write_text(path, before)
        with pytest.raises(InputError) as refusal:
            write_whole(path, failing(OSError(number, os.strerror(number))))
        assert str(refusal.value).startswith(f"{path}: {os.strerror(number)}; {needed}")
        assert ("the file written before is kept" in str(refusal.value)) is bool(before)
        assert [file.read_text() for file in tmp_path.iterdir()] == [before] * bool(before)


@pytest.mark.parametrize("error", [RuntimeError("not enough memory"), ValueError("x")])
def test_other_errors_while_writing_are_not_the_disk_s(tmp_path, error):
    with pytest.raises(type(error), match=str(error)):
        write_whole(tmp_path / "file", failing(error))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [None, OSError(errno.ENOSPC, "full")])
def test_an_interrupt_waits_until_a_file_is_written(tmp_path, error):
    def write(file) -> None:
        file.write(b"one ")
        signal.raise_signal(signal.SIGINT)
        if error:
            raise error
        file.write(b"two")

    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "file", write)
    assert [file.read_text() for file in tmp_path.iterdir()] == ([] if error else ["one two"])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_that_python_does_not_handle_are_left_alone():
    with uninterrupted():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler


def test_one_process_at_a_time_in_a_folder(tmp_path):
    (tmp_path / ".model.pth.123.tmp").write_text("left by a process that was killed")
    with locked(tmp_path, "run"):
        assert {file.name for file in tmp_path.iterdir()} == {".lock", ".lock.pid"}
        with (
            pytest.raises(InputError, match=rf"process {os.getpid()} on .* is at work on this run"),
            locked(tmp_path, "run"),
        ):
            raise AssertionError
    with locked(tmp_path, "run"):
        pass


def test_a_folder_that_cannot_be_written_is_not_locked(tmp_path, monkeypatch):
    def read_only(*arguments, **options):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(FileLock, "acquire", read_only)
    with (
        pytest.raises(InputError, match="Read-only file system; must be a folder that can be written"),
        locked(tmp_path, "run"),
    ):
        raise AssertionError


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device that is always full")
def test_a_log_on_a_full_disk_ends_in_one_sentence(tmp_path, capsys):
    run_dir = RunDir(tmp_path)
    run_dir.log.symlink_to("/dev/full")
    with (
        pytest.raises(InputError, match=r"log\.txt: No space left on device; free some space"),
        run_dir.logging(),
    ):
        logging.getLogger("recbole_hlr").warning("a line")
    assert "Traceback" not in capsys.readouterr().err
    handler = LogFile(tmp_path / "log", encoding="utf-8")
    handler.handle(logging.LogRecord("x", logging.INFO, "", 1, "%d", ("no number",), None))  # a bug stays one
    handler.close()
    assert "Logging error" in capsys.readouterr().err
