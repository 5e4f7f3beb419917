"""Damage that is found before it is used: checksums of files, and folders that are built again.

Two kinds. A large file that is read here and there has a checksum for every 4 MiB, compared when
that block is first read (`CheckedFile`). A folder that is read whole has one for every file,
compared when it is opened (`Checksums`). What can be made again from something else is made again
(`open_or_build`), and the user is told.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Self, TypeVar

from art.config import SealedManifest
from art.errors import ArtError, CorruptionError, notify
from art.files import fingerprint_blocks, fingerprint_file, lock, read_blocks

T = TypeVar("T")

# Writes the folder of a damaged file again, unless the check says that somebody else did.
Repair = Callable[[CorruptionError, Callable[[], bool]], None]

BLOCK_BYTES = 4 << 20
CHECKSUMS = "checksums.json"


def block_checksums(contents: memoryview, blocks: Iterable[int] | None = None) -> list[str]:
    """Return the checksum of each block of 4 MiB, or of these blocks only.

    Args:
        contents: of a whole file, as bytes.
        blocks: numbers of blocks; None for all.
    """
    chosen = list(range(-(-len(contents) // BLOCK_BYTES)) if blocks is None else blocks)
    if len(chosen) == 1:  # one row was looked up: no threads for that
        return [_checksum(contents, chosen[0])]
    with ThreadPoolExecutor() as threads:  # hashing releases the interpreter
        return list(threads.map(partial(_checksum, contents), chosen))


def file_checksums(path: Path) -> list[str]:
    """Return the checksum of each block of a file."""
    return [fingerprint_blocks([block]) for block in read_blocks(path, BLOCK_BYTES)]


def _checksum(contents: memoryview, block: int) -> str:
    start = block * BLOCK_BYTES
    return fingerprint_blocks([contents[start : start + BLOCK_BYTES]])


class CheckedFile:
    """A file mapped for reading, each block of it compared with its checksum when first read.

    Args:
        path: the file.
        num_bytes: its size when it was written.
        checksums: of its blocks when they were written.
        hint: what to do about damage.
        repair: writes the file again; None where nothing could.

    Raises:
        CorruptionError: the file is missing or has another size.
        ArtError: it cannot be mapped.
    """

    def __init__(
        self,
        path: Path,
        num_bytes: int,
        checksums: list[str],
        *,
        hint: str | None = None,
        repair: Repair | None = None,
    ) -> None:
        self.path = path
        self._num_bytes = num_bytes
        self._checksums = checksums
        self._hint = hint
        self._repair = repair
        self._map()

    def __len__(self) -> int:
        """Return the number of bytes."""
        return self._num_bytes

    def _map(self) -> None:
        check_size(self.path, self._num_bytes, hint=self._hint)
        self._checked = bytearray(len(self._checksums))
        self._contents = memoryview(b"")
        if self._num_bytes:  # nothing cannot be mapped
            try:
                with open(self.path, "rb") as file:
                    size = self._num_bytes
                    mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
            except (OSError, ValueError) as error:  # ValueError: cut since its size was looked at
                raise ArtError(f"cannot map the file: {error}", where=self.path) from error
            self._contents = memoryview(mapped)

    @property
    def unchecked(self) -> memoryview:
        """The whole contents; `check` a block of it before using it."""
        return self._contents

    def read(self, start: int, stop: int) -> memoryview:
        """Return the bytes from `start` to `stop`, checked.

        Raises:
            CorruptionError: they are not what was written, and nothing could write them again.
        """
        first, last = start // BLOCK_BYTES, -(-stop // BLOCK_BYTES)
        if last - first != 1 or not self._checked[first]:
            self.check(range(first, last))
        return self._contents[start:stop]

    def check(self, blocks: Iterable[int]) -> None:
        """Compare blocks with their checksums, those that have not been.

        Raises:
            CorruptionError: one is not what was written, and nothing could write it again.
        """
        due = [block for block in blocks if not self._checked[block]]
        if not due:
            return
        damaged = self._damaged(due)
        if damaged and self._repair is not None:
            self._repair(self._damage(damaged), lambda: bool(self._damaged_now(due)))
            damaged = self._damaged_now(due)
        if damaged:
            raise self._damage(damaged)
        for block in due:
            self._checked[block] = True

    def _damage(self, blocks: list[int]) -> CorruptionError:
        return CorruptionError(
            f"block {blocks[0]} (bytes {blocks[0] * BLOCK_BYTES} and on) is not what was written",
            where=self.path,
            hint=self._hint,
        )

    def _damaged(self, blocks: list[int]) -> list[int]:
        found = block_checksums(self._contents, blocks)
        pairs = zip(blocks, found, strict=True)
        return [block for block, checksum in pairs if checksum != self._checksums[block]]

    def _damaged_now(self, blocks: list[int]) -> list[int]:
        try:
            self._map()  # another file may stand under the name by now
        except CorruptionError:
            return blocks
        return self._damaged(blocks)


def check_size(path: Path, expected: int, *, hint: str | None = None) -> None:
    """Raise CorruptionError unless the file is there and holds this many bytes."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CorruptionError(f"cannot read: {error.strerror}", where=path, hint=hint) from error
    if size != expected:
        raise CorruptionError(
            f"the file has {size} bytes, expected {expected}", where=path, hint=hint
        )


class Checksums(SealedManifest):
    """What the files of a folder must be.

    Attributes:
        files: fingerprint of each file's contents, by its path in the folder.
    """

    files: dict[str, str]

    @classmethod
    def of_folder(cls, folder: Path) -> Self:
        """Read every file below a folder; about a second for a gigabyte and core."""
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        names = [path.relative_to(folder).as_posix() for path in found]
        with ThreadPoolExecutor() as threads:
            return cls(files=dict(zip(names, threads.map(fingerprint_file, found), strict=True)))

    def below(self, name: str) -> Self:
        """Return the checksums of a folder in this folder."""
        start = f"{name}/"
        chosen = {path: one for path, one in self.files.items() if path.startswith(start)}
        return type(self)(files={path.removeprefix(start): one for path, one in chosen.items()})

    def check(self, folder: Path) -> None:
        """Compare the files of a folder with what they must be.

        Raises:
            CorruptionError: one is missing or not what was written; names it.
        """

        def damage(name: str) -> str:
            try:
                whole = fingerprint_file(folder / name) == self.files[name]
            except OSError as error:
                return f"cannot read: {error.strerror}"
            return "" if whole else "not what was written"

        with ThreadPoolExecutor() as threads:
            found = list(threads.map(damage, self.files))
        for name, fault in zip(self.files, found, strict=True):
            if fault:
                raise CorruptionError(fault, where=folder / name)


def check_folder(folder: Path) -> None:
    """Compare the files of a folder with the checksums that lie in it.

    Raises:
        CorruptionError: a file is missing or not what was written; names it.
    """
    Checksums.read(folder / CHECKSUMS).check(folder)


def open_or_build(folder: Path, open_folder: Callable[[Path], T], build: Callable[[], object]) -> T:
    """Open a folder of the cache, building it where it is missing or damaged.

    Args:
        folder: whose name stands for all that its contents depend on.
        open_folder: opens it; a CorruptionError of it means that it is built again.
        build: writes it, atomically.

    Raises:
        ArtError: it cannot be built, or what was built cannot be opened.
    """
    if folder.exists():
        try:
            return open_folder(folder)
        except CorruptionError as error:
            repairing(folder, build)(error, partial(_is_damaged, folder, open_folder))
    else:
        with lock(_lock_file(folder)):
            if not folder.exists():  # another process may have built it meanwhile
                build()
    return open_folder(folder)


def repairing(folder: Path, build: Callable[[], object]) -> Repair:
    """Return what builds a folder of the cache again when something in it turns out damaged."""
    return partial(_repair, folder, build)


def _repair(
    folder: Path,
    build: Callable[[], object],
    damage: CorruptionError,
    is_damaged: Callable[[], bool],
) -> None:
    with lock(_lock_file(folder)):
        if is_damaged():  # another process may have built it meanwhile
            notify(f"{damage.where}: {damage.what}; building it again")
            build()


def _is_damaged(folder: Path, open_folder: Callable[[Path], object]) -> bool:
    try:
        open_folder(folder)
    except CorruptionError:
        return True
    return False


def _lock_file(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")
