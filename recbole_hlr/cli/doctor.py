"""`recbole-hlr doctor`: what a run finds on this machine, what is slow, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from recbole_hlr.cli.verbs import HELP, begin

if TYPE_CHECKING:
    from recbole_hlr.host.doctor import Facts, Found


def doctor() -> int:
    """Print what is found; return 1 where something that is needed is missing or not supported."""
    begin()
    from recbole_hlr.host import doctor as of_host

    facts = of_host.facts()
    print(described(facts))
    wrong = of_host.broken(facts)
    for title, sentences in (
        ("Wrong", wrong),
        ("Slow, and why", of_host.slow(facts)),
        ("Could be had", of_host.hints(facts)),
    ):
        if sentences:
            print("\n".join(["", title, *(f"  - {sentence}" for sentence in sentences)]))
    if not wrong and not of_host.slow(facts):
        print("\nNothing is wrong, and nothing slower than it has to be.")
    return 1 if wrong else 0


def described(facts: Facts) -> str:
    """Return packages and machine, a line each."""
    from tabulate import tabulate

    def row(one: Found) -> list[str]:
        return [one.name, one.version or "missing", one.supported, one.used_for]

    head = ["package", "version", "supported", "for"]
    rows = [
        *map(row, facts.needed),
        *([*row(one)[:3], f"optional: {one.used_for}"] for one in facts.optional),
    ]
    quota = "" if facts.quota is None else f", a control group grants {facts.quota:g}"
    memory = "not known"
    if facts.memory is not None and facts.free_memory is not None:
        memory = f"{facts.memory:.1f} GiB, {facts.free_memory:.1f} free"
    cuda = "a CPU-only PyTorch" if facts.torch_cuda is None else f"PyTorch for CUDA {facts.torch_cuda}"
    machine = [
        ("cores", f"{facts.usable_cores} usable of {facts.cores}{quota}"),
        ("threads", f"{facts.torch_threads} of PyTorch, OMP_NUM_THREADS={facts.omp_threads or 'not set'}"),
        ("memory", memory),
        ("GPU", f"{', '.join(facts.gpus) or 'none'}; {cuda}"),
        ("torch.compile", "does not work" if facts.cannot_compile else "works"),
        ("allocator", "keeps freed memory" if facts.keeps_memory else "the system's, as it is"),
        ("processor", ", ".join(facts.flags) or "none of AVX2, AVX-512, AMX is known"),
    ]
    packages = tabulate(rows, headers=head, disable_numparse=True)
    return f"{packages}\n\n" + tabulate(machine, tablefmt="plain", disable_numparse=True)


doctor_command = click.Command(
    "doctor",
    callback=doctor,
    help="Tell versions, threads, memory, GPU and compiler, what is slow and why, and what to do about it.",
    short_help="Tell what is found on this machine, what is slow, and why",
    epilog="Example: recbole-hlr doctor",
    context_settings=HELP,
)
