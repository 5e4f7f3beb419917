"""Which checkpoint is kept: what it is judged on, by which metric, and for how long to wait.

Where labelled questions are given they decide. Else something of what trains is held out: items,
judged in a pool, or questions, each judged by a passage that `art.training.agreement` names. Of
these half choose; the others, which then know nothing of the choice, say whether the chosen weights
are better than the start (`art.training.verdict`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
from numpy.typing import NDArray

from art.config import Config, Manifest
from art.data.batching import epoch_order
from art.data.formats import Question
from art.data.records import comparable
from art.errors import ConfigFaults, DataError
from art.evaluation.labels import is_labelled
from art.evaluation.metrics import metric
from art.files import fingerprint

if TYPE_CHECKING:
    from art.data.supervised_store import SupervisedStore

Qrels = Mapping[str, Mapping[str, int]]

# One that training never reaches: what is held out depends on the seed and on nothing else.
NO_EPOCH = 2**31 - 1
_HELD_OUT_ITEMS = (0.05, 500)  # share, at most
_HELD_OUT_QUESTIONS = (0.25, 200)
_FEWEST_HELD_OUT = 16


def primary_metric(names: Sequence[str]) -> str:
    """Return the metric that chooses the checkpoint.

    Labels of a corpus go first (top-20 or the nearest depth below, else the least deep), then
    relevance judgements, then a pool of passages, then the teacher; names that are not registered
    go last. Each metric says where it stands by its source and its preference.

    Args:
        names: of the metrics of an evaluation; among equals, the first of them chooses.
    """
    return min(names, key=lambda name: metric(name).priority)


class Best(Manifest):
    """The best evaluation so far."""

    step: int
    metric: str
    value: float


class Selection(Manifest):
    """What the evaluations so far say about which checkpoint to keep.

    Attributes:
        best: the best evaluation; None before the first.
        evaluations_without_better: since then.
    """

    best: Best | None = None
    evaluations_without_better: int = 0

    def after(self, step: int, metrics: Mapping[str, float]) -> Selection:
        """Return the selection with another evaluation; only a better one replaces it.

        Args:
            step: whose weights were evaluated.
            metrics: name → value.
        """
        name = primary_metric(list(metrics))
        value = metrics[name]
        if self.best is None or metric(name).is_better(value, self.best.value):
            return Selection(best=Best(step=step, metric=name, value=value))
        waited = self.evaluations_without_better + 1
        return Selection(best=self.best, evaluations_without_better=waited)

    def out_of_patience(self, patience: int | None) -> bool:
        """Return whether so many evaluations in a row brought nothing better; never where None."""
        return patience is not None and self.evaluations_without_better >= patience


@dataclass(frozen=True)
class JudgedOn:
    """What a run's checkpoints are judged on.

    Attributes:
        corpus: whether questions are asked of the whole corpus.
        holds_out_questions: whether those are held out of the training questions.
        holds_out_items: whether items of the training set are held out, to be judged in a pool.
    """

    corpus: bool
    holds_out_questions: bool
    holds_out_items: bool

    @classmethod
    def from_config(cls, config: Config, *, by_default: Literal["questions", "items"]) -> Self:
        """Return what the settings say.

        Args:
            config: the settings.
            by_default: what is held out where they give nothing to judge on.
        """
        asked = bool(config.evaluation.questions)
        given = asked or bool(config.evaluation.supervised)
        holds_out_questions = by_default == "questions" and not given
        return cls(
            corpus=asked or holds_out_questions,
            holds_out_questions=holds_out_questions,
            holds_out_items=by_default == "items" and not given,
        )


def are_labelled(config: Config, questions: Sequence[Question]) -> bool:
    """Return whether labels or judgements say what answers some of the evaluated questions."""
    return config.evaluation.qrels is not None or any(map(is_labelled, questions))


def needs_judge(config: Config, questions: Sequence[Question] | None) -> bool:
    """Return whether a teacher has to judge evaluations, because no question has a label.

    Args:
        config: the settings.
        questions: that the run is evaluated on; None where they are not here and are taken to have
            labels.

    Raises:
        ConfigFaults: one has to judge, and there is none.
    """
    if not questions or are_labelled(config, questions):
        return False
    if config.teacher is None:
        fault = "teacher: evaluation.questions have no labels, so one has to judge; or give labels"
        raise ConfigFaults([fault])
    return True


def num_held_out(num_items: int) -> int:
    """Return how many of the items that train are held out where nothing is given to judge on."""
    return _some_of(num_items, *_HELD_OUT_ITEMS)


def num_held_out_questions(num_questions: int) -> int:
    """Return how many training questions are held out where nothing is given to judge on."""
    return _some_of(num_questions, *_HELD_OUT_QUESTIONS)


def _some_of(count: int, share: float, most: int) -> int:
    return min(max(round(share * count), _FEWEST_HELD_OUT), most, count // 2)


def hold_out(num_items: int, *, seed: int) -> NDArray[np.int64]:
    """Return the positions of items that are held out, in order: as many as `num_held_out` says."""
    return _drawn(num_items, num_held_out(num_items), seed)


def hold_out_questions(num_questions: int, *, seed: int) -> NDArray[np.int64]:
    """Return the positions of questions that are held out, in order."""
    return _drawn(num_questions, num_held_out_questions(num_questions), seed)


def _drawn(num_items: int, count: int, seed: int) -> NDArray[np.int64]:
    return np.sort(epoch_order(num_items, seed=seed, epoch=NO_EPOCH)[:count])


@dataclass(frozen=True, eq=False)
class TrainingSplit:
    """Which of n items train and which are held out.

    Attributes:
        size: n.
        held_out: positions that are held out, in order.
        left_out: positions that do not train, in order: those, and the same questions elsewhere.
    """

    size: int
    held_out: NDArray[np.int64]
    left_out: NDArray[np.int64]

    @property
    def num_training(self) -> int:
        """How many train."""
        return self.size - len(self.left_out)

    def training(self, places: Sequence[int]) -> list[int]:
        """Return the positions of those that train, from their places among themselves."""
        # A place moves up by each that is left out at or before it; no list of all is needed.
        before = self.left_out - np.arange(len(self.left_out))
        chosen = np.asarray(places, dtype=np.int64)
        moved: list[int] = (chosen + np.searchsorted(before, chosen, side="right")).tolist()
        return moved


def split_labelled(
    store: SupervisedStore,
    *,
    seed: int,
    hold_some_out: bool,
    evaluated: Sequence[str] = (),
    usable: NDArray[np.int64] | None = None,
) -> TrainingSplit:
    """Divide labelled questions into those that train and those that are held out.

    Args:
        store: the questions.
        seed: of the run.
        hold_some_out: whether some of them are.
        evaluated: texts of other questions that are held out; they do not train here.
        usable: positions of those that can be learned from, in order; None for all.

    Raises:
        DataError: there is one question alone, which cannot both train and be held out.
    """
    every = np.arange(len(store))
    chosen = every if usable is None else usable
    held_out = chosen[hold_out(len(chosen), seed=seed)] if hold_some_out else every[:0]
    if hold_some_out and not len(held_out):
        raise DataError(
            "one labelled question cannot both train and choose",
            hint="give more in data.supervised, or evaluation.supervised",
        )
    left_out = np.setdiff1d(every, chosen)
    texts = {*map(comparable, (*evaluated, *(store.questions[i] for i in held_out.tolist())))}
    if texts:
        known = [i for i, text in enumerate(store.questions) if comparable(text) in texts]
        left_out = np.union1d(left_out, np.array(known, dtype=np.int64))
    return TrainingSplit(len(store), held_out, left_out)


def split_passages(num_passages: int, *, seed: int, hold_some_out: bool) -> TrainingSplit:
    """Divide passages into those whose pairs train and those whose pairs are held out."""
    held_out = hold_out(num_passages, seed=seed) if hold_some_out else np.zeros(0, dtype=np.int64)
    return TrainingSplit(num_passages, held_out, held_out)


def evaluation_fingerprint(questions: Sequence[Question], qrels: Qrels | None) -> str:
    """Return a fingerprint of the questions that a run is evaluated on and of all their labels."""
    # A set has another order in each process.
    asked = [(q.question_id, q.text, q.answers, sorted(q.positive_passage_ids)) for q in questions]
    return fingerprint(repr(asked), repr(qrels))
