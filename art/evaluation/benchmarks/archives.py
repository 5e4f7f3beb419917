"""Archives unpacked into a folder and nowhere else: one that climbs out of it is refused whole."""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from art.data.packed import open_bytes
from art.errors import ArtError, DataError, shown
from art.files import atomic_write

_BLOCK_BYTES = 4 << 20


@dataclass(frozen=True)
class _Member:
    """A file in an archive: its path there, its bytes, and what opens it."""

    path: str
    size: int
    open: Callable[[], IO[bytes]]


def unpack(archive: Path, folder: Path) -> dict[str, int]:
    """Unpack a .zip, a .tar or a .tar.gz; files of the same names are replaced.

    Args:
        archive: the file.
        folder: for what is in it.

    Returns:
        Path below the folder → bytes, of every file in the archive.

    Raises:
        ArtError: it cannot be read, names a file outside the folder, holds a link, or there is no
            room for what is in it.
    """
    with _readable(archive):
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed:
                return _unpack([*_of_zip(packed, archive)], archive, folder)
        with open_bytes(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as packed:
            members = [*_of_tar(packed, archive)]
            while stream.read(_BLOCK_BYTES):
                pass  # to the end, where gzip compares the checksum; a tar ends before it
            return _unpack(members, archive, folder)


@contextmanager
def _readable(archive: Path) -> Iterator[None]:
    try:
        yield
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        zlib.error,
        EOFError,
        NotImplementedError,  # a way of packing that zipfile does not know
        RuntimeError,  # zipfile's, of an encrypted file
        OSError,  # gzip's, of what is no gzip
    ) as error:
        raise DataError(
            f"cannot be unpacked: {error}", where=archive, hint="delete it and fetch it again"
        ) from error


def _of_zip(packed: zipfile.ZipFile, archive: Path) -> Iterator[_Member]:
    for one in packed.infolist():
        if stat.S_ISLNK(one.external_attr >> 16):
            raise _dangerous(archive, f"a link, {shown(one.filename)}")
        if not one.is_dir():
            yield _Member(one.filename, one.file_size, partial(packed.open, one))


def _of_tar(packed: tarfile.TarFile, archive: Path) -> Iterator[_Member]:
    for one in packed.getmembers():
        if one.isdir():
            continue
        if not one.isfile():
            raise _dangerous(archive, f"a link or a device, {shown(one.name)}")
        yield _Member(one.name, one.size, partial(_opened, packed, one))


def _opened(packed: tarfile.TarFile, one: tarfile.TarInfo) -> IO[bytes]:
    file = packed.extractfile(one)
    assert file is not None  # it is a file
    return file


def _unpack(members: list[_Member], archive: Path, folder: Path) -> dict[str, int]:
    # All are looked at before the first is written.
    places = {_place(one.path, archive, folder): one for one in members}
    if len(places) < len(members):
        raise _dangerous(archive, "two files of one name")
    _check_room(sum(one.size for one in members), archive, folder)
    for place, one in places.items():
        with atomic_write(folder / place) as target:
            for block in _contents(one, archive):
                target.write(block)
    return {place: one.size for place, one in places.items()}


def _contents(one: _Member, archive: Path) -> Iterator[bytes]:
    with _readable(archive), one.open() as source:  # what cannot be read is told from a full disk
        while block := source.read(_BLOCK_BYTES):
            yield block


def _place(name: str, archive: Path, folder: Path) -> str:
    """Return a member's path below the folder.

    Raises:
        ArtError: it is none.
    """
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or "\\" in name or "\0" in name
    # A link that stands in the folder already may lead out of it too.
    if outside or not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise _dangerous(archive, f"a file outside its folder, {shown(name)}")
    return str(path)


def _dangerous(archive: Path, what: str) -> ArtError:
    hint = "nothing of it was unpacked; do not use it"
    return ArtError(f"the archive holds {what}", where=archive, hint=hint)


def _check_room(size: int, archive: Path, folder: Path) -> None:
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if size > free:
        raise ArtError(
            f"unpacks to {size / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free in {existing}",
            where=archive,
            hint="free space there; the same command then goes on",
        )
