"""`art read`: questions answered from the passages that a retriever finds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.cli.common import (
    OnCpu,
    QuestionsFile,
    RetrieverFolder,
    SkipBadRows,
    processes,
    read_rows,
    say_what_is_cut,
    takes_retriever_settings,
)
from art.cli.comparing import RegexAnswers
from art.cli.opening import open_with_retriever
from art.cli.searching import PassagesOverride
from art.cli.vectors import RetrieverChoice
from art.errors import ArtError, notify

if TYPE_CHECKING:
    from art.answering.reading import Answers, ReadingResult
    from art.data.formats import Question
    from art.data.passages import PassageStore


@takes_retriever_settings
def read(
    retriever: RetrieverFolder,
    index: Annotated[Path, typer.Option(help="An index that `art embed` made.")],
    reader: Annotated[
        str,
        typer.Option(help="A DPR reader: a folder, a run that trained it, or a name of the hub."),
    ],
    questions: QuestionsFile,
    output: Annotated[
        Path | None, typer.Option(help="Write answers and metrics here as JSON.")
    ] = None,
    passages: PassagesOverride = None,
    regex_answers: RegexAnswers = False,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Answer questions from the passages found for them; print exact match and F1."""
    from art import distributed, report
    from art.answering.job import answer_all
    from art.answering.reader import load_reader
    from art.answering.reading import check_patterns, depths_of, judge
    from art.data.formats import read_questions
    from art.evaluation.sharing import my_vectors
    from art.files import cache_folder
    from art.retriever.searcher import IndexSearcher
    from art.training.run_folder import finished_reader

    asked = read_rows(read_questions, questions, skip_bad_rows=skip_bad_rows)
    labelled = any(one.answers for one in asked)
    if not labelled and output is None:
        raise ArtError(
            "no question has answers to compare with",
            where=questions,
            hint="give some that have, or --output for the answers that are read",
        )
    if regex_answers:
        check_patterns(asked)
    source, texts = RetrieverChoice(retriever, settings), [one.text for one in asked]
    with processes(cpu) as device:
        model, opened, store = open_with_retriever(source, index, passages, skip_bad_rows, device)
        say_what_is_cut(model, texts)
        with distributed.fail_together():
            reads = load_reader(str(finished_reader(Path(reader)) or reader)).to(device)
        depths = depths_of(len(store))
        searcher = IndexSearcher(opened, device)
        _, rows = searcher.search_for_all(lambda: my_vectors(model, texts), depths[-1])
        answers, num_cut = answer_all(reads, texts, rows, store, cache_folder(), depths=depths)
        with distributed.fail_together():
            if distributed.is_main():
                if num_cut:
                    notify(
                        f"{num_cut:,} of {len(texts) * rows.shape[1]:,} passages have more tokens "
                        f"with their question than the {reads.template.max_length} that the reader "
                        "reads: the ends of their texts are cut"
                    )
                result = judge(asked, answers, regex_answers=regex_answers) if labelled else None
                if output:
                    provenance = {
                        "questions": str(questions),
                        "retriever": retriever,
                        "retriever_fingerprint": opened.retriever_fingerprint,
                        "reader": reader,
                        "reader_fingerprint": reads.fingerprint(),
                        "passages_fingerprint": store.fingerprint,
                        "made_by": opened.manifest.provenance,
                        "search": opened.manifest.search_in_words(),
                    }
                    _write(output, asked, answers, result, store, provenance)
                if result is not None:
                    print(report.evaluation(result.table(), result.notes))
                else:
                    print(f"{output}: {len(asked):,} questions answered")


def _write(
    output: Path,
    questions: list[Question],
    answers: list[Answers],
    result: ReadingResult | None,
    store: PassageStore,
    provenance: dict[str, Any],
) -> None:
    from art.files import write_json

    judged = (
        {}
        if result is None
        else {"metrics": result.metrics, "table": result.table(), "notes": result.notes}
    )
    written = [
        {
            "id": question.question_id,
            "question": question.text,
            "answers": list(question.answers),
            "read": {str(depth): one and one.shown(store) for depth, one in of.items()},
        }
        for question, of in zip(questions, answers, strict=True)
    ]
    write_json(output, {**judged, **provenance, "answers": written})
