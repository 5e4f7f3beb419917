"""Search against a float64 reference and FAISS: ties, bits, memory, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import faiss
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from art.errors import ArtError, MismatchError
from art.retriever import blocks as blocking
from art.retriever import nearest as nearby
from art.retriever import search as searching
from art.retriever.blocks import BlockLimits


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def reference(questions: np.ndarray, vectors: np.ndarray, top_k: int):
    scores = np.stack([(vectors.astype(np.float64) * q).sum(axis=1) for q in questions])
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, order, axis=1), order


def exact_ties(questions: np.ndarray, vectors: np.ndarray, top_k: int):
    """The reference where every sum is exact in float64, as it is for small whole numbers."""
    scores = questions.astype(np.float64) @ vectors.astype(np.float64).T
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    return np.take_along_axis(scores, order, axis=1), order


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Records (which, questions) of every pass over the whole index."""
    done: list[tuple[str, int]] = []
    for name in ("best_candidates", "compare_all"):
        original = getattr(searching, name)

        def recording(blocks, questions, *others, name=name, original=original):
            done.append((name, len(questions)))
            return original(blocks, questions, *others)

        monkeypatch.setattr(searching, name, recording)
    return done


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("shard_rows", [300, 1024, 5000])
def test_result_is_the_float64_reference(tmp_path, dtype, shard_rows, passes, write_index):
    vectors, questions = normal(3000, 48), normal(40, 48, seed=1)
    index = write_index(tmp_path, vectors, shard_rows=shard_rows, dtype=dtype)
    scores, rows = index.search(questions, 20)
    expected_scores, expected_rows = reference(questions, vectors.astype(dtype), 20)
    assert scores.dtype == np.float64 and rows.dtype == np.int64
    assert (rows == expected_rows).all()
    np.testing.assert_allclose(scores, expected_scores, rtol=0, atol=1e-12)
    assert passes == [("best_candidates", 40)]


def test_result_is_that_of_faiss_flat(tmp_path, write_index):
    vectors, questions = normal(2000, 32), normal(25, 32, seed=1)
    flat = faiss.IndexFlatIP(32)
    flat.add(vectors)
    expected_scores, expected_rows = flat.search(questions, 10)
    scores, rows = write_index(tmp_path, vectors, shard_rows=700).search(questions, 10)
    assert (rows == expected_rows).all()
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4)


@pytest.mark.parametrize("size", [1, 2, 3, 31, 48, 768, 1025])
def test_final_score_depends_on_nothing_but_the_two_vectors(size):
    vectors, question = torch.from_numpy(normal(200, size)), torch.from_numpy(normal(size, seed=1))
    together = searching.inner_products(vectors, question)
    alone = [searching.inner_products(vectors[i], question) for i in range(200)]
    paired = searching.inner_products(vectors.flip(0).double(), question.expand(200, -1)).flip(0)
    assert (together == torch.stack(alone)).all() and (together == paired).all()
    exact = vectors.numpy().astype(np.longdouble) @ question.numpy().astype(np.longdouble)
    np.testing.assert_allclose(together, exact.astype(np.float64), rtol=0, atol=1e-11)


def test_result_does_not_depend_on_the_other_questions(tmp_path, write_index):
    vectors, questions = normal(3000, 64), normal(33, 64, seed=1)
    index = write_index(tmp_path, vectors, shard_rows=1000)
    scores, rows = index.search(questions, 15)
    for chosen in (slice(0, 1), slice(7, 8), slice(3, 30)):
        some_scores, some_rows = index.search(questions[chosen], 15)
        assert (some_scores == scores[chosen]).all() and (some_rows == rows[chosen]).all()


def test_candidates_and_the_comparison_of_every_row_give_the_same_bits(tmp_path, write_index):
    vectors, questions = normal(3000, 64), normal(5, 64, seed=1)
    index = write_index(tmp_path, vectors, shard_rows=1000, dtype="float16")
    scores, rows = index.search(questions, 15)
    every = searching.compare_all(index.blocks(range(3)), questions, 15, np.full(5, -np.inf))
    assert (scores == every.scores).all() and (rows == every.rows).all()


def test_masses_of_exact_ties_are_ordered_by_row(tmp_path, passes, write_index):
    # 4,000 rows, 27 distinct vectors of small whole numbers: float64 sums are exact.
    vectors = np.random.default_rng(0).integers(-1, 2, (4000, 3)).astype(np.float32)
    questions = np.random.default_rng(1).integers(-3, 4, (30, 3)).astype(np.float32)
    scores, rows = write_index(tmp_path, vectors, shard_rows=900).search(questions, 40)
    expected_scores, expected_rows = exact_ties(questions, vectors, 40)
    assert (rows == expected_rows).all() and (scores == expected_scores).all()
    assert [name for name, _ in passes] == ["best_candidates", "compare_all"]


def test_near_ties_below_float32_are_told_apart(tmp_path, write_index):
    # Rows differ by less than float32 can see in the score, which is near 1e4.
    base = np.zeros((3000, 16), dtype=np.float32)
    base[:, 0] = 100.0
    base[:, 1] = np.random.default_rng(0).permutation(3000) * 1e-7
    questions = np.zeros((2, 16), dtype=np.float32)
    questions[:, 0], questions[:, 1] = 100.0, [1.0, -1.0]
    scores, rows = write_index(tmp_path, base, shard_rows=800).search(questions, 25)
    expected_scores, expected_rows = reference(questions, base, 25)
    assert (rows == expected_rows).all() and (scores == expected_scores).all()
    assert (np.diff(scores, axis=1) < 0).all()


def test_only_the_questions_that_are_not_settled_are_compared_with_every_row(
    tmp_path, passes, write_index
):
    vectors = normal(3000, 32)
    vectors[:500] = 10 * normal(1, 32, seed=2)  # 500 equal rows
    questions = np.concatenate([normal(6, 32, seed=1), 10 * vectors[:1]])
    index = write_index(tmp_path, vectors, shard_rows=1000)
    side = (questions @ vectors[0]) > 0  # questions on whose side the equal rows lie
    _, rows = index.search(questions, 10)
    assert (rows == reference(questions, vectors, 10)[1]).all()
    assert passes == [("best_candidates", 7), ("compare_all", side.sum())]
    assert 0 < side.sum() < 7


def test_two_passes_are_all_that_passages_alike_cost(tmp_path, passes, write_index):
    vectors = np.ones((2000, 8), dtype=np.float32)
    scores, rows = write_index(tmp_path, vectors, shard_rows=512).search(vectors[:2], 5)
    assert (rows == np.arange(5)).all() and (scores == 8.0).all()
    assert passes == [("best_candidates", 2), ("compare_all", 2)]


def test_memory_limits_change_nothing(tmp_path, monkeypatch, write_index):
    vectors, questions = normal(2000, 16), normal(9, 16, seed=1)
    vectors[100:300] = vectors[0]
    index = write_index(tmp_path, vectors, shard_rows=700, dtype="float16")
    expected = index.search(questions, 30)
    monkeypatch.setattr(searching, "_CANDIDATES_AT_ONCE", 200)
    monkeypatch.setitem(blocking._LIMITS, "cpu", BlockLimits(rows=90, numbers=500))
    found = index.search(questions, 30)
    assert (found[0] == expected[0]).all() and (found[1] == expected[1]).all()


def test_scores_worse_than_float32_promises_are_not_believed(
    tmp_path, monkeypatch, passes, write_index
):
    vectors, questions = normal(1000, 32), normal(4, 32, seed=1)

    def coarse(questions, block, count):  # as tensor cores would
        return nearby.nearest(questions.half().float(), block.half().float(), count)

    monkeypatch.setattr(searching, "nearest", coarse)
    index = write_index(tmp_path, vectors, shard_rows=400)
    assert (index.search(questions, 10)[1] == reference(questions, vectors, 10)[1]).all()
    assert passes == [("best_candidates", 4), ("compare_all", 4)]


@pytest.mark.parametrize("num_rows", [1, 5, 41, 43])
def test_top_k_above_the_number_of_passages_returns_all(tmp_path, num_rows, write_index):
    vectors, questions = normal(num_rows, 8), normal(3, 8, seed=1)
    scores, rows = write_index(tmp_path, vectors, shard_rows=4).search(questions, 100)
    assert scores.shape == rows.shape == (3, num_rows)
    assert (rows == reference(questions, vectors, num_rows)[1]).all()


def test_zero_vectors_score_zero_and_come_in_row_order(tmp_path, write_index):
    vectors = np.zeros((300, 8), dtype=np.float32)
    vectors[150] = -1.0
    questions = np.stack([np.ones(8), np.zeros(8)]).astype(np.float32)
    scores, rows = write_index(tmp_path, vectors, shard_rows=128).search(questions, 5)
    assert (scores == 0).all() and (rows == np.arange(5)).all()


def test_no_question_gives_no_row(tmp_path, write_index):
    index = write_index(tmp_path, normal(100, 8), shard_rows=64)
    scores, rows = index.search(np.empty((0, 8), dtype=np.float32), 5)
    assert scores.shape == rows.shape == (0, 5)


@settings(max_examples=40, deadline=None)
@given(
    vectors=hnp.arrays(np.float32, st.tuples(st.integers(1, 100), st.just(4)),
                       elements=st.integers(-2, 2).map(float)),
    questions=hnp.arrays(np.float32, st.tuples(st.integers(1, 4), st.just(4)),
                         elements=st.integers(-2, 2).map(float)),
    top_k=st.integers(1, 20),
    shard_rows=st.sampled_from([7, 50, 200]),
)  # fmt: skip
def test_any_small_index_is_searched_exactly(
    tmp_path_factory, vectors, questions, top_k, shard_rows, write_index
):
    index = write_index(tmp_path_factory.mktemp("index"), vectors, shard_rows=shard_rows)
    scores, rows = index.search(questions, top_k)
    expected_scores, expected_rows = exact_ties(questions, vectors, top_k)
    assert (rows == expected_rows).all() and (scores == expected_scores).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([3, 64, 700]), scale=st.integers(-22, 15))
def test_what_finds_the_nearest_stays_within_the_error_bound(seed, size, scale):
    rng = np.random.default_rng(seed)
    vectors = torch.from_numpy((rng.standard_normal((50, size)) * 10.0**scale).astype(np.float32))
    questions = rng.standard_normal((30, size)).astype(np.float32)
    asked = torch.from_numpy(questions)
    largest = float(vectors.double().norm(dim=1).max())
    bounds = searching.error_bounds(questions, largest)
    for find in (nearby._by_faiss, nearby._by_product):
        found, rows = find(asked, vectors, 50)
        exact = searching.inner_products(vectors[rows], asked[:, None])
        assert ((found - exact).abs().numpy() <= bounds[:, None]).all()


def test_faiss_and_a_product_find_the_same_nearest_rows():
    questions, vectors = torch.from_numpy(normal(9, 32)), torch.from_numpy(normal(500, 32, seed=1))
    scores, rows = nearby._by_faiss(questions, vectors, 20)
    other_scores, other_rows = nearby._by_product(questions, vectors, 20)
    assert (rows == other_rows).all()
    torch.testing.assert_close(scores, other_scores, rtol=0, atol=1e-4)
    assert torch.get_float32_matmul_precision() == "highest"


def test_float32_shards_are_searched_without_a_copy(tmp_path, write_index):
    index = write_index(tmp_path, normal(1000, 16), shard_rows=600)
    parts = list(index.blocks(range(2)).widened(torch.float32, 7))
    assert [(first, len(part)) for first, part in parts] == [(0, 600), (600, 400)]
    for shard, (_, part) in enumerate(parts):
        assert part.data_ptr() == index._shards.matrix(shard).ctypes.data


def test_vectors_returns_rows_in_the_order_asked_for(tmp_path, write_index):
    vectors = normal(100, 8)
    index = write_index(tmp_path, vectors, shard_rows=30)
    rows = [99, 0, 31, 31, 5]
    assert (index.vectors(rows) == vectors[rows]).all()


def test_bad_questions_are_refused(tmp_path, write_index):
    index = write_index(tmp_path, normal(100, 8), shard_rows=64)
    questions = normal(3, 8)
    with pytest.raises(MismatchError, match=r"\[3, 9\], expected \[Q, 8\]"):
        index.search(normal(3, 9), 5)
    with pytest.raises(ArtError, match="top_k is 0"):
        index.search(questions, 0)
    for bad in (np.nan, np.inf, -np.inf):
        questions[1, 4] = bad
        with pytest.raises(ArtError, match=r"question 1 .* not finite"):
            index.search(questions, 5)
    with pytest.raises(ArtError, match="do not fit float32"):
        index.search(np.full((1, 8), 3e38, dtype=np.float32), 5)


def test_faiss_missing_or_twice_is_one_clear_line(monkeypatch):
    installed: set[str] = set()

    def version(name: str) -> str:
        if name in installed:
            return "1"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setitem(sys.modules, "faiss", None)  # importing it raises ImportError
    extras = r'pip install "art-retriever\[cpu\]".*pip install "art-retriever\[gpu\]"'
    nearby.load_faiss.cache_clear()
    try:
        with pytest.raises(ArtError, match=extras):
            nearby.load_faiss()
        installed |= {"faiss-cpu", "faiss-gpu"}
        with pytest.raises(
            ArtError, match=r"faiss-cpu and faiss-gpu are both installed.*" + extras
        ):
            nearby.load_faiss()
    finally:
        nearby.load_faiss.cache_clear()


def test_importing_the_index_loads_neither_faiss_nor_torch():
    code = (
        "import sys, art.retriever.index, art.retriever.bm25; "
        "print([name for name in ('faiss', 'torch', 'bm25s') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
