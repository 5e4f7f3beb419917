"""Files of passage vectors: raw rows, a checksum per block, mapped only for reading.

Shard s of a folder holds rows s · shard_rows … of the index as `shard-0000s.bin`, little-endian and
without a header, and beside it `shard-0000s.json`, written after it, which says under which key the
shard was made and what its bytes must be. A shard with such a file is finished: an interrupted job
goes on with the others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from art import integrity
from art.config import SealedManifest
from art.errors import CorruptionError
from art.files import atomic_write
from art.integrity import CheckedFile, block_checksums, check_size

VectorType = Literal["float32", "float16"]
Vectors = NDArray[Any]  # float32 or float16 rows, as stored

BUILD_AGAIN = "run what built it again, such as `art embed`: only what is damaged is written anew"
"""What to do about a damaged file of an index."""

_NORM_ROWS = 4096


class FileRecord(SealedManifest):
    """What a finished file of an index is: the content of the JSON file beside it.

    Attributes:
        key: stands for everything that its bytes depend on.
        blocks: the checksum of every 4 MiB.
    """

    key: str
    blocks: list[str]


Record = TypeVar("Record", bound=FileRecord)


class ShardRecord(FileRecord):
    """What a finished shard is."""

    num_rows: int
    max_norm: float


def shard_path(folder: Path, shard: int) -> Path:
    """Return the path of a shard's rows; its record has the suffix `.json` instead."""
    return folder / f"shard-{shard:05d}.bin"


def default_type(*, on_gpu: bool) -> VectorType:
    """Return the type that vectors are stored in where nothing else is asked for.

    Twice as many fit a GPU in 16 bits; FAISS on a CPU searches 32 bits where they lie.
    """
    return "float16" if on_gpu else "float32"


def stored_type(dtype: VectorType) -> np.dtype[Any]:
    """Return the little-endian NumPy type of the stored numbers."""
    return np.dtype(dtype).newbyteorder("<")


def write_shard(folder: Path, shard: int, vectors: Vectors, key: str) -> ShardRecord:
    """Write one shard and then its record, each atomically.

    Args:
        folder: the folder of the index.
        shard: its number.
        vectors: [n, D] float32 or float16, all finite.
        key: stands for everything that the vectors depend on.
    """
    assert vectors.dtype.name in get_args(VectorType), vectors.dtype
    path = shard_path(folder, shard)
    rows = np.ascontiguousarray(vectors, dtype=vectors.dtype.newbyteorder("<"))
    blocks = block_checksums(_as_bytes(rows))
    record = ShardRecord(key=key, num_rows=len(rows), max_norm=_max_norm(rows), blocks=blocks)
    # A record of older contents must not stand beside the new ones, not even for a moment.
    path.with_suffix(".json").unlink(missing_ok=True)
    with atomic_write(path) as file:
        file.write(_as_bytes(rows))
    record.write(path.with_suffix(".json"))
    return record


def finished_shard(
    folder: Path, shard: int, key: str, *, num_rows: int, row_bytes: int
) -> ShardRecord | None:
    """Return the record of a shard that needs no rewriting, else None.

    Its bytes are read and compared: a job that runs again is also how damage is repaired.

    Args:
        folder: the folder of the index.
        shard: its number.
        key: what the vectors must have been made under.
        num_rows: rows it must have.
        row_bytes: bytes of one row.
    """
    record = finished_file(
        shard_path(folder, shard), ShardRecord, key, num_bytes=num_rows * row_bytes
    )
    return record if record is not None and record.num_rows == num_rows else None


def finished_file(
    path: Path, kind: type[Record], key: str, *, num_bytes: int | None = None
) -> Record | None:
    """Return the record of a file that needs no rewriting, else None; its bytes are compared.

    Args:
        path: of the file, whose record has the suffix `.json`.
        kind: of the record.
        key: what it must have been made under.
        num_bytes: that it must have; None for any number.
    """
    if not (path.is_file() and path.with_suffix(".json").is_file()):
        return None
    try:
        record = kind.read(path.with_suffix(".json"))
    except CorruptionError:  # unreadable, hence to be written anew
        return None
    if record.key != key or num_bytes not in (None, path.stat().st_size):
        return None
    return record if integrity.file_checksums(path) == record.blocks else None


def remove_leftovers(folder: Path, num_shards: int) -> None:
    """Delete the shards from number `num_shards` on and what killed writers left half-written."""
    for path in folder.iterdir():
        named = re.fullmatch(r"shard-(\d{5,})\.(bin|json)", path.name)
        half_written = re.fullmatch(r"\.shard-\d{5,}\.(bin|json)\..+\.tmp", path.name)
        if half_written or (named and int(named[1]) >= num_shards):
            path.unlink(missing_ok=True)


@dataclass
class Shards:
    """The vectors of an index, [N, D], mapped from its shard files.

    A shard is mapped when first needed and stays mapped. Each block of 4 MiB is compared with its
    checksum once, before anything in it is used.

    Args:
        folder: the folder of the index.
        num_rows: N.
        embedding_size: D.
        dtype: type of the stored numbers.
        shard_rows: rows of every shard but the last.
        blocks: the checksums of each shard.

    Raises:
        CorruptionError: a file is missing or has another size.
    """

    folder: Path
    num_rows: int
    embedding_size: int
    dtype: VectorType
    shard_rows: int
    blocks: list[list[str]]
    _files: dict[int, CheckedFile] = field(default_factory=dict, repr=False)
    _mapped: dict[int, Vectors] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        expected = -(-self.num_rows // self.shard_rows)
        if len(self.blocks) != expected:
            raise CorruptionError(
                f"checksums of {len(self.blocks)} shards, expected {expected}",
                where=self.folder,
                hint=BUILD_AGAIN,
            )
        for shard in range(len(self)):
            path, size = shard_path(self.folder, shard), self.rows_of(shard) * self.row_bytes
            check_size(path, size, hint=BUILD_AGAIN)
            if len(self.blocks[shard]) != -(-size // integrity.BLOCK_BYTES):
                raise CorruptionError(
                    f"{len(self.blocks[shard])} checksums, expected one for every 4 MiB",
                    where=path,
                    hint=BUILD_AGAIN,
                )

    def __len__(self) -> int:
        """Return the number of shards."""
        return len(self.blocks)

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.embedding_size * stored_type(self.dtype).itemsize

    def rows_of(self, shard: int) -> int:
        """Return the number of rows of a shard."""
        return min(self.shard_rows, self.num_rows - shard * self.shard_rows)

    def matrix(self, shard: int) -> Vectors:
        """Return all rows of a shard, checked: [n, D], mapped."""
        vectors = self._map(shard)
        self._files[shard].check(range(len(self.blocks[shard])))
        return vectors

    def gather(self, rows: NDArray[np.int64]) -> Vectors:
        """Return the vectors of any rows of the index, in the order asked for.

        Args:
            rows: [n].

        Returns:
            A copy, [n, D], in the stored type.
        """
        vectors = np.empty((len(rows), self.embedding_size), dtype=stored_type(self.dtype))
        shards, inside = np.divmod(rows, self.shard_rows)
        for shard in np.unique(shards).tolist():
            here = np.flatnonzero(shards == shard)
            first = inside[here] * self.row_bytes // integrity.BLOCK_BYTES
            last = ((inside[here] + 1) * self.row_bytes - 1) // integrity.BLOCK_BYTES
            mapped = self._map(shard)
            # A row may lie across two blocks.
            self._files[shard].check(np.union1d(first, last).tolist())
            vectors[here] = mapped[inside[here]]
        return vectors

    def _map(self, shard: int) -> Vectors:
        if shard not in self._mapped:
            path, shape = shard_path(self.folder, shard), (self.rows_of(shard), self.embedding_size)
            size = shape[0] * self.row_bytes
            file = CheckedFile(path, size, self.blocks[shard], hint=BUILD_AGAIN)
            self._files[shard] = file
            self._mapped[shard] = np.frombuffer(file.unchecked, self._type).reshape(shape)
        return self._mapped[shard]

    @property
    def _type(self) -> np.dtype[Any]:
        return stored_type(self.dtype)


def _as_bytes(rows: Vectors) -> memoryview:
    return rows.view(np.uint8).reshape(-1).data


def _max_norm(rows: Vectors) -> float:
    # In slices, because the squares are summed in float64.
    slices = range(0, len(rows), _NORM_ROWS)
    return max(
        (
            float(np.linalg.norm(rows[start : start + _NORM_ROWS].astype(np.float64), axis=1).max())
            for start in slices
        ),
        default=0.0,
    )
