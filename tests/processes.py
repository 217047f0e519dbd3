"""Commands in processes of their own: forks of one that has imported everything, so that each begins at once.

For tests of what happens to a running command (kills, signals). How a command starts up is tested elsewhere, in
processes of `python -m recbole_hlr` and of the scripts.
"""

from __future__ import annotations

import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
EVERYTHING = (
    "recbole_hlr.benchmark.run",
    "recbole_hlr.cli.commands",
    "recbole_hlr.experiment.evaluate",
    "recbole_hlr.experiment.run",
    "recbole_hlr.recommend.load",
    "recbole_hlr.search.engine",
    "recbole_hlr.search.search",
    "torch._dynamo",  # an optimizer does
)


class Process:
    """A running command; what it prints goes to files. Its methods are those of `subprocess.Popen`."""

    def __init__(
        self,
        words: list[str],
        body: str = "",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        new_session: bool = False,
        terminal: str | None = None,
    ) -> None:
        """Begin `recbole-hlr WORDS`; the code `body` runs before it, in its process.

        Its standard error is the device `terminal`, where one is given.
        """
        self.returncode: int | None = None
        self.folder = tempfile.TemporaryDirectory(prefix="command-", ignore_cleanup_errors=True)
        self.files = [Path(self.folder.name, name) for name in ("out", "err")]
        self.pid = ask(
            {
                "words": words,
                "body": body,
                "cwd": str(cwd or os.getcwd()),
                "env": {**os.environ, **(env or {})},
                "new_session": new_session,
                "files": [str(self.files[0]), terminal or str(self.files[1])],
            }
        )

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = ask({"ended": self.pid})
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float = 100) -> tuple[str, str]:
        """Wait for the end and return what was printed, also by processes that it began."""
        if not wait_until(lambda: self.poll() is not None, timeout, 0.01):
            os.kill(self.pid, signal.SIGKILL)
            raise TimeoutError(f"{timeout} s were over")
        out, err = (file.read_text() if file.exists() else "" for file in self.files)
        return out, err


def wait_until(condition: Callable[[], Any], seconds: float, step: float = 0.02) -> bool:
    """Wait until `condition` holds; say whether it does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(step)
    return False


# --- the process that is forked -------------------------------------------------------------------------------


@functools.cache
def parent() -> subprocess.Popen[str]:
    """Start the process that all commands are forks of; it ends with the tests."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.processes"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    )  # fmt: skip


def ask(request: dict[str, Any]) -> Any:
    """Let that process begin a command, or say how one ended."""
    process = parent()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def serve() -> None:
    """Fork for every command that is asked for (the body of that process)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                become(**request)
        print(json.dumps(answer), flush=True)


def become(
    words: list[str], body: str, cwd: str, env: dict[str, str], new_session: bool, files: list[str]
) -> None:
    """Be the process of a command, from its first step to its end."""
    os.environ.clear()
    os.environ.update(env)
    if new_session:
        os.setsid()
    os.chdir(cwd)
    for number, file in enumerate([os.devnull, *files]):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    if os.isatty(2):  # Python's own stream may have been one that can be sought in
        sys.stderr = open(2, "w", buffering=1, closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    exec(body, {})
    from recbole_hlr.cli import main

    sys.exit(main(words))


def import_everything() -> None:
    """Import what a command would, and set up no process or thread."""
    from recbole_hlr.host.ray import RAY_ENVIRONMENT, environment, ray_local

    with environment({**RAY_ENVIRONMENT, **ray_local()}):
        for name in EVERYTHING:
            importlib.import_module(name)

    import torch

    torch.set_num_threads(1)


if __name__ == "__main__":
    import_everything()
    gc.freeze()
    serve()
