"""Many pairs at once, in the order of their passages, so that each passage is read only once.

A model that reads a passage apart from its questions spends nearly all its time on passages. Many
questions together find the same ones again and again: the more are scored at once, the fewer
passages there are to read for each of them, by however many processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from art import distributed
from art.teacher.cached import CachedTeacher

# Passages of a block fill so many batches: enough to sort them by length, and few enough that a
# kill costs half a minute on a CPU. A passage that many questions find counts for several.
_BATCHES_AT_ONCE = 16
_BATCHES_WHILE_WATCHED = 4  # somebody waits for the first questions
_QUESTIONS_OF_A_PASSAGE = 8


class Block(NamedTuple):
    """Some of the pairs of Q questions with K passages, scored.

    Attributes:
        pairs: positions in the flattened [Q, K], [n].
        scores: the teacher's, [n] float32.
    """

    pairs: NDArray[np.int64]
    scores: NDArray[np.float32]


def score_grouped(
    teacher: CachedTeacher,
    questions: Sequence[str],
    rows: NDArray[np.int64],
    *,
    description: str = "scoring",
    progress: bool = True,
    by_question: bool = False,
) -> Iterator[Block]:
    """Score the passages of many questions, a block at a time behind a progress bar.

    Every process of the job must go through the blocks, with the same arguments; each scores its
    share of the passages. When a block is given its scores are in the teacher's log. The blocks do
    not depend on what was known before, so that a job begun again scores the same batches, and so
    the same bits.

    Args:
        teacher: a frozen teacher over the store's passages.
        questions: texts, Q of them.
        rows: passages of each question, [Q, K], -1 where there is none.
        description: the bar's first words.
        progress: show pairs a second and the remaining time on the main process.
        by_question: take the passages of the first question first, then what the second one has
            besides, and so on, in smaller blocks: all of a question is known early.

    Yields:
        The blocks, which have every pair once.
    """
    flat = rows.ravel()
    pairs = np.argsort(flat, kind="stable")
    groups = _groups(pairs[flat[pairs] >= 0], flat, _QUESTIONS_OF_A_PASSAGE)
    if by_question:
        groups.sort(key=lambda group: int(group[0]))  # its first pair is of its first question
    size = _groups_at_once(teacher, _BATCHES_WHILE_WATCHED if by_question else _BATCHES_AT_ONCE)
    bar = tqdm(
        total=sum(map(len, groups)),
        desc=description,
        unit=" pairs",
        smoothing=0,  # the mean rate: blocks differ in length, and the first one warms up
        dynamic_ncols=True,
        leave=None,  # where it is not nested in another one
        disable=not (progress and distributed.is_main()),
    )
    with bar:
        for start in range(0, len(groups), size):
            mine = _share(groups[start : start + size])
            texts = [questions[pair // rows.shape[1]] for pair in mine]
            num_before = teacher.num_scores
            scored = teacher.score(texts, flat[mine][:, None])
            parts = distributed.gather_objects((mine, scored.scores[:, 0]))
            block = Block(*map(np.concatenate, zip(*parts, strict=True)))
            if not bar.disable:
                # Known scores are progress, but they say nothing about how fast the teacher is.
                bar.initial += len(block.pairs) - (teacher.num_scores - num_before)
            bar.update(len(block.pairs))
            yield block


def grouped_scores(
    teacher: CachedTeacher,
    questions: Sequence[str],
    rows: NDArray[np.int64],
    *,
    after_block: Callable[[], None] = lambda: None,
    **settings: Any,
) -> NDArray[np.float32]:
    """Return all that `score_grouped` gives, [Q, K] float32, -inf where there is no passage.

    Args:
        teacher: see there, as for the others.
        questions: texts, Q of them.
        rows: passages of each question, [Q, K], -1 where there is none.
        after_block: called when the log holds the scores of another block.
        settings: `description`, `progress` and `by_question`.
    """
    scores = np.full(rows.size, -np.inf, dtype=np.float32)
    for block in score_grouped(teacher, questions, rows, **settings):
        scores[block.pairs] = block.scores
        after_block()
    return scores.reshape(rows.shape)


def num_reads(rows: NDArray[np.int64]) -> int:
    """Return how often a passage is read in scoring these, [Q, K], by who reads passages apart."""
    _, counts = np.unique(rows[rows >= 0], return_counts=True)
    return int(np.ceil(counts / _QUESTIONS_OF_A_PASSAGE).sum())


def _groups(
    pairs: NDArray[np.int64], flat: NDArray[np.int64], most: int
) -> list[NDArray[np.int64]]:
    """Cut pairs in the order of their passages into groups of one passage, `most` at most each."""
    firsts = np.flatnonzero(np.diff(flat[pairs], prepend=-1))
    place = np.arange(len(pairs)) - np.repeat(firsts, np.diff(firsts, append=len(pairs)))
    return [group for group in np.split(pairs, np.flatnonzero(place % most == 0)) if len(group)]


def _groups_at_once(teacher: CachedTeacher, num_batches: int) -> int:
    num_tokens = num_batches * teacher.teacher.batch_tokens * distributed.world_size()
    return max(distributed.world_size(), num_tokens // teacher.teacher.template.longest)


def _share(groups: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return the pairs of this process's groups."""
    bounds = np.linspace(0, len(groups), distributed.world_size() + 1).astype(int)
    start, stop = bounds[distributed.rank()], bounds[distributed.rank() + 1]
    nothing = np.zeros(0, dtype=np.int64)
    return np.concatenate([nothing, *groups[start:stop]])
