"""Where lines come from: a file, a folder or an archive, packed or plain, read block by block."""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, NamedTuple

from recbole_hlr.console import Display, Row
from recbole_hlr.data.packed import UNPACKED, readable
from recbole_hlr.errors import InputError

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIECE = 2**20  # bytes that are read at a time
BLOCK = 2**24  # bytes that are parsed at a time, and the longest line
PACKED = re.compile(r"\.(gz|bz2|xz|zst|zip)$", re.IGNORECASE)
BETWEEN = re.compile(r"[\s,\[\]]*")  # what stands between the objects of a JSON array
ZIPPED = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")  # what a zip archive begins with
PICKLE = "a pickle, which may run anything when it is read; give its table to convert() in Python"
NO_TEXT = {  # what other files begin with (tar: at byte 257)
    b"\xd0\xcf\x11\xe0": "an Excel workbook of before 2007; save it as .xlsx or CSV",
    b"SQLite f": "an SQLite database; save its table as CSV",
    b"\x89HDF": "HDF5; save its table as CSV or parquet",
    b"\x93NUMPY": "a NumPy array; save it as CSV or parquet",
    b"\x80\x04\x95": PICKLE,
    b"\x80\x05\x95": PICKLE,
    b"ustar": "a tar archive; unpack it and name the file",
    b"7z\xbc\xaf": "a 7-Zip archive; unpack it and name the file",
    b"Rar!": "a RAR archive; unpack it and name the file",
}
PACKERS = {b"\x1f\x8b": ".gz", b"\xfd7zXZ\x00": ".xz", b"BZh": ".bz2", b"\x28\xb5\x2f\xfd": ".zst"}


class Entry(NamedTuple):
    """A file, or a member of a zip archive."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        return str(self.path) if self.member is None else f"{self.path}, {self.member}"

    @property
    def plain_name(self) -> str:
        """The file's name without folders and without the suffix of a packer."""
        return PACKED.sub("", PurePosixPath(self.member).name if self.member else self.path.name)


class UnixLines(io.RawIOBase):
    r"""A stream as it is, but that each of its lines ends with \n, whether it did so or with \r or \r\n."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__()
        self.stream, self.after_return = stream, False

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer`; return how many bytes were read, 0 at the end."""
        view = memoryview(buffer)
        while data := self.stream.read(len(view)):
            ends_line = data.endswith(b"\r")
            if self.after_return:  # the \n of a \r\n that was cut in two
                data = data.removeprefix(b"\n")
            self.after_return = ends_line
            if data:
                if b"\r" in data:
                    data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
                view[: len(data)] = data
                return len(data)
        return 0


class Block(NamedTuple):
    r"""Whole lines as UTF-8, each ended by \n, and the number in the file of the first of them."""

    data: bytes
    first_line: int


def entries(path: Path) -> list[Entry]:
    """Return the files of a folder, the members of a zip archive, or the file itself."""
    with readable(path):
        if path.is_dir():
            return [Entry(file) for file in sorted(path.iterdir()) if file.is_file()]
        with path.open("rb") as file:
            if file.read(4) not in ZIPPED:
                return [Entry(path)]
            members = zipfile.ZipFile(file).infolist()
            if any(info.filename == "xl/workbook.xml" for info in members):
                return [Entry(path)]  # an Excel workbook, which is a zip archive of its own
    names = [info.filename for info in members if not info.is_dir()]
    return [Entry(path, name) for name in names if not name.startswith("__MACOSX/")]


def choose(path: Path, patterns: tuple[str, ...]) -> Entry:
    """Return the file at `path` or, in a folder or archive, the one whose name fits the first pattern."""
    listed = entries(path)
    if not path.is_dir() and len(listed) == 1:
        return listed[0]
    for pattern in patterns:
        found = [entry for entry in listed if fnmatch.fnmatch(entry.plain_name, pattern)]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(entry.member or entry.path.name for entry in found)
            raise InputError(f"{path}: holds several files {pattern}: {names}; name one of them")
    names = ", ".join(entry.member or entry.path.name for entry in listed[:5]) or "nothing"
    raise InputError(f"{path}: must hold a file {' or '.join(patterns)}; it holds {names}")


def beside(entry: Entry, name: str) -> Entry | None:
    """Return the file called `name` (or so and packed) in the folder of `entry`, if there is one."""
    if entry.member is None:
        files = [entry.path.with_name(name + suffix) for suffix in ("", ".gz", ".xz", ".zip")]
        return next((choose(file, (name,)) for file in files if file.is_file()), None)
    wanted = str(PurePosixPath(entry.member).with_name(name))
    return next((other for other in entries(entry.path) if other.member == wanted), None)


@contextlib.contextmanager
def opened(entry: Entry) -> Iterator[tuple[IO[bytes], int, Callable[[], int]]]:
    """Yield the unpacked stream, the bytes to go through, and how to ask for those done.

    What packs a file is told by its first bytes. `InputError` says what is wrong with it.
    """
    with readable(entry), contextlib.ExitStack() as stack:
        raw: IO[bytes] = stack.enter_context(entry.path.open("rb"))
        total = entry.path.stat().st_size
        if entry.member is not None:
            archive = stack.enter_context(zipfile.ZipFile(raw))
            total = archive.getinfo(entry.member).file_size
            try:
                raw = stack.enter_context(archive.open(entry.member))
            except (RuntimeError, NotImplementedError) as error:  # a password, an unknown method
                raise InputError(f"{entry}: cannot be unpacked ({error})") from None
        start = raw.read(6)
        raw.seek(0)
        packer = next((suffix for magic, suffix in PACKERS.items() if start.startswith(magic)), None)
        yield stack.enter_context(UNPACKED[packer](raw)) if packer else raw, total, raw.tell


def first_text(entry: Entry, encoding: str) -> str:
    """Return whole lines from the beginning of a text, some 64 KiB or more.

    Raises `InputError` where there is nothing, or what is no text.
    """
    begin = first_bytes(entry)
    for signature, what in NO_TEXT.items():
        if signature in begin[:8] or signature in begin[257:262]:
            raise InputError(f"{entry}: is {what}")
    for data, first in blocks(entry, encoding):
        end = data.find(b"\n", 2**16)
        text = data[: len(data) if end < 0 else end].decode()
        if "\0" in text:
            raise InputError(
                f"{entry}: is no text and no other form that is known; save it as CSV or parquet"
            )
        if text.lstrip()[:14].lower().startswith(("<!doctype html", "<html")):
            raise InputError(
                f"{entry}: is a web page, maybe of a download that needs an account, and no data"
            )
        if text.strip():
            return "\n" * (first - 1) + text
    raise InputError(f"{entry}: is empty")


def first_bytes(entry: Entry) -> bytes:
    """Return what a file begins with, once it is unpacked: up to 512 bytes."""
    with opened(entry) as (stream, _, _):
        return stream.read(512)


def blocks(entry: Entry, encoding: str, quoted: bool = False) -> Iterator[Block]:
    """Yield the text of a file in blocks of whole lines, and show how many bytes are done.

    With `quoted` a line break between double quotes does not end a line.
    """
    line = 1
    with opened(entry) as (packed, total, position), Bytes(entry, total) as bar:
        stream = io.BufferedReader(UnixLines(packed), PIECE)
        while data := stream.read(BLOCK):
            data += rest_of_line(stream, data, quoted, f"{entry}, after line {line}")
            bar.done = position()
            lines = data.count(b"\n")
            text = as_utf8(data, line, entry, encoding)
            if line == 1:
                text = text.removeprefix(b"\xef\xbb\xbf")
            yield Block(text, line)
            line += lines


def objects(entry: Entry, encoding: str) -> Iterator[Block]:
    """Yield the objects of a JSON array, or objects on several lines each, in blocks of one on a line.

    The "lines" are counted by object, from 1.
    """
    decoder, text, at, row = json.JSONDecoder(), "", 0, 1
    with opened(entry) as (packed, total, position), Bytes(entry, total) as bar:
        stream = io.TextIOWrapper(io.BufferedReader(UnixLines(packed), PIECE), encoding)
        while more := read_text(stream, entry):
            more = more if row > 1 or text else more.removeprefix("\ufeff")
            text, at, found = text[at:] + more, 0, []
            bar.done = position()
            with contextlib.suppress(ValueError):  # the last object goes on in the next piece
                while (at := BETWEEN.match(text, at).end()) < len(text):  # type: ignore[union-attr]
                    end = decoder.raw_decode(text, at)[1]
                    found.append(text[at:end].replace("\n", " "))
                    at = end
            if len(text) - at > BLOCK:
                raise InputError(f"{entry}, after object {row + len(found) - 1}: is no JSON")
            if found:
                yield Block("\n".join(found).encode(errors="replace"), row)
            row += len(found)
        if at < len(text):
            raise InputError(f"{entry}, after object {row - 1}: is no JSON, or is cut off")


def read_text(stream: io.TextIOWrapper, entry: Entry) -> str:
    """Return the next piece of a text, nothing at its end; `InputError` where it is in another encoding."""
    try:
        return stream.read(PIECE)
    except UnicodeDecodeError as error:
        what = f"is not {stream.encoding} text ({error.reason})"
        raise InputError(f"{entry}: {what}; set --encoding") from None


def rest_of_line(stream: IO[bytes], data: bytes, quoted: bool, where: str) -> bytes:
    """Return what follows `data` up to the end of its last line.

    A quote that is not closed within another block is none: the lines end where they end.
    """
    parts, size = [data[-1:]], 0
    inside = quoted and data.count(b'"') % 2 == 1
    while (inside and size < BLOCK) or not parts[-1].endswith(b"\n"):
        more = stream.readline(BLOCK)
        if not more:
            break
        if len(more) == BLOCK and not more.endswith(b"\n"):
            raise InputError(f"{where}: a line is longer than 16 MiB")
        parts.append(more)
        size += len(more)
        inside ^= quoted and more.count(b'"') % 2 == 1
    return b"".join(parts[1:])


def as_utf8(data: bytes, first_line: int, entry: Entry, encoding: str) -> bytes:
    """Return `data` as UTF-8; `InputError` names the line that is not `encoding` text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) and first_line == 1:
        raise InputError(f"{entry}: is UTF-16 text; save it as UTF-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = first_line + data.count(b"\n", 0, error.start)
        raise InputError(
            f"{entry}, line {line}: is not {encoding} text ({error.reason}); set --encoding"
        ) from None
    return data if encoding == "utf-8" else text.encode()


class Bytes:
    """Shows how many bytes of an input are done, of a `total`."""

    def __init__(self, entry: Entry, total: int) -> None:
        self.name, self.total, self.done = entry.plain_name, total, 0
        self.display = Display(self.rows)

    def __enter__(self) -> Bytes:
        self.display.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.display.stop()

    def rows(self) -> list[Row]:
        """Return what there is to show."""
        size = f"{self.done / 1e6:.1f} of {self.total / 1e6:.1f} MB"
        return [Row([self.name, size], done=self.done / max(self.total, 1))]
