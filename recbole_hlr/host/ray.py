"""Ray, started for one search on this machine, or a running cluster joined; all that its version needs."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from recbole_hlr.errors import InputError
from recbole_hlr.files import locked
from recbole_hlr.protocols import Values

# Ray 2.60: what a search sets before Ray is imported.
RAY_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # else Ctrl-C ends the search as if it were complete
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # the search keeps its own record
    "RAY_AIR_NEW_OUTPUT": "0",
}
_TOKEN = secrets.token_hex(32)
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
    with environment(RAY_ENVIRONMENT if address else {**RAY_ENVIRONMENT, **ray_local()}):
        if not address and "ray" in sys.modules:
            check_ray_is_local()
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
    if ray_may_grow() or any(cpus <= has[0] and gpus <= has[1] for has in machines()):
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


def ray_local() -> dict[str, str]:
    """Return the environment in which Ray 2.60 listens on the loopback interface alone, with a token.

    On Linux it listens on all interfaces, whatever address it is given, unless it is told to behave as
    on Windows and macOS. A token that it makes itself would be written below the home directory.
    """
    return {
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
    }


def check_ray_is_local() -> None:
    """Raise `InputError` where Ray was imported before `ray_local` could be set, and is not yet running."""
    import ray

    constants = sys.modules.get("ray._private.ray_constants")
    if not ray.is_initialized() and getattr(constants, "ENABLE_RAY_CLUSTER", True):
        raise InputError(
            "Ray was imported before the search, and would listen on all interfaces: call ray.init() "
            "yourself first, or import ray after the search"
        )


def ray_lines() -> dict[str, Callable[[], socket.socket]]:
    """Return how to connect to the two processes of Ray 2.60 without which its user cannot live, by name."""
    from ray._private import worker

    node = getattr(worker, "_global_node", None)  # Ray declares it None for ever
    if node is None or not hasattr(socket, "AF_UNIX"):  # a client of a cluster; Windows
        return {}

    def raylet() -> socket.socket:
        line = socket.socket(socket.AF_UNIX)
        line.connect(node.raylet_socket_name)
        return line

    host, _, port = node.gcs_address.rpartition(":")
    return {"raylet": raylet, "gcs_server": lambda: socket.create_connection((host, int(port)), timeout=5)}


def end_ray() -> None:
    """Kill Ray's processes and delete its files, where this process began them and may not live on itself."""
    from ray._private import worker

    node = getattr(worker, "_global_node", None)
    if node is not None and node.head:
        node.kill_all_processes(check_alive=False, allow_graceful=False)
        shutil.rmtree(node.get_temp_dir_path(), ignore_errors=True)


def ray_may_grow() -> bool:
    """Say whether an autoscaler can add machines; Ray 2.60 has no public way to ask.

    Without one, a monitor that only looks on calls the type of every machine `node_` and its id.
    """
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.autoscaler.v2.utils import is_autoscaler_v2
    from ray.experimental.internal_kv import _internal_kv_get

    if is_autoscaler_v2(fetch_from_server=True):
        return True
    status = _internal_kv_get(DEBUG_AUTOSCALING_STATUS)
    report = json.loads(status).get("autoscaler_report") if status else None
    types = (report or {}).get("node_type_mapping") or {}
    return any(kind != f"node_{machine}" for machine, kind in types.items())
