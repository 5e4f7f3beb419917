"""What a metric says of itself, and where all of them are registered."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from art.evaluation.metrics.evidence import Evidence
from art.registry import Registry

Values = NDArray[np.float64]
Source = TypeVar("Source", bound=Evidence)


@dataclass(frozen=True)
class Unit:
    """How the values of a metric are written.

    Attributes:
        name: of the unit.
        factor: that values are shown with.
        decimals: shown behind the point.
        sign: behind the title of a chart; empty for none.
    """

    name: str
    factor: int = 1
    decimals: int = 3
    sign: str = ""


SHARE = Unit("share", factor=100, decimals=1, sign="%")
RANK = Unit("rank")
NATS = Unit("nats")
UNKNOWN = Unit("unknown")


@dataclass(frozen=True)
class Metric(Generic[Source]):
    """A number per question, whose mean says how good a ranking is.

    Attributes:
        name: its key in `metrics.jsonl` and in result files.
        title: its name for a person.
        meaning: what is chosen by where it chooses the checkpoint, for a person.
        source: the evidence that it is computed from.
        compute: evidence → values [Q], NaN for a question to which it does not apply; None where
            this evidence does not suffice, such as a ranking that is not deep enough.
        unit: of its values.
        higher_is_better: whether a ranking is better where the value is higher.
        has_interval: whether each value is 1 or 0, so that their mean has a Wilson interval and
            McNemar's test tells two rankings apart.
        preference: the lowest among the metrics of one source chooses the checkpoint; None for one
            that chooses only where no other of its source was computed.
        heading: title of its chart; empty for its title and its unit's sign.
        family: title of the chart that it shares with others in the report about a single run;
            empty where it has a chart of its own.
    """

    name: str
    title: str
    meaning: str
    source: type[Source]
    compute: Callable[[Source], Values | None]
    unit: Unit = SHARE
    higher_is_better: bool = True
    has_interval: bool = False
    preference: int | None = None
    heading: str = ""
    family: str = ""

    @property
    def priority(self) -> tuple[float, float]:
        """Return what orders metrics for the choice of the checkpoint; the lowest chooses."""
        return self.source.priority, math.inf if self.preference is None else self.preference

    @property
    def chart_title(self) -> str:
        """Return the title of a chart of this metric alone."""
        return self.heading or ", ".join(filter(None, (self.title, self.unit.sign)))

    def shown(self, value: float) -> str:
        """Return a value for a person, without the unit's sign."""
        return f"{self.unit.factor * value:.{self.unit.decimals}f}"

    def shown_gain(self, difference: float) -> str:
        """Return a difference of two values for a person, with its sign."""
        return f"{self.unit.factor * difference:+.{self.unit.decimals}f}"

    def gain(self, before: float, after: float) -> float:
        """Return by how much a value has become better; negative where it has become worse."""
        return after - before if self.higher_is_better else before - after

    def is_better(self, value: float, than: float) -> bool:
        """Return whether one value is better than another."""
        return value > than if self.higher_is_better else value < than

    def members(self, evidence: Source) -> Sequence[Metric[Source]]:
        """Return itself, as a family returns its members."""
        return [self]

    def member(self, name: str) -> Metric[Source] | None:
        """Return itself if this is its name."""
        return self if name == self.name else None


@dataclass(frozen=True)
class Family(Generic[Source]):
    """Metrics that differ by a whole number.

    Attributes:
        name: of its members, with `<k>` where the number stands.
        source: as in `Metric`.
        make: number → member.
        numbers: evidence → the numbers asked for.
    """

    name: str
    source: type[Source]
    make: Callable[[int], Metric[Source]]
    numbers: Callable[[Source], Iterable[int]]

    def members(self, evidence: Source) -> Sequence[Metric[Source]]:
        """Return the members asked for, by number."""
        return [self.make(number) for number in sorted(set(self.numbers(evidence)))]

    def member(self, name: str) -> Metric[Source] | None:
        """Return the member of this name; None if it is none of this family's."""
        pattern = re.escape(self.name).replace("<k>", "([0-9]+)")
        found = re.fullmatch(pattern, name)
        return None if found is None else self.make(int(found[1]))


METRICS: Registry[Metric[Any] | Family[Any]] = Registry("metric")


def metric(name: str) -> Metric[Any]:
    """Return the metric of this name.

    A name that is not registered, as in the folder of another version's run, gives a metric that is
    shown as it is and is the last to choose a checkpoint.
    """
    known = (entry.member(name) for entry in METRICS)
    return next((one for one in known if one is not None), None) or _unknown(name)


def _unknown(name: str) -> Metric[Evidence]:
    title = name.replace("_", "-")
    return Metric(name, title, title, Evidence, lambda _: None, unit=UNKNOWN)


def compute_all(evidence: Evidence) -> dict[str, Values]:
    """Return the values of every metric of this evidence, name → [Q], as they are registered."""
    members = [
        member
        for entry in METRICS
        if isinstance(evidence, entry.source)
        for member in entry.members(evidence)
    ]
    values = {member.name: member.compute(evidence) for member in members}
    return {name: found for name, found in values.items() if found is not None}


def means(values: Mapping[str, Values]) -> dict[str, float]:
    """Return the mean of each metric over the questions to which it applies."""
    return {name: float(np.nanmean(found)) for name, found in values.items()}
