"""The pairs of a diagnosis scored, how fast that goes, and the scores kept for the next time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from art import distributed
from art.errors import ArtError, CorruptionError, notify
from art.files import lock
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import num_reads, score_grouped
from art.teacher.log_file import LOG_NAME, read_known
from art.teacher.score_log import ScoreLog

_ENOUGH_SECONDS = 2.0


@dataclass
class Pace:
    """How fast all processes together score: on a sample at first, then on what was asked for.

    A teacher that reads passages apart takes its time for these, and a sample has fewer questions
    for each of them than all pairs have.

    Attributes:
        sampled: passages read in a second, or pairs where each is read whole.
        pairs_per_read: that are expected; 1 where each pair is read whole.
        num_scored: pairs since then.
        seconds: that these took.
    """

    sampled: float
    pairs_per_read: float = 1.0
    num_scored: int = 0
    seconds: float = 0.0

    @classmethod
    def of_sample(
        cls, teacher: CachedTeacher, texts: Sequence[str], rows: NDArray[np.int64]
    ) -> Pace:
        """Score some of the pairs, passage by passage as all will be, for a few seconds.

        Every process of the job must call it. The scores are not kept: how many there are depends
        on the time, and what is known decides which pairs are batched together.

        Args:
            teacher: a frozen teacher over the store's passages.
            texts: questions, Q of them.
            rows: passages of each, [Q, K].
        """
        flat = rows.ravel()
        passages = np.random.default_rng(0).permutation(np.unique(flat))

        def timed(count: int) -> tuple[float, float]:
            pairs = np.flatnonzero(np.isin(flat, passages[:count])).tolist()
            start = time.perf_counter()
            teacher.score_anew([texts[pair // rows.shape[1]] for pair in pairs], flat[pairs])
            seconds = time.perf_counter() - start
            return len(pairs) / _pairs_per_read(teacher, flat[pairs]), seconds

        with distributed.fail_together():
            timed(1)  # the first forward pass is slow
            count = 1
            reads, seconds = timed(count)
            while seconds < _ENOUGH_SECONDS and count < len(passages):
                count = max(2 * count, int(count * _ENOUGH_SECONDS / 2 / seconds))
                reads, seconds = timed(count)
        every = distributed.gather_objects(reads / seconds)
        return cls(sum(every), _pairs_per_read(teacher, rows))

    def expect(self, teacher: CachedTeacher, rows: NDArray[np.int64]) -> None:
        """Expect passages as these share them, [Q, U], -1 where there is none."""
        self.pairs_per_read = _pairs_per_read(teacher, rows)

    def add(self, num_scored: int, seconds: float) -> None:
        """Count pairs that were asked for; those that were known took no time worth counting."""
        if num_scored:
            self.num_scored += num_scored
            self.seconds += seconds

    @property
    def pairs_per_second(self) -> float:
        """Return the rate of what was asked for, once that took longer than the sample."""
        if self.seconds > _ENOUGH_SECONDS:
            return self.num_scored / self.seconds
        return self.sampled * self.pairs_per_read


def _pairs_per_read(teacher: CachedTeacher, rows: NDArray[np.int64]) -> float:
    apart = teacher.teacher.reads_passages_apart
    return int((rows >= 0).sum()) / num_reads(rows) if apart else 1.0


def num_unknown(
    teacher: CachedTeacher, texts: Sequence[str], rows: NDArray[np.int64]
) -> tuple[int, int]:
    """Return how many different pairs are to be scored, and how many of all have a score already.

    Args:
        teacher: a frozen teacher over the store's passages.
        texts: questions, Q of them.
        rows: passages of each, [Q, U], -1 where there is none.
    """
    questions, columns = np.nonzero(rows >= 0)
    asked = [texts[question] for question in questions.tolist()]
    return teacher.num_unknown(asked, rows[questions, columns][:, None])


def score_by_question(
    teacher: CachedTeacher,
    texts: Sequence[str],
    rows: NDArray[np.int64],
    pace: Pace,
    *,
    after_block: Callable[[NDArray[np.float32], NDArray[np.int64]], None],
    bar: bool,
) -> NDArray[np.float32]:
    """Score the passages of each question, question after question as far as they share none.

    Every process of the job must call it, with the same arguments.

    Args:
        teacher: a frozen teacher over the store's passages; its log is flushed after each block.
        texts: questions, Q of them.
        rows: passages of each, [Q, U], -1 where there is none.
        pace: is told how fast it goes.
        after_block: called after each block with the scores so far, [Q, U], and the positions of
            the questions of which all are there.
        bar: show a progress bar on the main process.

    Returns:
        Scores, [Q, U] float32, -inf where there is no passage.
    """
    scores = np.full(rows.size, -np.inf, dtype=np.float32)
    waiting = (rows >= 0).sum(axis=1)  # [Q]
    num_before, start = teacher.num_scored, time.perf_counter()
    for block in score_grouped(teacher, texts, rows, progress=bar, by_question=True):
        with distributed.fail_together():
            teacher.sync()
        scores[block.pairs] = block.scores
        np.subtract.at(waiting, block.pairs // rows.shape[1], 1)
        pace.add(teacher.num_scored - num_before, time.perf_counter() - start)
        after_block(scores.reshape(rows.shape), np.flatnonzero(waiting == 0))
        num_before, start = teacher.num_scored, time.perf_counter()
    return scores.reshape(rows.shape)


@contextmanager
def kept_scores(folder: Path) -> Iterator[Callable[[str], ScoreLog]]:
    """Yield what opens the log of a teacher by its fingerprint, to be read and added to.

    A diagnosis that was killed, or that asks for other passages than an earlier one, goes on from
    it. Every process of the job must call both, at the same point.

    Args:
        folder: has a folder for each teacher.
    """
    with ExitStack() as held:
        yield cache(partial(_open_log, held, folder))


def _open_log(held: ExitStack, folder: Path, fingerprint: str) -> ScoreLog:
    path = folder / fingerprint / LOG_NAME
    refusal = None
    if distributed.is_main():
        try:
            holder = "another diagnosis by this teacher"
            held.enter_context(lock(path.parent / ".lock", wait=False, holder=holder))
            notify(
                f"the teacher's scores are kept in {path.parent}: the next diagnosis knows them, "
                "and so does a run whose teacher.known_scores names it"
            )
        except ArtError as error:
            refusal = str(error)
            notify(f"the teacher's scores are not kept for the next time: {refusal}")
    is_mine = distributed.broadcast_object(refusal) is None
    with distributed.fail_together():
        log = _begun(path if is_mine else None, fingerprint)
        found = None
        if distributed.is_main():
            found = read_known([path] if not is_mine and path.exists() else [], fingerprint)
    held.callback(log.close)
    log.take_over(found)
    return log


def _begun(path: Path | None, fingerprint: str) -> ScoreLog:
    """Open a log, from the beginning where it is damaged, as any other cache."""
    try:
        return ScoreLog(path, fingerprint=fingerprint)
    except CorruptionError as error:
        if distributed.is_main():
            notify(f"{error.where}: {error.what}; begun again")
        return ScoreLog(path, fingerprint=fingerprint, length=0)
