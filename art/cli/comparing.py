"""`art compare`, and `art evaluate` of a result file: rankings judged without a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.cli.benchmarks import NamedBenchmark, metrics_wanted
from art.cli.common import SkipBadRows, notify_skipped, read_rows
from art.errors import ArtError

if TYPE_CHECKING:
    from art.data.passages import PassageStore
    from art.evaluation.judging import JudgedRun
    from art.evaluation.rankings import KeptRanking

RegexAnswers = Annotated[
    bool, typer.Option("--regex-answers", help="Answers are regular expressions (TREC).")
]
DropSelfHits = Annotated[
    bool, typer.Option("--drop-self-hits", help="Ignore a hit with the question's id (BEIR).")
]
JudgementsFile = Annotated[
    Path | None, typer.Option("--qrels", help="Relevance judgements: BEIR .tsv or TREC.")
]


class LabelFiles:
    """What says whether a passage is right, read once for all rankings that are judged by it.

    Args:
        questions: a file of labelled questions, or None.
        qrels: a file of judgements, or None.
        passages: the corpus in which answers are looked for, or None.
        regex_answers: the answers are regular expressions.
        drop_self_hits: leave out a passage whose id is its question's.
        skip_bad_rows: of any of these files, and of the rankings.
    """

    def __init__(
        self,
        questions: Path | None,
        qrels: Path | None,
        passages: Path | None,
        *,
        regex_answers: bool,
        drop_self_hits: bool,
        skip_bad_rows: bool,
    ) -> None:
        from art.data.formats import read_qrels, read_questions

        self._skip = skip_bad_rows
        self._judged: dict[str, Any] = {
            "questions": read_rows(read_questions, questions, skip_bad_rows=self._skip)
            if questions
            else None,
            "qrels": read_rows(read_qrels, qrels, skip_bad_rows=self._skip) if qrels else None,
            "store": self._opened(passages) if passages else None,
            "regex_answers": regex_answers,
            "drop_self_hits": drop_self_hits,
        }

    @property
    def store(self) -> PassageStore | None:
        """The corpus."""
        store: PassageStore | None = self._judged["store"]
        return store

    def judge(self, run: Path, named: NamedBenchmark | None = None) -> JudgedRun:
        """Return how good the ranking in a file is, by the metrics of a named benchmark too."""
        from art.data.formats import read_run
        from art.evaluation.judging import judge_run

        found = read_rows(read_run, run, skip_bad_rows=self._skip)
        return judge_run(found, where=run, judged=metrics_wanted(named), **self._judged)

    def _opened(self, passages: Path) -> PassageStore:
        from art.data.passages import PassageStore

        store = PassageStore.open_or_build(passages, skip_bad_rows=self._skip)
        notify_skipped(store.bad_rows)
        return store


def evaluate_file(
    run: Path,
    labels: LabelFiles,
    output: Path | None,
    *,
    named: NamedBenchmark | None = None,
    **provenance: str | None,
) -> None:
    """Print how good the ranking in a file is, and write it where an output is named.

    Args:
        run: the result file.
        labels: that it is judged by.
        output: a file for the metrics as JSON, or None.
        named: the benchmark whose published results stand beside it, or None.
        provenance: what the file says besides.
    """
    from art import report
    from art.files import write_json

    result, store = labels.judge(run, named), labels.store
    shown, compared = report.evaluation(result.table(), result.notes), {}
    if named is not None:
        num_passages = None if store is None else len(store)
        against = named.against(result.per_question, num_passages)
        shown, compared = f"{shown}\n\n{report.against_published(against)}", against.document()
    if output:
        write_json(
            output,
            {
                "metrics": result.metrics,
                "table": result.table(),
                "notes": result.notes,
                **compared,
                "run": str(run),
                **provenance,
                "passages_fingerprint": store and store.fingerprint,
            },
        )
    print(shown)


def compare(
    first: Annotated[Path, typer.Argument(metavar="RUN_A", help="A result file or a run folder.")],
    second: Annotated[Path, typer.Argument(metavar="RUN_B", help="Another one.")],
    questions: Annotated[
        Path | None, typer.Option(help="Questions with answers or passage ids, for result files.")
    ] = None,
    qrels: JudgementsFile = None,
    passages: Annotated[
        Path | None, typer.Option(help="The corpus in which answers are looked for.")
    ] = None,
    regex_answers: RegexAnswers = False,
    drop_self_hits: DropSelfHits = False,
    skip_bad_rows: SkipBadRows = False,
) -> None:
    """Compare two rankings of the same questions: paired tests, questions won and lost."""
    from art import report
    from art.evaluation.paired import pair
    from art.report.changes import won_and_lost

    of_files = [one for one in (first, second) if not one.is_dir()]
    if not of_files and (questions or qrels or passages):
        raise ArtError(
            "runs keep how they were judged: labels are for result files",
            hint="leave out --questions, --qrels and --passages",
        )
    labels = LabelFiles(
        questions,
        qrels,
        passages,
        regex_answers=regex_answers,
        drop_self_hits=drop_self_hits,
        skip_bad_rows=skip_bad_rows,
    )
    sides = [_kept_of(one, labels) for one in (first, second)]
    found = pair(sides[0], sides[1], names=(str(first), str(second)))
    print(report.paired(found))
    changed = won_and_lost(found.first, found.second, found.primary)
    for said, changes in zip(("B gains most", "B loses most"), changed, strict=True):
        if changes:
            print(f"\n{said}\n\n{report.side_by_side(changes, names=('A', 'B'))}")


def _kept_of(source: Path, labels: LabelFiles) -> list[KeptRanking]:
    """Return what each question found, in a result file or at the chosen step of a run.

    Raises:
        ArtError: the run has kept no rankings.
    """
    from art.report.history import read_history

    if not source.is_dir():
        judged = labels.judge(source)
        print(f"{source}: {len(judged.kept)} questions of a result file")
        for note in judged.notes:
            print(f"note: {source}: {note}")
        return judged.kept
    history = read_history(source, str(source))
    if history.after is None:
        raise ArtError("the run has kept no rankings", where=source, hint="compare result files")
    print(f"{source}: {len(history.after)} questions at step {history.best_step}, its best")
    return history.after
