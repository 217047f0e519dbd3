"""The file of a checkpoint: plain values and tensors only, written whole or not at all, checked when read.

`torch.load(path, weights_only=True)` reads it; what it holds is made, and taken back, by `state`.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from recbole_hlr.errors import InputError
from recbole_hlr.files import uninterrupted, write_whole
from recbole_hlr.options.protocol import said
from recbole_hlr.protocols import Values
from recbole_hlr.train.contents import digest
from recbole_hlr.train.state import what_is_wrong

FORMAT = 2
FORMATS = (1, 2)  # that are read; 1, of version 0.2, has no digest


class Noting:
    """A file for torch's writer, C++ in which an `OSError` of `write` becomes a `RuntimeError`: keeps it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.flush = file, file.flush
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        """Write, and keep what goes wrong."""
        try:
            return self.file.write(data)
        except OSError as error:
            self.error = error
            raise


def save(path: Path, content: Values) -> None:
    """Write a checkpoint atomically; `InputError` where the disk is full."""

    def write(file: IO[bytes]) -> None:
        noting: Any = Noting(file)
        try:
            torch.save({"format": FORMAT, **content, "digest": digest(content)}, noting)
        except RuntimeError:
            if noting.error is not None:
                raise noting.error from None
            raise

    write_whole(path, write)


def load(path: Path) -> Values:
    """Read a checkpoint, plain values only; `InputError` for what is none, is damaged or was changed."""
    content = read(path)
    number = content.get("format") if isinstance(content, dict) else None
    if not isinstance(number, int) or number not in FORMATS:
        raise InputError(f"{path}: is no checkpoint of recbole_hlr in format {FORMAT}")
    wrong = what_is_wrong(content)
    if wrong:
        raise InputError(f"{path}: is a damaged checkpoint: {wrong}")
    written = {key: value for key, value in content.items() if key not in ("format", "digest")}
    if number > 1 and repr(content.get("digest")) != repr(digest(written)):  # it may be a tensor
        raise InputError(f"{path}: is a damaged checkpoint: it holds other values than were written")
    content["config"] = said(content["config"])
    return content


def read(path: Path) -> Any:
    """Return what a file of `torch.save` holds, plain values only; its checksums must be right."""
    try:
        with uninterrupted(), open(path, "rb") as file:
            with zipfile.ZipFile(file) as archive:  # torch does not look at the checksums
                damaged = archive.testzip()
            if damaged is not None:
                raise zipfile.BadZipFile(f"{damaged} is damaged")
            file.seek(0)
            return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such checkpoint") from None
    except Exception as error:  # zipfile and torch raise many kinds for a damaged or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path}: cannot be read as a checkpoint ({reason})") from error
