"""Dates and times of any unambiguous form as seconds since 1970, read as UTC where they name no zone."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas.tseries.api import guess_datetime_format

from recbole_hlr.errors import InputError

ORDERS = ("day-first", "month-first")
NUMERIC = (  # 31/12/2026 10:00
    r"^(?P<a>\d{1,2})(?P<sign>[/.\- ])(?P<b>\d{1,2})[/.\- ](?P<year>\d{4}|\d{2})(?P<time>$|[ ,T].*$)"
)
MONTH = r"(?i)\b(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)"
WEEKDAY = r"^(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*,? +"
DATED = r"\d{4}|\d\D\d{1,2}\D\d{2}"  # what names a year; `may` alone would be one of this year
FIXED = ("%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p", "%b %d %H:%M:%S %z %Y")  # that pandas does not guess
GUESSES = 6  # at forms of one block, before each of its dates is looked at on its own


class Dates:
    """How the dates of a column are read; `order`, if not given, follows from the first that tell it."""

    def __init__(self, order: str | None = None) -> None:
        self.order = order

    def seconds(self, texts: pa.Array) -> np.ndarray:
        """Return dates as whole seconds since 1970 `(n,)`, NaN for what is none.

        Raises `InputError` where each of these dates could begin with the day or with the month.
        """
        found = _seconds(texts.to_pandas(), "ISO8601")  # (n,)
        left = np.isnan(found)
        if left.any():
            found[left] = self._others(texts.filter(pa.array(left)))
        return found

    def _others(self, texts: pa.Array) -> np.ndarray:
        texts = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), WEEKDAY, "")
        parts = pc.extract_regex(texts, NUMERIC)
        if parts.null_count < len(parts):
            texts = pc.coalesce(self._year_first(parts), texts)
        texts = pc.if_else(pc.match_substring_regex(texts, DATED), texts, "")
        series = texts.to_pandas()
        found = np.full(len(series), np.nan)
        for _ in range(GUESSES):
            left = np.isnan(found) & (series != "").to_numpy()
            form = guessed(series[left].iloc[0]) if left.any() else None
            if form is None or np.isnan(now := _seconds(series[left], form)).all():
                break
            found[left] = now
        for form in FIXED:
            left = np.isnan(found) & (series != "").to_numpy()
            found[left] = _seconds(series[left], form) if left.any() else np.nan
        left = np.isnan(found) & series.str.contains(MONTH).to_numpy(dtype=bool)
        found[left] = _seconds(series[left], "mixed")
        return found

    def _year_first(self, parts: pa.StructArray) -> pa.Array:
        """Return dates such as 31/12/2026 with the year first, null where there is none or no such month."""
        a, sign, b, year, time = (parts.field(at) for at in range(5))
        valid = parts.is_valid()
        first, second = (
            pc.if_else(valid, column, "0").cast(pa.int8()).to_numpy(zero_copy_only=False) for column in (a, b)
        )
        if self.order is None:
            day_first, month_first = bool((first > 12).any()), bool((second > 12).any())
            if day_first == month_first:
                row = int(valid.index(True).as_py())
                shown = "".join(part[row].as_py() for part in (a, sign, b, sign, year))
                what = "neither day-first nor month-first" if day_first else "day-first or month-first"
                raise InputError(
                    f"dates such as {shown} may be {what}; give --dates=day-first or --dates=month-first"
                )
            self.order = ORDERS[0] if day_first else ORDERS[1]
        day, month = (a, b) if self.order == ORDERS[0] else (b, a)
        century = pc.if_else(pc.greater_equal(year, "69"), "19", "20")
        year = pc.if_else(
            pc.equal(pc.utf8_length(year), 2), pc.binary_join_element_wise(century, year, ""), year
        )
        date = pc.binary_join_element_wise(year, pc.utf8_lpad(month, 2, "0"), pc.utf8_lpad(day, 2, "0"), "-")
        time = pc.replace_substring_regex(time, r"^[ ,T]+", " ")
        dates = pc.binary_join_element_wise(date, time, "")
        return pc.if_else(valid, dates, None)


def guessed(text: str) -> str | None:
    """Return the form of a date, None where it is not seen or has the day before the month in numbers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the order, which is settled by now
        form = guess_datetime_format(text)
    return None if form is None or "%m" in form.partition("%d")[2] else form


def _seconds(dates: pd.Series, form: str) -> np.ndarray:
    """Return dates of a form of `strptime`, or of pandas' own, as seconds `(n,)`, NaN for what is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of zones and orders that dateutil does not know
        try:
            times = pd.to_datetime(dates, errors="coerce", format=form, utc=True)
        except (ValueError, re.error):  # a form that was guessed and cannot be used
            return np.full(len(dates), np.nan)
    whole = (times - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    return whole.to_numpy(dtype=np.float64, na_value=np.nan)
