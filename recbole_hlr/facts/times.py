"""What a column of times counts, and its dates."""

from __future__ import annotations

import numpy as np
import pandas as pd

YEAR = 365.25 * 86_400
EARLY = 1_000_000_000 / 10  # seconds: 1973; smaller numbers order interactions and are no dates
UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # of a second
NAMES = {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def unit_of(times: np.ndarray) -> str | None:
    """Return in what `times (n,)` count since 1970, by their median; None for numbers that are no dates."""
    middle = np.nanmedian(times) if np.isfinite(times).any() else 0.0
    if not middle > EARLY:
        return None
    for unit, per_second in UNITS.items():
        if middle / per_second < 100 * YEAR:
            return unit
    return None


def moment(time: float, unit: str | None) -> str:
    """Return a time as a date, a number that is none as it is, and nothing for none."""
    if not np.isfinite(time):
        return ""
    if unit is None:
        return f"{time:.10g}"
    try:
        return f"{pd.Timestamp(time / UNITS[unit], unit='s'):%Y-%m-%d}"
    except (ValueError, OverflowError):  # beyond what pandas has dates for
        return f"{time:.10g}"
