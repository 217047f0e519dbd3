"""What a row must hold to be written: ids that load back as themselves, numbers that are numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recbole_hlr.convert.dates import Dates
from recbole_hlr.convert.rows import Malformed, Parsed
from recbole_hlr.errors import InputError

USER, ITEM, RATING, PLAYS, TIME = "user_id", "item_id", "rating", "play_count", "timestamp"
LABEL = "label"
KINDS = {USER: "token", ITEM: "token", RATING: "float", PLAYS: "float", TIME: "float", LABEL: "float"}

# Texts that pandas, and so RecBole, reads as a missing value; [PAD] is RecBole's own id 0.
MISSING = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A",
     "NA", "NULL", "NaN", "None", "n/a", "nan", "null"]
)  # fmt: skip
RESERVED = MISSING | {"[PAD]"}
CONTROL = r"[\x00-\x1f\x7f]"
ANY_ID = "not empty, without tab, line break or leading quote, and no word such as NA, null or [PAD]"


class Rule(NamedTuple):
    """What the ids and the value of a format may be; `ids` is a regular expression for those allowed.

    `decimal`: what stands before the decimals of a number, with `.`, `,`, `'` or blanks between thousands.
    """

    ids: str | None = None
    ids_allowed: str = ANY_ID
    least: float = -np.inf
    most: float = np.inf
    decimal: str | None = None


class Rows(NamedTuple):
    """Rows that can be written, by field; `users` and `items` again as codes of distinct texts."""

    columns: dict[str, pa.Array]
    users: pa.DictionaryArray
    items: pa.DictionaryArray
    value: np.ndarray | None
    time: np.ndarray | None


def check(
    parsed: Parsed, rule: Rule, dates: Dates, where: str, kinds: Mapping[str, str] = KINDS
) -> tuple[Rows, list[Malformed]]:
    """Return the rows of `parsed` that can be written, and all lines that are left out, in order.

    `kinds` are the types of all columns; those that are in `KINDS` too must have a value.
    Raises `InputError`, which begins with `where`, if the dates of the times may be read in two ways.
    """
    columns = {
        field: with_point(column, rule.decimal) if kinds[field] == "float" else column
        for field, column in parsed.columns.items()
    }
    if TIME in columns:
        try:
            columns[TIME] = seconds(columns[TIME], dates)
        except InputError as error:
            raise error.within(f"{where}, column of times") from None
    good = np.ones(len(parsed.lines), dtype=bool)  # (n,)
    faults = {}
    for field in columns:
        if field not in KINDS and kinds[field] != "float":
            columns[field] = as_words(columns[field])
            continue
        faults[field] = (
            wrong_ids(columns[field], rule) if field in (USER, ITEM) else wrong(columns, field, rule)
        )
        good &= ~faults[field]
    malformed = list(parsed.malformed)
    if not good.all():
        malformed += [reason(parsed, faults, int(row), rule) for row in (~good).nonzero()[0]]
        malformed.sort()
        keep = pa.array(good)
        columns = {field: column.filter(keep) for field, column in columns.items()}
    value = next((columns[field] for field in (RATING, PLAYS) if field in columns), None)
    return Rows(
        columns,
        columns[USER].dictionary_encode(),
        columns[ITEM].dictionary_encode(),
        numbers(value) if value is not None else None,
        numbers(columns[TIME]) if TIME in columns else None,
    ), malformed


def wrong_ids(column: pa.Array, rule: Rule) -> np.ndarray:
    """Say `(n,)` which ids cannot be written; each distinct id is looked at once."""
    coded = column.dictionary_encode()
    distinct = coded.dictionary
    if rule.ids is not None:
        bad = pc.invert(pc.match_substring_regex(distinct, rule.ids))
    else:
        bad = pc.or_(
            pc.match_substring_regex(distinct, f'^"|{CONTROL}'),
            pc.is_in(distinct, pa.array(sorted(RESERVED))),
        )
    if not pc.any(bad).as_py():
        return np.zeros(len(column), dtype=bool)
    return bad.to_numpy(zero_copy_only=False)[coded.indices.to_numpy()]


def wrong(columns: dict[str, pa.Array], field: str, rule: Rule) -> np.ndarray:
    """Say `(n,)` which values are no finite number, or not in the range of the format."""
    value = numbers(columns[field])
    if field not in KINDS:
        return ~(np.isfinite(value) | pc.equal(columns[field], "").to_numpy(zero_copy_only=False))
    least, most = (rule.least, rule.most) if field in (RATING, PLAYS) else (-np.inf, np.inf)
    return ~(np.isfinite(value) & (value >= least) & (value <= most))


def as_words(column: pa.Array) -> pa.Array:
    """Return texts as values of an atomic file: control characters are blanks, a first quote follows one."""
    plain = pc.replace_substring_regex(column, f"(?:{CONTROL})+", " ")
    return pc.replace_substring_regex(plain, '^"', ' "')


def numbers(column: pa.Array) -> np.ndarray:
    """Return texts as numbers `(n,)`, NaN where one is none."""
    try:
        return column.cast(pa.float64()).to_numpy()
    except pa.ArrowInvalid:
        return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(dtype=np.float64)


def with_point(column: pa.Array, decimal: str | None) -> pa.Array:
    """Return numbers with a point before their decimals and nothing between thousands; other texts stay."""
    if decimal is None:
        return column
    between, point = ("[.'\u00a0\u202f ]", ",") if decimal == "," else ("[,'\u00a0\u202f ]", "[.]")
    whole = rf"[-+]?\d+|[-+]?\d{{1,3}}(?:{between}\d{{3}})+"
    is_number = pc.match_substring_regex(column, rf"^(?:{whole})?(?:{point}\d*)?$")
    plain = pc.replace_substring_regex(column, between, "")
    return pc.if_else(is_number, pc.replace_substring(plain, ",", "."), column)


def seconds(column: pa.Array, dates: Dates) -> pa.Array:
    """Return a column of times as seconds since 1970: numbers as they are, dates and times as UTC."""
    texts = np.isnan(numbers(column))  # (n,)
    if not texts.any():
        return column
    found = np.full(len(column), np.nan)
    found[texts] = dates.seconds(column.filter(pa.array(texts)))
    whole = pa.array(found, mask=np.isnan(found)).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(whole, column)


def reason(parsed: Parsed, faults: dict[str, np.ndarray], row: int, rule: Rule) -> Malformed:
    """Return why a row is left out, by its first wrong field."""
    field = next(field for field in faults if faults[field][row])
    text = parsed.columns[field][row].as_py()
    shown = re.sub(CONTROL, "?", text if len(text) <= 40 else text[:37] + "...")
    allowed = rule.ids_allowed
    if field == TIME:
        allowed = "a number or a date, such as 2026-01-31 23:59:59"
    elif field not in (USER, ITEM):
        bounds = [
            f"{word} {n:g}"
            for word, n in (("at least", rule.least), ("at most", rule.most))
            if np.isfinite(n) and field in KINDS
        ]
        allowed = " ".join(["a number", " and ".join(bounds)]).rstrip()
        if rule.decimal is None and re.fullmatch(r"[-+\d.' ]*,[\d.,' ]*", text):
            allowed += " (--decimal says what stands before the decimals)"
    return Malformed(int(parsed.lines[row]), f"{field}={shown} must be {allowed}")
