"""The corpus as a memory-mapped store: row ↔ passage id, title, text, in constant memory.

A store is a folder of four files. `text.bin` holds one record per passage (three uint32 lengths,
then id, title and text in UTF-8), `offsets.bin` the N + 1 record borders, `hashes.bin` the ids'
64-bit hashes in ascending order followed by the row of each, and `manifest.json` the sizes and a
checksum of every 4 MiB, compared when that block is first read.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from art.config import SealedManifest
from art.data.distinct import distinct_passages
from art.data.formats import (
    Passage,
    PassageFormat,
    prefixed_format,
    read_passages,
    source_files,
)
from art.data.rows import READING, BadRows, is_word
from art.data.store_files import HEADER, id_hash, write_hashes, write_records
from art.errors import ArtError, CorruptionError, DataError, shown
from art.files import atomic_folder, cache_folder, file_state, fingerprint
from art.integrity import CheckedFile, Repair, file_checksums, open_or_build, repairing

_BORDERS = struct.Struct("<qq")
_FORMAT = "passage store 2"
_FILES = ("text.bin", "offsets.bin", "hashes.bin")


class _StoreManifest(SealedManifest):
    format: str
    source: str
    num_passages: int
    text_bytes: int
    fingerprint: str
    blocks: dict[str, list[str]]
    bad_rows: BadRows = BadRows()
    # The first id with white space, "" where there is none; unknown in a store of earlier versions.
    spaced_id: str | None = None


class _RepeatedIdError(DataError):
    """Two passages have the same id."""


class _Corpus(NamedTuple):
    """What a store of the cache can be built from again.

    Attributes:
        source: what `read_passages` reads.
        skip_bad_rows: whether to leave malformed rows out.
    """

    source: str
    skip_bad_rows: bool


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

    def __init__(
        self, folder: Path, manifest: _StoreManifest, *, repair: Repair | None = None
    ) -> None:
        self.folder = folder
        self.source = manifest.source
        self.fingerprint = manifest.fingerprint
        self.bad_rows = manifest.bad_rows
        self._num_passages = manifest.num_passages
        self._spaced_id = manifest.spaced_id
        hint = f"restore the folder, or name what it was built from ({self.source})"

        def opened(name: str, num_bytes: int) -> CheckedFile:
            checksums = manifest.blocks[name]
            return CheckedFile(folder / name, num_bytes, checksums, hint=hint, repair=repair)

        self._text = opened("text.bin", manifest.text_bytes)
        self._offsets = opened("offsets.bin", 8 * (self._num_passages + 1))
        self._hashes = opened("hashes.bin", 16 * self._num_passages)

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
            folder: appears when it is complete; an older store in it is replaced.
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
            hashes, text_bytes, digest, spaced_id = write_records(bar, beside)
            if not hashes:
                what = "; ".join(["there is no passage", *filter(None, [skipped.report()])])
                raise DataError(what, where=source, hint="is it the file you meant?")
            write_hashes(hashes, beside / "hashes.bin")
            manifest = _StoreManifest(
                format=_FORMAT,
                source=source,
                num_passages=len(hashes),
                text_bytes=text_bytes,
                fingerprint=digest,
                bad_rows=skipped,
                spaced_id=spaced_id,
                blocks={name: file_checksums(beside / name) for name in _FILES},
            )
            manifest.write(beside / "manifest.json")
            cls(beside, manifest)._refuse_duplicates()
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | Path, *, repair: Repair | None = None) -> PassageStore:
        """Open a store that is there already.

        Args:
            folder: where it lies.
            repair: writes it again when it turns out damaged while it is read; None where nothing
                could.

        Raises:
            ArtError: there is no store.
            CorruptionError: the manifest is damaged, or a file is missing or has another size;
                contents are checked when they are first read.
        """
        return _open(Path(folder), repair)

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

        What turns out damaged there is built again, now or when it is first read.

        Args:
            source: a corpus that `read_passages` reads, or the folder of a store.
            skip_bad_rows: build it without malformed rows and repeated ids, kept in `bad_rows`.
            cache: folder for things that can be built again; None for the user's.
            progress: draw a progress bar while building.

        Raises:
            ArtError: the source cannot be read.
            CorruptionError: the source is the folder of a store, and damaged.
        """
        if _is_store(source):
            return cls.open(source)
        corpus = _Corpus(str(source), skip_bad_rows)
        folder = (cache or cache_folder()) / "stores" / _source_key(corpus)
        return open_or_build(
            folder,
            partial(_open, repair=repairing(folder, partial(_build_again, corpus, folder))),
            partial(_build, corpus, folder, progress=progress),
        )

    def __len__(self) -> int:
        return self._num_passages

    def __getitem__(self, row: int) -> Passage:
        """Return the passage of one row; negative rows are refused."""
        passage_id, title, text = self._record(row)
        return Passage(passage_id.decode(), title.decode(), text.decode())

    def __iter__(self) -> Iterator[Passage]:
        return (self[row] for row in range(len(self)))

    def spaced_id(self) -> str:
        """Return the first passage id that holds white space, "" where there is none."""
        if self._spaced_id is None:
            every = (self._id(row).decode() for row in range(len(self)))
            self._spaced_id = next((name for name in every if not is_word(name)), "")
        return self._spaced_id

    def ids(self, rows: ArrayLike) -> list[str]:
        """Return the passage ids of rows [n], in their order."""
        return [self._id(int(row)).decode() for row in np.asarray(rows, dtype=np.int64).ravel()]

    def row_of(self, passage_id: str) -> int | None:
        """Return the row of a passage id, None where it is not in the store."""
        wanted = passage_id.encode()
        hashed = np.uint64(id_hash(wanted))
        hashes, rows = self._sorted_hashes()
        place = int(np.searchsorted(hashes, hashed))
        while place < len(self) and hashes[place] == hashed:
            row = int(rows[place])
            if self._id(row) == wanted:  # two ids may share a hash
                return row
            place += 1
        return None

    def _sorted_hashes(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """Return the ids' hashes in ascending order and the row of each, [N] both, mapped."""
        both = np.frombuffer(self._hashes.read(0, len(self._hashes)), dtype="<u8")
        return both[: len(self)], both[len(self) :]

    def _borders(self, row: int) -> tuple[int, int]:
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of a store of {len(self)} passages")
        start, stop = _BORDERS.unpack(self._offsets.read(8 * row, 8 * row + _BORDERS.size))
        return start, stop

    def _record(self, row: int) -> tuple[bytes, bytes, bytes]:
        record = bytes(self._text.read(*self._borders(row)))
        id_bytes, title_bytes, _ = HEADER.unpack_from(record)
        title = HEADER.size + id_bytes
        text = title + title_bytes
        return record[HEADER.size : title], record[title:text], record[text:]

    def _id(self, row: int) -> bytes:
        passage_id, _, _ = self._record(row)
        return passage_id

    def _refuse_duplicates(self) -> None:
        hashes, rows = self._sorted_hashes()
        for place in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
            second = int(rows[place + 1])
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


def _open(folder: Path, repair: Repair | None) -> PassageStore:
    """Open a store; `repair` writes it again, where it lies in the cache."""
    manifest = _StoreManifest.read(folder / "manifest.json")
    if manifest.format != _FORMAT:
        raise CorruptionError(
            f"not a {_FORMAT!r} but {shown(manifest.format)}",
            where=folder,
            hint="delete it to have it built again",
        )
    return PassageStore(folder, manifest, repair=repair)


def _build(corpus: _Corpus, folder: Path, *, progress: bool) -> None:
    source, skip = corpus
    bad_rows = BadRows() if skip else None
    passages = distinct_passages(source, bad_rows) if skip else read_passages(source)
    try:
        PassageStore.build(passages, folder, source=source, bad_rows=bad_rows, progress=progress)
    except _RepeatedIdError:
        for _ in distinct_passages(source, None):
            pass  # it raises with the line of the id, which the store does not know
        raise


def _build_again(corpus: _Corpus, folder: Path) -> None:
    if _source_key(corpus) != folder.name:
        raise CorruptionError(
            "this store is damaged, and its corpus has changed since it was built",
            where=folder,
            hint="start again: the changed corpus gets a store of its own",
        )
    _build(corpus, folder, progress=False)


def _is_store(source: str | Path) -> bool:
    """Return whether a source is the folder of a store."""
    try:
        return (Path(source) / "manifest.json").is_file()
    except OSError:  # a name that is too long
        return False


def _source_key(corpus: _Corpus) -> str:
    """Return the cache key of a corpus: its files' paths, sizes and times of change."""
    source = corpus.source
    parts = [_FORMAT, READING, *["without bad rows"] * corpus.skip_bad_rows]
    if prefixed_format(PassageFormat, source) is not None:
        parts.append(source)  # a dataset's splits and configurations share files
    try:
        for path in source_files(PassageFormat, source):
            parts.append(file_state(path))
    except OSError as error:
        raise ArtError(f"cannot read: {error.strerror}", where=source) from error
    return fingerprint(*parts)
