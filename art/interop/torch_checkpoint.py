"""Files that `torch.save` wrote, in its zip format and in that before PyTorch 1.6, read safely.

The pickle inside is read by `tensor_pickle`, which executes nothing. A tensor's numbers are read
when they are asked for, so that optimiser states stay on the disk, and every size that the pickle
names is held against the bytes that are there.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

import torch
from torch import Tensor

from art.errors import ArtError, notify, shown
from art.interop.tensor_pickle import (
    StoredNumbers,
    StoredTensor,
    TensorUnpickler,
    read_bytes_objects,
    read_objects,
)

_ZIP = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C  # the first object of the older format
_PROTOCOL = 1001
_AGAIN = "get it again; is it the file that the training program wrote?"
_MOST_NAMES = 4  # of what was left out, in a message


class _Numbers(Protocol):
    """Where the numbers of a checkpoint lie."""

    def num_bytes(self, key: str) -> int | None:
        """Return how many bytes there are under a key; None for none at all."""

    def read(self, key: str) -> bytes:
        """Return them."""


class Checkpoint:
    """An open checkpoint; `open_checkpoint` makes it.

    Args:
        path: of the file.
        root: the object in it, tensors as `StoredTensor`.
        numbers: where the tensors' numbers lie.
    """

    def __init__(self, path: Path, root: Any, numbers: _Numbers) -> None:
        self.path = path
        self.root = root
        self._numbers = numbers
        self._last: tuple[str, bytearray] = ("", bytearray())

    def read(self, tensor: StoredTensor, name: str) -> Tensor:
        """Return a tensor as float32, checked against the bytes of the file.

        Args:
            tensor: what the pickle says of it.
            name: for messages.

        Raises:
            ArtError: it is larger than its bytes, holds no real numbers, or some are not finite.
        """
        numbers, offset, shape, strides = tensor
        if not numbers.dtype.is_floating_point:
            raise self._fault(f"{name} holds {numbers.dtype}, not real numbers")
        whole = all(type(one) is int and one >= 0 for one in (offset, *shape, *strides))
        if not whole or len(shape) != len(strides):
            raise self._fault(f"{name} has a shape that no tensor has")
        count = math.prod(shape)
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        if count > numbers.size or (count and last >= numbers.size):
            raise self._fault(f"{name} is larger than the {numbers.size} numbers it is cut from")
        if not count:
            return torch.empty(shape)
        flat = torch.frombuffer(self._bytes(numbers), dtype=numbers.dtype)
        found = flat.as_strided(shape, strides, offset).to(torch.float32, copy=True)
        if not found.isfinite().all():
            raise self._fault(f"{name} holds numbers that are not finite")
        return found.contiguous()

    def _bytes(self, numbers: StoredNumbers) -> bytearray:
        # Kept, because some programs cut all their tensors from one storage.
        if self._last[0] != numbers.key:
            try:
                found = bytearray(self._numbers.read(numbers.key))
            except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
                raise self._fault(f"damaged: {error}") from error
            if len(found) != numbers.size * numbers.dtype.itemsize:
                raise self._fault(f"damaged: {shown(numbers.key)} ends too early")
            self._last = (numbers.key, found)
        return self._last[1]

    def _fault(self, what: str) -> ArtError:
        return ArtError(what, where=self.path, hint=_AGAIN)

    def check_sizes(self, storages: Mapping[str, StoredNumbers]) -> None:
        """Refuse a file whose pickle names other sizes than those of the bytes in it."""
        for key, one in storages.items():
            there = self._numbers.num_bytes(key)
            if there is None:
                raise self._fault(f"names numbers that are not in the file: {shown(key)}")
            if there != one.size * one.dtype.itemsize:
                raise self._fault(
                    f"has {there} bytes under {shown(key)} for {one.size} numbers of {one.dtype}"
                )


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Checkpoint]:
    """Open a file that `torch.save` wrote; what is not a tensor in it is told once.

    Raises:
        ArtError: it is not there, damaged, of another format, or made to do harm.
    """
    path = Path(path)
    try:
        file = open(path, "rb")  # noqa: SIM115 (closed below; the block may raise what it likes)
    except OSError as error:
        raise ArtError(f"cannot read: {error.strerror}", where=path) from error
    with file:
        zipped = file.read(4) == _ZIP
        file.seek(0)
        root, reader, numbers = _open_zip(file, path) if zipped else _open_plain(file, path)
        found = Checkpoint(path, root, numbers)
        found.check_sizes(reader.storages)
        if names := sorted(reader.strangers):
            more = f" and {len(names) - _MOST_NAMES} others" if len(names) > _MOST_NAMES else ""
            notify(
                f"{path}: objects of {', '.join(map(shown, names[:_MOST_NAMES]))}{more} lie beside"
                " the tensors; they were neither made nor run"
            )
        yield found


class _ZipNumbers:
    """The numbers of a zip file, an entry each, with its checksum."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        self._archive = archive
        self._folder = folder
        self._entries = {one.filename: one for one in archive.infolist()}

    def num_bytes(self, key: str) -> int | None:
        entry = self._entries.get(f"{self._folder}/data/{key}")
        return None if entry is None else entry.file_size

    def read(self, key: str) -> bytes:
        return self._archive.read(self._entries[f"{self._folder}/data/{key}"])


def _open_zip(file: IO[bytes], path: Path) -> tuple[Any, TensorUnpickler, _Numbers]:
    try:
        archive = zipfile.ZipFile(file)
        # Packed entries could be far larger than the file; PyTorch writes none.
        if any(one.compress_type or one.flag_bits & 1 for one in archive.infolist()):
            raise zipfile.BadZipFile("compressed or encrypted, which PyTorch's files are not")
        folder = _folder(archive)
        contents = archive.read(f"{folder}/data.pkl")
        order = f"{folder}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise zipfile.BadZipFile("written by a machine with another order of bytes")
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        raise ArtError(
            f"cut short, damaged or no checkpoint: {error}", where=path, hint=_AGAIN
        ) from error
    root, reader = read_bytes_objects(contents, path)
    return root, reader, _ZipNumbers(archive, folder)


def _folder(archive: zipfile.ZipFile) -> str:
    ends = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(ends) != 1:
        raise zipfile.BadZipFile("not one data.pkl in it")
    return ends[0].removesuffix("/data.pkl")


class _PlainNumbers:
    """The numbers of the older format, which follow the pickles one after another."""

    def __init__(self, file: IO[bytes], spans: dict[str, tuple[int, int]]) -> None:
        self._file = file
        self._spans = spans

    def num_bytes(self, key: str) -> int | None:
        return self._spans[key][1] if key in self._spans else None

    def read(self, key: str) -> bytes:
        start, size = self._spans[key]
        self._file.seek(start)
        return self._file.read(size)


def _open_plain(file: IO[bytes], path: Path) -> tuple[Any, TensorUnpickler, _Numbers]:
    if file.read(1) != b"\x80":
        raise ArtError("not a file that torch.save wrote", where=path, hint=_AGAIN)
    file.seek(0)
    magic, _ = read_objects(file, path)
    if magic != _MAGIC:
        raise ArtError("a pickle, but not one that torch.save wrote", where=path, hint=_AGAIN)
    protocol, _ = read_objects(file, path)
    machine, _ = read_objects(file, path)
    little = machine.get("little_endian") if isinstance(machine, dict) else None
    if protocol != _PROTOCOL or little is not True:
        raise ArtError("written by a version or machine that is not known here", where=path)
    root, reader = read_objects(file, path)
    keys, _ = read_objects(file, path)
    return root, reader, _PlainNumbers(file, _spans(file, keys, reader, path))


def _spans(
    file: IO[bytes], keys: Any, reader: TensorUnpickler, path: Path
) -> dict[str, tuple[int, int]]:
    """Return where each run of numbers starts, and its bytes; the file is at the first."""
    size = path.stat().st_size
    spans: dict[str, tuple[int, int]] = {}
    at = file.seek(0, io.SEEK_CUR)
    for key in keys if isinstance(keys, list) else ():
        storage = reader.storages.get(key) if isinstance(key, str) else None
        file.seek(at)
        count = int.from_bytes(file.read(8), "little", signed=True)
        if storage is None or count != storage.size:
            raise ArtError(f"has {count} numbers where others are named", where=path, hint=_AGAIN)
        num_bytes = count * storage.dtype.itemsize
        if at + 8 + num_bytes > size:
            raise ArtError(
                f"cut short: {size} bytes, at least {at + 8 + num_bytes} expected",
                where=path,
                hint=_AGAIN,
            )
        spans[storage.key] = (at + 8, num_bytes)
        at += 8 + num_bytes
    return spans
