"""Exact search with the same answer everywhere: a fixed float64 sum decides what FAISS finds.

FAISS alone neither breaks ties by row nor gives one question the same score by itself as among
others, because it adds in another order. So it only finds K + m candidates. Their final score is
the inner product of the stored vectors, added in float64 in a fixed order; the result is ordered by
(score descending, row ascending). Nothing outside the candidates can belong to the result once the
worst candidate's float32 score is below the K-th final score by more than float32 can be wrong; a
question for which that does not hold is searched again with twice the m, and in the end against
every row.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art.errors import ArtError
from art.retriever.shards import Shards, Vectors

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]

_FIRST_EXTRA = 32
_LAST_EXTRA = 16_384  # beyond, comparing every row costs less than FAISS's longer and longer lists
_CANDIDATES_AT_ONCE = 1 << 22  # over all questions; bounds memory whatever Q and K are
_NUMBERS_AT_ONCE = 1 << 21  # float64 numbers multiplied at once
_CONVERTED_ROWS = 16_384
_WIDENED_ROWS = 1_024
_GPU_MAX_K = 2048  # a limit of FAISS's GPU selection


def search(
    shards: Shards, questions: NDArray[np.float32], top_k: int, *, max_norm: float
) -> tuple[Floats, Rows]:
    """Return the K rows with the largest inner products, for every question.

    Args:
        shards: the vectors, N rows.
        questions: [Q, D], finite.
        top_k: K, not above N.
        max_norm: the largest Euclidean length of a row.

    Returns:
        Scores and rows, [Q, K] each, ordered by (score descending, row ascending).
    """
    scores = np.empty((len(questions), top_k), dtype=np.float64)
    rows = np.empty((len(questions), top_k), dtype=np.int64)
    error_bounds = _error_bounds(questions, max_norm)
    pending = np.arange(len(questions))
    extra = max(_FIRST_EXTRA, top_k)
    while pending.size and top_k + extra < shards.num_rows and extra <= max(_LAST_EXTRA, top_k):
        left = []
        for chosen in _split(pending, _CANDIDATES_AT_ONCE // (top_k + extra)):
            found_scores, candidates = _find_candidates(shards, questions[chosen], top_k + extra)
            exact = _rescore(shards, questions[chosen], candidates)
            scores[chosen], rows[chosen] = _best(exact, candidates, top_k)
            bounds = error_bounds[chosen]
            complete = found_scores.min(axis=1) + bounds < scores[chosen, -1]
            # The bound is theory; hardware that computes in less than float32 is found out here.
            kept = (np.abs(found_scores - exact) <= bounds[:, None]).all(axis=1)
            left.append(chosen[~(complete & kept)])
        pending = np.concatenate(left)
        extra *= 2
    for chosen in _split(pending, _CANDIDATES_AT_ONCE // (top_k + _rows_at_once(questions))):
        scores[chosen], rows[chosen] = _compare_all(shards, questions[chosen], top_k)
    return scores, rows


def _error_bounds(questions: NDArray[np.float32], max_norm: float) -> Floats:
    # |computed − true| ≤ γ_D ‖q‖ ‖x‖ for every order of adding D products, γ_D = D u / (1 − D u)
    # (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), in float32 for FAISS
    # and in float64 for us; the last term covers numbers that are flushed to zero.
    size = questions.shape[1]
    norms = np.linalg.norm(questions.astype(np.float64), axis=1)
    gammas = [size * unit / (1 - size * unit) for unit in (2.0**-24, 2.0**-53)]
    flushed = size * float(np.finfo(np.float32).tiny) * (2 + norms + max_norm)
    bounds: Floats = 1.000001 * sum(gammas) * norms * max_norm + flushed
    if bool((norms * max_norm > 1e38).any()):
        raise ArtError(
            f"scores up to {float((norms * max_norm).max()):.1e} do not fit float32",
            hint="the question vectors or the passage vectors have diverged",
        )
    return bounds


def _find_candidates(
    shards: Shards, questions: NDArray[np.float32], num_candidates: int
) -> tuple[NDArray[np.float32], Rows]:
    """Return FAISS's candidates and their float32 scores, [Q, num_candidates], in no order."""
    scores = np.empty((len(questions), 0), dtype=np.float32)
    rows = np.empty((len(questions), 0), dtype=np.int64)
    for first_row, block in _float32_blocks(shards):
        found, positions = _nearest(questions, block, min(num_candidates, len(block)))
        scores = np.concatenate([scores, found], axis=1)
        rows = np.concatenate([rows, positions + first_row], axis=1)
        if scores.shape[1] > num_candidates:
            surplus = scores.shape[1] - num_candidates
            keep = np.argpartition(scores, surplus, axis=1)[:, surplus:]
            scores = np.take_along_axis(scores, keep, axis=1)
            rows = np.take_along_axis(rows, keep, axis=1)
    return scores, rows


def _float32_blocks(shards: Shards) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for shard in range(len(shards)):
        vectors = shards.matrix(shard)
        step = len(vectors) if shards.dtype == "float32" else _CONVERTED_ROWS
        for start in range(0, len(vectors), step):
            yield shard * shards.shard_rows + start, _widened(vectors[start : start + step])


def _widened(vectors: Vectors) -> NDArray[np.float32]:
    """Return rows as float32; themselves where they are, else widened by all cores at once."""
    if vectors.dtype == np.float32:
        return vectors
    wide = np.empty(vectors.shape, dtype=np.float32)
    parts = [slice(start, start + _WIDENED_ROWS) for start in range(0, len(wide), _WIDENED_ROWS)]
    # NumPy widens on one core, slower than FAISS then searches; it releases the interpreter.
    for _ in _threads().map(lambda part: np.copyto(wide[part], vectors[part]), parts):
        pass
    return wide


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count())


def _nearest(
    questions: NDArray[np.float32], vectors: NDArray[np.float32], num_nearest: int
) -> tuple[NDArray[np.float32], Rows]:
    faiss = load_faiss()
    product = faiss.METRIC_INNER_PRODUCT
    # The GPU branch was never run where this was written: no machine with faiss-gpu was at hand.
    if (resources := _gpu_resources()) and num_nearest <= _GPU_MAX_K:
        found = faiss.knn_gpu(resources, questions, vectors, num_nearest, metric=product)
    else:
        found = faiss.knn(questions, vectors, num_nearest, metric=product)
    scores, positions = found
    return scores, positions


def _rescore(shards: Shards, questions: NDArray[np.float32], rows: Rows) -> Floats:
    """Return the final scores of candidates, [Q, C]."""
    question_of = np.repeat(np.arange(len(questions)), rows.shape[1])
    flat = rows.reshape(-1)
    scores = np.empty(flat.shape, dtype=np.float64)
    for pairs in _split(np.arange(len(flat)), _rows_at_once(questions)):
        scores[pairs] = inner_products(shards.gather(flat[pairs]), questions[question_of[pairs]])
    return scores.reshape(rows.shape)


def _compare_all(shards: Shards, questions: NDArray[np.float32], top_k: int) -> tuple[Floats, Rows]:
    """Return the result from the final scores of every row, in memory O(Q × K)."""
    scores = np.empty((len(questions), 0), dtype=np.float64)
    rows = np.empty((len(questions), 0), dtype=np.int64)
    step = _rows_at_once(questions)
    for shard in range(len(shards)):
        vectors = shards.matrix(shard)
        for start in range(0, len(vectors), step):
            block = vectors[start : start + step].astype(np.float64)
            first_row = shard * shards.shard_rows + start
            block_rows = np.broadcast_to(
                np.arange(first_row, first_row + len(block)), (len(questions), len(block))
            )
            exact = np.stack([inner_products(block, question) for question in questions])
            scores, rows = _best(
                np.concatenate([scores, exact], axis=1),
                np.concatenate([rows, block_rows], axis=1),
                top_k,
            )
    return scores, rows


def inner_products(vectors: Vectors, questions: Vectors) -> Floats:
    """Return inner products that depend on nothing but the two vectors of each.

    Halves are added to each other until one number is left: element-wise operations only, so that
    neither the number of rows nor the processor has a say in the order of adding.

    Args:
        vectors: [n, D].
        questions: [n, D], or one for all, [D].

    Returns:
        [n] float64; the products of float32 numbers are exact in it.
    """
    products = np.multiply(vectors, questions, dtype=np.float64)
    width = products.shape[1]
    while width > 1:
        half = (width + 1) // 2
        products[:, : width - half] += products[:, half:width]
        width = half
    return products[:, 0]


def _best(scores: Floats, rows: Rows, top_k: int) -> tuple[Floats, Rows]:
    order = np.lexsort((rows, -scores), axis=1)[:, :top_k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


def _rows_at_once(questions: NDArray[np.float32]) -> int:
    size: int = questions.shape[1]
    return max(1, _NUMBERS_AT_ONCE // size)


def _split(positions: Rows, size: int) -> Iterator[Rows]:
    for start in range(0, len(positions), max(1, size)):
        yield positions[start : start + max(1, size)]


@cache
def load_faiss() -> Any:
    """Import FAISS.

    Raises:
        ArtError: no distribution of it is installed, or several that overwrite each other.
    """
    # torch first: whichever of the two comes first decides which OpenMP runtime serves both.
    import torch  # noqa: F401

    names = ("faiss-cpu", "faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12")
    installed = [name for name in names if _is_installed(name)]
    if len(installed) > 1:
        raise ArtError(
            f"{' and '.join(installed)} are both installed and share one module",
            hint=f"`pip uninstall {' '.join(installed)}`, then `pip install "
            '"art-retriever[cpu]"` or `pip install "art-retriever[gpu]"`',
        )
    try:
        import faiss
    except ImportError as error:
        raise ArtError(
            f"FAISS, which searches the index, cannot be imported: {error}",
            hint='`pip install "art-retriever[cpu]"`, or `pip install "art-retriever[gpu]"` '
            "on a machine with CUDA",
        ) from error
    # As it comes, FAISS multiplies matrices only from Q × D = 128,000 on, 1,024 rows at a time, and
    # else streams the whole index past each question. 64 questions, 65,536 rows of 768, two cores:
    # 0.85 s as it comes, 0.15 s so.
    faiss.cvar.distance_compute_blas_threshold = 1
    faiss.cvar.distance_compute_blas_query_bs = 1024
    faiss.cvar.distance_compute_blas_database_bs = 16_384
    return faiss


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache
def _gpu_resources() -> Any:
    faiss = load_faiss()
    if not hasattr(faiss, "StandardGpuResources") or faiss.get_num_gpus() == 0:
        return None
    return faiss.StandardGpuResources()
