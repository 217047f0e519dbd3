"""What form a text has: recognised by its first lines, where an option does not say it."""

from __future__ import annotations

import ast
import contextlib
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from recbole_hlr.convert.check import ITEM, PLAYS, RATING, TIME, USER
from recbole_hlr.convert.delimited import Delimited, long_values, squeezed
from recbole_hlr.convert.json_lines import BROKEN, Records, kind_of
from recbole_hlr.convert.layouts import Adjacency, Blocks, Lists, Matrix
from recbole_hlr.convert.rows import Layout
from recbole_hlr.convert.source import Entry
from recbole_hlr.convert.table import OF_WHERE, Table
from recbole_hlr.convert.where import Where
from recbole_hlr.errors import InputError

SAMPLE = 100  # records that are looked at
ORDER = ["\t", "::", ";", "|", ",", " "]  # separators; of two that fit a file the earlier
SPOKEN = {"\t": "tabs", " ": "blanks", ",": "commas", ";": "semicolons", "|": "bars"}
USUAL = {  # names of columns as publishers give them, without case and underscores
    USER: "user userid uid username reviewerid visitorid customerid memberid sessionid",
    ITEM: "item itemid iid sku asin parentasin movieid productid songid artistid bookid isbn businessid",
    RATING: "rating ratings stars overall bookrating",
    PLAYS: "count playcount plays weight",
    TIME: "timestamp time datetime date unixreviewtime",
}
NUMBER = re.compile(r"[-+]?[\d.,'\u00a0 ]*\d[\d.,]*(?:[eE][-+]?\d+)?")
TYPED = re.compile(r"([^:]+):(token|float)(_seq)?")  # a column of an atomic file
PLACES = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.]+Z?\|-?\d+(\.\d+)?\|-?\d+(\.\d+)?")  # of a check-in
SHOWN = re.compile(r"\S+-[01]( \S+-[01])*")  # of impressions


class Form(NamedTuple):
    """How a text is to be read, and what was recognised, as a person is told."""

    layout: Layout
    says: str


def recognise(entry: Entry, text: str, table: Table) -> Form:
    """Return the form of a text that begins so; `InputError` where its columns cannot be told."""
    name = table.form or guess(text, table)
    makers = {"json": records, "python": records, "adjacency": adjacency, "blocks": blocks}
    if name in makers:
        return makers[name](entry, text, table)
    return Lines(entry, text, table, name).form()


def guess(text: str, table: Table) -> str:
    """Return which of the forms a text most likely has."""
    begin = text.lstrip()
    if re.match(r"\[\s*[{\]]|\{\s*\"", begin):
        return "json"
    if re.match(r"\{\s*u?'", begin):
        return "python"
    lines = [line.strip() for line in text.split("\n")[table.skip_lines or 0 :] if line.strip()][:SAMPLE]
    if len(lines) > 1 and re.fullmatch(r"[^\s,]+:", lines[0]) and "," in lines[1]:
        return "blocks"
    if table.columns or table.separator or table.header is not None:
        return "values"
    widths = {len(line.split()) for line in lines}
    if len(widths) > 1 and all(re.fullmatch(r"\d+( +\d+)*", line) for line in lines[1:]):
        return "adjacency" if sizes_before([line.split() for line in lines]) == 0 else "values"
    return "values"


def records(entry: Entry, text: str, table: Table) -> Form:
    """Return the form of objects, one on a line or all in an array."""
    python = table.form == "python" or re.match(r"\{\s*u?'", text.lstrip()) is not None
    sample, array = sampled(text, python)
    if not sample:
        raise InputError(f"{entry}, line 1: {text.strip()[:60]!r} must be a JSON object")
    flat = [{key: value for key, value in record.items() if not isinstance(value, dict)} for record in sample]
    names = list(dict.fromkeys(key for record in flat for key in record))
    fields = chosen(entry, names, table, f"{'dicts' if python else 'JSON objects'} with ")
    kinds = {key: kind_of(record.get(key) for record in sample) for key in fields.values()}
    what = "a Python dict" if python else "a JSON object"
    where = "in an array" if array else "on each line"
    return Form(Records(fields, kinds, python, array), f"{what} {where}; {told(fields)}")


def sampled(text: str, python: bool) -> tuple[list[dict[str, Any]], bool]:
    """Return the first objects of a text, and whether they are in one array or on several lines each."""
    found = []
    for line in text.split("\n")[:SAMPLE]:
        with contextlib.suppress(*BROKEN):
            found.append(ast.literal_eval(line.strip()) if python else json.loads(line))
    objects = [record for record in found if isinstance(record, dict)]
    if objects or python:
        return objects, False
    decoder, at = json.JSONDecoder(), 0
    with contextlib.suppress(ValueError):
        while len(objects) < SAMPLE and (start := re.compile(r"[\s,\[]*").match(text, at)):
            value, at = decoder.raw_decode(text, start.end())
            objects += [value] if isinstance(value, dict) else []
    return objects, True


def adjacency(entry: Entry, text: str, table: Table) -> Form:
    """Return the form of lines `u i1 i2 ...`."""
    refuse_columns(entry, table, "a user and their items on each line")
    return Form(Adjacency(table.skip_lines or 0), "a user and all of their items on each line")


def blocks(entry: Entry, text: str, table: Table) -> Form:
    """Return the form of lines `user,rating,date` below a line `item:`."""
    refuse_columns(entry, table, "users, ratings and dates below lines of items")
    lines = [line.strip() for line in text.split("\n") if line.strip() and not line.strip().endswith(":")]
    width = min(max(Counter(line.count(",") + 1 for line in lines[:SAMPLE]).most_common(1)[0][0], 1), 3)
    what = ("users", "users and ratings", "users, ratings and dates")[width - 1]
    return Form(Blocks(table.skip_lines or 0, width), f"{what} below lines `item:`")


def refuse_columns(entry: Entry, table: Table, what: str) -> None:
    """Raise `InputError` where columns are named of a form that has none."""
    if table.columns:
        given = ", ".join(f"{field}={name}" for field, name in table.columns.items())
        raise InputError(f"{entry}: holds {what}, and so no columns to name ({given})")


class Lines:
    """Lines of values between separators: which, where they begin, what the columns are called."""

    def __init__(self, entry: Entry, text: str, table: Table, name: str) -> None:
        self.entry, self.table, self.name = entry, table, name
        lines = text.split("\n")
        said = 0
        while table.skip_lines is None and lines[said].startswith("%"):
            said += 1  # comments, as of MatrixMarket and KONECT
        said += text.startswith("%%MatrixMarket")  # and a line of sizes
        self.skipped = said if table.skip_lines is None else table.skip_lines
        text = "\n".join(lines[self.skipped :])
        self.quoted = table.quotes not in ("kept", "off")
        self.separator = table.separator or self._separator(text)
        rows = self._records(text, self.separator)
        if not rows:
            raise InputError(f"{entry}: has nothing below its first {self.skipped} lines")
        sizes = sizes_before([values for values, _ in rows]) if table.skip_lines is None else 0
        before = rows[sizes - 1][1] if sizes else 0
        self.skipped += before
        self.rows = [values for values, _ in rows[sizes:]]
        self.ends = [end - before for _, end in rows[sizes:]]
        self.width = Counter(map(len, self.rows[1:] or self.rows)).most_common(1)[0][0]
        self.header = self._has_header() if table.header is None else table.header
        self.names = self._names()
        self.width = len(self.names)

    def form(self) -> Form:
        """Return the form; `InputError` where the columns of user and item cannot be told."""
        between = SPOKEN.get(self.separator, repr(self.separator))
        head = "below a header" if self.header else "without a header"
        says = f"{len(self.names)} columns between {between}, {head}"
        if self.skipped:
            says += f", after {self.skipped} lines that are left out"
        free = self.name == "values" and not self.table.columns and not self.table.side
        if self.name == "matrix" or (free and self._is_matrix()):
            every = {str(at): at for at in range(len(self.names))}
            matrix = Matrix(self._delimited(every), self.names[1:], self.table.decimal)
            return Form(matrix, f"a matrix of users x {len(self.names) - 1} items, {says}")
        fields = self._fields(says)
        places = {field: self.names.index(column) for field, column in fields.items()}
        layout = self._delimited(places)
        says = f"{says}; {told(fields)}"
        if self.table.side:
            return Form(layout, says)
        cells = [row[places[ITEM]] for row in self._data() if len(row) == self.width]
        labelled = bool(cells) and all(SHOWN.fullmatch(cell) for cell in cells)
        if self.name == "lists" or (labelled and any(" " in cell for cell in cells)):
            what = "lists of items, -1 and -0 their labels" if labelled else "lists of items"
            return Form(Lists(layout, labelled, layout.quoted), f"{says}; {what}")
        return Form(layout, says)

    def _delimited(self, places: dict[str, int]) -> Delimited:
        begin = self.skipped + (self.ends[0] if self.header else 0)
        quotes = self.table.quotes if self.table.quotes in ("escaped", "off") else ""
        return Delimited(self.separator, len(self.names), places, begin, self.quoted, quotes or "")

    def _records(self, text: str, separator: str) -> list[tuple[list[str], int]]:
        """Return the first records that hold something, each with the line on which it ends."""
        if self.table.quotes == "escaped":
            text = text.replace('\\"', '""')
        if not self.quoted or len(separator) > 1 or separator == " ":
            lines = enumerate(text.split("\n"), start=1)
            found = [(split(line, separator), at) for line, at in ((s, n) for n, s in lines) if line.strip()]
            if self.table.quotes == "off":
                found = [([value.strip('"') for value in values], at) for values, at in found]
            return found[:SAMPLE]
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        found = []
        with contextlib.suppress(csv.Error), long_values():
            for values in reader:
                if any(value.strip() for value in values):
                    found.append((values, reader.line_num))
                if len(found) == SAMPLE:
                    break
        return found

    def _separator(self, text: str) -> str:
        """Return the separator that finds most of the named columns, or that splits most lines alike."""

        def fits(separator: str) -> tuple[int, float]:
            rows = [values for values, _ in self._records(text, separator)] or [[""]]
            widths = Counter(len(row) for row in rows if len(row) > 1)
            there = [name.strip() for name in rows[0]]
            named = sum(name in there for name in self.table.columns.values())
            return named, max(widths.values(), default=0) / len(rows)

        return max(ORDER, key=fits)

    def _has_header(self) -> bool:
        """Say whether the first line names columns: those that are asked for, or else by what it holds."""
        first = [value.strip() for value in self.rows[0]]
        asked = list(self.table.columns.values())
        if asked and not all(name.isdecimal() for name in asked):
            return True  # and where one of the names is not there, the error says so
        if any(NUMBER.fullmatch(value) for value in first):
            counted = [str(at) for at in range(len(first) + 1)]  # pandas' names for columns that have none
            return first in (counted[:-1], counted[1:]) or (not first[0] and len(first) > 2)
        below = [row for row in self.rows[1:] if len(row) == self.width]
        for at in range(min(self.width, len(first))):
            if below and first[at] and all(NUMBER.fullmatch(row[at].strip()) for row in below):
                return True
        return usual(first, USER) is not None

    def _names(self) -> list[str]:
        if not self.header:
            return [str(at) for at in range(1, self.width + 1)]
        names = [name.strip() for name in self.rows[0]]
        if all(TYPED.fullmatch(name) for name in names):
            names = [name.partition(":")[0] for name in names]
        below = [len(row) for row in self.rows[1:] if "\n" not in "".join(row)]
        if len(below) > 1 and set(below) == {len(names) + 1}:  # as R writes tables: rows have names
            names.insert(0, "")
        return names

    def _data(self) -> list[list[str]]:
        return self.rows[1:] if self.header else self.rows

    def _is_matrix(self) -> bool:
        """Say whether all but the first column are cells, and no column is called as a user or item is."""
        if not self.header or self.width < 4 or usual(self.names[1:], ITEM) or usual(self.names[1:], USER):
            return False
        rows = [row[1:] for row in self._data() if len(row) == self.width]
        cells = [cell.strip() for row in rows for cell in row]
        numeric = all(NUMBER.fullmatch(cell) or not cell for cell in cells)
        return bool(cells) and numeric and any(cell in ("", "0", "0.0") for cell in cells)

    def _fields(self, says: str) -> dict[str, str]:
        rows = self._data()
        if not self.header and not self.table.columns and not self.table.side and rows:
            if self.width == 5 and PLACES.fullmatch("|".join(rows[0][1:4])):
                return {USER: "1", ITEM: "5", TIME: "2"}  # check-ins: user, time, latitude, longitude, place
            if self.width == 5 and SHOWN.fullmatch(rows[0][4]):
                return {USER: "2", ITEM: "5", TIME: "3"}  # impressions: number, user, time, history, shown
        return chosen(self.entry, self.names, self.table, f"{says}; ")


def split(line: str, separator: str) -> list[str]:
    """Return the values of a line without quotes."""
    return squeezed(line.encode()).decode().split(" ") if separator == " " else line.split(separator)


def sizes_before(rows: Sequence[Sequence[str]]) -> int:
    """Return how many first lines, one or two, are whole numbers, and of another width than all others."""
    for count in (1, 2):
        first, others = rows[:count], {len(row) for row in rows[count:]}
        numbers = all(value.strip().isdecimal() for row in first for value in row)
        if len(rows) > count + 1 and len(others) == 1 and numbers:
            return count if all(len(row) not in others for row in first) else 0
    return 0


def usual(names: Sequence[str], field: str) -> str | None:
    """Return the only column that is called as those of a field usually are."""
    found = [name for name in names if re.sub(r"[\W_]", "", name.casefold()) in USUAL[field].split()]
    return found[0] if len(found) == 1 else None


def chosen(entry: object, names: list[str], table: Table, says: str) -> dict[str, str]:
    """Return the columns by field: those that are named and, where neither is, those called as usual.

    Raises `InputError` where there is no such column, or none for users or items.
    """
    if table.side:
        return of_side(entry, names, table, table.side)
    columns = dict(table.columns)
    if USER not in columns and ITEM not in columns:
        guessed = {field: usual(names, field) for field in USUAL}
        columns |= {field: name for field, name in guessed.items() if name and field not in columns}
        if RATING in columns or table.aggregate == "count":
            columns.pop(PLAYS, None)
        if table.aggregate == "count":
            columns.pop(RATING, None)
    fields = pick(entry, names, by_number(names, columns))
    missing = [field for field in (USER, ITEM) if field not in fields]
    if missing:
        shown = ", ".join(names)[:300] or "without names"
        options = " and ".join(f"--{field.removesuffix('_id')}=COLUMN" for field in missing)
        raise InputError(f"{entry}: is read as {says}its columns are {shown}; give {options}")
    fields = {field: fields[field] for field in sorted(fields, key=list(USUAL).index)}
    asked = Where(table.where).columns if table.where else []
    more = {**{name: name for name in table.keep}, **{OF_WHERE + name: name for name in asked}}
    return fields | pick(entry, names, more)


def of_side(entry: object, names: list[str], table: Table, side: str) -> dict[str, str]:
    """Return all columns of a table of items or users; `InputError` where that of their ids is not told."""
    column = table.columns.get(side) or (side if side in names else usual(names, side))
    if column is None:
        shown = ", ".join(names)[:300] or "without names"
        option = side.replace("_", "-")
        raise InputError(
            f"{entry}: has no usual column of ids, its columns are {shown}; give --{option}=COLUMN"
        )
    ids = pick(entry, names, by_number(names, {side: column}))
    return ids | {
        name: name for name in names if name and name not in (ids[side], side) and names.count(name) == 1
    }


def by_number(names: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns with the names of those that are given by number and are no names."""
    return {
        field: names[int(name) - 1]
        if name.isdecimal() and name not in names and 0 < int(name) <= len(names)
        else name
        for field, name in columns.items()
    }


def told(fields: Mapping[str, str]) -> str:
    """Return which columns are read, as a person is told."""
    shown = {field: column for field, column in fields.items() if not field.startswith(OF_WHERE)}
    return ", ".join(f"{field} from {column}" for field, column in shown.items())


def pick(entry: object, names: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """Return `columns` (name by field) where each stands once among `names`; `InputError` where not.

    That of an atomic file may be given with its type.
    """
    columns = {field: plainly(name, names) for field, name in columns.items()}
    for name in columns.values():
        if names.count(name) != 1:
            problem = "there is no column" if name not in names else "there is more than one column"
            shown = ", ".join(names)[:300] or "without names"
            raise InputError(f"{entry}: {problem} {name}; the columns are {shown}")
    return columns


def plainly(name: str, names: list[str]) -> str:
    """Return the name of a column without the type of an atomic file's, if it is there so."""
    typed = TYPED.fullmatch(name)
    return typed[1] if typed and name not in names and typed[1] in names else name
