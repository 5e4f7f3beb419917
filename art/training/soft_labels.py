"""What soft labels are made of: the teacher's scores, or a blend of several sources, and T.

What the first prefetched scores decide (scales, temperature) holds for the whole run: it is kept in
the run's state, so that a killed run goes on with the same labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from art import distributed
from art.errors import ArtError
from art.teacher.blending import blend, scale_of
from art.training.candidates import embed_batch
from art.training.losses import entropy, log_soft_labels
from art.training.state import Calibration

if TYPE_CHECKING:
    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.retriever.searcher import IndexSearcher
    from art.teacher.cached import CachedTeacher

Array = NDArray[np.floating[Any]]
Source = Callable[[Sequence[Sequence[str]], NDArray[np.int64]], Array]
"""Micro-batches of questions, n in all, and rows [n, K] of the store → scores [n, K].

Every process of the job must call it at the same point, each with questions of its own."""

TEACHER = "teacher"  # the source that is the run's teacher

# At half of log K the labels weigh about √K passages: the good ones stand out, and more than one
# still teaches. SmolLM2-135M at the shipped T = 0.2 is near there: 1.3 of log 12 = 2.5 on COVID-QA.
# A rule of thumb to begin with and no optimum; T0-3B taught at the paper's 1.0.
_WANTED_SHARE = 0.5
_TEMPERATURES = (1e-4, 1e4)
_HALVINGS = 60
_QUESTIONS_AT_ONCE = 64  # while scales are found


class SoftLabels:
    """Makes the scores whose softmax are the soft labels, and says at which temperature.

    Args:
        weights: source → weight; None for the teacher's scores as they are.
        temperature: T; `auto` for one found from the first scores.
        sources: what gives the scores of each source but the teacher.
        calibration: found before the run was interrupted; None where it is still to be found.
    """

    def __init__(
        self,
        weights: Mapping[str, float] | None,
        temperature: float | Literal["auto"],
        *,
        sources: Mapping[str, Source],
        calibration: Calibration | None,
    ) -> None:
        self._weights = weights
        self._temperature = temperature
        self._sources = sources
        self._calibration = calibration

    @property
    def awaits_calibration(self) -> bool:
        """Whether something has still to be found from the first scores."""
        wanted = self._weights is not None or self._temperature == "auto"
        return wanted and self._calibration is None

    @property
    def temperature(self) -> float:
        """T."""
        if self._temperature != "auto":
            return self._temperature
        assert self._calibration is not None  # the first prefetch comes before the first step
        return self._calibration.temperature

    def __call__(
        self, batch: Sequence[Sequence[str]], rows: NDArray[np.int64], teacher: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the scores that soft labels are made of, [n, K].

        Every process of the job must call it at the same point.

        Args:
            batch: micro-batches of questions, n in all.
            rows: their passages, [n, K].
            teacher: the teacher's scores of them, [n, K].
        """
        if self._weights is None:
            return teacher
        assert self._calibration is not None  # the first prefetch comes before the first step
        scores = self._all(batch, rows, teacher)
        return blend(scores, self._weights, self._calibration.scales).astype(np.float32)

    def calibrate(
        self, questions: Sequence[str], rows: NDArray[np.int64], teacher: NDArray[np.float32]
    ) -> Calibration:
        """Find scales and temperature from the first lists of passages, and use them from now on.

        Every process of the job must call it, with the same arguments.

        Args:
            questions: texts, Q of them.
            rows: their passages, [Q, K].
            teacher: the teacher's scores of them, [Q, K].

        Raises:
            ArtError: a source or the teacher does not tell the passages apart.
        """
        # In the order of their texts: they come in another one with another number of processes.
        order = sorted(range(len(questions)), key=questions.__getitem__)
        rows, teacher, ordered = rows[order], teacher[order], [questions[i] for i in order]
        starts = range(0, len(ordered), _QUESTIONS_AT_ONCE)
        batch = [ordered[start : start + _QUESTIONS_AT_ONCE] for start in starts]
        labelled: Array = teacher
        scales: dict[str, float] = {}
        if self._weights is not None:
            scores = self._all(batch, rows, teacher)
            scales = {name: _scale(name, some) for name, some in scores.items()}
            labelled = blend(scores, self._weights, scales)
        temperature = self._temperature
        if temperature == "auto":
            found = suggest_temperature(labelled)
            if found is None:
                raise ArtError(
                    "teacher.temperature is auto, but the first scores tell hardly any passages "
                    "apart, so that none can be found",
                    hint="give a number, or another teacher",
                )
            temperature = found
        # One process's rounding counts for all.
        self._calibration = distributed.broadcast_object(
            Calibration(scales=scales, temperature=temperature)
        )
        assert self._calibration is not None
        return self._calibration

    def _all(
        self, batch: Sequence[Sequence[str]], rows: NDArray[np.int64], teacher: Array
    ) -> dict[str, Array]:
        others = {name: source(batch, rows) for name, source in self._sources.items()}
        return {TEACHER: teacher, **others}


def _scale(source: str, scores: Array) -> float:
    try:
        return scale_of(scores)
    except ArtError as error:
        raise ArtError(
            f"teacher.blend: {source} gives all passages of a question the same score",
            hint="leave it out",
        ) from error


class StartScores:
    """Inner products of the retriever that training starts from.

    Args:
        start: that retriever; it does not learn.
        open_index: returns what searches its index of the corpus; called once, by every process of
            the job.
    """

    def __init__(self, start: Retriever, open_index: Callable[[], IndexSearcher]) -> None:
        self._start = start
        self._open_index = open_index
        self._searcher: IndexSearcher | None = None

    def __call__(self, batch: Sequence[Sequence[str]], rows: NDArray[np.int64]) -> Array:
        """Return the scores of some questions' passages, see `Source`."""
        if self._searcher is None:
            self._searcher = self._open_index()
        return self._searcher.score(lambda: embed_batch(self._start, batch), rows)


class WordScores:
    """BM25's scores.

    Args:
        bm25: over the corpus.
    """

    def __init__(self, bm25: BM25) -> None:
        self._bm25 = bm25

    def __call__(self, batch: Sequence[Sequence[str]], rows: NDArray[np.int64]) -> Array:
        """Return the scores of some questions' passages, see `Source`."""
        with distributed.fail_together():
            return self._bm25.score([text for texts in batch for text in texts], rows)


class RerankerScores:
    """A cross-encoder's scores, of each pair once.

    Args:
        reranker: with the scores it already gave.
    """

    def __init__(self, reranker: CachedTeacher) -> None:
        self._reranker = reranker

    def __call__(self, batch: Sequence[Sequence[str]], rows: NDArray[np.int64]) -> Array:
        """Return the scores of some questions' passages, see `Source`."""
        return self._reranker.score([text for texts in batch for text in texts], rows).scores


def entropy_shares(scores: Array, temperature: float) -> NDArray[np.float64]:
    """Return the entropy of each question's soft labels as a share of log K.

    Args:
        scores: of Q questions' K ≥ 2 passages each, [Q, K].
        temperature: T, divisor before the softmax.

    Returns:
        Shares from 0 to 1, [Q].
    """
    values = torch.from_numpy(np.asarray(scores, dtype=np.float64))
    entropies = entropy(log_soft_labels(values, temperature=temperature))
    shares: NDArray[np.float64] = entropies.numpy() / math.log(values.shape[1])
    return shares


def suggest_temperature(scores: Array) -> float | None:
    """Return the temperature at which the mean entropy of soft labels is half of log K.

    The entropy of a softmax never falls as its temperature rises, so halving an interval finds it.

    Args:
        scores: of Q questions' K ≥ 2 passages each, [Q, K].

    Returns:
        The temperature; None where no temperature makes the labels so sharp, or none so flat.
    """
    low, high = (math.log(temperature) for temperature in _TEMPERATURES)

    def too_sharp(exponent: float) -> bool:
        return bool(entropy_shares(scores, math.exp(exponent)).mean() < _WANTED_SHARE)

    if not too_sharp(low) or too_sharp(high):
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if too_sharp(middle) else (low, middle)
    return math.exp(high)
