"""Files that may be packed: `.gz` is read as what it holds, other kinds are refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import IO, cast

from art.errors import DataError

_GZIP = b"\x1f\x8b"
_OTHERS = (".zst", ".zstd", ".bz2", ".xz", ".lz4", ".lzma", ".br", ".zip", ".7z", ".tar", ".tgz")


def is_gzipped(path: Path) -> bool:
    """Return whether a file's name ends in `.gz`, in whichever case."""
    return path.suffix.lower() == ".gz"


def ungzipped(path: Path) -> Path:
    """Return a file's path without the ending `.gz`."""
    return path.with_suffix("") if is_gzipped(path) else path


def open_bytes(path: Path) -> IO[bytes]:
    """Open a file for reading, an archive that gzip made as what it holds.

    That is a file that ends in `.gz`, or begins as no text does: some lose their ending on the way.

    Raises:
        OSError: it cannot be opened.
    """
    if not is_gzipped(path):
        file = open(path, "rb")  # noqa: SIM115 (whoever asks for it closes it)
        if not file.peek(len(_GZIP)).startswith(_GZIP):
            return file
        file.close()
    return cast(IO[bytes], gzip.open(path))


def refuse_packed(path: Path) -> None:
    """Refuse a file that is packed in another way.

    Raises:
        DataError: its name says so.
    """
    ending = ungzipped(path).suffix.lower()
    if ending in _OTHERS:
        what = f"files packed as {ending} are not read"
        raise DataError(what, where=path, hint="unpack it, or pack it as .gz")
