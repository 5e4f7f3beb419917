"""What can be said while a diagnosis goes on: what it will take, then what is known so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from art.diagnosis.judging import Agreement
from art.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Estimate:
    """What is to be scored.

    Attributes:
        num_pairs: that are not known yet, those of the further prompts apart.
        num_further: pairs for prompts that are only compared, known or not.
        pairs_per_second: measured on some of them, all processes together.
        is_most: whether there may be fewer, as one of the searches is still to come.
        num_known: pairs beside these that are known from earlier.
        num_twice: pairs beside these that a second search found again.
    """

    num_pairs: int
    num_further: int
    pairs_per_second: float
    is_most: bool = False
    num_known: int = 0
    num_twice: int = 0

    @property
    def seconds(self) -> float:
        """Return how long it takes."""
        return (self.num_pairs + self.num_further) / self.pairs_per_second


@dataclass(frozen=True)
class Interim:
    """What is known of the questions whose passages are all scored.

    Attributes:
        num_done: these questions, one at least.
        num_questions: Q, those there will be.
        seconds_left: until then, about.
        tested: the metric that stands for all where there is little room.
        results: the rankings of these questions, and the same re-ordered; empty without labels.
        agreements: of the teacher with each search.
    """

    num_done: int
    num_questions: int
    seconds_left: float
    tested: str
    results: Mapping[str, Evaluation]
    agreements: Mapping[str, Agreement]


class Watcher:
    """Sees how a diagnosis goes on, on the main process; this one does nothing about it.

    Attributes:
        wants_bar: whether a progress bar may stand beside what it shows.
    """

    wants_bar = True

    def estimated(self, estimate: Estimate) -> None:
        """See what there is to do, before it is done; a better estimate may follow."""

    def scored(self, interim: Interim) -> None:
        """See what is known so far, after each block of pairs."""

    def end(self) -> None:
        """See no more."""
