"""Files that survive a kill at any moment: atomic writes, fingerprints, locks.

Everything is written beside its final name, flushed to disk and then renamed, so that a name
either holds the whole new contents or what it held before.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from art.errors import ArtError

_COPY_BYTES = 4 << 20
_MOST_OF_HOST = 32  # characters of a temporary file's name

# What the disk says when it is full, a quota is used up, or a limit on file sizes is reached.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def cannot_write(error: OSError, path: str | Path) -> ArtError:
    """Return the one line about a file that cannot be written."""
    inner = error if error.errno else quoted_error(error) or error
    reason, is_full = inner.strerror or str(error), inner.errno in _FULL
    if " requested and " in reason:  # NumPy says how much was written, but not why no more
        reason, is_full = f"No space left on device, or files may not be so large: {reason}", True
    hint = "free space there; the same command then goes on" if is_full else None
    return ArtError(f"cannot write: {reason}", where=path, hint=hint)


def is_utf8(name: str | Path) -> bool:
    """Return whether a name can be written as UTF-8; the names of some files cannot."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def require_utf8(name: str | Path) -> None:
    """Refuse a file name that whatever reads it next cannot take.

    Raises:
        ArtError: the name is not UTF-8.
    """
    if not is_utf8(name):
        hint = "rename it, or link to it under another name"
        raise ArtError("the name of this file or folder is not UTF-8", where=name, hint=hint)


def quoted_error(error: Exception) -> OSError | None:
    """Return the fault of the operating system that an exception only quotes."""
    found = re.search(r"(?:\[Errno|\(os error) (\d+)", str(error))  # Python's way, and Rust's
    return OSError(int(found[1]), os.strerror(int(found[1]))) if found else None


def fsync_directory(folder: Path) -> None:
    """Flush a folder's entries, so that a rename in it survives a power cut."""
    if os.name == "nt":  # folders cannot be opened there, and renames are journaled
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _writer() -> str:
    # Nodes that share a disk have the same process ids.
    return f"{platform.node().partition('.')[0][:_MOST_OF_HOST]}.{os.getpid()}"


def _beside(path: Path) -> Path:
    """Return where this process writes what will be `path`."""
    return path.with_name(f".{path.name}.{_writer()}.tmp")


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """Open `path` for binary writing such that it appears atomically.

    Raises:
        ArtError: the file cannot be written (full, read-only, no permission); `path` is untouched.
    """
    path = Path(path)
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(beside, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        fsync_directory(path.parent)
    except OSError as error:
        raise cannot_write(error, path) from error
    finally:
        beside.unlink(missing_ok=True)


def write_bytes(path: str | Path, contents: bytes) -> None:
    """Write a whole file atomically."""
    with atomic_write(path) as file:
        file.write(contents)


def write_by_contents(folder: Path, name: str, ending: str, blocks: Iterable[bytes]) -> Path:
    """Write a whole file atomically under a name that ends with the fingerprint of its contents.

    A file of that name is left as it is, so that its time of change says when it first stood there.

    Args:
        folder: of the file.
        name: the beginning of the file's name.
        ending: the end of the file's name, with its dot.
        blocks: the contents.

    Raises:
        ArtError: the file cannot be written.
    """
    digest = hashlib.blake2b(digest_size=16)
    whole = folder / f"{name}.{_writer()}{ending}"
    with atomic_write(whole) as file:
        for block in blocks:
            digest.update(block)
            file.write(block)
    path = folder / f"{name}-{digest.hexdigest()}{ending}"
    try:
        if path.exists():
            whole.unlink()
        else:
            os.replace(whole, path)
            fsync_directory(folder)
    except OSError as error:
        raise cannot_write(error, path) from error
    return path


def write_text(path: str | Path, text: str) -> None:
    """Write a whole UTF-8 file atomically."""
    write_bytes(path, text.encode())


def read_text(path: str | Path) -> str:
    """Read a whole UTF-8 file.

    Raises:
        ArtError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ArtError(
            f"cannot read: {error.strerror or error}", where=path, hint="check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise ArtError(
            f"not UTF-8 text: {error}", where=path, hint="have it written again"
        ) from error


def write_json(path: str | Path, value: Any) -> None:
    """Write one JSON document atomically, indented, with a final newline."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    # What has no UTF-8, such as some file names, is escaped as JSON does it: \udce9.
    write_bytes(path, text.encode(errors="backslashreplace"))


def read_json(path: str | Path, *, names: bool = False) -> Any:
    """Read one JSON document.

    Args:
        path: the file.
        names: whether it may hold names of files that are not UTF-8.

    Raises:
        ArtError: the file is missing, unreadable or not JSON.
    """
    try:
        value = json.loads(read_text(path))
        # Refuses half a surrogate pair, by which Python writes such names.
        errors = "surrogateescape" if names else "strict"
        json.dumps(value, ensure_ascii=False).encode(errors=errors)
        return value
    except (ValueError, RecursionError) as error:
        raise ArtError(
            f"not a JSON document: {error}", where=path, hint="have it written again"
        ) from error


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Fill a new folder that appears atomically; an older one is replaced.

    Yields a folder beside `path` to write into. Its files are flushed to disk before the rename.

    Raises:
        ArtError: a file cannot be written; `path` is untouched.
    """
    path = Path(path)
    beside = _beside(path)
    shutil.rmtree(beside, ignore_errors=True)
    try:
        beside.mkdir(parents=True)
        yield beside
        _fsync_tree(beside)
        _replace_folder(beside, path)
        fsync_directory(path.parent)
    except OSError as error:
        raise cannot_write(error, path) from error
    except ArtError as error:
        if error.where is not None:  # a name that the user will never see
            error.where = error.where.replace(str(beside), str(path))
        raise
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
    """Point the symbolic link `name` at `target` (relative, so that a run folder can be moved).

    Raises:
        ArtError: a file cannot be written.
    """
    beside = _beside(name)
    try:
        beside.unlink(missing_ok=True)
        beside.symlink_to(os.path.relpath(target, name.parent), target_is_directory=True)
        os.replace(beside, name)
        fsync_directory(name.parent)
    except OSError as error:
        raise cannot_write(error, name) from error


def fingerprint(*parts: bytes | str) -> str:
    """Return 32 hexadecimal digits (BLAKE2b) that stand for these parts in this order."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        # A file name that is not UTF-8 stands for its bytes.
        data = part.encode(errors="surrogateescape") if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))  # so that ("ab", "c") is not ("a", "bc")
        digest.update(data)
    return digest.hexdigest()


def file_state(path: Path) -> str:
    """Return what tells a changed file without reading it: its path, size and time of change."""
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"


def fingerprint_file(path: str | Path) -> str:
    """Return the fingerprint of a file's contents, read in blocks."""
    return fingerprint_blocks(read_blocks(Path(path), _COPY_BYTES))


def fingerprint_blocks(blocks: Iterable[bytes | memoryview]) -> str:
    """Return the fingerprint of a stream of bytes, however it is cut into blocks."""
    digest = hashlib.blake2b(digest_size=16)
    for block in blocks:
        digest.update(block)
    return digest.hexdigest()


def read_blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield a file's contents, `size` bytes at a time."""
    with open(path, "rb") as file:
        while block := file.read(size):
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
