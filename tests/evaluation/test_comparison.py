"""BM25, retrievers, both fused and the teacher side by side: nothing left out changes a metric."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art import distributed
from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation import comparison
from art.evaluation.comparison import (
    answered_somewhere,
    compare,
    compare_fused,
    evaluate_bm25,
    evaluate_words,
    paired_test,
    reciprocal_ranks,
)
from art.evaluation.evaluate import Evaluation, evaluate, evaluate_rows
from art.evaluation.rerank import in_order, score_rows
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.retriever.fusion import FusedSearch, Fusion
from art.retriever.loading import create_retriever
from art.retriever.searcher import IndexSearcher
from art.teacher.cached import CachedTeacher
from art.teacher.registry import load_teacher

DEPTH = 5
ROW = f"teacher re-ordering {DEPTH} of start"


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


@pytest.fixture
def start(tiny_bert, store) -> dict[str, tuple[Retriever, TokenStore]]:
    retriever = create_retriever(str(tiny_bert), pooling="mean", passage_length=64)
    return {"start": (retriever, TokenStore.open_or_build(store, retriever.passage_template))}


Start = dict[str, tuple[Retriever, TokenStore]]


def found_by(
    start: Start, store: PassageStore, questions: list[Question], folder: Path
) -> Evaluation:
    retriever, tokens = start["start"]
    index = embed_passages(retriever, tokens, folder, store=store, progress=False)
    searcher = IndexSearcher(index, retriever.device)
    return evaluate(retriever, searcher, store, questions, ks=(1, 3, 5), depth=len(store))


def test_scoring_only_what_the_start_answers_gives_the_metrics_of_scoring_everything(
    store, start, tiny_llama, tmp_path: Path
) -> None:
    questions = [
        *questions_of(store, range(6), away=0),
        *questions_of(store, range(20, 29), away=31),
        Question("unlabelled", "who built the bridge"),
    ]
    teacher = asked(tiny_llama, store)
    compared = {"teacher": teacher, "fusion": Fusion(), "ks": (1, 3, 5), "depth": DEPTH}
    results = compare(start, store, questions, **compared)
    assert list(results) == ["BM25", "start", "start, fused", ROW]

    rows = found_by(start, store, questions, tmp_path / "index").rows[:, :DEPTH]
    texts = [question.text for question in questions[:-1]]  # the one without a label is left out
    every = score_rows(asked(tiny_llama, store), texts, rows)
    expected = evaluate_rows(*in_order(rows, every), store, questions[:-1], ks=(1, 3, 5))
    assert results[ROW].table() == expected.table()
    assert results[ROW].table() != results["start"].table()  # the teacher does move something
    num_answered = len(answered_somewhere(results["start"], DEPTH))
    assert 0 < num_answered < len(questions) - 1
    assert teacher.num_scores == num_answered * DEPTH


def test_where_the_start_finds_no_answer_the_teacher_is_not_asked(
    store, start, tiny_llama, tmp_path: Path
) -> None:
    asking = questions_of(store, range(8), away=0)
    rows = found_by(start, store, asking, tmp_path / "index").rows[:, :DEPTH]
    never = next(row for row in range(len(store)) if row not in rows)
    gold = (store[never].passage_id,)
    questions = [Question(one.question_id, one.text, positive_passage_ids=gold) for one in asking]
    teacher = asked(tiny_llama, store)
    compared = {"teacher": teacher, "fusion": Fusion(), "ks": (1, 5), "depth": DEPTH}
    results = compare(start, store, questions, **compared)
    assert teacher.num_scores == 0
    np.testing.assert_array_equal(results[ROW].rows, results["start"].rows)


def test_a_reciprocal_rank_is_that_of_the_first_answer_within_the_depth(store) -> None:
    questions = questions_of(store, range(4), away=0)
    rows = np.array([[0, 9, 8], [9, 1, 1], [7, 8, 2], [9, 8, 7]])
    found = evaluate_rows(rows, -np.arange(12.0).reshape(4, 3), store, questions, ks=(1,))
    assert reciprocal_ranks(found, 3).tolist() == [1, 1 / 2, 1 / 3, 0]
    assert reciprocal_ranks(found, 2).tolist() == [1, 1 / 2, 0, 0]


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

    def search_for_all(self, ask, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        asked = [vectors for vectors in distributed.together(ask) if vectors is not None]
        return self.search(np.concatenate(asked), top_k)


def vectors_of(questions: list[Question]) -> np.ndarray:
    return np.random.default_rng(1).integers(-3, 4, (len(questions), 4)).astype(np.float32)


@pytest.mark.parametrize("weight", [None, "ranks", 0.6])
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


def test_a_passage_that_shares_no_word_with_a_question_is_not_found_by_bm25(store) -> None:
    unknown = [Question(f"p{i}", "zzz ???", positive_passage_ids=("p0", "p1")) for i in (0, 70)]
    known = questions_of(store, range(3), away=0)
    qrels = {one.question_id: {"p0": 1, "p1": 1} for one in [*unknown, *known]}
    for drop in (False, True):
        found = evaluate_words(
            BM25.build(store), store, [*unknown, *known], depth=10, qrels=qrels, ks=(1, 5),
            drop_self_hits=drop,
        )  # fmt: skip
        assert (found.rows[:2] == -1).all() and not found.hits[:2].any()
        assert found.hits[2:, 0].all() and (found.per_question["ndcg@10"][:2] == 0).all()


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
