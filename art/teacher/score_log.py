"""The scores of one teacher, by pair: in memory on every process, and in a log on disk.

A score's key is a hash of the exact token ids that the teacher would read. What is kept here is the
same for every kind of teacher.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.errors import ArtError
from art.teacher.log_file import RECORD, LogFile, Records, Stored, read_log

Hashes = NDArray[np.uint64]
Scores = NDArray[np.float32]

# New scores wait in a small table, because every insertion moves the rest of its table.
_RECENT_PAIRS = 1 << 17


class ScoreLog:
    """The scores of one teacher, in memory on every process and in a file that the main one writes.

    Args:
        path: the file, begun if it is not there; None to keep the scores in memory only.
        fingerprint: the teacher's.
        length: cut back to this many scores, the count of a checkpoint; None to keep all of them.
        mark: see `set_mark`; None for none.

    Attributes:
        mark: how many scores there were when it was set; None where it is not.

    Raises:
        MismatchError: the file holds the scores of another teacher.
        CorruptionError: the file is not a score log, was changed since it was written, or holds
            fewer than `length` scores.
        ArtError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        fingerprint: str,
        length: int | None = None,
        mark: int | None = None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.fingerprint = fingerprint
        self._file: LogFile | None = None
        kept = Stored.nothing(fingerprint)
        if self.path is not None:
            if length != 0 and self.path.exists():
                kept = read_log(self.path, fingerprint=fingerprint, length=length)
            if distributed.is_main():
                self._file = LogFile(self.path, kept)
        self.length = len(kept.records)
        self._base = _Table.of(kept.records["hash"], kept.records["score"])
        self._recent = _Table.of(kept.records["hash"][:0], kept.records["score"][:0])
        self.mark = mark
        self._since_mark = [] if mark is None else [kept.records["hash"][mark:]]

    def set_mark(self) -> None:
        """Remember which scores are added from here on, until the mark is set again."""
        self.mark, self._since_mark = self.length, []

    def added_since_mark(self, hashes: Hashes) -> NDArray[np.bool_]:
        """Return which of n pairs were added since the mark was set, if it was, [n]."""
        return np.isin(hashes, np.concatenate([hashes[:0], *self._since_mark]))

    def take_over(self, found: Records | None) -> int:
        """Add what `read_known` found of other runs, and return how many of these scores were new.

        Every process of the job must call it at the same point. What the main one found counts: a
        run that still writes would show each of them something else.

        Raises:
            ArtError: the file cannot be written; every process raises it.
        """
        known = distributed.broadcast_object(found)
        assert known is not None
        num_before = self.length
        with distributed.fail_together():
            self.append(known["hash"], known["score"])
        return self.length - num_before

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
            ArtError: a score is not a finite number (nothing is added), or the file cannot be
                written.
        """
        for pair in np.flatnonzero(~np.isfinite(scores)):
            raise ArtError(f"the score of the pair with hash {hashes[pair]:016x} is {scores[pair]}")
        _, first = np.unique(hashes, return_index=True)
        first.sort()
        first = first[~self.lookup(hashes[first])[1]]
        if self._file is not None:
            records = np.empty(len(first), dtype=RECORD)
            records["hash"], records["score"] = hashes[first], scores[first]
            self._file.append(records)
        self.length += len(first)
        if self.mark is not None:
            self._since_mark.append(hashes[first])
        self._recent = self._recent.merged(_Table.of(hashes[first], scores[first]))
        if len(self._recent) > _RECENT_PAIRS:
            self._base = self._base.merged(self._recent)
            self._recent = _Table.of(hashes[:0], scores[:0])

    def sync(self) -> None:
        """Flush appended scores to the disk.

        Raises:
            ArtError: the file cannot be written.
        """
        if self._file is not None:
            self._file.seal()

    def close(self) -> None:
        """Flush and close the file; the scores stay in memory."""
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
