"""Scores already known: a pair of question and passage goes through the teacher once.

A passage that is found again in a later epoch, by another rank or in another run is not scored
again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from art import distributed
from art.data.pairs import Pair
from art.data.tokens import TokenStore
from art.errors import ArtError, MismatchError
from art.teacher.base import Teacher
from art.teacher.score_log import Hashes, ScoreLog, Scores

# Between a pair's two parts, so that no two pairs have the same bytes; no token has this id.
_SEPARATOR = np.array([-1], dtype="<i4").tobytes()

# Pairs whose token ids are held at once.
_SLICE_PAIRS = 1 << 14


@dataclass(frozen=True, slots=True)
class ScoredPairs:
    """The scores of B questions' K passages each.

    Attributes:
        scores: the teacher's, such as log-likelihoods, [B, K] float32.
        num_requested: pairs asked for, B × K.
        num_known: of these, pairs whose score was known before the call, and before the log's mark.
        num_scored: different pairs that this process scored; of those that several ranks ask for
            in one call, the first one does.
    """

    scores: Scores
    num_requested: int
    num_known: int
    num_scored: int


class CachedTeacher:
    """A teacher that remembers.

    Args:
        teacher: the frozen teacher.
        log: its scores so far; None to remember for this process's lifetime only.
        passage_tokens: the store's passages, encoded by the teacher's template.

    Attributes:
        num_scored: pairs that all processes together put through the model.

    Raises:
        MismatchError: the log belongs to another teacher.
    """

    def __init__(self, teacher: Teacher, log: ScoreLog | None, passage_tokens: TokenStore) -> None:
        self.teacher = teacher
        self.log = ScoreLog(None, fingerprint=teacher.fingerprint) if log is None else log
        if self.log.fingerprint != teacher.fingerprint:
            raise MismatchError(
                f"the log is of the teacher {self.log.fingerprint}, not of {teacher.fingerprint}",
                where=self.log.path,
            )
        self.passage_tokens = passage_tokens
        self.num_scored = 0
        # Questions come back every epoch, passages in no order.
        self._asked = lru_cache(maxsize=1 << 17)(teacher.template.asked)

    @property
    def fingerprint(self) -> str:
        """The teacher's fingerprint."""
        return self.teacher.fingerprint

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
            known &= ~self.log.added_since_mark(hashes)
        first = first[_is_mine(hashes[first])]
        with distributed.fail_together():
            new_scores = self._score(questions, asked, first)
        for some_hashes, some_scores in distributed.gather_objects((hashes[first], new_scores)):
            self.log.append(some_hashes, some_scores)
            self.num_scored += len(some_hashes)
        # Read back rather than put together: another rank may have scored a pair for this one.
        scores, _ = self.log.lookup(hashes)
        return ScoredPairs(scores.reshape(asked.shape), asked.size, int(known.sum()), len(first))

    def num_unknown(self, questions: Sequence[str], rows: ArrayLike) -> tuple[int, int]:
        """Return how many different pairs have no score yet, and how many of B × K have one.

        Args:
            questions: B texts.
            rows: [B, K] rows of the store.

        Raises:
            ArtError: a row is not in the store.
        """
        hashes = self._hashes(questions, np.asarray(rows, dtype=np.int64))
        _, known = self.log.lookup(hashes)
        return len(np.unique(hashes[~known])), int(known.sum())

    def score_anew(
        self, questions: Sequence[str], rows: Sequence[int] | NDArray[np.int64]
    ) -> Scores:
        """Put n pairs through the model, whatever is known, and remember nothing; for timing.

        Args:
            questions: n texts.
            rows: a row of the store for each, [n].

        Returns:
            Scores, [n] float32.
        """
        pairs = zip(questions, rows, strict=True)
        return self.teacher.score_pairs([self._pair(question, int(row)) for question, row in pairs])

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
            read = self.teacher.template.pair(self._asked(questions[pair // rows.shape[1]]), ids)
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
            scores = self.teacher.score_pairs(
                [self._pair(questions[place[0]], int(rows[place])) for place in places]
            )
            for bad in np.flatnonzero(~np.isfinite(scores)):
                raise ArtError(
                    f"the teacher gives {scores[bad]} for the question "
                    f"{questions[places[bad][0]]!r} and the passage in row {rows[places[bad]]}",
                    hint="try teacher.dtype: float32",
                )
            parts.append(scores)
        return np.concatenate(parts)

    def _pair(self, question: str, row: int) -> Pair:
        return self.teacher.template.pair(self._asked(question), self.passage_tokens[row])


def _is_mine(hashes: Hashes) -> NDArray[np.bool_]:
    """Return which of the pairs that this rank would score no rank before it would, [n].

    Every process of the job must call it, each with different pairs.
    """
    before = distributed.gather_objects(hashes)[: distributed.rank()]
    return ~np.isin(hashes, np.concatenate([hashes[:0], *before]))
