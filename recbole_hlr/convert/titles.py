"""Titles, years and genres of MovieLens, and how a text is written so that it loads back as itself.

RecBole's atomic files have no quoting: a tab or a line break would end a value. It splits a text
(`token_seq`) at spaces and forgets empty words, so that a space more changes nothing.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from recbole_hlr.convert.check import MISSING
from recbole_hlr.convert.rows import Malformed
from recbole_hlr.convert.source import Entry, blocks
from recbole_hlr.errors import InputError

HEADER = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
GENRES = (  # of the 19 flags in u.item, as the README of MovieLens 100K lists them
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
)  # fmt: skip


class Movie(NamedTuple):
    """What is known of a movie; `genres` are separated by spaces."""

    title: str = ""
    year: str = ""
    genres: str = ""


def as_value(text: str) -> str:
    """Return a text as a value of a `token_seq` column.

    A tab, line break or other control character becomes a space. A text that begins with a quote, or is a
    word such as NA that RecBole would read as missing, gets a space before it.
    """
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text)
    return f" {text}" if text.startswith('"') or (text and text in MISSING) else text


def write_movies(path: Path, movies: dict[str, Movie], rated: list[str]) -> int:
    """Write the `.item` file of the rated movies; return how many of them have no title."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write(HEADER)
        for item in rated:
            movie = movies.get(item, Movie())
            file.write(f"{item}\t{as_value(movie.title)}\t{movie.year}\t{as_value(movie.genres)}\n")
    return sum(item not in movies for item in rated)


def read_movies(entry: Entry, encoding: str | None) -> tuple[dict[str, Movie], list[Malformed]]:
    """Return the movies of movies.csv, movies.dat or u.item by id, and the lines that are left out.

    Without `encoding` they are UTF-8 or, in the two older formats, Latin-1 where they are not UTF-8.
    """
    comma = entry.plain_name.endswith(".csv")
    try:
        text = whole_text(entry, encoding or "utf-8", comma)
    except InputError as error:
        if encoding or comma or "utf-8 text" not in str(error):
            raise
        text = whole_text(entry, "latin-1", comma)
    movies: dict[str, Movie] = {}
    malformed: list[Malformed] = []
    for line, record in records(text, entry.plain_name, entry):
        movie = movie_of(record)
        if movie is None:
            malformed.append(
                Malformed(line, f"has {len(record)} columns; must have a movie's id, title and genres")
            )
        else:
            movies.setdefault(record[0], movie)
    return movies, malformed


def whole_text(entry: Entry, encoding: str, quoted: bool) -> str:
    """Return a file's text; a catalogue is small beside its ratings."""
    return b"".join(block.data for block in blocks(entry, encoding, quoted)).decode()


def records(text: str, name: str, entry: Entry) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a catalogue that are not empty, each with the line on which it ends."""
    if not name.endswith(".csv"):
        separator = "|" if name.endswith(".item") else "::"
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                yield number, line.split(separator)
        return
    reader = csv.reader(io.StringIO(text, newline=""))
    rows = (record for record in reader if any(value.strip() for value in record))
    try:
        if (header := next(rows, [])) != ["movieId", "title", "genres"]:
            raise InputError(
                f"{entry}, line 1: the columns are {', '.join(header)}; must be movieId, title, genres"
            )
        for record in rows:
            yield reader.line_num, record
    except csv.Error as error:
        raise InputError(f"{entry}, line {reader.line_num}: is no CSV ({error})") from None


def movie_of(record: list[str]) -> Movie | None:
    """Return a record of one of the three formats as a movie; None where it has another shape."""
    if len(record) == 5 + len(GENRES):  # u.item: id, title, two dates, address, flags
        genres = [name for name, flag in zip(GENRES, record[5:], strict=True) if flag == "1"]
    elif len(record) == 3:
        genres = record[2].split("|") if record[2] != "(no genres listed)" else []
    else:
        return None
    found = re.fullmatch(r"(.*\S)\s*\((\d{4})\)\s*", record[1], re.DOTALL)
    title, year = found.groups() if found else (record[1], "")
    return Movie(title, year, " ".join(genres))
