"""BM25, retrievers, both fused and the teacher side by side: nothing left out changes a metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation import comparison
from art.evaluation.comparison import (
    answered_somewhere,
    compare,
    compare_fused,
    evaluate_bm25,
    paired_test,
)
from art.evaluation.evaluate import evaluate, evaluate_rows
from art.evaluation.rerank import in_order, score_rows
from art.retriever.bm25 import BM25
from art.retriever.fusion import FusedSearch, Fusion
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


class VectorIndex:
    """Searches fixed random vectors, [N, 4]; equal scores by row."""

    def __init__(self, num_passages: int) -> None:
        draw = np.random.default_rng(0).integers
        self.vectors = draw(-3, 4, (num_passages, 4)).astype(np.float32)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, questions: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        scores = questions.astype(np.float64) @ self.vectors.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        return np.take_along_axis(scores, rows, 1), rows


def vectors_of(questions: list[Question]) -> np.ndarray:
    return np.random.default_rng(1).integers(-3, 4, (len(questions), 4)).astype(np.float32)


@pytest.mark.parametrize("weight", [None, 0.6])
@pytest.mark.parametrize("depth", [7, 100])  # less than the store has, and more
def test_three_rows_are_those_of_three_searches_of_the_same_questions(
    store, weight, depth, monkeypatch
) -> None:
    monkeypatch.setattr(comparison, "DEPTH", depth)
    monkeypatch.setattr("art.retriever.fusion.DEPTH", depth)
    questions = [*questions_of(store, range(12), away=0), Question("unlabelled", "who is it")]
    index, vectors, fusion = VectorIndex(len(store)), vectors_of(questions), Fusion(weight)
    results = compare_fused(
        vectors, index, BM25.build(store), store, questions, fusion=fusion, ks=(1, 5)
    )
    assert list(results) == ["BM25", "retriever", "fused"]
    alone = evaluate(vectors, index, store, questions, ks=(1, 5))
    assert results["retriever"].table() == alone.table()
    bm25 = evaluate_bm25(store, questions, ks=(1, 5))
    assert results["BM25"].table() == bm25.table()

    texts = [question.text for question in questions]
    search = FusedSearch(index, BM25.build(store), fusion)
    scores, rows = search.search(texts, vectors, depth)
    expected = evaluate_rows(rows, scores, store, questions, ks=(1, 5))
    assert results["fused"].table() == expected.table()
    np.testing.assert_array_equal(results["fused"].rows, expected.rows)
    np.testing.assert_array_equal(results["fused"].scores, expected.scores)
    assert results["fused"].notes == alone.notes[:1]  # that alone finds nothing is its own
    assert "1 of 13 questions have no label" in alone.notes[0]


@pytest.mark.parametrize("depth", [7, 100])
def test_a_questions_own_passage_is_in_none_of_the_lists_that_are_fused(
    store, depth, monkeypatch
) -> None:
    monkeypatch.setattr(comparison, "DEPTH", depth)
    questions = [
        Question(store[row].passage_id, store[row].text, positive_passage_ids=("p1", "p2"))
        for row in (3, 17, 40)
    ]
    qrels = {question.question_id: {"p1": 1, "p9": 1} for question in questions}
    index, vectors = VectorIndex(len(store)), vectors_of(questions)
    options = {"ks": (1, 5, 60), "qrels": qrels, "drop_self_hits": True}
    results = compare_fused(
        vectors, index, BM25.build(store), store, questions, fusion=Fusion(0.5), **options
    )
    names = [list(result.metrics) for result in results.values()]
    assert names[0] == names[1] == names[2] and {"top_60", "recall@100"} <= set(names[0])
    for result in results.values():
        assert not [row for row, own in zip(result.rows, (3, 17, 40), strict=True) if own in row]
    # With itself in BM25's list no other passage would have the highest value there, 1 x 0.5.
    fused = results["fused"]
    best = fused.rows == results["BM25"].rows[:, :1]
    assert best.any(axis=1).all() and (fused.scores[best] >= 0.5).all()


def test_the_paired_test_is_of_the_better_ones_whatever_the_metric(store) -> None:
    questions = questions_of(store, range(9), away=0)
    qrels = {question.question_id: {"p1": 1, "p4": 2} for question in questions}
    index, vectors = VectorIndex(len(store)), vectors_of(questions)
    results = compare_fused(
        vectors, index, BM25.build(store), store, questions, fusion=Fusion(), qrels=qrels
    )
    for name in ("top_5", "ndcg@10"):
        fused, alone = (results[one].per_question[name] for one in ("fused", "retriever"))
        found = paired_test(results["fused"], results["retriever"], name)
        assert found.only_first == (fused > alone).sum()
        assert found.only_second == (fused < alone).sum()
