"""Files that survive a kill at any moment: atomic writes, fingerprints, locks.

Everything is written beside its final name, flushed to disk and then renamed, so that a name
either holds the whole new contents or what it held before.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from art.errors import ArtError

_COPY_BYTES = 4 << 20


def fsync_directory(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    if os.name == "nt":  # folders cannot be opened there, and renames are journaled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open `path` for binary writing such that it appears whole or not at all.

    Raises:
        ArtError: the disk refuses the write (full, read-only, no permission); `path` is untouched.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        fsync_directory(path.parent)
    except OSError as error:
        raise ArtError(f"cannot write: {error.strerror or error}", where=path) from error
    finally:
        beside.unlink(missing_ok=True)


def write_bytes(path: str | Path, contents: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_write(path) as file:
        file.write(contents)


def write_text(path: str | Path, text: str) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Write one JSON document atomically, indented, with a final newline."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: str | Path) -> Any:
    """Read one JSON document.

    Raises:
        ArtError: the file is missing, unreadable or not JSON.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        json.dumps(value, ensure_ascii=False).encode()  # refuses half a surrogate pair
        return value
    except OSError as error:
        raise ArtError(
            f"cannot read: {error.strerror or error}", where=path, hint="check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise ArtError(
            f"not a JSON document: {error}", where=path, hint="have it written again"
        ) from error


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Fill a new folder such that it appears whole or not at all; an older one is replaced.

    Yields a folder beside `path` to write into. Its files are flushed to disk before the rename.

    Raises:
        ArtError: the disk refuses a write; `path` is untouched.
    """
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        yield beside
        _fsync_tree(beside)
        _replace_folder(beside, path)
        fsync_directory(path.parent)
    except OSError as error:
        raise ArtError(f"cannot write: {error.strerror or error}", where=path) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _fsync_tree(folder: Path) -> None:
    for directory, _, names in os.walk(folder):
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                os.fsync(file.fileno())
        fsync_directory(Path(directory))


def _replace_folder(new: Path, path: Path) -> None:
    # A folder cannot be renamed over a non-empty one: move the old one aside first. A kill between
    # the two renames leaves the old contents under the `.old` name and nothing half-written.
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(new, path)
    shutil.rmtree(old, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Delete what a killed process left half-written in a folder that nobody else writes to."""
    for entry in [*folder.glob(".*.tmp"), *folder.glob(".*.old")]:
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def link(name: Path, target: Path) -> None:
    """Point the symbolic link `name` at `target` (relative, so that a run folder can be moved)."""
    beside = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)
    beside.symlink_to(os.path.relpath(target, name.parent), target_is_directory=True)
    os.replace(beside, name)
    fsync_directory(name.parent)


def fingerprint(*parts: bytes | str) -> str:
    """Return 32 hexadecimal digits (BLAKE2b) that stand for these parts in this order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))  # so that ("ab", "c") is not ("a", "bc")
        digest.update(data)
    return digest.hexdigest()


def fingerprint_file(path: str | Path) -> str:
    """Return the fingerprint of a file's contents, read in blocks."""
    return fingerprint_blocks(_blocks(Path(path)))


def fingerprint_blocks(blocks: Iterable[bytes | memoryview]) -> str:
    """Return the fingerprint of a stream of bytes, however it is cut into blocks."""
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def _blocks(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while block := file.read(_COPY_BYTES):
            yield block


def cache_folder() -> Path:
    """Return the folder for things that can be built again: `$ART_CACHE`, else the user's cache."""
    if chosen := os.environ.get("ART_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "art-retriever"


@contextmanager
def lock(path: str | Path, *, wait: bool = True, holder: str = "another process") -> Iterator[None]:
    """Hold an exclusive lock file; the operating system drops it when the process dies.

    Args:
        path: the lock file, created if missing and left behind.
        wait: False to refuse at once when the lock is held.
        holder: who is likely to hold it, for the message.

    Raises:
        ArtError: `wait` is False and the lock is held, or the folder cannot be written to.
    """
    held = FileLock(str(path), timeout=-1 if wait else 0)
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        held.acquire()
    except Timeout:  # an OSError too, so it goes first
        raise ArtError(
            f"in use by {holder}", where=path, hint="wait for it to end, or choose another folder"
        ) from None
    except OSError as error:
        raise ArtError(
            f"cannot write there: {error.strerror or error}",
            where=path,
            hint="choose a folder you may write to; $ART_CACHE is where caches go",
        ) from error
    try:
        yield
    finally:
        held.release()
