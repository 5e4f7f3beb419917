"""Named benchmarks for `art evaluate`: options, the files that a name stands for, what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.errors import ArtError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from art.evaluation.benchmarks.against import AgainstPublished
    from art.evaluation.benchmarks.registry import Benchmark

BenchmarkName = Annotated[
    str | None,
    typer.Option(
        "--benchmark",
        help="Ours beside the published results: nq, triviaqa, webq, squad, trec, msmarco, "
        "beir:NAME; beir for the mean of --results.",
    ),
]
DataFolder = Annotated[
    Path, typer.Option("--data", help="Folder that `art fetch` filled, for --benchmark.")
]
ResultsFolder = Annotated[
    Path | None,
    typer.Option("--results", help="Folder of what --output wrote for the sets of a mean."),
]


class NamedBenchmark:
    """What `--benchmark NAME` stands for, in place of `--questions` and `--qrels`.

    Args:
        name: of the benchmark.
        data: folder that `art fetch` filled.
        questions: a file in place of the benchmark's, or None.
        qrels: likewise.

    Raises:
        ArtError: there is no such benchmark, it is a mean, or its files are not there.
    """

    def __init__(self, name: str, data: Path, questions: Path | None, qrels: Path | None) -> None:
        from art.evaluation.benchmarks.registry import BENCHMARKS

        self.benchmark: Benchmark = BENCHMARKS[name]
        if self.benchmark.average_of:
            raise ArtError(
                f"{name} is a mean of several sets, each with an index of its own",
                hint=f"evaluate each with --output, and then --benchmark {name} --results FOLDER",
            )
        self._data = data
        self.questions = questions or self._fetched(self.benchmark.questions)
        self.qrels = qrels or (self._fetched(self.benchmark.qrels) if self.is_judged else None)

    @property
    def is_judged(self) -> bool:
        """Whether judgements say what is right, and not answers."""
        return self.benchmark.qrels is not None

    def against(
        self, per_question: Mapping[str, NDArray[np.float64]], num_passages: int | None
    ) -> AgainstPublished:
        """Return what was measured, to be shown and kept beside the published results.

        Args:
            per_question: metric → [Q], NaN where it does not apply.
            num_passages: of the corpus that was searched; None where nobody knows.
        """
        from art.evaluation.benchmarks.against import against_published

        return against_published(self.benchmark, per_question, num_passages=num_passages)

    def _fetched(self, file: str | None) -> Path:
        assert file is not None  # only a mean has none
        path = self._data / file
        if not path.exists():
            needed = " ".join(self.benchmark.needs)
            raise ArtError(
                "there is no such file",
                where=path,
                hint=f"art fetch {needed} --output {self._data}, or name it with --questions"
                + (" and --qrels" if self.is_judged else ""),
            )
        return path


def metrics_wanted(named: NamedBenchmark | None) -> tuple[str, ...]:
    """Return the metrics of judgements to compute: the usual ones, and those of a benchmark."""
    from art.evaluation.metrics.evidence import JUDGED_DEEP

    return JUDGED_DEEP if named is None else (*JUDGED_DEEP, *named.benchmark.metrics)


def show_mean(name: str | None, results: Path, output: Path | None) -> None:
    """Print the mean over the sets of a benchmark, and write it where an output is named.

    Args:
        name: of the benchmark; None where none was named.
        results: folder of what `art evaluate --benchmark … --output` wrote for its sets.
        output: a file for it as JSON, or None.

    Raises:
        ArtError: it is no mean, or no result of its sets is there.
    """
    from art import report
    from art.evaluation.benchmarks.against import average, read_results
    from art.evaluation.benchmarks.registry import BENCHMARKS
    from art.files import write_json

    if name is None:
        raise ArtError("--results of which benchmark?", hint="--benchmark beir")
    benchmark = BENCHMARKS[name]
    if not benchmark.average_of:
        raise ArtError(f"{name} is no mean of several sets", hint="leave out --results")
    mean = average(benchmark, read_results(results))
    if output:
        shown: dict[str, Any] = {one.metric: one.value for one in mean.measured}
        write_json(output, {"metrics": shown, **mean.document()})
    print(report.against_published(mean))
