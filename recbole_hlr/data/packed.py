"""Atomic files as they lie: plain, packed as .gz, .xz or .zst, or as .parquet beside their plain name."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from recbole_hlr.errors import InputError
from recbole_hlr.files import is_file, unwritten

PARQUET = ".parquet"
SUFFIXES = (".gz", ".xz", ".zst", PARQUET)
DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)
UNPACKED: dict[str, Callable[[Any], Any]] = {  # an unpacked stream of a packed one, by the usual suffix
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda raw: pa.CompressedInputStream(raw, "zstd"),
}


def lying(plain: Path) -> Path | None:
    """Return the file that an atomic file's plain name stands for, None where there is none.

    Raises `InputError` where it is there in more than one form.
    """
    forms = [plain, *(plain.with_name(plain.name + suffix) for suffix in SUFFIXES)]
    there = [file for file in forms if is_file(file)]
    if len(there) > 1:
        names = " and ".join(file.name for file in there)
        raise InputError(f"{plain.parent}: has {names}; must have one of them, for they need not be the same")
    return there[0] if there else None


@contextlib.contextmanager
def readable(name: object) -> Iterator[None]:
    """Raise `InputError`, which begins with the `name` of a file, where it is damaged or cannot be read."""
    try:
        yield
    except DAMAGE as error:
        raise InputError(f"{name}: is cut off or damaged ({error})") from None
    except OSError as error:
        if error.errno is None:  # of bzip2 and zstd
            raise InputError(f"{name}: is cut off or damaged ({error})") from None
        raise InputError(f"{name}: cannot be read ({error.strerror or error})") from None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Yield the unpacked bytes of a file, packed as its name says; `InputError` where it cannot be read."""
    with readable(path), open(path, "rb") as raw, contextlib.ExitStack() as stack:
        unpacked = UNPACKED.get(path.suffix)
        yield stack.enter_context(unpacked(raw)) if unpacked else raw


@contextlib.contextmanager
def laid_out(folder: Path, name: str) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Yield a folder in which each atomic file of a data set has its plain name, and what each stands for.

    It is `folder` itself where none is packed, and else one of empty files, which vanishes: the host only
    asks what files there are.
    """
    listed = [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
    packed = {file for file in listed if file.startswith(f"{name}.") and file.endswith(SUFFIXES)}
    if not packed:
        yield folder, {}
        return
    plain = {file.removesuffix(Path(file).suffix) for file in packed}
    plain |= {file for file in listed if file.startswith(f"{name}.")} - packed
    try:
        with tempfile.TemporaryDirectory() as made:
            for file in plain:
                Path(made, file).touch()
            yield Path(made), {str(Path(made, file)): folder / file for file in plain}
    except OSError as error:
        if error.filename and str(error.filename).startswith(tempfile.gettempdir()):
            reason = f"({error.strerror}); set TMPDIR to a folder that can be written"
            raise InputError(f"{folder}: its files cannot be laid out {reason}") from None
        raise


def unpack(path: Path, copy: Path) -> None:
    """Write what `path` holds to `copy`; `InputError` where there is no room for it."""

    def write(piece: bytes) -> None:
        try:
            target.write(piece)
        except OSError as error:
            raise InputError(unwritten(copy, error)) from None

    with opened(path) as source, copy.open("wb", buffering=0) as target:
        while piece := source.read(2**20):
            write(piece)
