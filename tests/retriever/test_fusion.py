"""Fused rankings against a plain reference: ties, short lists, passages of one list, no match."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from art.errors import ArtError
from art.retriever import fusion as module
from art.retriever.fusion import FusedSearch, Fusion, own_weights, scaled_scores

List = list[tuple[float, int]]  # score and row, best first


def sorted_list(scores: dict[int, float]) -> List:
    return sorted(
        ((score, row) for row, score in scores.items()), key=lambda one: (-one[0], one[1])
    )


def rankings(scores: st.SearchStrategy[float], *, least: int) -> st.SearchStrategy[List]:
    return st.dictionaries(st.integers(0, 12), scores, min_size=least, max_size=8).map(sorted_list)


# Few different scores, so that there are ties; BM25's may be 0, which means no match.
DENSE = rankings(st.sampled_from([-1.5, -0.25, 0.0, 0.1, 0.75]), least=1)
WORDS = rankings(st.sampled_from([0.0, 0.5, 2.0, 7.25]), least=0)


def arrays(lists: list[List], width: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists as a search returns them; what is missing has score 0, as BM25 fills up."""
    scores, rows = np.zeros((len(lists), width)), np.zeros((len(lists), width), np.int64)
    for position, one in enumerate(lists):
        free = [row for row in range(100, 100 + width) if row not in {row for _, row in one}]
        filled = [*one, *((0.0, row) for row in free)][:width]
        scores[position] = [score for score, _ in filled]
        rows[position] = [row for _, row in filled]
    return scores, rows


MOST = 10.0  # that BM25 gives


def reference(weight: float | str | None, dense: List, words: List, width: int) -> List:
    """Fuse as the papers say, passage by passage."""
    matching = [(score, row) for score, row in words if score > 0]
    if weight is None:
        best = matching[0][0] if matching else 0.0
        weight = 1 / (1 + (best / MOST / 0.45) ** 2)
    totals: dict[int, float] = {}
    for share, found, full in (
        (weight, dense, True),
        (weight if weight == "ranks" else 1 - weight, matching, len(matching) == width),
    ):
        for rank, (score, row) in enumerate(found, start=1):
            if share == "ranks":
                value = 1 / (60 + rank)
            else:
                low, high = found[-1][0] if full else 0.0, found[0][0]
                value = share * ((score - low) / (high - low) if high > low else 1.0)
            totals[row] = totals.get(row, 0.0) + value
    return sorted_list(totals)


def fused(weight, dense, words, top_k) -> tuple[np.ndarray, np.ndarray]:
    return Fusion(weight)(dense, words, top_k, most=np.full(len(words[0]), MOST))


@given(
    st.lists(st.tuples(DENSE, WORDS), min_size=1, max_size=3),
    st.sampled_from([None, "ranks", 0.3, 0.5, 0.8]),
    st.integers(1, 25),
)
def test_fused_is_the_plain_sum_over_lists_to_the_bit(questions, weight, top_k) -> None:
    for dense, words in questions:  # each question alone: the dense lists differ in length
        width = max(1, len(words))
        alone = fused(weight, arrays([dense], len(dense)), arrays([words], width), top_k)
        expected = reference(weight, dense, words, width)[:top_k]
        num_found = len(expected)
        assert alone[1][0, :num_found].tolist() == [row for _, row in expected]
        assert alone[0][0, :num_found].tolist() == [score for score, _ in expected]
        assert (alone[1][0, num_found:] == -1).all() and (alone[0][0, num_found:] == 0).all()
    # BM25's lists of different lengths in one call, beside a dense list for all of them
    dense, every = questions[0][0], [words for _, words in questions]
    scores, rows = fused(weight, arrays([dense] * len(every), len(dense)), arrays(every, 9), top_k)
    for position, words in enumerate(every):
        expected = reference(weight, dense, words, 9)[:top_k]
        assert rows[position, : len(expected)].tolist() == [row for _, row in expected]
        assert scores[position, : len(expected)].tolist() == [score for score, _ in expected]


@given(DENSE, st.sampled_from([None, "ranks", 0.3, 0.9]), st.integers(1, 8))
def test_where_no_word_matches_the_order_is_the_retrievers(dense, weight, top_k) -> None:
    words = np.zeros((1, 5)), np.arange(5)[None]  # the first rows with score 0, as BM25 returns
    _, rows = fused(weight, arrays([dense], len(dense)), words, top_k)
    assert rows[0, : len(dense)].tolist() == [row for _, row in dense][:top_k]


@pytest.mark.parametrize("weight", ["ranks", 0.5])
def test_passages_that_swap_ranks_are_ordered_by_row(weight) -> None:
    first = np.array([[3.0, 2.0, 0.0]]), np.array([[8, 4, 1]])
    second = np.array([[3.0, 2.0, 0.0]]), np.array([[4, 8, 1]])
    scores, rows = fused(weight, first, second, 3)
    assert rows.tolist() == [[4, 8, 1]] and scores[0, 0] == scores[0, 1]


def test_the_published_example_of_reciprocal_ranks() -> None:
    dense = np.array([[0.9, 0.8]]), np.array([[0, 1]])
    words = np.array([[5.0, 4.0]]), np.array([[1, 2]])
    scores, rows = fused("ranks", dense, words, 5)
    assert rows.tolist() == [[1, 0, 2, -1, -1]]
    np.testing.assert_array_equal(scores, [[1 / 62 + 1 / 61, 1 / 61, 1 / 62, 0, 0]])


def test_a_full_list_counts_from_its_last_score_and_a_short_one_from_zero() -> None:
    scores = np.array([[8.0, 6.0, 4.0], [8.0, 6.0, 0.0], [3.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    rows = np.array([[5, 1, 2], [5, 1, -1], [0, 1, 2], [-1, -1, -1]])
    expected = [[1, 0.5, 0], [1, 0.75, 0], [1, 1, 1], [0, 0, 0]]
    assert scaled_scores(scores, rows).tolist() == expected


@pytest.mark.parametrize("weight", [0, 1, -0.5, 1.5, float("nan"), float("inf")])
def test_a_weight_that_leaves_nothing_to_fuse_is_refused(weight) -> None:
    with pytest.raises(ArtError, match="it must be between 0 and 1"):
        Fusion(weight)


def test_bm25_counts_the_more_the_more_of_a_questions_words_it_found() -> None:
    scores = np.array([[9.0, 1.0], [4.5, 0.0], [2.25, 2.0], [0.0, 0.0], [0.0, 0.0]])
    weights = own_weights(scores, np.array([10.0, 10, 10, 10, 0]))
    np.testing.assert_allclose(weights, [[1 / 5], [1 / 2], [4 / 5], [1], [1]])


def test_a_weight_without_fusing_is_refused() -> None:
    assert Fusion.chosen(False, None) is None
    assert Fusion.chosen(True, 0.25) == Fusion.chosen(True, "0.25") == Fusion(0.25)
    assert Fusion.chosen(True, "ranks") == Fusion("ranks")
    with pytest.raises(ArtError, match=r"weight is 'much'.*a number between 0 and 1, or ranks"):
        Fusion.chosen(True, "much")
    with pytest.raises(ArtError, match="add --fused, in Python fused=True"):
        Fusion.chosen(False, 0.25)


class PlainSearch:
    """Ranks all N passages of each question by random scores with ties."""

    def __init__(self, num_passages: int, seed: int) -> None:
        self.seed, self.num_passages = seed, num_passages

    def __len__(self) -> int:
        return self.num_passages

    def search(self, questions: Any, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        if top_k < 1:
            raise ArtError(f"top_k is {top_k}, it must be at least 1")
        draw = np.random.default_rng(self.seed).integers
        scores = draw(0, 40, (len(questions), self.num_passages)).astype(float)
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        return np.take_along_axis(scores, rows, 1), rows

    def most(self, questions: Any) -> np.ndarray:
        return np.full(len(questions), 50.0)


@pytest.mark.parametrize("num_passages", [3, 30])
@pytest.mark.parametrize("weight", [None, "ranks", 0.4])
def test_how_many_are_asked_for_does_not_change_their_order(
    num_passages, weight, monkeypatch
) -> None:
    monkeypatch.setattr(module, "DEPTH", 12)
    index, bm25 = PlainSearch(num_passages, 0), PlainSearch(num_passages, 1)
    texts = ["who", "where", "what", "why"]
    vectors = np.zeros((4, 2), np.float32)

    def found(top_k: int) -> tuple[np.ndarray, np.ndarray]:
        return FusedSearch(index, bm25, Fusion(weight)).search(texts, vectors, top_k)

    scores, rows = found(12)
    for top_k in (1, 3, 11):
        some_scores, some_rows = found(top_k)
        assert some_rows.shape == (4, min(top_k, num_passages))
        np.testing.assert_array_equal(some_rows, rows[:, :top_k])
        np.testing.assert_array_equal(some_scores, scores[:, :top_k])
    deep = found(50)[1]
    assert deep.shape == (4, num_passages) and (np.sort(deep) == np.arange(num_passages)).all()
    with pytest.raises(ArtError, match="top_k is 0"):
        found(0)


def test_no_question_finds_nothing() -> None:
    search = FusedSearch(PlainSearch(9, 0), PlainSearch(9, 1), Fusion())
    assert search.search([], np.zeros((0, 2), np.float32), 4)[1].shape == (0, 4)
