"""Our results beside the published ones: a 95 % interval, a verdict, and means over benchmarks.

The interval says how far other questions of the same kind would have moved a result: Wilson's for
a share of the questions, Student's for the mean of a value per question.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from art.config import Manifest
from art.errors import ArtError, ConfigError
from art.evaluation.benchmarks.registry import BENCHMARKS, Benchmark, Published
from art.evaluation.metrics import metric
from art.evaluation.statistics import mean_interval, wilson
from art.files import read_json

WITHIN, ABOVE, BELOW = "within", "above", "below"
_KEY = "benchmark"  # of the part of a file of metrics that is about the benchmark
_ROUNDING = 0.05  # half of the last digit that is published


class Measured(Manifest):
    """A metric of ours.

    Attributes:
        metric: its name.
        value: the mean over the questions.
        low: lower end of the 95 % interval.
        high: upper end.
        num_questions: that count.
    """

    metric: str
    value: float
    low: float
    high: float
    num_questions: int


class AgainstPublished(Manifest):
    """What we measured on a benchmark.

    Attributes:
        name: of the benchmark.
        measured: those of its metrics that were computed.
        notes: what makes it another benchmark than the published one, a sentence each.
    """

    name: str
    measured: tuple[Measured, ...]
    notes: tuple[str, ...]

    @property
    def benchmark(self) -> Benchmark:
        """The benchmark."""
        return BENCHMARKS[self.name]

    def by_metric(self) -> list[Measured | None]:
        """Return what was measured, in the order of the benchmark's metrics; None for a gap."""
        found = {one.metric: one for one in self.measured}
        return [found.get(name) for name in self.benchmark.metrics]

    def verdicts(self, published: Published) -> list[str | None]:
        """Return where ours stands against a system; None where either is unknown."""
        return [
            None if ours is None or theirs is None else verdict(ours, theirs)
            for ours, theirs in zip(self.by_metric(), published.values, strict=True)
        ]

    def document(self) -> dict[str, Any]:
        """Return it for a file of metrics, with the published results and the verdicts."""
        published = [
            {
                "system": one.system,
                "values": dict(zip(self.benchmark.metrics, one.values, strict=True)),
                "ours_is": dict(zip(self.benchmark.metrics, self.verdicts(one), strict=True)),
                "source": one.source,
            }
            for one in self.benchmark.published
        ]
        return {_KEY: {**self.model_dump(mode="json"), "published": published}}


def verdict(ours: Measured, published: float) -> str:
    """Return whether our interval holds a published result, or ours is above or below it.

    Args:
        ours: with its interval.
        published: in the unit in which the metric is shown; rounded, and so is what it may be.
    """
    factor = metric(ours.metric).unit.factor
    if factor * ours.low > published + _ROUNDING:
        return ABOVE
    return BELOW if factor * ours.high < published - _ROUNDING else WITHIN


def against_published(
    benchmark: Benchmark,
    per_question: Mapping[str, NDArray[np.float64]],
    *,
    num_passages: int | None = None,
) -> AgainstPublished:
    """Return what was measured on a benchmark, and what differs from it.

    Args:
        benchmark: that was asked for.
        per_question: metric → a value of each question, [Q], NaN where it does not apply.
        num_passages: of the corpus that was searched; None where nobody knows.
    """
    measured = [
        _measured(name, per_question[name]) for name in benchmark.metrics if name in per_question
    ]
    notes = [
        f"{metric(name).title} was not computed: the ranking is not that deep"
        for name in benchmark.metrics
        if name not in per_question
    ]
    counts = {one.num_questions for one in measured}
    for have, stated, what in (
        (max(counts, default=0), benchmark.num_questions, "questions"),
        (num_passages, benchmark.num_passages, "passages"),
    ):
        if have is not None and stated is not None and have != stated:
            notes.append(f"{have:,} {what}; the benchmark has {stated:,}: not the published task")
    return AgainstPublished(name=benchmark.name, measured=tuple(measured), notes=tuple(notes))


def _measured(name: str, values: NDArray[np.float64]) -> Measured:
    counted = values[~np.isnan(values)]
    if metric(name).has_interval:
        low, high = wilson(int(counted.sum()), len(counted))
    else:
        low, high = mean_interval(counted)
    return Measured(
        metric=name,
        value=float(counted.mean()),
        low=low,
        high=high,
        num_questions=len(counted),
    )


def average(benchmark: Benchmark, results: Mapping[str, AgainstPublished]) -> AgainstPublished:
    """Return the mean over a benchmark's parts, each part counting the same.

    A part may be a mean itself, as CQADupStack's twelve forums are one of BEIR's sets. A metric of
    a part stands where the mean has its own (TREC-COVID's recall is a capped one).

    Args:
        benchmark: a mean over others.
        results: name → what was measured there.

    Raises:
        ArtError: none of its parts was measured.
    """
    parts, missing = _parts(benchmark, results)
    if not parts:
        names = f"such as {benchmark.average_of[0]}"
        hint = f"art evaluate --benchmark NAME --output FILE.json for its parts, {names}"
        raise ArtError(f"no result of {benchmark.name} is there", hint=hint)
    notes = []
    if missing:
        notes.append(
            f"{len(parts)} of {len(benchmark.average_of)} sets, not the published mean: "
            f"missing {', '.join(missing)}"
        )
    notes += [f"{one.name}: {note}" for one in parts for note in one.notes]
    columns = zip(*(one.by_metric() for one in parts), strict=True)
    measured = [
        _mean(name, [one for one in column if one is not None])
        for name, column in zip(benchmark.metrics, columns, strict=True)
        if all(column)
    ]
    return AgainstPublished(name=benchmark.name, measured=tuple(measured), notes=tuple(notes))


def _parts(
    benchmark: Benchmark, results: Mapping[str, AgainstPublished]
) -> tuple[list[AgainstPublished], list[str]]:
    """Return what was measured of a mean's parts, and the names of those that lack something."""
    found, missing = [], []
    for name in benchmark.average_of:
        part = BENCHMARKS[name]
        if not part.average_of:
            found += [results[name]] if name in results else []
            missing += [name] if name not in results else []
            continue
        below, gaps = _parts(part, results)
        missing += gaps
        if below and not gaps:
            found.append(average(part, results))
    return found, missing


def _mean(name: str, parts: Sequence[Measured]) -> Measured:
    # Sets are independent of each other: the variance of their mean is that of their sum.
    value = sum(one.value for one in parts) / len(parts)
    half = math.sqrt(sum(((one.high - one.low) / 2) ** 2 for one in parts)) / len(parts)
    questions = sum(one.num_questions for one in parts)
    return Measured(
        metric=name, value=value, low=value - half, high=value + half, num_questions=questions
    )


def read_results(folder: Path) -> dict[str, AgainstPublished]:
    """Return what the files of metrics in a folder say of benchmarks, by name.

    Args:
        folder: of `.json` files that `art evaluate --benchmark … --output` wrote.

    Raises:
        ArtError: a file cannot be read, or two are of one benchmark.
    """
    found: dict[str, AgainstPublished] = {}
    for path in sorted(folder.glob("*.json")):
        for result in _result_in(path):
            if found.setdefault(result.name, result) is not result:
                hint = "leave one of them in the folder"
                raise ArtError(f"another file is of {result.name} too", where=path, hint=hint)
    return found


def _result_in(path: Path) -> Iterator[AgainstPublished]:
    document = read_json(path)
    part = document.get(_KEY) if isinstance(document, dict) else None
    if isinstance(part, dict):
        stated = {key: value for key, value in part.items() if key != "published"}
        result = AgainstPublished.of(stated, where=path)
        if result.name not in BENCHMARKS:
            raise ConfigError(f"no such benchmark: {result.name}", where=path)
        yield result
