"""Where cells run: in spawned processes of this machine, or as tasks of a Ray cluster."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import TYPE_CHECKING

from recbole_hlr.benchmark.cells import Task
from recbole_hlr.benchmark.worker import Outcome, run_cell

if TYPE_CHECKING:
    from recbole_hlr.train.progress import Standing

NO_MEMORY = {-signal.SIGABRT, -9}  # how a process ends that gets no memory, or is chosen to give some back
PATIENCE = 5.0  # seconds for a process to end by itself
Started = Callable[[Task], None]
Ended = Callable[[Task, Outcome], None]
Told = Callable[[Task, "Standing"], None]  # after an epoch


def run_in_processes(
    tasks: list[Task],
    jobs: int,
    started: Started,
    ended: Ended,
    told: Told = lambda task, standing: None,
) -> None:
    """Run all tasks, `jobs` at a time; a process that dies fails its own task alone."""
    waiting, workers = list(tasks), list[Worker]()
    try:
        with threads_split(jobs):
            while waiting or any(worker.task for worker in workers):
                while len(workers) < min(jobs, len(waiting) + sum(bool(w.task) for w in workers)):
                    workers.append(Worker())
                for worker in workers:
                    if worker.task is None and waiting:
                        worker.give(waiting.pop(0))
                        started(worker.busy_with)
                for worker in [w for w in workers if w.pipe in wait([w.pipe for w in workers if w.task])]:
                    task, outcome = worker.busy_with, worker.hear()
                    if not isinstance(outcome, Outcome):
                        told(task, outcome)
                        continue
                    worker.task = None
                    if outcome.trace or not worker.process.is_alive():  # its memory may be in any state
                        worker.end()
                        workers.remove(worker)
                    ended(task, outcome)
    finally:
        for worker in workers:
            worker.end()


class Worker:
    """A process that runs one task after another, and never outlives the one that started it."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,))
        self.task: Task | None = None
        # Ctrl-C goes to all processes of a terminal; this one is told by its parent.
        with interrupts_blocked(), main_set_aside():
            self.process.start()
        theirs.close()

    @property
    def busy_with(self) -> Task:
        """The task that was given."""
        assert self.task is not None
        return self.task

    def give(self, task: Task) -> None:
        """Let the process run a task."""
        self.task = task
        with contextlib.suppress(BrokenPipeError):  # it died at its start: `hear` says so
            self.pipe.send(task)

    def hear(self) -> Outcome | Standing:
        """Return what the process says next: how its task stands after an epoch, or how it ended."""
        try:
            return self.pipe.recv()
        except (EOFError, ConnectionError):
            self.process.join()
            return Outcome(died(self.process.exitcode))

    def end(self) -> None:
        """End the process; its run can be resumed from its last epoch."""
        self.process.terminate()  # it leaves its run, and what it shares with others, in order
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        self.pipe.close()


def died(exit_code: int | None) -> str:
    """Return why a task failed whose process died."""
    guess = "; it may have been short of memory" if exit_code in NO_MEMORY else ""
    return f"its process died (exit code {exit_code}){guess}"


def serve(pipe: Connection) -> None:
    """Run the tasks that come through a pipe (the body of a worker's process)."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    threading.Thread(target=end_with_parent, daemon=True).start()
    logging.getLogger("recbole_hlr").addHandler(EpochTeller(pipe))
    while True:
        try:
            task = pipe.recv()
        except EOFError:
            return
        pipe.send(run_cell(task))


class EpochTeller(logging.Handler):
    """Sends through a pipe how a fit stands, which the line of every epoch has with it."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self.pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        """Send it, if somebody is there."""
        if hasattr(record, "standing"):
            with contextlib.suppress(OSError):
                self.pipe.send(record.standing)


def end_with_parent() -> None:
    """End this process as soon as its parent is gone, even in the middle of a run."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Let processes that start meanwhile not hear of Ctrl-C (POSIX; elsewhere `serve` sees to it)."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def main_set_aside() -> Iterator[None]:
    """Let processes that start meanwhile not import the program's own file, as multiprocessing would have it.

    They need nothing of it, and where it calls `benchmark` without a guard they would do so too.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def threads_split(jobs: int) -> Iterator[None]:
    """Let processes that start meanwhile share the processors; OMP_NUM_THREADS, if set, stays."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    os.environ["OMP_NUM_THREADS"] = str(max(usable // jobs, 1))
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def run_on_ray(tasks: list[Task], address: str, jobs: int | None, started: Started, ended: Ended) -> None:
    """Run every task as a Ray task on the cluster at `address`, at most `jobs` at a time if given."""
    from recbole_hlr.host.ray import ray_cluster

    with ray_cluster(address):
        import ray

        has_gpus = bool(ray.cluster_resources().get("GPU"))
        remote = ray.remote(max_retries=0, max_calls=1)(run_cell)
        waiting = list(tasks)
        running: dict[ray.ObjectRef[Outcome], Task] = {}
        while waiting or running:
            while waiting and (jobs is None or len(running) < jobs):
                task = waiting.pop(0)
                gpus = int(has_gpus and task.effective.get("use_gpu", True))
                running[remote.options(num_cpus=1, num_gpus=gpus).remote(task)] = task
                started(task)
            done, _ = ray.wait(list(running))
            try:
                outcome = ray.get(done[0])
            except ray.exceptions.RayError as error:
                outcome = Outcome(f"{type(error).__name__}: {' '.join(str(error).split())}")
            ended(running.pop(done[0]), outcome)
