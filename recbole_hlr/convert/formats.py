"""The formats that are known: which file, which columns, which values, which name."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from recbole_hlr.convert.check import ITEM, PLAYS, RATING, TIME, USER, Rule
from recbole_hlr.convert.delimited import Delimited
from recbole_hlr.convert.forms import pick
from recbole_hlr.convert.json_lines import Json
from recbole_hlr.convert.rows import Layout, Reading, parsed_lines
from recbole_hlr.convert.source import Entry, first_text
from recbole_hlr.errors import InputError

MOVIE_FILES = {"\t": "u.item", "::": "movies.dat", ",": "movies.csv"}  # titles, by the delimiter of ratings
JSON_KEYS = (  # of the reviews: Yelp; Amazon 2014 and 2018; Amazon 2023
    {USER: "user_id", ITEM: "business_id", RATING: "stars", TIME: "date"},
    {USER: "reviewerID", ITEM: "asin", RATING: "overall", TIME: "unixReviewTime"},
    {USER: "user_id", ITEM: "parent_asin", RATING: "rating", TIME: "timestamp"},
)


class Format(NamedTuple):
    """A format: the file to look for in a folder or archive, and what its values may be."""

    patterns: tuple[str, ...]
    rule: Rule


POSITIVE = Rule(r"^[1-9][0-9]*$", "a whole number above 0", 0.5, 5)
FORMATS = {
    "movielens": Format(("ratings.csv", "ratings.dat", "u.data"), POSITIVE),
    "echonest": Format(("*train_triplets*", "*triplets*"), Rule(least=1)),
    "yelp": Format(("*review*.json", "*.json"), Rule(least=1, most=5)),
    "amazon": Format(("*.json", "*.jsonl", "*.csv"), Rule(least=0, most=5)),
    "table": Format(("*",), Rule()),
}


def read_published(kind: str, entry: Entry, encoding: str) -> Reading:
    """Return the rows of a publisher's file; `InputError` says what is wrong with the first line."""
    text = first_text(entry, encoding)
    layouts: dict[str, Callable[[Entry, str], Layout]] = {
        "movielens": movielens,
        "echonest": echonest,
        "yelp": reviews,
        "amazon": amazon,
    }
    layout = layouts[kind](entry, text)
    movies = MOVIE_FILES[layout.delimiter] if kind == "movielens" and isinstance(layout, Delimited) else ""
    return Reading(parsed_lines(entry, encoding, layout), "", str(entry), movies)


def movielens(entry: Entry, text: str) -> Delimited:
    """Return the layout of ratings.csv (20M and later), ratings.dat (1M, 10M) or u.data (100K)."""
    for delimiter in ("::", "\t"):
        if any(delimiter in line for line in text.split("\n") if line.strip()):
            return Delimited(delimiter, 4, {USER: 0, ITEM: 1, RATING: 2, TIME: 3})
    return with_header(
        entry, text, ",", {USER: "userId", ITEM: "movieId", RATING: "rating", TIME: "timestamp"}
    )


def echonest(entry: Entry, text: str) -> Delimited:
    """Return the layout of train_triplets.txt: user, song, play count, separated by tabs."""
    lines = text.strip("\n").split("\n")
    if not any(line.count("\t") == 2 for line in lines):
        what = f"{lines[0][:60]!r} must be user, song and play count, separated by tabs"
        raise InputError(f"{entry}, line 1: {what}")
    return Delimited("\t", 3, {USER: 0, ITEM: 1, PLAYS: 2})


def reviews(entry: Entry, text: str) -> Json:
    """Return the layout of reviews, a JSON object on each line, by the keys of the first that is one."""
    lines = text.strip().split("\n")
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            for keys in JSON_KEYS:
                if isinstance(record, dict) and set(keys.values()) <= set(record):
                    return Json(keys, frozenset({RATING, TIME} if keys[TIME] != "date" else {RATING}))
    known = " or ".join(", ".join(keys.values()) for keys in JSON_KEYS)
    what = f"{lines[0][:60]!r} must be a JSON object with {known}"
    raise InputError(f"{entry}, line 1: {what}")


def amazon(entry: Entry, text: str) -> Delimited | Json:
    """Return the layout of reviews (JSON) or of ratings (CSV).

    The ratings of 2014 are user, item, rating, time; those of 2018 item, user, rating, time, which an
    item's ten characters tell; those of 2023 have a header.
    """
    if text.lstrip().startswith(("{", "[")):
        return reviews(entry, text)
    if "rating" in header(text, ",")[0]:
        names = {USER: "user_id", ITEM: "parent_asin", RATING: "rating", TIME: "timestamp"}
        return with_header(entry, text, ",", names)
    lines = [line.split(",") for line in text.split("\n") if line.count(",") == 3]
    if not lines:
        shown = text.strip().split("\n")[0][:60]
        what = f"{shown!r} must be user, item, rating and time, with commas between"
        raise InputError(f"{entry}, line 1: {what}")
    ten = [sum(len(line[at]) == 10 for line in lines) for at in (0, 1)]
    user, item = (1, 0) if ten[0] > ten[1] else (0, 1)
    return Delimited(",", 4, {USER: user, ITEM: item, RATING: 2, TIME: 3})


def with_header(entry: Entry, text: str, delimiter: str, columns: Mapping[str, str]) -> Delimited:
    """Return the layout of a file whose first line that is not empty names its columns."""
    names, lines = header(text, delimiter)
    fields = {field: names.index(name) for field, name in pick(entry, names, columns).items()}
    return Delimited(delimiter, len(names), fields, header=lines, quoted=True)


def header(text: str, delimiter: str) -> tuple[list[str], int]:
    """Return the names in the first line that has any, and the number of lines up to its end."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    with contextlib.suppress(csv.Error):
        for names in reader:
            if any(name.strip() for name in names):
                return names, reader.line_num
    return [], 0


def data_set_name(kind: str, source: Path, entry: Entry) -> str:
    """Return the name of the data set where none is given; `InputError` where it cannot be told."""
    if kind == "movielens":
        folder = source.absolute() if source.is_dir() else source.absolute().parent
        inside = PurePosixPath(entry.member).parent.name if entry.member else ""
        for name in (inside, source.stem, folder.name):
            if name.lower().startswith("ml-"):
                return name.lower().replace("ml-10m100k", "ml-10m")
        raise InputError(f"{source}: cannot tell which MovieLens this is; give --name=ml-20m, for example")
    if kind == "amazon":
        stem = re.split(r"\.(?:csv|jsonl?)\b", entry.plain_name)[0]
        category = re.sub(r"^(reviews|ratings)_|_5$|_10$", "", stem)
        return "amazon-" + re.sub(r"[^a-z0-9]+", "-", category.lower()).strip("-")
    return kind
