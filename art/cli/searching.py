"""`art embed`, `search`, `evaluate` and `mine`: a retriever, its index, and questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from art.cli import screen
from art.cli.common import (
    BM25Language,
    OnCpu,
    PassagesFile,
    QuestionsFile,
    SkipBadRows,
    notify_skipped,
    processes,
    read_rows,
    say_what_is_cut,
    takes_retriever_settings,
)
from art.cli.fusing import (
    Fused,
    FusedWeight,
    check_language_of,
    finder,
    shown_and_kept,
    words_of,
)
from art.cli.vectors import QuestionVectors, RetrieverChoice, VectorFiles, VectorIds, source_of
from art.errors import ArtError, notify, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.mining import Search
    from art.retriever.encoders import Retriever
    from art.retriever.fusion import Fusion
    from art.retriever.index import Index

VectorType = Literal["float32", "float16"]
RetrieverFolder = Annotated[
    str, typer.Option("--retriever", help="A retriever's folder, or any model to start from.")
]
AnyRetriever = Annotated[
    str | None,
    typer.Option("--retriever", help="A retriever's folder, or any model to start from."),
]
IndexOrVectors = Annotated[
    Path,
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
def embed(
    retriever: RetrieverFolder,
    passages: PassagesFile,
    output: Annotated[Path, typer.Option(help="Folder of the index; a killed job goes on there.")],
    dtype: Annotated[VectorType, typer.Option(help="Precision of the stored vectors.")] = "float32",
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Padded tokens embedded at once; the device's own.")
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Embed a corpus with a retriever's passage tower into a searchable index."""
    from art import distributed
    from art.data.cutting import cut_passages
    from art.data.passages import PassageStore
    from art.data.tokens import TokenStore
    from art.retriever.embedding import embed_passages
    from art.retriever.loading import create_retriever

    with processes(cpu) as device:
        with distributed.fail_together():
            model = create_retriever(retriever, **settings).to(device)
            store = PassageStore.open_or_build(passages, skip_bad_rows=skip_bad_rows)
            notify_skipped(store.bad_rows)
            tokens = TokenStore.open_or_build(store, model.passage_template)
            _say_what_is_used(model)
            if distributed.is_main():
                for note in cut_passages(model.passage_template, tokens, store):
                    notify(note)
        index = embed_passages(
            model, tokens, output, store=store, dtype=dtype, batch_tokens=batch_tokens
        )
        if distributed.is_main():
            print(f"{output}: {len(store):,} passages, {index.embedding_size} dimensions, {dtype}")


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
    import numpy as np

    from art import distributed
    from art.data.formats import read_questions, run_format
    from art.evaluation.runs import check_run_ids, write_run
    from art.retriever.fusion import Fusion

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
        asking, opened, store = _open_any(
            source, len(asked), index, passages, skip_bad_rows, device
        )
        with distributed.fail_together():
            if distributed.is_main():
                check_run_ids(output, (), filter(None, [store.spaced_id()]))
                texts = [question.text for question in asked]
                find = finder(opened, store, fusion, language=language, questions=texts)
                say_what_is_cut(asking, texts)
                vectors = (
                    asking if isinstance(asking, np.ndarray) else asking.embed_questions(texts)
                )
                scores, rows = find(texts, vectors, top_k or 100)
                write_run(output, asked, rows, scores, store)
                print(f"{output}: {len(asked):,} questions, {rows.shape[1]} passages each")


@takes_retriever_settings
def evaluate(
    index: IndexOrVectors,
    questions: QuestionsFile,
    retriever: AnyRetriever = None,
    qrels: Annotated[
        Path | None, typer.Option(help="Relevance judgements: BEIR .tsv or TREC.")
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write the metrics here as JSON.")] = None,
    regex_answers: Annotated[
        bool, typer.Option("--regex-answers", help="Answers are regular expressions (TREC).")
    ] = False,
    drop_self_hits: Annotated[
        bool, typer.Option("--drop-self-hits", help="Ignore a hit with the question's id (BEIR).")
    ] = False,
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
    """Search an index with labelled questions and print how good the results are."""
    from art import distributed, report
    from art.data.formats import read_qrels, read_questions
    from art.evaluation.comparison import compare_fused
    from art.evaluation.evaluate import evaluate as run_evaluation
    from art.files import write_json
    from art.retriever.fusion import Fusion

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
        asking, opened, store = _open_any(
            source, len(asked), index, passages, skip_bad_rows, device
        )
        cut = say_what_is_cut(asking, [question.text for question in asked])
        compared: dict[str, Any] = {}  # what a file of metrics says besides
        if fusion is None:
            result = run_evaluation(asking, opened, store, asked, **judged)
            shown = report.evaluation(result.table(), result.notes)
        else:
            with distributed.fail_together():
                texts = [question.text for question in asked]
                bm25 = words_of(store, language=language, questions=texts)
            results = compare_fused(asking, opened, bm25, store, asked, fusion=fusion, **judged)
            shown, compared = shown_and_kept(results, fusion)
            result = results["fused"]
        with distributed.fail_together():
            if distributed.is_main():
                if output:
                    provenance = {
                        "questions": str(questions),
                        "retriever": retriever or str(question_vectors),
                        "retriever_fingerprint": opened.retriever_fingerprint,
                        "passages_fingerprint": store.fingerprint,
                        "made_by": opened.manifest.provenance,
                    }
                    metrics = {"metrics": result.metrics, "table": result.table()}
                    notes = {"notes": [*cut, *result.notes]}
                    write_json(output, {**metrics, **compared, **notes, **provenance})
                print(shown)


@takes_retriever_settings
def mine(
    questions: QuestionsFile,
    output: Annotated[
        Path, typer.Option(help="DPR JSON lines, which `art train` reads; written atomically.")
    ],
    retriever: Annotated[
        str | None, typer.Option(help="A retriever's folder, with --index; or give --bm25.")
    ] = None,
    index: Annotated[Path | None, typer.Option(help="The index that `art embed` made.")] = None,
    bm25: Annotated[
        bool, typer.Option("--bm25", help="Search --passages by words, without a retriever.")
    ] = False,
    passages: Annotated[
        Path | None,
        typer.Option(help="The corpus: for --bm25, or where the index no longer finds it."),
    ] = None,
    language: BM25Language = None,
    num_negatives: Annotated[int, typer.Option(min=1, help="Of a question, at most.")] = 30,
    skip_top: Annotated[int, typer.Option(min=0, help="Best ranks left out.")] = 0,
    depth: Annotated[int, typer.Option(min=1, help="The last rank that is looked at.")] = 100,
    margin: Annotated[
        float | None,
        typer.Option(help="Leave out what scores higher than the positive less this; off."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(min=0, help="Draw from the ranks; without, the best-ranked are taken."),
    ] = None,
    skip_bad_rows: SkipBadRows = False,
    cpu: OnCpu = False,
    *,
    settings: dict[str, Any],
) -> None:
    """Find hard negatives: high in the ranking, not named as a positive, without an answer."""
    from art import distributed, mining
    from art.data.formats import read_questions

    choice = mining.NegativeChoice(num_negatives, skip_top, depth, margin, seed)
    mining.check_output(output)
    asked = read_rows(read_questions, questions, skip_bad_rows=skip_bad_rows)
    with processes(cpu) as device:
        search_in, store = _searched(
            retriever, settings, index, bm25, passages, language, asked, skip_bad_rows, device
        )
        with distributed.fail_together():
            if distributed.is_main():
                mined = mining.mine(search_in, store, asked, output, choice=choice)
                print(
                    f"{output}: {mined.num_questions:,} questions, "
                    f"{mined.num_negatives:,} hard negatives"
                )
                for note in mined.notes():
                    print(f"note: {note}")


def _searched(
    retriever: str | None,
    settings: dict[str, Any],
    index: Path | None,
    bm25: bool,
    passages: Path | None,
    language: str | None,
    asked: Sequence[Question],
    skip_bad_rows: bool,
    device: torch.device,
) -> tuple[Search, PassageStore]:
    """Open what `art mine` searches: an index with its retriever, or the words of a corpus."""
    from art import distributed
    from art.data.passages import PassageStore
    from art.mining import bm25_search, retriever_search
    from art.retriever.bm25 import BM25

    if language is not None and not bm25:
        raise ArtError("--language is of BM25's words", hint="give it with --bm25")
    if retriever is not None and index is not None and not bm25:
        model, opened, store = _open(
            RetrieverChoice(retriever, settings), index, passages, skip_bad_rows, device
        )
        say_what_is_cut(model, [question.text for question in asked])
        return retriever_search(model, opened), store
    if not (bm25 and passages) or retriever is not None or index is not None or settings:
        raise ArtError(
            "nothing to search, or two things",
            hint="give --retriever with its --index, or --bm25 with --passages",
        )
    with distributed.fail_together():
        store = PassageStore.open_or_build(passages, skip_bad_rows=skip_bad_rows)
        notify_skipped(store.bad_rows)
        words = BM25.build(store, language=language)
        words.check_use([question.text for question in asked])
        return bm25_search(words), store


def _open_any(
    source: RetrieverChoice | VectorFiles,
    num_questions: int,
    index: Path,
    passages: Path | None,
    skip_bad_rows: bool,
    device: torch.device,
) -> tuple[Retriever | NDArray[np.float32], Index, PassageStore]:
    """Open an index with what embeds the questions, or with vectors of theirs made elsewhere."""
    from art import distributed

    if not isinstance(source, VectorFiles):
        return _open(source, index, passages, skip_bad_rows, device)
    with distributed.fail_together():
        return source.open(num_questions, index, passages, skip_bad_rows)


def _open(
    source: RetrieverChoice,
    index: Path,
    passages: Path | None,
    skip_bad_rows: bool,
    device: torch.device,
) -> tuple[Retriever, Index, PassageStore]:
    """Open what belongs together: the retriever, the index it built, and the index's passages."""
    from art import distributed
    from art.retriever.index import Index
    from art.retriever.loading import create_retriever

    with distributed.fail_together():
        model = create_retriever(source.model, **source.settings).to(device)
        opened = Index.open(index, retriever_fingerprint=model.fingerprint())
        store = opened.open_store(passages, skip_bad_rows=skip_bad_rows)
        notify_skipped(store.bad_rows)
    _say_what_is_used(model)
    return model, opened, store


def _say_what_is_used(model: Retriever) -> None:
    from art import distributed

    if distributed.is_main():
        say(f"retriever: {model.settings.in_words()}")


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
        model, opened, store = _open(source, index, passages, skip_bad_rows, device)
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
