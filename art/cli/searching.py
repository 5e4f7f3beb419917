"""`art search` and `evaluate`: a retriever, its index, and questions."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.cli import screen
from art.cli.benchmarks import (
    BenchmarkName,
    DataFolder,
    NamedBenchmark,
    ResultsFolder,
    metrics_wanted,
    show_mean,
)
from art.cli.common import (
    BM25Language,
    OnCpu,
    SkipBadRows,
    processes,
    read_rows,
    say_what_is_cut,
    takes_retriever_settings,
)
from art.cli.comparing import (
    DropSelfHits,
    JudgementsFile,
    LabelFiles,
    RegexAnswers,
    evaluate_file,
)
from art.cli.fusing import (
    Fused,
    FusedWeight,
    check_language_of,
    finder,
    found_together,
    shown_and_kept,
    words_of,
)
from art.cli.opening import open_any, open_with_retriever
from art.cli.vectors import QuestionVectors, RetrieverChoice, VectorFiles, VectorIds, source_of
from art.errors import ArtError

if TYPE_CHECKING:
    from art.retriever.bm25 import BM25
    from art.retriever.fusion import Fusion

AnyRetriever = Annotated[
    str | None,
    typer.Option("--retriever", help="A retriever's folder, or any model to start from."),
]
AnyQuestions = Annotated[
    Path | None,
    typer.Option("--questions", help="Questions: .txt, .csv, .tsv, .jsonl, .json, a dataset."),
]
IndexOrVectors = Annotated[
    Path,
    typer.Option(
        "--index",
        help="An index that `art embed` made; or a .npy or FAISS matrix, with --question-vectors.",
    ),
]
AnyIndex = Annotated[
    Path | None,
    typer.Option(
        "--index",
        help="An index that `art embed` made; or a .npy or FAISS matrix, with --question-vectors.",
    ),
]
PassagesOverride = Annotated[
    Path | None,
    typer.Option("--passages", help="The corpus, where it is not where the index found it."),
]


@takes_retriever_settings
def search(
    index: IndexOrVectors,
    retriever: AnyRetriever = None,
    questions: Annotated[
        Path | None,
        typer.Option(help="Questions as for `evaluate`; without, they are asked for, one a line."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Result file: .trec for a TREC run, .json for DPR's format."),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", min=1, help="Passages per question: 100; 5 when asked for."),
    ] = None,
    fused: Fused = False,
    fused_weight: FusedWeight = None,
    language: BM25Language = None,
    passages: PassagesOverride = None,
    question_vectors: QuestionVectors = None,
    ids: VectorIds = None,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Search an index: with a file of questions into a result file, or at a prompt."""
    from art import distributed
    from art.data.formats import read_questions, run_format
    from art.evaluation.runs import check_run_ids, write_run
    from art.retriever.fusion import Fusion
    from art.retriever.searcher import IndexSearcher

    source = source_of(retriever, settings, question_vectors, ids)
    fusion = Fusion.chosen(fused, fused_weight)
    check_language_of(fusion, language)
    if questions is None:
        if output is not None:
            raise ArtError("--output is for the results of a file", hint="name it with --questions")
        if isinstance(source, VectorFiles):
            raise ArtError("vectors of which questions?", hint="name the file with --questions")
        _answer_questions(
            source, index, passages, skip_bad_rows, top_k or 5, fusion, language, cpu=cpu
        )
        return
    if output is None:
        raise ArtError("--output is missing", hint="name a result file, such as run.trec")
    run_format(output)  # a search takes minutes; a wrong ending should not wait for it
    asked = read_rows(read_questions, questions, skip_bad_rows=skip_bad_rows)
    check_run_ids(output, (question.question_id for question in asked), ())
    with processes(cpu) as device:
        asking, opened, store = open_any(source, len(asked), index, passages, skip_bad_rows, device)
        texts = [question.text for question in asked]

        def open_words() -> BM25 | None:
            check_run_ids(output, (), filter(None, [store.spaced_id()]))
            return words_of(store, language=language, questions=texts) if fusion else None

        words = distributed.first_on_each_machine(open_words)
        say_what_is_cut(asking, texts)
        searcher = IndexSearcher(opened, device)
        scores, rows = found_together(searcher, words, fusion, asking, texts, top_k or 100)
        with distributed.fail_together():
            if distributed.is_main():
                write_run(output, asked, rows, scores, store)
                print(f"{output}: {len(asked):,} questions, {rows.shape[1]} passages each")


@takes_retriever_settings
def evaluate(
    index: AnyIndex = None,
    questions: AnyQuestions = None,
    retriever: AnyRetriever = None,
    benchmark: BenchmarkName = None,
    data: DataFolder = Path("data"),
    of_sets: ResultsFolder = None,
    run: Annotated[
        Path | None,
        typer.Option(help="Judge this result file of any program; no model and no index."),
    ] = None,
    qrels: JudgementsFile = None,
    output: Annotated[Path | None, typer.Option(help="Write the metrics here as JSON.")] = None,
    regex_answers: RegexAnswers = False,
    drop_self_hits: DropSelfHits = False,
    fused: Fused = False,
    fused_weight: FusedWeight = None,
    language: BM25Language = None,
    passages: PassagesOverride = None,
    question_vectors: QuestionVectors = None,
    ids: VectorIds = None,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Search an index with labelled questions, or read a result file; print how good that is."""
    if of_sets is not None:
        show_mean(benchmark, of_sets, output)
        return
    named = None
    if benchmark is not None:
        named = NamedBenchmark(benchmark, data, questions, qrels)
        questions, qrels = named.questions, named.qrels
        regex_answers |= named.benchmark.regex_answers
        drop_self_hits |= named.benchmark.drop_self_hits
    if run is not None:
        if index or retriever or question_vectors or settings or fused or fused_weight or language:
            raise ArtError("a result file is judged as it is", hint="--run needs no retriever")
        labels = LabelFiles(
            questions,
            qrels,
            passages,
            regex_answers=regex_answers,
            drop_self_hits=drop_self_hits,
            skip_bad_rows=skip_bad_rows,
        )
        labelled = str(questions) if questions else None
        evaluate_file(run, labels, output, named=named, questions=labelled)
        return
    if index is None or questions is None:
        missing = "--index" if index is None else "--questions"
        hint = "or judge a result file: --run; or name a --benchmark"
        raise ArtError(f"{missing} is missing", hint=hint)
    from art import distributed, report
    from art.data.formats import read_qrels, read_questions
    from art.evaluation.comparison import compare_fused
    from art.evaluation.evaluate import evaluate as run_evaluation
    from art.files import write_json
    from art.retriever.fusion import Fusion
    from art.retriever.searcher import IndexSearcher

    source = source_of(retriever, settings, question_vectors, ids)
    fusion = Fusion.chosen(fused, fused_weight)
    check_language_of(fusion, language)
    asked = read_rows(read_questions, questions, skip_bad_rows=skip_bad_rows)
    judgements = read_rows(read_qrels, qrels, skip_bad_rows=skip_bad_rows) if qrels else None
    judged: dict[str, Any] = {
        "qrels": judgements,
        "regex_answers": regex_answers,
        "drop_self_hits": drop_self_hits,
    }
    with processes(cpu) as device:
        asking, opened, store = open_any(source, len(asked), index, passages, skip_bad_rows, device)
        cut = say_what_is_cut(asking, [question.text for question in asked])
        compared: dict[str, Any] = {}  # what a file of metrics says besides
        searcher = IndexSearcher(opened, device)
        if fusion is None:
            result = run_evaluation(
                asking, searcher, store, asked, judged=metrics_wanted(named), **judged
            )
            shown = report.evaluation(result.table(), result.notes)
        else:
            texts = [question.text for question in asked]
            bm25 = distributed.first_on_each_machine(
                partial(words_of, store, language=language, questions=texts)
            )
            results = compare_fused(asking, searcher, bm25, store, asked, fusion=fusion, **judged)
            shown, compared = shown_and_kept(results, fusion)
            result = results["fused"]
        with distributed.fail_together():
            if distributed.is_main():
                if named is not None:
                    against = named.against(result.per_question, len(store))
                    compared |= against.document()
                    shown += f"\n\n{report.against_published(against)}"
                if output:
                    provenance = {
                        "questions": str(questions),
                        "retriever": retriever or str(question_vectors),
                        "retriever_fingerprint": opened.retriever_fingerprint,
                        "passages_fingerprint": store.fingerprint,
                        "made_by": opened.manifest.provenance,
                        "search": opened.manifest.search_in_words(),
                    }
                    metrics = {"metrics": result.metrics, "table": result.table()}
                    notes = {"notes": [*cut, *result.notes]}
                    write_json(output, {**metrics, **compared, **notes, **provenance})
                print(shown)


def _answer_questions(
    source: RetrieverChoice,
    index: Path,
    passages: Path | None,
    skip_bad_rows: bool,
    top_k: int,
    fusion: Fusion | None,
    language: str | None,
    *,
    cpu: bool,
) -> None:
    """Answer questions from the terminal, or from a pipe, as they come."""
    from art import distributed, repl

    with processes(cpu) as device:
        if distributed.world_size() > 1:
            raise ArtError("one process can ask for questions", hint="start `art search` alone")
        model, opened, store = open_with_retriever(source, index, passages, skip_bad_rows, device)
        find = finder(opened, store, fusion, language=language)
        typed = repl.is_interactive()
        if typed:
            print(f"{len(store):,} passages; an empty line ends")
        for question in repl.typed_questions() if typed else repl.piped_questions():
            say_what_is_cut(model, [question])
            scores, rows = find([question], model.embed_questions([question]), top_k)
            hits = zip(scores[0].tolist(), (store[row] for row in rows[0].tolist()), strict=True)
            asked = "" if typed else f"{question}\n"  # in a terminal it is there already
            print(f"{asked}{repl.ranking(hits)}\n", flush=True)
            if not screen.is_read():
                return
