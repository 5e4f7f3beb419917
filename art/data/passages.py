"""The corpus as a memory-mapped store: row ↔ passage id, title, text, in constant memory.

A store is a folder of four files. `text.bin` holds one record per passage (three uint32 lengths,
then id, title and text in UTF-8), `offsets.bin` the N + 1 record borders, `hashes.bin` the ids'
64-bit hashes in ascending order followed by the row of each, and `manifest.json` the sizes.
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from art.config import Manifest
from art.data.distinct import distinct_passages
from art.data.formats import Passage, passage_files, read_passages
from art.data.rows import BadRows
from art.errors import ArtError, CorruptionError, DataError, shown
from art.files import atomic_folder, cache_folder, file_state, fingerprint, lock

_HEADER = struct.Struct("<III")  # bytes of the id, of the title, of the text
_FORMAT = "passage store 1"


class _StoreManifest(Manifest):
    format: str
    source: str
    num_passages: int
    text_bytes: int
    fingerprint: str
    bad_rows: BadRows = BadRows()


class _RepeatedIdError(DataError):
    """Two passages have the same id."""


class PassageStore:
    """A corpus on disk, mapped for reading; build or open it with the class methods.

    Attributes:
        folder: where it lies.
        source: what it was built from.
        fingerprint: stands for the ids, titles and texts in their order.
        bad_rows: of the source, skipped when the store was built.
    """

    folder: Path
    source: str
    fingerprint: str
    bad_rows: BadRows

    def __init__(self, folder: Path, manifest: _StoreManifest) -> None:
        self.folder = folder
        self.source = manifest.source
        self.fingerprint = manifest.fingerprint
        self.bad_rows = manifest.bad_rows
        count = manifest.num_passages
        check_size(folder / "text.bin", manifest.text_bytes)
        check_size(folder / "offsets.bin", 8 * (count + 1))
        check_size(folder / "hashes.bin", 16 * count)
        with open(folder / "text.bin", "rb") as file:
            self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._offsets = mapped(folder / "offsets.bin", np.dtype("<i8"))
        hashes = mapped(folder / "hashes.bin", np.dtype("<u8"))
        self._hashes, self._hash_rows = hashes[:count], hashes[count:]

    @classmethod
    def build(
        cls,
        passages: Iterable[Passage],
        folder: str | Path,
        *,
        source: str,
        bad_rows: BadRows | None = None,
        progress: bool = True,
    ) -> PassageStore:
        """Write a store; memory grows by 32 bytes a passage while its ids are sorted, no more.

        Args:
            passages: the corpus in its order, read once.
            folder: appears whole or not at all; an older store in it is replaced.
            source: what the passages come from, for the manifest and for messages.
            bad_rows: collects, while `passages` is read, what is skipped of the source.
            progress: draw a progress bar.

        Raises:
            DataError: there is no passage, or two have the same id.
        """
        folder = Path(folder)
        skipped = bad_rows or BadRows()
        bar = tqdm(passages, desc="passages", unit="", unit_scale=True, disable=not progress)
        with atomic_folder(folder) as beside:
            hashes, text_bytes, digest = _write_records(bar, beside)
            if not hashes:
                what = "; ".join(["there is no passage", *filter(None, [skipped.report()])])
                raise DataError(what, where=source, hint="is it the file you meant?")
            _write_hashes(hashes, beside / "hashes.bin")
            manifest = _StoreManifest(
                format=_FORMAT,
                source=source,
                num_passages=len(hashes),
                text_bytes=text_bytes,
                fingerprint=digest,
                bad_rows=skipped,
            )
            manifest.write(beside / "manifest.json")
            cls(beside, manifest)._refuse_duplicates()
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path) -> PassageStore:
        """Open a store that is there already.

        Raises:
            ArtError: there is no store.
            CorruptionError: a file is missing or has another size than when it was written.
        """
        folder = Path(folder)
        manifest = _StoreManifest.read(folder / "manifest.json")
        if manifest.format != _FORMAT:
            raise CorruptionError(
                f"not a {_FORMAT!r} but {shown(manifest.format)}",
                where=folder,
                hint="delete it to have it built again",
            )
        return cls(folder, manifest)

    @classmethod
    def open_or_build(
        cls,
        source: str | Path,
        *,
        skip_bad_rows: bool = False,
        cache: Path | None = None,
        progress: bool = True,
    ) -> PassageStore:
        """Open the store of a corpus, building it in the cache when the source is new or changed.

        Args:
            source: a corpus that `read_passages` reads, or the folder of a store.
            skip_bad_rows: build it without malformed rows and repeated ids, kept in `bad_rows`.
            cache: folder for things that can be built again; None for the user's.
            progress: draw a progress bar while building.

        Raises:
            ArtError: the source cannot be read, or the store is damaged.
        """
        if _is_store(source):
            return cls.open(source)
        stores = (cache or cache_folder()) / "stores"
        key = _source_key(source, skip_bad_rows)
        folder = stores / key
        if not folder.exists():
            with lock(stores / f"{key}.lock"):
                if not folder.exists():  # another process may have built it meanwhile
                    cls._build_from(source, folder, skip_bad_rows, progress)
        return cls.open(folder)

    @classmethod
    def _build_from(cls, source: str | Path, folder: Path, skip: bool, progress: bool) -> None:
        bad_rows = BadRows() if skip else None
        passages = distinct_passages(source, bad_rows) if skip else read_passages(source)
        try:
            cls.build(passages, folder, source=str(source), bad_rows=bad_rows, progress=progress)
        except _RepeatedIdError:
            for _ in distinct_passages(source, None):
                pass  # it raises with the line of the id, which the store does not know
            raise

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, row: int) -> Passage:
        """Return the passage of one row; negative rows are refused."""
        passage_id, title, text = self._record(row)
        return Passage(passage_id.decode(), title.decode(), text.decode())

    def __iter__(self) -> Iterator[Passage]:
        return (self[row] for row in range(len(self)))

    def ids(self, rows: ArrayLike) -> list[str]:
        """Return the passage ids of rows [n], in their order."""
        return [self._id(int(row)).decode() for row in np.asarray(rows, dtype=np.int64).ravel()]

    def row_of(self, passage_id: str) -> int | None:
        """Return the row of a passage id, None where it is not in the store."""
        wanted = passage_id.encode()
        hashed = np.uint64(_hash(wanted))
        place = int(np.searchsorted(self._hashes, hashed))
        while place < len(self) and self._hashes[place] == hashed:
            row = int(self._hash_rows[place])
            if self._id(row) == wanted:  # two ids may share a hash
                return row
            place += 1
        return None

    def _start(self, row: int) -> int:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} passages")
        return int(self._offsets[row])

    def _record(self, row: int) -> tuple[bytes, bytes, bytes]:
        start = self._start(row)
        id_bytes, title_bytes, text_bytes = _HEADER.unpack_from(self._text, start)
        title = start + _HEADER.size + id_bytes
        text = title + title_bytes
        return (
            self._text[start + _HEADER.size : title],
            self._text[title:text],
            self._text[text : text + text_bytes],
        )

    def _id(self, row: int) -> bytes:
        start = self._start(row)
        id_bytes, _, _ = _HEADER.unpack_from(self._text, start)
        start += _HEADER.size
        return self._text[start : start + id_bytes]

    def _refuse_duplicates(self) -> None:
        for place in np.flatnonzero(self._hashes[1:] == self._hashes[:-1]).tolist():
            second = int(self._hash_rows[place + 1])
            passage_id = self._id(second).decode()
            # The search ends at the lowest row of this id, whichever other ids share its hash.
            first = self.row_of(passage_id)
            if first != second:
                raise _RepeatedIdError(
                    f"passage id {passage_id!r} occurs twice: passages {(first or 0) + 1} and "
                    f"{second + 1} of the corpus",
                    where=self.source,
                    hint="give every passage an id of its own",
                )


def _write_records(passages: Iterable[Passage], folder: Path) -> tuple[array[int], int, str]:
    """Write text.bin and offsets.bin; return the ids' hashes, the bytes and the fingerprint."""
    hashes, position, digest = array("Q"), 0, hashlib.blake2b(digest_size=16)
    with open(folder / "text.bin", "wb") as texts, open(folder / "offsets.bin", "wb") as offsets:
        offsets.write(struct.pack("<q", 0))
        for passage in passages:
            record = _pack(passage)
            digest.update(record)
            texts.write(record)
            position += len(record)
            offsets.write(struct.pack("<q", position))
            hashes.append(_hash(passage.passage_id.encode()))
    return hashes, position, digest.hexdigest()


def _pack(passage: Passage) -> bytes:
    passage_id, title = passage.passage_id.encode(), passage.title.encode()
    text = passage.text.encode()
    return _HEADER.pack(len(passage_id), len(title), len(text)) + passage_id + title + text


def _write_hashes(hashes: array[int], path: Path) -> None:
    values = np.frombuffer(hashes, dtype=np.uint64)
    order = np.argsort(values, kind="stable")  # equal hashes stay in the order of their rows
    with open(path, "wb") as file:
        values[order].astype("<u8").tofile(file)
        order.astype("<u8").tofile(file)


def _hash(passage_id: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(passage_id, digest_size=8).digest(), "little")


def mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Map a file of numbers for reading."""
    # A plain view: indexing a memmap object itself is several times slower.
    return np.memmap(path, dtype=dtype, mode="r").view(np.ndarray)


def _is_store(source: str | Path) -> bool:
    """Return whether a source is the folder of a store."""
    try:
        return (Path(source) / "manifest.json").is_file()
    except OSError:  # a name that is too long
        return False


def check_size(path: Path, expected: int) -> None:
    """Raise CorruptionError unless the file is there and holds this many bytes."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CorruptionError(
            f"cannot read: {error.strerror}",
            where=path,
            hint=f"delete {path.parent} to have it built again",
        ) from error
    if size != expected:
        raise CorruptionError(
            f"holds {size} bytes instead of {expected}",
            where=path,
            hint=f"delete {path.parent} to have it built again",
        )


def _source_key(source: str | Path, skip_bad_rows: bool) -> str:
    """Return the cache key of a corpus: its files' paths, sizes and times of change."""
    parts = [_FORMAT, *["without bad rows"] * skip_bad_rows]
    if str(source).startswith("hf:"):
        parts.append(str(source))  # a dataset's splits and configurations share files
    try:
        for path in passage_files(source):
            parts.append(file_state(path))
    except OSError as error:
        raise ArtError(f"cannot read: {error.strerror}", where=source) from error
    return fingerprint(*parts)
