"""What the C library does with memory that a tensor has given back."""

from __future__ import annotations

import ctypes
import functools

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # mallopt(3)


@functools.cache
def keep_freed_memory() -> bool:
    """Let this process keep what tensors free, for the next ones; say whether the C library can.

    By default glibc asks the kernel for every large block and returns it at once, so that each step
    waits for the kernel to clear the same pages again: half of a training step on a CPU, and ten
    elevenths of the gradient of a table of 130,000 rows. The process keeps its highest memory use;
    that use itself does not grow. Elsewhere (macOS, Windows, musl) nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = mallopt(_TRIM_THRESHOLD, 2**31 - 1) and mallopt(_TOP_PAD, 2**26)
    return bool(kept and mallopt(_MMAP_MAX, 0))
