"""Orders of what searches found as metrics: of some questions, and of blends."""

from __future__ import annotations

import numpy as np
import pytest

from art.data.formats import Question
from art.data.passages import Passage, PassageStore
from art.diagnosis.candidates import Candidates
from art.diagnosis.judging import WEIGHTS, Judge
from art.evaluation.evaluate import evaluate_rows

Q, W, K = 9, 30, 24
RNG = np.random.default_rng(5)
GIVEN = {"BM25": RNG.normal(-3, 0.4, (Q, K)).astype(np.float32)}
GIVEN["retriever"] = RNG.normal(-3, 0.4, (Q, K)).astype(np.float32)


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    folder = tmp_path_factory.mktemp("judging") / "store"
    return PassageStore.build(
        [Passage(*one) for one in corpus], folder, source="test", progress=False
    )


def found(size: float) -> Candidates:
    rows = np.array([np.random.default_rng(i).permutation(60)[:W] for i in range(Q)])
    return Candidates(rows, -np.sort(-RNG.gamma(2, size, (Q, W)), axis=1))


@pytest.fixture(scope="module")
def candidates() -> dict[str, Candidates]:
    return {"BM25": found(9.0), "retriever": found(0.01)}


@pytest.fixture(scope="module")
def questions(candidates) -> list[Question]:
    gold = candidates["BM25"].rows[np.arange(Q), RNG.integers(0, 12, Q)]
    return [
        Question(f"q{i}", "?", positive_passage_ids=frozenset({f"p{row}"}))
        for i, row in enumerate(gold)
    ]


def order(scores: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.take_along_axis(rows, np.argsort(-scores, axis=1, kind="stable"), axis=1)


def test_a_blend_orders_by_both_scores_each_divided_by_one_number(
    store, candidates, questions
) -> None:
    judge = Judge.of(candidates, store, questions, (1, 5, 20), depth=K)
    scales = judge.scales(GIVEN)
    blends = {(one.source, one.weight): one for one in judge.blends(GIVEN, scales)}
    assert list(blends) == [(name, weight) for name in candidates for weight in WEIGHTS]
    teacher = np.concatenate([GIVEN["BM25"], GIVEN["retriever"]]).astype(float)
    spread = (teacher - teacher.mean(axis=1, keepdims=True)).std()
    for (name, weight), one in blends.items():
        rows, scores = candidates[name]
        own = scores[:, :K] - scores[:, :K].mean(axis=1, keepdims=True)
        total = scores[:, :K] / own.std() + weight * GIVEN[name].astype(float) / spread
        wanted = np.concatenate([order(total, rows[:, :K]), rows[:, K:]], axis=1)
        np.testing.assert_array_equal(one.evaluation.rows, wanted)
        plain = evaluate_rows(wanted, -np.sort(wanted), store, questions, ks=(1, 5, 20))
        assert one.evaluation.metrics == plain.metrics
        gained = one.evaluation.per_question["top_5"] > judge.searches[name].per_question["top_5"]
        assert one.test is not None and one.test.only_first == gained.sum()


def test_some_of_the_questions_are_judged_as_if_there_were_no_others(
    store, candidates, questions
) -> None:
    judge = Judge.of(candidates, store, questions, (1, 5, 20), depth=K)
    chosen = np.array([0, 3, 4, 8])
    part = Judge.of(
        {name: Candidates(*(each[chosen] for each in one)) for name, one in candidates.items()},
        store,
        [questions[position] for position in chosen],
        (1, 5, 20),
        depth=K,
    )
    of_part = {name: scores[chosen] for name, scores in GIVEN.items()}
    alone, among = part.reordered(of_part), judge.reordered(GIVEN, chosen)
    names = [f"BM25{line}" for line in ("", ", first 20 re-ordered", f", first {K} re-ordered")]
    assert list(among)[:3] == names and alone.keys() == among.keys()
    for name, result in among.items():
        assert result.metrics == alone[name].metrics
        assert result.num_questions == len(chosen)
        np.testing.assert_array_equal(result.rows, alone[name].rows)
    assert judge.agreements(GIVEN, K, chosen) == part.agreements(of_part, K)


def test_fewer_than_twenty_leave_what_is_behind_them_where_it_was(
    store, candidates, questions
) -> None:
    judge = Judge.of(candidates, store, questions, (1, 5, 20), depth=6)
    results = judge.reordered(GIVEN)
    again = results["BM25, first 6 re-ordered"]
    assert again.metrics["top_20"] == results["BM25"].metrics["top_20"]
    np.testing.assert_array_equal(again.rows[:, 6:], candidates["BM25"].rows[:, 6:])


def test_who_tells_no_passages_apart_is_not_blended(store, candidates, questions) -> None:
    silent = Candidates(candidates["BM25"].rows, np.zeros((Q, W), np.float32))
    both = {"BM25": silent, "retriever": candidates["retriever"]}
    judge = Judge.of(both, store, questions, (1, 5, 20), depth=K)
    scales = judge.scales(GIVEN)
    assert scales["BM25"] is None and scales["retriever"] and scales["teacher"]
    assert {one.source for one in judge.blends(GIVEN, scales)} == {"retriever"}
    same = {name: np.zeros_like(scores) for name, scores in GIVEN.items()}
    assert judge.blends(same, judge.scales(same)) == []
