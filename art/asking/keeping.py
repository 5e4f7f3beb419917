"""Which questions are kept: what the text shows first, then searches, and the teacher last.

A language model that judges its own questions is circular. So its preference is asked last, of what
all other filters left, and how many each of them took is counted.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art.asking.asker import AskedQuestion
from art.asking.filters import TextFilter, repetitions
from art.asking.round_trip import CONTENDERS, contenders, found_by, rows_of
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.records import ASKED_ABOUT, REJECTED_FOR
from art.files import atomic_write
from art.mining import Search

TEACHER_PREFERS_ANOTHER = "the teacher prefers another passage"

# Questions and their contenders [Q, K], the question's own passage first → whether it is preferred.
Judge = Callable[[Sequence[AskedQuestion], NDArray[np.int64]], NDArray[np.bool_]]


@dataclass
class Sieve:
    """Questions that are kept so far, and the others with their reasons.

    Attributes:
        kept: their places among all, in that order.
        reasons: why each of the others is not, by its place.
        num_unjudged: of those kept, so many the teacher was not asked about.
    """

    questions: Sequence[AskedQuestion]
    kept: list[int] = field(init=False)
    reasons: dict[int, str] = field(default_factory=dict)
    num_unjudged: int = 0

    def __post_init__(self) -> None:
        self.kept = list(range(len(self.questions)))

    def waiting(self) -> list[AskedQuestion]:
        """Return the questions that are kept so far."""
        return [self.questions[place] for place in self.kept]

    def reject(self, faults: Sequence[str | None]) -> None:
        """Take out those of the kept questions that have a fault, None standing for none."""
        found = list(zip(self.kept, faults, strict=True))
        self.reasons |= {place: fault for place, fault in found if fault is not None}
        self.kept = [place for place, fault in found if fault is None]

    def counts(self) -> dict[str, int]:
        """Return how many were rejected by reason, the commonest first."""
        return dict(Counter(self.reasons.values()).most_common())


def sift(
    questions: Sequence[AskedQuestion],
    store: PassageStore,
    *,
    texts: TextFilter,
    examples: Sequence[str],
    searches: dict[str, Search],
    judge: Judge | None,
    max_pairs: int,
    seed: int,
) -> Sieve:
    """Sift questions, the cheapest filters first.

    Every process of the job must call it, with the same arguments.

    Args:
        questions: in the order in which they were asked.
        store: the passages.
        texts: finds what the text shows.
        examples: that the model was shown.
        searches: by name; each must find the question's passage. The last one's best passages are
            the teacher's to choose from.
        judge: asks the teacher; None where nobody is to.
        max_pairs: of question and passage that the teacher scores at most; more questions than
            that are drawn from.
        seed: they are drawn by.
    """
    sieve = Sieve(questions)
    passages = _passages(questions, store)
    sieve.reject([texts.fault(one, next(passages)) for one in questions])
    sieve.reject(repetitions([one.text for one in sieve.waiting()], examples))
    found = None
    for name, search in searches.items():
        waiting = sieve.waiting()
        own, found = rows_of(waiting, store), found_by(search, waiting, store)
        is_found = (found == own[:, None]).any(axis=1)
        found = found[is_found]
        sieve.reject([None if one else f"not found by {name}" for one in is_found])
    sieve.num_unjudged = len(sieve.kept)
    if judge is not None and found is not None:
        count = min(len(found), max_pairs // CONTENDERS)
        sieve.num_unjudged = len(found) - count
        drawn = np.sort(np.random.default_rng(seed).permutation(len(found))[:count])
        waiting = sieve.waiting()
        asked = [waiting[place] for place in drawn]
        is_preferred = judge(asked, contenders(rows_of(asked, store), found[drawn]))
        faults: list[str | None] = [None] * len(waiting)
        for place in drawn[~is_preferred]:
            faults[place] = TEACHER_PREFERS_ANOTHER
        sieve.reject(faults)
    return sieve


def _passages(questions: Sequence[AskedQuestion], store: PassageStore) -> Iterator[Passage]:
    """Yield each question's passage; those of one passage follow each other."""
    for name, about_it in groupby(questions, key=lambda one: one.passage_id):
        row = store.row_of(name)
        assert row is not None
        passage = store[row]
        yield from (passage for _ in about_it)


def rejected_path(output: Path) -> Path:
    """Return where the rejected questions of an output go: `questions.rejected.jsonl`."""
    return output.with_name(f"{output.stem}.rejected{output.suffix}")


def write_questions(sieve: Sieve, store: PassageStore, output: Path) -> None:
    """Write the kept questions, and before them the rejected ones with their reasons.

    Each comes with its passage, so that the kept ones are labelled questions for whoever reads them
    as such; who reads questions leaves it.

    Raises:
        ArtError: a file cannot be written.
    """
    with atomic_write(rejected_path(output)) as file:
        for place, line in _lines(sieve, sorted(sieve.reasons), store):
            file.write(_encoded(line | {REJECTED_FOR: sieve.reasons[place]}))
    with atomic_write(output) as file:
        for _, line in _lines(sieve, sieve.kept, store):
            file.write(_encoded(line))


def _lines(
    sieve: Sieve, places: Sequence[int], store: PassageStore
) -> Iterator[tuple[int, dict[str, Any]]]:
    chosen = [sieve.questions[place] for place in places]
    for place, question, passage in zip(places, chosen, _passages(chosen, store), strict=True):
        yield (
            place,
            {
                "id": f"asked-{place + 1}",
                "question": question.text,
                "kind": question.kind,
                ASKED_ABOUT: {
                    "id": passage.passage_id,
                    "title": passage.title,
                    "text": passage.text,
                },
            },
        )


def _encoded(line: dict[str, Any]) -> bytes:
    return json.dumps(line, ensure_ascii=False).encode() + b"\n"
