"""Ray, started for one search on this machine, or a running cluster joined."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from recbole_hlr.errors import InputError
from recbole_hlr.files import locked
from recbole_hlr.host import recbole as compat
from recbole_hlr.protocols import Values

PREFIX = "hlr-"  # of the temporary folders with Ray's files


@contextlib.contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment, and put them back; what the user has set stays."""
    added = {key: value for key, value in values.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


@contextlib.contextmanager
def ray_cluster(address: str | None = None) -> Iterator[None]:
    """Run with Ray: the one that is already up in this process, the cluster at `address`, or a new one.

    A new one has no dashboard, listens on the loopback interface alone, asks for a token that only
    its own processes know, keeps its files in a temporary folder, and ends with the search.
    """
    with environment(compat.RAY_ENVIRONMENT if address else {**compat.RAY_ENVIRONMENT, **compat.ray_local()}):
        if not address and "ray" in sys.modules:
            compat.check_ray_is_local()
        import ray

        logging.getLogger("ray").setLevel(logging.CRITICAL)
        if ray.is_initialized():
            yield
            return
        with contextlib.nullcontext() if address else temporary_folder() as folder:
            try:
                start(address, folder)
                yield
            finally:
                with contextlib.redirect_stdout(io.StringIO()):  # pages on a process that has died
                    ray.shutdown()


@contextlib.contextmanager
def temporary_folder() -> Iterator[str]:
    """Make a folder for Ray's files and delete it in the end, and those that killed searches left before."""
    try:
        folder = tempfile.mkdtemp(prefix=PREFIX)
    except OSError as error:
        raise InputError(f"TMPDIR: no folder for Ray's files can be made there ({error.strerror})") from None
    try:
        with locked(Path(folder), "search"):
            for lock in Path(folder).parent.glob(f"{PREFIX}*/.lock"):
                delete_stale(lock.parent)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def delete_stale(folder: Path) -> None:
    """Delete a folder of ours that no living process holds."""
    user = getattr(os, "getuid", int)()  # 0, as st_uid is, on Windows
    with contextlib.suppress(OSError, InputError):
        if folder.stat().st_uid == user:  # else another user's, with what may lie in wait there
            with locked(folder, "search"):
                shutil.rmtree(folder, ignore_errors=True)


def start(address: str | None, folder: str | None) -> None:
    """Start Ray with its files in `folder`, or join the cluster at `address`; raises `InputError`."""
    import ray

    if address not in (None, "auto"):
        check_reachable(str(address))
    quiet: Values = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    try:
        if address:
            ray.init(address=address, **quiet)
        else:
            ray.init(address="local", include_dashboard=False, _temp_dir=folder, **quiet)
    except UnicodeEncodeError:
        raise InputError("Ray cannot start: the working directory and all paths must be UTF-8 text") from None
    except Exception as error:  # a plain one where it cannot start its processes
        reason = " ".join(str(error).split())
        what = f"ray_address={address}: no Ray cluster was found there" if address else "Ray cannot start"
        raise InputError(f"{what} ({reason})") from error


def check_room(cpus: float, gpus: float) -> None:
    """Raise `InputError` where no machine of Ray's has what a trial takes, and none can be added."""
    if compat.ray_may_grow() or any(cpus <= has[0] and gpus <= has[1] for has in machines()):
        return
    raise InputError(
        f"cpus_per_trial={cpus:g}, gpus_per_trial={gpus:g}: a trial must fit on one machine, and there is "
        f"{describe_room()}"
    )


def machines() -> list[tuple[float, float]]:
    """Return the processors and GPUs of every machine that Ray has."""
    import ray

    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return sorted((has.get("CPU", 0), has.get("GPU", 0)) for has in alive)


def describe_room() -> str:
    """Say what machines Ray has."""
    count = Counter(describe_share(*has) for has in machines())
    return ", ".join(f"{number} with {share}" for share, number in count.items()) or "none"


def describe_share(cpus: float, gpus: float) -> str:
    """Say how many processors and GPUs these are."""
    return f"{cpus:g} cpus and {gpus:g} gpus"


def check_reachable(address: str) -> None:
    """Raise `InputError` where nothing listens at `address`; Ray would end the process there."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(
            f"ray_address={address}: no Ray cluster was found there ({error}); must be auto or HOST:PORT"
        ) from None
