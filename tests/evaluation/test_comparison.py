"""BM25, retrievers and the teacher side by side: what is left out changes no metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation.comparison import answered_somewhere, compare, evaluate_bm25
from art.evaluation.evaluate import evaluate_rows
from art.evaluation.rerank import in_order, score_rows
from art.retriever.bm25 import BM25
from art.teacher.cached import CachedTeacher
from art.teacher.registry import load_teacher

DEPTH = 5
ROW = f"teacher re-ordering BM25's top {DEPTH}"


@pytest.fixture
def store(corpus, tmp_path: Path) -> PassageStore:
    passages = [Passage(*one) for one in corpus]
    return PassageStore.build(passages, tmp_path / "store", source="test", progress=False)


def questions_of(store: PassageStore, numbers: range, *, away: int) -> list[Question]:
    """Questions made of passages' first words; the passage `away` from each is said to answer."""
    return [
        Question(
            str(number),
            " ".join(store[number].text.split()[:6]),
            positive_passage_ids=(store[(number + away) % len(store)].passage_id,),
        )
        for number in numbers
    ]


def asked(teacher_folder: Path, store: PassageStore) -> CachedTeacher:
    teacher = load_teacher(str(teacher_folder), dtype="float32", device="cpu")
    return CachedTeacher(teacher, None, TokenStore.open_or_build(store, teacher.template))


def test_scoring_only_what_bm25_answers_gives_the_metrics_of_scoring_everything(
    store, tiny_llama, tmp_path: Path
) -> None:
    questions = [
        *questions_of(store, range(6), away=0),
        *questions_of(store, range(20, 29), away=31),
        Question("unlabelled", "who built the bridge"),
    ]
    teacher = asked(tiny_llama, store)
    results = compare({}, store, questions, teacher=teacher, ks=(1, 3, 5), depth=DEPTH)

    texts = [question.text for question in questions]
    _, rows = BM25.build(store).search(texts, DEPTH)
    every = score_rows(asked(tiny_llama, store), texts, rows)
    expected = evaluate_rows(*in_order(rows, every), store, questions, ks=(1, 3, 5))
    assert results[ROW].table() == expected.table()
    assert results[ROW].table() != results["BM25"].table()  # the teacher does move something
    num_answered = len(answered_somewhere(results["BM25"]))
    assert 0 < num_answered < len(questions) - 1
    assert teacher.num_scores == num_answered * DEPTH


def test_where_bm25_finds_no_answer_the_teacher_is_not_asked(store, tiny_llama) -> None:
    found = evaluate_bm25(store, questions_of(store, range(8), away=0), depth=len(store))
    never = [row for row in range(len(store)) if row not in found.rows[:, :DEPTH]]
    gold = store[never[0]].passage_id
    questions = [
        Question(str(i), q.text, positive_passage_ids=(gold,))
        for i, q in enumerate(found.questions)
    ]
    teacher = asked(tiny_llama, store)
    results = compare({}, store, questions, teacher=teacher, ks=(1, 5), depth=DEPTH)
    assert teacher.num_scores == 0
    np.testing.assert_array_equal(results[ROW].rows, results["BM25"].rows)
