"""The teacher's order of what searches found, alone and blended with a search, as metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art.data.formats import Question
from art.data.passages import PassageStore
from art.diagnosis.candidates import Candidates
from art.errors import ArtError
from art.evaluation.comparison import paired_test
from art.evaluation.evaluate import Evaluation, evaluate_rows
from art.evaluation.labels import is_labelled
from art.evaluation.metrics import compute_all, means
from art.evaluation.metrics.evidence import Hits
from art.evaluation.statistics import PairedTest, rank_agreement, wilson
from art.planning.label_entropy import LabelEntropy
from art.teacher.blending import blend, scale_of

# Of the teacher beside a search of weight 1.
WEIGHTS = (0.3, 0.5, 1.0, 2.0, 3.0)
TEACHER_NAME = "teacher"

Given = Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Agreement:
    """How far the teacher's order is that of the search that found the passages.

    Attributes:
        share: questions for which both put the same passage first.
        low: lower end of its 95 % interval.
        high: upper end.
        correlation: mean rank correlation of the K passages.
    """

    share: float
    low: float
    high: float
    correlation: float

    @classmethod
    def of(cls, found: NDArray[Any], scores: NDArray[Any]) -> Agreement:
        """Compare a search's scores, best first, with the teacher's, [Q, K] each."""
        same = scores.argmax(axis=1) == 0
        correlation = rank_agreement(found, scores)
        return cls(float(same.mean()), *wilson(int(same.sum()), len(same)), correlation)


@dataclass(frozen=True)
class PromptMetrics:
    """What the teacher says, with one prompt, of the first K passages of each question.

    Attributes:
        evaluation: of the teacher's order; None without labels.
        label_entropy: of the soft labels.
        agreement: with the search.
    """

    evaluation: Evaluation | None
    label_entropy: LabelEntropy
    agreement: Agreement


@dataclass(frozen=True)
class Blend:
    """A search's first passages by its own score and the teacher's together.

    Attributes:
        source: the search.
        weight: of the teacher's score, where the search's has 1, each divided by its scale.
        evaluation: of that order.
        test: against the search alone, at the metric that is tested; None where it is not there.
    """

    source: str
    weight: float
    evaluation: Evaluation
    test: PairedTest | None


@dataclass(frozen=True)
class Judge:
    """Turns orders of what searches found into metrics, where there are labels.

    Attributes:
        candidates: by search, [Q, W] each.
        searches: each search's own order; empty without labels.
        ks: depths of the top-k accuracy.
        depths: how many passages of each search are re-ordered; the deepest are blended.
    """

    candidates: Mapping[str, Candidates]
    searches: Mapping[str, Evaluation]
    ks: Sequence[int]
    depths: Sequence[int]

    @classmethod
    def of(
        cls,
        candidates: Mapping[str, Candidates],
        store: PassageStore,
        questions: Sequence[Question],
        ks: Sequence[int],
        depth: int,
    ) -> Judge:
        """Judge each search; every process of the job must call it."""
        width = min(found.rows.shape[1] for found in candidates.values())
        ks = [k for k in ks if k <= width] or [width]
        labelled = any(is_labelled(question) for question in questions)
        searches = {
            name: evaluate_rows(rows, scores, store, questions, ks=ks)
            for name, (rows, scores) in candidates.items()
            if labelled
        }
        depths = sorted({min(20, depth, width), min(depth, width)})
        return cls(candidates, searches, ks, depths)

    @property
    def tested(self) -> str:
        """The metric that is tested: the deepest one that every re-ordering can change."""
        can_change = (k for k in self.ks if k < min(self.depths))
        return f"top_{max(can_change, default=min(self.ks))}"

    def prompt(self, source: str, given: NDArray[np.float32]) -> PromptMetrics:
        """Judge the teacher's order of each question's first K passages by its scores, [Q, K]."""
        search = self.searches.get(source)
        found = self.candidates[source].scores[:, : given.shape[1]]
        return PromptMetrics(
            evaluation=None if search is None else self._ordered(search, given),
            label_entropy=LabelEntropy.of(given),
            agreement=Agreement.of(found, given),
        )

    def reordered(
        self, given: Given, chosen: NDArray[np.int64] | None = None
    ) -> dict[str, Evaluation]:
        """Judge each search, and its first passages in the teacher's order.

        Args:
            given: the teacher's scores of each search's first passages, [Q, K].
            chosen: positions of the questions that count; None for all.

        Returns:
            By a line's name; empty without labels.
        """
        results = {}
        for name, search in self.searches.items():
            results[name] = (
                search if chosen is None else self._ordered(search, given[name][:, :0], chosen)
            )
            for depth in self.depths:
                line = f"{name}, first {depth} re-ordered"
                results[line] = self._ordered(search, given[name][:, :depth], chosen)
        return results

    def tests(self, results: Mapping[str, Evaluation]) -> dict[str, PairedTest]:
        """Test each re-ordered line of `reordered` against its search."""
        found = {}
        for name, search in self.searches.items():
            for depth in self.depths:
                line = f"{name}, first {depth} re-ordered"
                if (test := self._test(results[line], search)) is not None:
                    found[line] = test
        return found

    def agreements(
        self, given: Given, top_k: int, chosen: NDArray[np.int64] | None = None
    ) -> dict[str, Agreement]:
        """Compare the teacher's order of each search's first K passages with the search's own."""
        questions = slice(None) if chosen is None else chosen
        return {
            name: Agreement.of(scores[questions, :top_k], given[name][questions, :top_k])
            for name, (_, scores) in self.candidates.items()
        }

    def scales(self, given: Given) -> dict[str, float | None]:
        """Return the scale of each search and of the teacher, over all lists that are re-ordered.

        None for whoever gives all passages of a list the same score.
        """
        depth = max(self.depths)
        lists = {name: scores[:, :depth] for name, (_, scores) in self.candidates.items()}
        lists[TEACHER_NAME] = np.concatenate([given[name][:, :depth] for name in lists])
        return {name: _scale(scores) for name, scores in lists.items()}

    def blends(self, given: Given, scales: Mapping[str, float | None]) -> list[Blend]:
        """Judge each search's first passages by its score and the teacher's, at every weight.

        Args:
            given: the teacher's scores of each search's first passages, [Q, K].
            scales: from `scales`.

        Returns:
            By search, then weight; none without labels, or of whoever has no scale.
        """
        depth = max(self.depths)
        found = []
        for name, search in self.searches.items():
            own = {one: scale for one in (name, TEACHER_NAME) if (scale := scales[one])}
            if len(own) < 2:
                continue
            of_search = self.candidates[name].scores[:, :depth]
            scores = {name: of_search, TEACHER_NAME: given[name][:, :depth]}
            for weight in WEIGHTS:
                blended = blend(scores, {name: 1.0, TEACHER_NAME: weight}, own)
                result = self._ordered(search, blended)
                found.append(Blend(name, weight, result, self._test(result, search)))
        return found

    def _ordered(
        self, search: Evaluation, given: NDArray[Any], chosen: NDArray[np.int64] | None = None
    ) -> Evaluation:
        """Judge a search's passages with the first of them in the order of these scores, [Q, K].

        The others follow as they were, with −∞ for a score.
        """
        kept = np.arange(search.num_questions) if chosen is None else chosen
        assert search.hits is not None  # labelled
        scores = np.full((len(kept), search.rows.shape[1]), -np.inf)
        scores[:, : given.shape[1]] = given[kept]
        order = np.argsort(-scores, axis=1, kind="stable")
        rows, scores, hits = (
            np.take_along_axis(part, order, axis=1)
            for part in (search.rows[kept], scores, search.hits[kept])
        )
        labelled, depth = search.labelled[kept], None if search.whole else rows.shape[1]
        values = compute_all(Hits(hits, labelled, self.ks, depth))
        return replace(
            search,
            metrics=means(values),
            questions=[search.questions[position] for position in kept.tolist()],
            rows=rows,
            scores=scores,
            hits=hits,
            labelled=labelled,
            per_question=values,
        )

    def _test(self, result: Evaluation, search: Evaluation) -> PairedTest | None:
        if self.tested not in result.per_question or self.tested not in search.per_question:
            return None
        return paired_test(result, search, self.tested)


def _scale(scores: NDArray[Any]) -> float | None:
    try:
        return scale_of(scores)
    except ArtError:  # all passages of a list alike
        return None
