"""What a run finds on this machine: packages, cores, memory, a GPU, a compiler; and what is slow, and why."""

from __future__ import annotations

import logging
import os
import platform
import re
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

PACKAGE = "recbole_hlr"
GIB = 2**30
GROUPS = Path("/sys/fs/cgroup")
FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16")
LEAST_MEMORY = 4.0  # GiB: `train_memory`, as shipped
OPTIONAL = {"faiss-cpu": "the index of `recommend --approximate`"}
NEEDED = {
    "recbole": "data, splits, evaluators, models to compare with",
    "torch": "tensors, gradients, optimizers",
    "numpy": "arrays",
    "pandas": "tables",
    "scipy": "sparse matrices",
    "ray": "searches",
    "click": "the command line",
    "optuna": "what a search tries next",
    "plotly": "figures",
    "pyyaml": "configuration files",
    "pyarrow": "reading and writing tables",
    "rich": "progress on a terminal",
    "tensorboard": "`tensorboard: true`",
    "jinja2": "the page of a benchmark",
    "filelock": "one process to a folder",
    "tabulate": "tables on a terminal",
    "implicit": "MF-ALS",
    "threadpoolctl": "threads of MF-ALS",
    "kmeans-pytorch": "RecBole imports it",
    "packaging": "the ranges of versions",
}


@dataclass(frozen=True)
class Found:
    """A package: its version, None where it is missing, the versions that are supported, what it is for."""

    name: str
    version: str | None
    supported: str
    used_for: str

    @property
    def wrong(self) -> bool:
        """Whether it is missing, or of a version that is not supported."""
        return self.version is None or not SpecifierSet(self.supported).contains(
            self.version, prereleases=True
        )


@dataclass(frozen=True)
class Facts:
    """What `doctor` tells of; memory in GiB, None where it is not known."""

    needed: list[Found]
    optional: list[Found]
    cores: int
    usable_cores: int
    quota: float | None  # cores that a control group grants
    omp_threads: str | None
    torch_threads: int
    memory: float | None
    free_memory: float | None
    gpus: list[str]
    has_nvidia: bool
    torch_cuda: str | None
    cannot_compile: str | None
    keeps_memory: bool
    flags: list[str]


def packages() -> tuple[list[Found], list[Found]]:
    """Return Python and the packages that this one needs, and those that it can use."""
    about = metadata.metadata(PACKAGE)
    found = [Found("python", platform.python_version(), about["Requires-Python"] or "", "")]
    found.append(Found(PACKAGE, about["Version"], "", ""))
    ranges = [Requirement(text) for text in metadata.requires(PACKAGE) or []]
    for one in ranges:
        if one.marker is None or one.marker.evaluate({"extra": ""}):
            used_for = NEEDED.get(one.name.lower(), "")
            found.append(Found(one.name, version_of(one.name), str(one.specifier), used_for))
    supported = {one.name: str(one.specifier) for one in ranges}
    optional = [
        Found(name, version_of(name), supported.get(name, ""), used) for name, used in OPTIONAL.items()
    ]
    return found, optional


def version_of(name: str) -> str | None:
    """Return the version of a package that is installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def group_value(*names: str) -> str | None:
    """Return what the control group of this process has in the first file of those names, or the root."""
    own = text_of("/proc/self/cgroup").splitlines()
    folders = [line.rpartition(":")[2].lstrip("/") for line in own] + [""]
    for name in names:
        for folder in folders:
            kind, _, file = name.rpartition("/")
            text = text_of(GROUPS / kind / folder / file).strip()
            if text:
                return text
    return None


def text_of(path: str | Path) -> str:
    """Return what a file of the system holds, '' where there is none."""
    try:
        return Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""


def core_quota() -> float | None:
    """Return the cores that a control group grants, None for all."""
    two = (group_value("cpu.max") or "").split()
    if not two:
        two = [group_value(f"cpu/cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    try:
        return float(two[0]) / float(two[1]) if float(two[0]) > 0 else None
    except (ValueError, IndexError, ZeroDivisionError):
        return None  # such as "max"


def memory_sizes() -> tuple[float | None, float | None]:
    """Return the GiB of memory, as a control group limits it, and those that are free."""
    told = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text_of("/proc/meminfo"), re.M))
    total, free = (int(told[key]) / 2**20 if key in told else None for key in ("MemTotal", "MemAvailable"))
    limit = group_value("memory.max", "memory/memory.limit_in_bytes") or ""
    if limit.isdigit() and total is not None and int(limit) / GIB < total:
        used = group_value("memory.current", "memory/memory.usage_in_bytes") or "0"
        total = int(limit) / GIB
        free = min(free or total, total - int(used) / GIB)
    return total, free


def compile_trouble() -> str | None:
    """Return why a compiled function had to go without the compiler, None where it did not."""
    import torch

    from recbole_hlr.host.compile import Compiled, log

    told: list[str] = []

    def keep(record: logging.LogRecord) -> bool:
        told.append(record.getMessage())
        return False

    log.addFilter(keep)
    try:
        Compiled(lambda x: x * 2 + 1)(torch.ones(8))
    finally:
        log.removeFilter(keep)
    return told[0] if told else None


def facts() -> Facts:
    """Return what is found here; some seconds, most of them the import of torch and its compiler."""
    import torch

    from recbole_hlr.host.memory import keep_freed_memory

    needed, optional = packages()
    memory, free = memory_sizes()
    cores = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    there = set(re.findall(r"\w+", text_of("/proc/cpuinfo").partition("flags")[2].partition("\n")[0]))
    return Facts(
        needed=needed,
        optional=optional,
        cores=cores,
        usable_cores=usable,
        quota=core_quota(),
        omp_threads=os.environ.get("OMP_NUM_THREADS"),
        torch_threads=torch.get_num_threads(),
        memory=memory,
        free_memory=free,
        gpus=[torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())],
        has_nvidia=Path("/dev/nvidia0").exists() or Path("/proc/driver/nvidia/version").exists(),
        torch_cuda=torch.version.cuda,
        cannot_compile=compile_trouble(),
        keeps_memory=keep_freed_memory(),
        flags=[flag for flag in FLAGS if flag in there],
    )


def broken(facts: Facts) -> list[str]:
    """Return a sentence for everything that is needed and missing, or out of the supported range."""
    found = []
    for one in [*facts.needed, *(one for one in facts.optional if one.version)]:
        if one.wrong:
            what = f"is {one.version}" if one.version else "is not installed"
            how = (
                "another Python is needed"
                if one.name == "python"
                else f'pip install "{one.name}{one.supported}"'
            )
            found.append(f"{one.name} {what}, supported is {one.supported or 'any version'}: {how}.")
    return found


def slow(facts: Facts) -> list[str]:
    """Return a sentence for everything that makes a run slower than it has to be: what, why, what to do."""
    found = []
    granted = facts.usable_cores
    omp = facts.omp_threads or ""
    asked = max(facts.torch_threads, int(omp) if omp.isdigit() else 0)
    if facts.quota is not None and facts.quota < granted:
        granted = max(int(facts.quota), 1)
        found.append(
            f"A control group grants {facts.quota:g} of {facts.usable_cores} cores, which PyTorch does not "
            f"see: it is halted when its threads have used them up. Set OMP_NUM_THREADS={granted}."
        )
    elif asked > granted:
        told = f"OMP_NUM_THREADS={omp}" if omp else "PyTorch's number of threads"
        found.append(
            f"{told} is more than the {granted} cores that can be used: {asked} threads wait for each other. "
            f"Set OMP_NUM_THREADS={granted}."
        )
    if facts.torch_threads < granted:
        told = f" (OMP_NUM_THREADS={omp})" if omp else ""
        found.append(
            f"PyTorch uses {facts.torch_threads} of {granted} cores{told}: right for several runs at once, "
            f"slow for one. Set OMP_NUM_THREADS={granted} for one."
        )
    if facts.has_nvidia and not facts.gpus:
        why = "this PyTorch is built for CPUs alone" if facts.torch_cuda is None else "PyTorch cannot use it"
        do = "Install the CUDA build of torch" if facts.torch_cuda is None else "Update its driver"
        found.append(f"There is an NVIDIA GPU, but {why}, so that runs use the CPU. {do} (pytorch.org).")
    if facts.cannot_compile:
        found.append(
            f"torch.compile does not work here, so that long runs go without it ({facts.cannot_compile}). "
            "Install a C++ compiler, such as g++, and Python's headers."
        )
    if not facts.keeps_memory and platform.system() == "Linux":
        found.append(
            "The C library is not glibc, so that the memory of every step is asked for anew. Use a system "
            "with glibc, such as Debian."
        )
    if facts.flags and "avx2" not in facts.flags:
        found.append("The processor has no AVX2, for which PyTorch's products are made.")
    if facts.free_memory is not None and facts.free_memory < LEAST_MEMORY:
        found.append(
            f"{facts.free_memory:.1f} GiB of memory are free, a step may take {LEAST_MEMORY:g}. Give runs "
            "--train_memory and --eval_memory of less."
        )
    return found


def hints(facts: Facts) -> list[str]:
    """Return a sentence for everything that could be had."""
    found = [
        f"{one.name} is not installed, it is {one.used_for}: pip install {one.name}."
        for one in facts.optional
        if one.version is None
    ]
    if "amx_bf16" in facts.flags and not facts.gpus:
        found.append("The processor has AMX: --matmul_precision=medium lets products be bfloat16's.")
    return found
