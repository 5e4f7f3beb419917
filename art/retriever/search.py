"""Exact search with the same answer everywhere: a fixed float64 sum decides among candidates.

The nearest rows in float32 neither break ties by row nor get the same score from one kernel as from
another, because each adds in its own order. So they are only candidates, K and some more. Their
final score is the inner product of the stored vectors, added in float64 in a fixed order; the
result is ordered by (score descending, row ascending). Nothing else can belong to it once the worst
candidate's float32 score is below the K-th final score by more than float32 can be wrong. A
question for which that does not hold is compared with every row once more, by products in float64:
what they leave within reach of the K-th final score is no more than true ties, and gets its final
score too.

Each process has blocks of rows of its own; what they find is merged. Everything here is pure but
`search`, which is told how processes exchange what they found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from art.retriever.nearest import nearest

if TYPE_CHECKING:
    from art.retriever.blocks import Blocks

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
T = TypeVar("T")

EXTRA = 16
"""Candidates beyond K: as many rows may share the K-th score before all are compared."""

_QUESTIONS_AT_ONCE = 4_096
_CANDIDATES_AT_ONCE = 1 << 22  # over all questions; bounds memory whatever Q and K are


@dataclass(frozen=True)
class OwnBest:
    """What one process found for Q questions.

    Attributes:
        scores: final ones, [Q, C], ordered by (score descending, row ascending); -inf behind the
            last.
        rows: [Q, C].
        worst: what no other row of the process has more of in float32, but for the error, [Q].
        kept: whether candidates were as near to their final score as float32 promises, [Q].
    """

    scores: Floats
    rows: Rows
    worst: Floats
    kept: NDArray[np.bool_]


class Exchange(Protocol):
    """Computes something on every process and returns all of it, the same on every process."""

    def __call__(self, compute: Callable[[], T], /) -> list[T]:
        """Return the values of all processes, by rank."""


class Finder(Protocol):
    """Searches an index, exactly or not, with all that it needs already open."""

    def __call__(
        self, questions: NDArray[np.float32], top_k: int, *, exchange: Exchange = ...
    ) -> tuple[Floats, Rows]:
        """Return scores and rows, [Q, K] each, as `search`."""


def alone(compute: Callable[[], T]) -> list[T]:
    """Return what the only process computes."""
    return [compute()]


def search(
    blocks: Blocks, questions: NDArray[np.float32], top_k: int, *, exchange: Exchange = alone
) -> tuple[Floats, Rows]:
    """Return the K rows with the largest inner products, for every question.

    Args:
        blocks: this process's rows; those of all processes are the N rows of the index.
        questions: [Q, D], finite, the same on every process.
        top_k: K, not above N.
        exchange: with the other processes, each of which calls this.

    Returns:
        Scores and rows, [Q, K] each, ordered by (score descending, row ascending).
    """
    scores = np.empty((len(questions), top_k), dtype=np.float64)
    rows = np.empty((len(questions), top_k), dtype=np.int64)
    bounds = error_bounds(questions, blocks.max_norm)
    unsettled = []
    for chosen in pieces(np.arange(len(questions)), top_k + EXTRA):
        found = exchange(partial(best_candidates, blocks, questions[chosen], top_k, bounds[chosen]))
        scores[chosen], rows[chosen] = merged(found, top_k)
        worst = np.stack([one.worst for one in found]).max(axis=0)
        # The bound is theory; hardware that computes in less than float32 is found out here.
        kept = np.stack([one.kept for one in found]).all(axis=0)
        unsettled.append(chosen[~(kept & (worst + bounds[chosen] < scores[chosen, -1]))])
    for chosen in pieces(np.concatenate([np.empty(0, np.int64), *unsettled]), top_k + EXTRA):
        # Final ones, so that K rows have them, whatever was wrong with the candidates.
        reach = scores[chosen, -1] - error_bounds(questions[chosen], blocks.max_norm, _FLOAT64)
        found = exchange(partial(compare_all, blocks, questions[chosen], top_k, reach))
        scores[chosen], rows[chosen] = merged(found, top_k)
    return scores, rows


def pieces(positions: Rows, num_candidates: int) -> Iterator[Rows]:
    """Yield positions of questions, as many at once as memory is bounded to.

    Args:
        positions: [Q].
        num_candidates: of each question.
    """
    size = max(1, min(_QUESTIONS_AT_ONCE, _CANDIDATES_AT_ONCE // num_candidates))
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


_FLOAT32, _FLOAT64 = 2.0**-24, 2.0**-53


def error_bounds(questions: NDArray[np.float32], max_norm: float, unit: float = _FLOAT32) -> Floats:
    """Return how far a product in floating point may be from the final score, [Q].

    Args:
        questions: [Q, D].
        max_norm: the largest Euclidean length of a row.
        unit: the rounding error of the type of the product.
    """
    # |computed − true| ≤ γ_D ‖q‖ ‖x‖ for every order of adding D products, γ_D = D u / (1 − D u)
    # (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), in the product's type
    # and in float64 for us; the last term covers numbers that are flushed to zero.
    size = questions.shape[1]
    norms = np.linalg.norm(questions.astype(np.float64), axis=1)
    gammas = [size * one / (1 - size * one) for one in (unit, _FLOAT64)]
    flushed = size * float(np.finfo(np.float32).tiny) * (2 + norms + max_norm)
    bounds: Floats = 1.000001 * sum(gammas) * norms * max_norm + flushed
    return bounds


def best_candidates(
    blocks: Blocks, questions: NDArray[np.float32], top_k: int, bounds: Floats
) -> OwnBest:
    """Return the K best of the rows that are nearest in float32, with their final scores.

    Args:
        blocks: the rows.
        questions: [Q, D].
        top_k: K; where there are fewer rows, all of them are returned.
        bounds: see `error_bounds`, [Q].
    """
    asked, margin = torch.from_numpy(questions), torch.from_numpy(bounds)[:, None]
    nearby, rows = _nearest_rows(blocks, asked, top_k + EXTRA)
    worst = np.full(len(questions), -math.inf)
    if nearby.shape[1] < blocks.num_rows:
        worst = nearby[:, -1].double().numpy()
    if nearby.shape[1]:
        # What is further behind the K-th than both can be wrong is behind it in the end.
        last = nearby[:, min(top_k, nearby.shape[1]) - 1, None].double()
        num_close = int((nearby >= last - 2 * margin).sum(dim=1).max()) if len(nearby) else 0
        nearby, rows = nearby[:, :num_close], rows[:, :num_close]
    final = final_scores(blocks, asked, rows)
    kept = ((nearby - final).abs() <= margin).all(dim=1)
    scores, rows = best(final, rows, top_k)
    return OwnBest(scores.numpy(), rows.numpy(), worst, kept.numpy())


def _nearest_rows(blocks: Blocks, questions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the nearest rows in float32, best first, [Q, min(count, rows)] on the CPU."""
    asked = questions.to(blocks.device)
    scores = asked.new_empty(len(asked), 0)
    rows = torch.empty(len(asked), 0, dtype=torch.int64, device=blocks.device)
    for first_row, block in blocks.widened(torch.float32, blocks.limits.rows):
        found, positions = nearest(asked, block, min(count, len(block)))
        if not scores.shape[1]:  # in order already
            scores, rows = found, positions + first_row
            continue
        scores, rows = (
            torch.cat([scores, found], dim=1),
            torch.cat([rows, positions + first_row], dim=1),
        )
        scores, order = scores.topk(min(count, scores.shape[1]), dim=1)
        rows = rows.gather(1, order)
    return scores.cpu(), rows.cpu()


def final_scores(blocks: Blocks, questions: Tensor, rows: Tensor) -> Tensor:
    """Return the final scores of some rows of each question.

    Args:
        blocks: that hold the rows.
        questions: [Q, D] float32.
        rows: [Q, C].

    Returns:
        [Q, C] float64.
    """
    num_candidates = rows.shape[1]
    scores = torch.empty(rows.shape, dtype=torch.float64)
    if not scores.numel():
        return scores
    step = max(1, blocks.limits.numbers // (num_candidates * blocks.embedding_size))
    for start in range(0, len(questions), step):
        some = slice(start, start + step)
        vectors = blocks.gather(rows[some].reshape(-1))
        vectors = vectors.view(-1, num_candidates, blocks.embedding_size)
        asked = questions[some].to(blocks.device)
        scores[some] = inner_products(vectors, asked[:, None]).cpu()
    return scores


def compare_all(
    blocks: Blocks, questions: NDArray[np.float32], top_k: int, reach: Floats
) -> OwnBest:
    """Return the K best of all rows whose product in float64 is within reach of the result.

    Args:
        blocks: the rows.
        questions: [Q, D].
        top_k: K.
        reach: the K-th final score known so far, less what the product can be wrong, [Q].
    """
    asked = torch.from_numpy(questions).to(blocks.device, torch.float64)
    least = torch.from_numpy(reach).to(blocks.device)[:, None]
    scores = least.new_full((len(asked), top_k), -math.inf)
    rows = torch.full_like(scores, -1, dtype=torch.int64)
    most_rows = max(1, blocks.limits.numbers // max(len(asked), blocks.embedding_size))
    for first_row, block in blocks.widened(torch.float64, most_rows):
        close = asked @ block.T >= least  # [Q, n]
        # Rows come in ascending order: one that only equals the last of K is too late.
        positions = torch.arange(len(block), device=block.device).expand(len(asked), -1)
        final = pair_scores(block.__getitem__, asked, positions, close, blocks.limits.numbers)
        enters = (final > scores[:, -1:]).any(dim=0).nonzero().squeeze(1)
        if len(enters):
            new_rows = (enters + first_row).expand(len(asked), -1)
            scores, rows = best(
                torch.cat([scores, final[:, enters]], dim=1),
                torch.cat([rows, new_rows], dim=1),
                top_k,
            )
    return OwnBest(
        scores.cpu().numpy(),
        rows.cpu().numpy(),
        np.full(len(asked), -math.inf),
        np.ones(len(asked), dtype=np.bool_),
    )


def pair_scores(
    gather: Callable[[Tensor], Tensor],
    questions: Tensor,
    rows: Tensor,
    chosen: Tensor,
    numbers: int,
) -> Tensor:
    """Return the final scores of some pairs of a question and a row.

    Args:
        gather: returns the vectors of rows, [n, D].
        questions: [Q, D].
        rows: of each question, [Q, C].
        chosen: which of these pairs, [Q, C].
        numbers: float64 numbers multiplied at once.

    Returns:
        [Q, C] float64; -inf where a pair is not chosen.
    """
    question_of, wanted = chosen.nonzero(as_tuple=True)[0], rows[chosen]
    final = torch.full(chosen.shape, -math.inf, dtype=torch.float64, device=chosen.device)
    scores = final.new_empty(len(wanted))
    step = max(1, numbers // questions.shape[1])
    for start in range(0, len(wanted), step):
        some = slice(start, start + step)
        scores[some] = inner_products(gather(wanted[some]), questions[question_of[some]])
    final[chosen] = scores
    return final


def inner_products(vectors: Tensor, questions: Tensor) -> Tensor:
    """Return inner products that depend on nothing but the two vectors of each.

    Halves are added to each other until one number is left: element-wise operations only, so that
    neither the number of rows nor the processor has a say in the order of adding.

    Args:
        vectors: [..., D].
        questions: [..., D], or what can be broadcast to that.

    Returns:
        [...] float64; the products of float32 numbers are exact in it.
    """
    products = vectors.double() * questions.double()
    width = products.shape[-1]
    while width > 1:
        half = (width + 1) // 2
        products[..., : width - half] += products[..., half:width]
        width = half
    return products[..., 0]


def merged(found: Sequence[OwnBest], top_k: int) -> tuple[Floats, Rows]:
    """Return the best of what all processes found, [Q, K] each."""
    if len(found) == 1:
        return found[0].scores, found[0].rows
    scores, rows = best(
        torch.from_numpy(np.concatenate([one.scores for one in found], axis=1)),
        torch.from_numpy(np.concatenate([one.rows for one in found], axis=1)),
        top_k,
    )
    return scores.numpy(), rows.numpy()


def best(scores: Tensor, rows: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Return the first K by (score descending, row ascending), [Q, K] each."""
    order = rows.argsort(dim=1)
    scores, rows = scores.gather(1, order), rows.gather(1, order)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :top_k]
    return scores.gather(1, order), rows.gather(1, order)
