"""Hard negatives: passages that a search ranks high for a question and that do not answer it.

The window of ranks and the margin are `range_min`, `range_max` and `absolute_margin` of
sentence-transformers' `mine_hard_negatives`; a positive for answers alone is chosen as DPR did
(Karpukhin et al. 2020, section 4.1).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from art import distributed
from art.errors import ArtError, DataError
from art.evaluation.answers import matcher_of
from art.evaluation.labels import some
from art.files import atomic_write

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.retriever.searcher import IndexSearcher

# Texts of this process's n questions and K → scores and rows, [n, K] each, best first; row -1
# behind the last. Every process calls it, also without a question.
Search = Callable[[list[str], int], tuple[NDArray[Any], NDArray[np.int64]]]

_QUESTIONS_AT_ONCE = 256


@dataclass(frozen=True)
class NegativeChoice:
    """Which passages of a ranking become negatives.

    Args:
        num_negatives: of each question, at most.
        skip_top: leave out so many of the best ranks, which may hold answers nobody labelled.
        depth: the last rank that is looked at.
        margin: leave out what scores higher than the first positive less this; None to take any.
            A question whose positive is not within `depth` then has no negative.
        seed: draw them from all that qualify; None for the best-ranked.

    Raises:
        ArtError: the window of ranks is empty, or the margin negative.
    """

    num_negatives: int = 30
    skip_top: int = 0
    depth: int = 100
    margin: float | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.skip_top >= self.depth:
            raise ArtError(
                f"no rank is left of the first {self.depth} without the first {self.skip_top}",
                hint="look deeper, or skip fewer",
            )
        if self.margin is not None and not 0 <= self.margin < math.inf:
            raise ArtError(f"the margin is {self.margin}, it must be 0 or more")


@dataclass
class Mined:
    """What was written.

    Attributes:
        num_questions: with a positive each.
        num_negatives: of all of them together.
        num_short: questions with fewer negatives than were asked for.
        unlabelled: ids of questions without positive passage ids and answers.
        unanswered: ids of questions whose positive was not found.
    """

    num_questions: int = 0
    num_negatives: int = 0
    num_short: int = 0
    unlabelled: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)

    def add(self, other: Mined) -> None:
        """Count what another process made of its questions too."""
        self.num_questions += other.num_questions
        self.num_negatives += other.num_negatives
        self.num_short += other.num_short
        self.unlabelled += other.unlabelled
        self.unanswered += other.unanswered

    def notes(self) -> list[str]:
        """Return what a user of the file must know, a sentence each."""
        total = self.num_questions + len(self.unlabelled) + len(self.unanswered)
        notes = [
            f"{len(ids)} of {total} questions {why} and are left out ({some(ids)})"
            for ids, why in (
                (self.unlabelled, "have neither positive_passage_ids nor answers"),
                (self.unanswered, "have no positive, neither by id in the corpus nor by an answer"),
            )
            if ids
        ]
        if self.num_short:
            notes.append(f"{self.num_short} questions have fewer negatives than asked for")
        return notes


def retriever_search(retriever: Retriever, searcher: IndexSearcher) -> Search:
    """Return the search of an index by the retriever that made it."""
    return lambda texts, top_k: searcher.search(
        lambda: retriever.embed_questions(texts) if texts else None, top_k
    )


def bm25_search(bm25: BM25) -> Search:
    """Return BM25's search, without the passages that share no word with the question."""

    def search(texts: list[str], top_k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        with distributed.fail_together():
            scores, rows = bm25.search(texts, top_k)
        return scores, np.where(scores > 0, rows, -1)

    return search


def mine(
    search: Search,
    store: PassageStore,
    questions: Sequence[Question],
    output: str | Path,
    *,
    choice: NegativeChoice,
    progress: bool = True,
) -> Mined:
    """Write questions with positives and hard negatives as DPR's JSON lines.

    Positives are the passages that a question names, best-ranked first; of a question with answers
    only, the best-ranked passage that contains one. Positives, passages with the title and text of
    one, and passages that contain an answer where answers are known, are never negatives. Questions
    without a positive are left out.

    Every process of the job must call it, with the same arguments; each takes a share of the
    questions, and the main one writes. The file does not depend on the number of processes.

    Args:
        search: finds passages of the store.
        store: where ids, titles and texts come from.
        questions: with `positive_passage_ids` or answers.
        output: a `.jsonl` file; written atomically.
        choice: which passages become negatives.
        progress: draw a progress bar on the main process.

    Raises:
        DataError: the output has another ending, or no question has a positive.
        ArtError: a file cannot be written.
    """
    check_output(output)
    labels, mined = _Positives(questions, store), Mined()
    with ExitStack() as opened:
        with distributed.fail_together():
            main = distributed.is_main()
            file = opened.enter_context(atomic_write(output)) if main else None
        total, hidden = len(questions), not (progress and main)
        bar = opened.enter_context(
            tqdm(total=total, desc="mining", unit=" questions", disable=hidden)
        )
        at_once = _QUESTIONS_AT_ONCE * distributed.world_size()
        for start in range(0, total, at_once):
            parts = _mine_together(search, labels, start, choice)
            with distributed.fail_together():
                for lines, counts in parts:
                    mined.add(counts)
                    if file is not None:
                        file.writelines(lines)
            bar.update(min(at_once, total - start))
        with distributed.fail_together():
            if not mined.num_questions:
                raise DataError("no question has a positive passage", hint="; ".join(mined.notes()))
            opened.close()
    return mined


def check_output(path: str | Path) -> None:
    """Raise a DataError unless a file of this name can hold mined negatives."""
    if Path(path).suffix.lower() != ".jsonl":
        raise DataError("negatives are written as JSON lines", where=path, hint="end it in .jsonl")


_Hits = dict[int, float]  # row → score, best first


def _mine_together(
    search: Search, labels: _Positives, start: int, choice: NegativeChoice
) -> list[tuple[list[bytes], Mined]]:
    """Return the lines of each process's questions behind `start`, and what they hold, by rank."""
    size = _QUESTIONS_AT_ONCE  # of a process, so that nothing depends on how many there are
    own = range(len(labels.questions))[start + size * distributed.rank() :][:size]
    found = search([labels.questions[position].text for position in own], choice.depth)

    def lines_of_mine() -> tuple[list[bytes], Mined]:
        lines, mined = [], Mined()
        for position, its_scores, its_rows in zip(own, *found, strict=True):
            there = its_rows >= 0
            hits = dict(zip(its_rows[there].tolist(), its_scores[there].tolist(), strict=True))
            line = _example(labels, position, hits, choice, mined)
            if line is not None:
                lines.append(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        return lines, mined

    return distributed.together(lines_of_mine)


class _Positives:
    """Knows which passages answer which question."""

    def __init__(self, questions: Sequence[Question], store: PassageStore) -> None:
        self.questions, self.store = questions, store
        self._matcher = matcher_of(questions, store)

    def positives(self, position: int, found: _Hits) -> list[int]:
        """Return the rows of a question's positives, best-ranked first, those not found last."""
        question = self.questions[position]
        if not question.positive_passage_ids:
            return list(islice((row for row in found if self.has_answer(position, row)), 1))
        rows = {self.store.row_of(name) for name in question.positive_passage_ids}
        named = {row for row in rows if row is not None}
        return [row for row in found if row in named] + sorted(named - found.keys())

    def contents(self, row: int) -> tuple[str, str]:
        """Return a passage's title and text, which a corpus may have under several ids."""
        passage = self.store[row]
        return passage.title, passage.text

    def has_answer(self, position: int, row: int) -> bool:
        """Return whether a passage contains one of the question's answers, if it has any."""
        return self._matcher.matches(position, self.store[row].text)


def _example(
    labels: _Positives, position: int, found: _Hits, choice: NegativeChoice, mined: Mined
) -> dict[str, Any] | None:
    question = labels.questions[position]
    positives = labels.positives(position, found)
    if not positives:
        labelled = question.answers or question.positive_passage_ids
        (mined.unanswered if labelled else mined.unlabelled).append(question.question_id)
        return None
    negatives = _negatives(labels, position, found, positives, choice)
    mined.num_questions += 1
    mined.num_negatives += len(negatives)
    mined.num_short += len(negatives) < choice.num_negatives
    return {
        "id": question.question_id,
        "question": question.text,
        "answers": list(question.answers),
        "positive_ctxs": [_context(labels.store, row, found) for row in positives],
        "hard_negative_ctxs": [_context(labels.store, row, found) for row in negatives],
        "negative_ctxs": [],
    }


def _negatives(
    labels: _Positives, position: int, found: _Hits, positives: list[int], choice: NegativeChoice
) -> list[int]:
    """Return the rows of a question's negatives, best-ranked first."""
    highest = math.inf
    if choice.margin is not None:
        # What was not found scores no higher than all that was.
        highest = found.get(positives[0], -math.inf) - choice.margin
    window = list(found)[choice.skip_top : choice.depth]
    taken = {labels.contents(row) for row in positives}
    fit = (row for row in window if found[row] <= highest and labels.contents(row) not in taken)
    fit = (row for row in fit if not labels.has_answer(position, row))
    if choice.seed is None:
        return list(islice(fit, choice.num_negatives))
    pool = list(fit)
    rng = np.random.default_rng([choice.seed, position])
    drawn = rng.permutation(len(pool))[: choice.num_negatives]
    return [pool[place] for place in sorted(drawn.tolist())]


def _context(store: PassageStore, row: int, found: _Hits) -> dict[str, Any]:
    passage = store[row]
    return {
        "passage_id": passage.passage_id,
        "title": passage.title,
        "text": passage.text,
        "score": found.get(row),  # null for a positive beyond the depth
    }
