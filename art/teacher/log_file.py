"""The file of a score log: records that are only ever appended, and seals that verify them.

    header  name of the layout and fingerprint of the teacher, 48 bytes
    score   hash of a pair's token ids and its score, 12 bytes
    seal    hash of all bytes before it and NaN, which no score is; 12 bytes at every flush

What stands behind the last seal was left by a kill and does not count. A change to anything before
it shows, so that a log needs no other file to be trusted, wherever it came from.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art.errors import ArtError, CorruptionError, MismatchError
from art.files import cannot_write, write_bytes

LOG_NAME = "scores.log"  # in the folder of whatever made the scores
RECORD = np.dtype([("hash", "<u8"), ("score", "<f4")])
Records = NDArray[np.void]

_MAGIC = b"ART score log 2\n"
_FINGERPRINT_BYTES = 32
HEADER_BYTES = len(_MAGIC) + _FINGERPRINT_BYTES


@dataclass(frozen=True)
class Stored:
    """What of a log counts.

    Attributes:
        fingerprint: of the teacher.
        records: the scores in the order written, [n].
        num_bytes: of the file, up to the seal behind the last of them.
        digest: of these bytes.
    """

    fingerprint: str
    records: Records
    num_bytes: int
    digest: hashlib.blake2b

    @classmethod
    def nothing(cls, fingerprint: str) -> Stored:
        """Return what a log holds when it is begun."""
        digest = hashlib.blake2b(_header(fingerprint), digest_size=8)
        return cls(fingerprint, np.zeros(0, dtype=RECORD), HEADER_BYTES, digest)


def read_log(path: Path, *, fingerprint: str, length: int | None = None) -> Stored:
    """Read the scores of a log that are sealed, in one pass over it.

    Args:
        path: the file.
        fingerprint: of the teacher it must belong to.
        length: only the first so many, the count of a checkpoint; None for all.

    Raises:
        CorruptionError: it is not a score log, was changed since it was written, or is too short.
        MismatchError: it belongs to another teacher.
        ArtError: it cannot be read.
    """
    with disk(path), open(path, "rb") as file:
        header = file.read(HEADER_BYTES)
        found = np.fromfile(file, dtype=RECORD)  # whole records only: a kill may tear the last
    if len(header) < HEADER_BYTES or not header.startswith(_MAGIC):
        raise CorruptionError(
            "not a score log, or of a version that this one does not read",
            where=path,
            hint="remove it",
        )
    is_seal = np.isnan(found["score"])
    seals = np.flatnonzero(is_seal)
    if length is not None:
        # A checkpoint seals the log, so one stands right behind its last score. What follows that
        # one may be damaged.
        num_before = seals - np.arange(len(seals))
        seals = seals[: np.searchsorted(num_before, length) + 1]
    digest = _checked(path, header, found, seals)
    end = int(seals[-1]) + 1 if len(seals) else 0
    records = found[:end][~is_seal[:end]]
    if length is not None and len(records) != length:
        raise CorruptionError(
            f"the log holds {len(records)} sealed scores, but the checkpoint counts {length}",
            where=path,
            hint="go on from the checkpoint before, or begin again without the log",
        )
    stored = header[len(_MAGIC) :].decode(errors="replace").rstrip()
    if stored != fingerprint:
        raise MismatchError(
            f"the log holds scores of the teacher {stored}, not of {fingerprint}",
            where=path,
            hint="use the teacher settings it was made with, or another file",
        )
    return Stored(stored, records, HEADER_BYTES + end * RECORD.itemsize, digest)


def _checked(
    path: Path, header: bytes, records: Records, seals: NDArray[np.intp]
) -> hashlib.blake2b:
    """Return the digest up to the last seal, after checking every seal against the bytes before it.

    Raises:
        CorruptionError: one of them does not fit.
    """
    digest = hashlib.blake2b(header, digest_size=8)
    start = 0
    for seal in seals:
        digest.update(records[start:seal].view(np.uint8).data)
        if _seal(digest).tobytes() != records[seal].tobytes():
            raise CorruptionError(
                f"the log is damaged between its records {start} and {seal}",
                where=path,
                hint="go on from the checkpoint before, or begin again without the log",
            )
        digest.update(records[seal : seal + 1].view(np.uint8).data)
        start = seal + 1
    return digest


def read_known(sources: Iterable[str | Path], fingerprint: str) -> Records:
    """Read the scores that other runs left.

    Args:
        sources: run folders or score logs.
        fingerprint: of the teacher they must all belong to.

    Raises:
        ArtError: one of them cannot be read, is damaged or belongs to another teacher.
    """
    paths = [Path(source) for source in sources]
    files = [path / LOG_NAME if path.is_dir() else path for path in paths]
    found = [read_log(file, fingerprint=fingerprint).records for file in files]
    return np.concatenate([np.zeros(0, dtype=RECORD), *found])


class LogFile:
    """A log's file, open for appending; whatever does not count is cut off.

    Args:
        path: the file, begun if nothing of it counts.
        kept: what counts.

    Raises:
        ArtError: the file cannot be written, here and in every method.
    """

    def __init__(self, path: Path, kept: Stored) -> None:
        self._path = path
        self._digest = kept.digest.copy()
        self._is_sealed = True
        with disk(path):
            if not len(kept.records):
                write_bytes(path, _header(kept.fingerprint))
            self._file = open(path, "r+b")  # noqa: SIM115 - stays open for appending
            self._file.truncate(kept.num_bytes)
            self._file.seek(0, 2)

    def append(self, records: Records) -> None:
        """Add scores, which count from the next seal on."""
        if len(records):
            self._write(records)
            self._is_sealed = False

    def seal(self) -> None:
        """Seal what was appended and flush it to the disk."""
        if not self._is_sealed:
            self._write(_seal(self._digest))
            self._is_sealed = True
        with disk(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Seal and close the file."""
        self.seal()
        self._file.close()

    def _write(self, records: Records) -> None:
        data = records.tobytes()
        with disk(self._path):
            self._file.write(data)
        self._digest.update(data)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Say which score log it was that the disk refused.

    Raises:
        ArtError: it did.
    """
    try:
        yield
    except OSError as error:
        refusal = cannot_write(error, path)
        raise ArtError(f"score log: {refusal.what}", where=path, hint=refusal.hint) from error


def _header(fingerprint: str) -> bytes:
    return _MAGIC + fingerprint.encode().ljust(_FINGERPRINT_BYTES)


def _seal(digest: hashlib.blake2b) -> Records:
    return np.array([(int.from_bytes(digest.digest(), "little"), np.nan)], dtype=RECORD)
