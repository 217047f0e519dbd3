"""`doctor`: what is found here, and what is said of machines that are not this one."""

import dataclasses
import re
from pathlib import Path

import pytest
import torch
from torch._dynamo.exc import TorchDynamoException

from recbole_hlr.cli import main
from recbole_hlr.host import doctor

ROOT = Path(__file__).parents[1]
GOOD = doctor.Facts(
    needed=[doctor.Found("numpy", "2.1.0", ">=2,<3", "arrays")],
    optional=[],
    cores=8,
    usable_cores=8,
    quota=None,
    omp_threads=None,
    torch_threads=8,
    memory=32.0,
    free_memory=30.0,
    gpus=[],
    has_nvidia=False,
    torch_cuda=None,
    cannot_compile=None,
    keeps_memory=True,
    flags=["avx2"],
)


def found(monkeypatch, capsys, **changed) -> tuple[int, str]:
    """Return the code and the text of a machine that is like GOOD but for what has `changed`."""
    monkeypatch.setattr(doctor, "facts", lambda: dataclasses.replace(GOOD, **changed))
    return main(["doctor"]), capsys.readouterr().out


def test_nothing_is_wrong(monkeypatch, capsys):
    code, out = found(monkeypatch, capsys)
    assert code == 0
    assert out.endswith("\nNothing is wrong, and nothing slower than it has to be.\n")
    assert re.search(r"^numpy +2\.1\.0 +>=2,<3 +arrays$", out, re.M)
    assert "8 usable of 8" in out


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"omp_threads": "64"}, "OMP_NUM_THREADS=64 is more than the 8 cores .* Set OMP_NUM_THREADS=8"),
        ({"torch_threads": 16}, "PyTorch's number of threads is more than the 8 cores"),
        ({"torch_threads": 1, "omp_threads": "1"}, r"PyTorch uses 1 of 8 cores \(OMP_NUM_THREADS=1\)"),
        ({"quota": 2.5}, "A control group grants 2.5 of 8 cores.* Set OMP_NUM_THREADS=2"),
        ({"has_nvidia": True}, "NVIDIA GPU, but this PyTorch is built for CPUs alone.* Install the CUDA"),
        ({"has_nvidia": True, "torch_cuda": "12.8"}, "but PyTorch cannot use it.* Update its driver"),
        ({"cannot_compile": "no g[+][+]"}, r"torch.compile does not work.*Install a C\+\+ compiler"),
        ({"free_memory": 1.5}, "1.5 GiB of memory are free.*--train_memory"),
        ({"flags": ["avx512f"]}, "has no AVX2"),
    ],
    ids=str,
)
def test_what_is_slow_is_said_with_what_to_do(monkeypatch, capsys, changed, sentence):
    code, out = found(monkeypatch, capsys, **changed)
    assert code == 0
    assert re.search(sentence, out.partition("Slow, and why\n")[2])
    assert "Nothing is wrong" not in out


@pytest.mark.parametrize(
    ("name", "version", "supported", "sentence"),
    [
        ("numpy", "1.26.4", "<3,>=2", 'numpy is 1.26.4, supported is <3,>=2: pip install "numpy<3,>=2".'),
        ("ray", None, ">=2.60", "ray is not installed, supported is >=2.60: pip install"),
        ("python", "3.9.1", ">=3.10", "python is 3.9.1, supported is >=3.10: another Python is needed."),
    ],
)
def test_what_is_wrong_is_code_1(monkeypatch, capsys, name, version, supported, sentence):
    code, out = found(monkeypatch, capsys, needed=[doctor.Found(name, version, supported, "")])
    assert code == 1
    assert sentence in out.partition("Wrong\n")[2]


def test_an_optional_package_may_be_missing_but_not_too_old(monkeypatch, capsys):
    one = doctor.Found("index", None, ">=2", "fast")
    assert found(monkeypatch, capsys, optional=[one])[0] == 0
    assert found(monkeypatch, capsys, optional=[dataclasses.replace(one, version="2.1")])[0] == 0
    code, out = found(monkeypatch, capsys, optional=[dataclasses.replace(one, version="1.9")])
    assert code == 1
    assert "index is 1.9, supported is >=2" in out


def test_what_is_found_here(monkeypatch, capsys):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setenv("OMP_NUM_THREADS", "999")
    facts = doctor.facts()
    assert {one.name: one.version for one in facts.needed}["torch"] == torch.__version__
    assert not doctor.broken(facts)
    assert all(one.used_for for one in facts.needed[2:])
    assert 0 < facts.usable_cores <= facts.cores
    assert facts.memory is None or facts.memory > 0.1
    assert main(["doctor"]) == 0
    assert "OMP_NUM_THREADS=999 is more than" in capsys.readouterr().out


@pytest.mark.parametrize("works", [True, False])
def test_whether_there_is_a_compiler_is_what_the_package_finds(monkeypatch, caplog, works):
    def compiled(*given):
        if not works:
            raise TorchDynamoException("no g++")
        return given[0]

    monkeypatch.setattr(torch, "compile", lambda function: compiled)
    assert (doctor.compile_trouble() is None) == works
    assert works or "no g++" in str(doctor.compile_trouble())
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({"cpu.max": "150000 100000", "memory.max": str(2**30), "memory.current": str(2**29)}, 1.5, 1.0),
        ({"cpu.max": "max 100000", "memory.max": "max"}, None, None),
        ({"job/cpu.max": "50000 100000", "cpu.max": "max 100000"}, 0.5, None),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000",
          "memory/memory.limit_in_bytes": str(2**30)}, 2.0, 1.0),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None, None),
        ({}, None, None),
    ],
)  # fmt: skip
def test_control_groups(monkeypatch, tmp_path, files, cores, memory):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    system = {
        "/proc/self/cgroup": "0::/job\n",
        "/proc/meminfo": "MemTotal: 4194304 kB\nMemAvailable: 3145728 kB\n",
    }
    read = doctor.text_of
    monkeypatch.setattr(doctor, "text_of", lambda path: system.get(str(path)) or read(path))
    monkeypatch.setattr(doctor, "GROUPS", tmp_path)
    assert doctor.core_quota() == cores
    total, free = doctor.memory_sizes()
    assert total == (memory or 4.0)
    assert free == (3.0 if memory is None else 0.5 if "memory.current" in files else 1.0)
