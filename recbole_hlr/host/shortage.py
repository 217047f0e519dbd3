"""What a machine is short of, memory or room on a disk, told in one sentence."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator, Mapping

import torch

from recbole_hlr.errors import InputError
from recbole_hlr.files import FULL, unwritten
from recbole_hlr.options.table import COUNTS
from recbole_hlr.protocols import InteractionData, RunConfig

ALLOCATORS = (  # torch raises plain RuntimeErrors for these
    "DefaultCPUAllocator",
    "CUDA error: out of memory",
    "STATUS_ALLOC_FAILED",
    "Storage size calculation overflowed",
)


@contextlib.contextmanager
def shortage_told(config: RunConfig, dataset: InteractionData | None = None) -> Iterator[None]:
    """Raise `InputError` where the work of a run needs more memory or room on a disk than there is.

    It names the largest sizes, those of `dataset` included; everything else that goes wrong passes.
    """
    try:
        yield
    except (MemoryError, OSError, RuntimeError) as error:
        where = f"model={config.model} on {config.dataset}"
        if is_out_of_memory(error):
            raise InputError(
                f"{where}: out of memory{asked(error)}; its largest sizes are {largest(config, dataset)}: "
                "lower what is too large"
            ) from error
        if isinstance(error, OSError) and error.errno in (*FULL, errno.EROFS):
            raise InputError(unwritten(error.filename or where, error)) from error
        raise


def is_out_of_memory(error: Exception) -> bool:
    """Say whether an allocation failed: on the CPU, on a GPU, in numpy or in Python."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return any(text in str(error) for text in ALLOCATORS)


def asked(error: Exception) -> str:
    """Return how much memory was asked for at once, as torch and numpy say it, or ''."""
    found = re.search(r"allocate ([\d.]+) ?(bytes|[KMGTPE]iB)", str(error))
    if found is None:
        return ""
    number, unit = found.groups()
    amount = f"{int(number) / 2**30:.1f} GiB" if unit == "bytes" else f"{number} {unit}"
    return f" ({amount} were asked for at once)"


def largest(config: RunConfig, dataset: InteractionData | None) -> str:
    """Return the five largest of the sizes of a run: of its data, its model and its batches."""
    values = config.requested
    sizes = {
        key: max(numbers(value), default=0)
        for key, value in values.items()
        if key.islower() and key not in COUNTS and "step" not in key
    }
    sizes["sample_num"] = (values["train_neg_sample_args"] or {}).get("sample_num", 0)
    if dataset is not None:
        sizes.update(users=dataset.user_num - 1, items=dataset.item_num - 1)
    best = sorted(sizes.items(), key=lambda size: -size[1])[:5]
    return ", ".join(f"{key}={value}" for key, value in best if value > 1)


def numbers(value: object) -> list[int]:
    """Return the integers of an option that is one or a list of them."""
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, int) and not isinstance(entry, bool)]


def extremes(options: Mapping[str, object]) -> str:
    """Return the numbers among options that are so large that a loss may overflow, as `key=value`, or ''."""
    large = {
        key: value
        for key, value in options.items()
        if isinstance(value, int | float) and abs(value) >= 1e6 and key not in COUNTS and "_size" not in key
    }
    return ", ".join(f"{key}={value}" for key, value in large.items())
