"""Scores already known: a pair of question and passage goes through the scorer once.

A score's key is a hash of the exact token ids that the scorer would read, so that a passage found
again in a later epoch, by another rank or in another run is not scored again. The log on disk is a
header that names the scorer and 12 bytes a pair, only ever appended to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from art import distributed
from art.data.pairs import Pair
from art.data.tokens import TokenStore
from art.errors import ArtError, CorruptionError, MismatchError
from art.files import write_bytes
from art.scorer.teacher import Teacher

Hashes = NDArray[np.uint64]
Scores = NDArray[np.float32]

_MAGIC = b"ART score log 1\n"
_FINGERPRINT_BYTES = 32
_HEADER_BYTES = len(_MAGIC) + _FINGERPRINT_BYTES
_RECORD = np.dtype([("hash", "<u8"), ("score", "<f4")])

# Between a pair's two parts, so that no two pairs have the same bytes; no token has this id.
_SEPARATOR = np.array([-1], dtype="<i4").tobytes()

# New scores wait in a small table, because every insertion moves the rest of its table.
_RECENT_PAIRS = 1 << 17

# Pairs whose token ids are held at once.
_SLICE_PAIRS = 1 << 14


class ScoreLog:
    """The scores of one scorer, in memory on every process and in a file that the main one writes.

    Args:
        path: the file, begun if it is not there; None to keep the scores in memory only.
        fingerprint: the scorer's.
        length: cut back to this many scores, the count of a checkpoint; None to keep all of them.

    Raises:
        MismatchError: the file holds the scores of another scorer.
        CorruptionError: the file is not a score log, or holds fewer than `length` scores.
        ArtError: the disk refuses.
    """

    def __init__(
        self, path: str | Path | None, *, fingerprint: str, length: int | None = None
    ) -> None:
        self.path = None if path is None else Path(path)
        self.fingerprint = fingerprint
        self._file: IO[bytes] | None = None
        records = np.zeros(0, dtype=_RECORD)
        if self.path is not None:
            with _disk(self.path):
                records = self._read(self.path, length)
                if distributed.is_main():
                    self._file = self._open(self.path, len(records))
        self.length = len(records)
        self._base = _Table.of(records["hash"], records["score"])
        self._recent = _Table.of(records["hash"][:0], records["score"][:0])

    def _read(self, path: Path, length: int | None) -> NDArray[np.void]:
        if length == 0 or not path.exists():
            found, stored = np.zeros(0, dtype=_RECORD), self.fingerprint
        else:
            with open(path, "rb") as file:
                header = file.read(_HEADER_BYTES)
                # Whole records only: the last one may have been torn by a kill.
                size = path.stat().st_size - _HEADER_BYTES
                available = max(size, 0) // _RECORD.itemsize
                count = available if length is None else min(length, available)
                found = np.fromfile(file, dtype=_RECORD, count=count)
            if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
                raise CorruptionError("not a score log", where=path, hint="remove it")
            stored = header[len(_MAGIC) :].decode(errors="replace").rstrip()
        if stored != self.fingerprint:
            raise MismatchError(
                f"the log holds scores of the scorer {stored}, not of {self.fingerprint}",
                where=path,
                hint="use the scorer settings it was made with, or another file",
            )
        if length is not None and len(found) < length:
            raise CorruptionError(
                f"the log holds {len(found)} scores, but the checkpoint counts {length}",
                where=path,
                hint="remove the newest folder under checkpoints/ to go on from the one before",
            )
        if not np.isfinite(found["score"]).all():
            raise CorruptionError("a score in the log is not a number", where=path)
        return found

    def _open(self, path: Path, count: int) -> IO[bytes]:
        if not count:
            write_bytes(path, _MAGIC + self.fingerprint.encode().ljust(_FINGERPRINT_BYTES))
        file = open(path, "r+b")  # noqa: SIM115 - stays open for appending
        file.truncate(_HEADER_BYTES + count * _RECORD.itemsize)
        file.seek(0, 2)
        return file

    def lookup(self, hashes: Hashes) -> tuple[Scores, NDArray[np.bool_]]:
        """Return the scores of n pairs, NaN where unknown, and which are known: [n] each."""
        scores, known = self._base.lookup(hashes)
        recent_scores, recently = self._recent.lookup(hashes)
        return np.where(recently, recent_scores, scores), known | recently

    def __contains__(self, key: int) -> bool:
        """Return whether the pair of this hash has a score."""
        return bool(self.lookup(np.array([key], dtype=np.uint64))[1][0])

    def append(self, hashes: Hashes, scores: Scores) -> None:
        """Add scores in their order, leaving out pairs that have one already.

        Raises:
            ArtError: a score is not a finite number (nothing is added), or the disk refuses.
        """
        for pair in np.flatnonzero(~np.isfinite(scores)):
            raise ArtError(f"the score of the pair with hash {hashes[pair]:016x} is {scores[pair]}")
        _, first = np.unique(hashes, return_index=True)
        first.sort()
        first = first[~self.lookup(hashes[first])[1]]
        if self._file is not None and self.path is not None:
            records = np.empty(len(first), dtype=_RECORD)
            records["hash"], records["score"] = hashes[first], scores[first]
            with _disk(self.path):
                self._file.write(records.tobytes())
        self.length += len(first)
        self._recent = self._recent.merged(_Table.of(hashes[first], scores[first]))
        if len(self._recent) > _RECENT_PAIRS:
            self._base = self._base.merged(self._recent)
            self._recent = _Table.of(hashes[:0], scores[:0])

    def sync(self) -> None:
        """Flush appended scores to the disk.

        Raises:
            ArtError: the disk refuses.
        """
        if self._file is not None and self.path is not None:
            with _disk(self.path):
                self._file.flush()
                os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close the file; the scores stay in memory."""
        self.sync()
        if self._file is not None:
            self._file.close()
            self._file = None


class _Table:
    """Hashes in ascending order with their scores: 12 bytes a pair, where a dict takes over 100."""

    def __init__(self, hashes: Hashes, scores: Scores) -> None:
        self._hashes = hashes
        self._scores = scores

    @classmethod
    def of(cls, hashes: Hashes, scores: Scores) -> _Table:
        # The first of several scores of one pair counts, wherever the log came from.
        ordered, first = np.unique(hashes, return_index=True)
        return cls(ordered, scores[first])

    def __len__(self) -> int:
        return len(self._hashes)

    def lookup(self, hashes: Hashes) -> tuple[Scores, NDArray[np.bool_]]:
        if not len(self):
            return np.full(hashes.shape, np.nan, np.float32), np.zeros(hashes.shape, np.bool_)
        places = np.searchsorted(self._hashes, hashes).clip(max=len(self) - 1)
        known = self._hashes[places] == hashes
        return np.where(known, self._scores[places], np.float32("nan")), known

    def merged(self, other: _Table) -> _Table:
        """Return the table of both, which share no pair."""
        places = np.searchsorted(self._hashes, other._hashes)
        return _Table(
            np.insert(self._hashes, places, other._hashes),
            np.insert(self._scores, places, other._scores),
        )


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ArtError(f"score log: {error.strerror or error}", where=path) from error


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """The scores of B questions' K passages each.

    Attributes:
        scores: the scorer's, such as log-likelihoods, [B, K] float32.
        num_requested: pairs asked for, B × K.
        num_known: of these, pairs whose score was known before the call.
        num_scored: different pairs that this process scored.
    """

    scores: Scores
    num_requested: int
    num_known: int
    num_scored: int


class CachedScorer:
    """A scorer that remembers.

    Args:
        scorer: the frozen teacher.
        log: its scores so far; None to remember for this process's lifetime only.
        passage_tokens: the store's passages, encoded by the scorer's template.

    Raises:
        MismatchError: the log belongs to another scorer.
    """

    def __init__(self, scorer: Teacher, log: ScoreLog | None, passage_tokens: TokenStore) -> None:
        self.scorer = scorer
        self.log = ScoreLog(None, fingerprint=scorer.fingerprint) if log is None else log
        if self.log.fingerprint != scorer.fingerprint:
            raise MismatchError(
                f"the log is of the scorer {self.log.fingerprint}, not of {scorer.fingerprint}",
                where=self.log.path,
            )
        self.passage_tokens = passage_tokens
        # Questions come back every epoch, passages in no order.
        self._asked = lru_cache(maxsize=1 << 17)(scorer.template.asked)

    @property
    def fingerprint(self) -> str:
        """The scorer's fingerprint."""
        return self.scorer.fingerprint

    @property
    def num_scores(self) -> int:
        """Scores in the log."""
        return self.log.length

    def sync(self) -> None:
        """Flush the log to the disk."""
        self.log.sync()

    def score(self, questions: Sequence[str], rows: ArrayLike) -> ScoredPairs:
        """Score each question with its passages, through the model only where not yet known.

        Every process of the job must call it at the same point, with pairs of its own or none:
        what one scores, all know afterwards.

        Args:
            questions: B texts.
            rows: [B, K] rows of the store.

        Raises:
            ArtError: a row is not in the store, or a score is not a finite number.
        """
        asked = np.asarray(rows, dtype=np.int64)
        if asked.ndim != 2 or len(asked) != len(questions):
            raise ValueError(f"{len(questions)} questions, but rows are {asked.shape}")
        with distributed.fail_together():
            hashes = self._hashes(questions, asked)  # [B × K]
            _, known = self.log.lookup(hashes)
            _, first = np.unique(hashes, return_index=True)
            first.sort()
            first = first[~known[first]]
            new_scores = self._score(questions, asked, first)
        for some_hashes, some_scores in distributed.gather_objects((hashes[first], new_scores)):
            self.log.append(some_hashes, some_scores)
        # Read back rather than put together: two ranks may have scored one pair, and the first
        # one's score is everybody's.
        scores, _ = self.log.lookup(hashes)
        return ScoredPairs(scores.reshape(asked.shape), asked.size, int(known.sum()), len(first))

    def _hashes(self, questions: Sequence[str], rows: NDArray[np.int64]) -> Hashes:
        num_passages = len(self.passage_tokens)
        if rows.size and not 0 <= rows.min() <= rows.max() < num_passages:
            raise ArtError(f"rows {rows.min()} to {rows.max()} of {num_passages} passages to score")
        flat = rows.ravel()
        hashes = np.empty(flat.size, dtype=np.uint64)
        row, ids = -1, np.zeros(0, dtype=np.int64)
        for pair in np.argsort(flat, kind="stable"):  # each passage is looked up once
            if flat[pair] != row:
                row = int(flat[pair])
                ids = self.passage_tokens[row]
            read = self.scorer.template.pair(self._asked(questions[pair // rows.shape[1]]), ids)
            digest = hashlib.blake2b(np.asarray(read.first).tobytes(), digest_size=8)
            digest.update(_SEPARATOR)
            digest.update(np.asarray(read.second).tobytes())
            hashes[pair] = int.from_bytes(digest.digest(), "little")
        return hashes

    def _score(
        self, questions: Sequence[str], rows: NDArray[np.int64], pairs: NDArray[np.int64]
    ) -> Scores:
        """Put the pairs, positions in the flattened [B, K], through the model."""
        parts = [np.zeros(0, dtype=np.float32)]
        for start in range(0, len(pairs), _SLICE_PAIRS):
            places = [divmod(int(pair), rows.shape[1]) for pair in pairs[start:][:_SLICE_PAIRS]]
            scores = self.scorer.score_pairs(
                [self._pair(questions[place[0]], int(rows[place])) for place in places]
            )
            for bad in np.flatnonzero(~np.isfinite(scores)):
                raise ArtError(
                    f"the scorer gives {scores[bad]} for the question "
                    f"{questions[places[bad][0]]!r} and the passage in row {rows[places[bad]]}",
                    hint="try scorer.dtype: float32",
                )
            parts.append(scores)
        return np.concatenate(parts)

    def _pair(self, question: str, row: int) -> Pair:
        return self.scorer.template.pair(self._asked(question), self.passage_tokens[row])
