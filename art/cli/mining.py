"""`art mine`: hard negatives out of an index, or by words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.cli.common import (
    BM25Language,
    OnCpu,
    QuestionsFile,
    SkipBadRows,
    notify_skipped,
    processes,
    read_rows,
    say_what_is_cut,
    takes_retriever_settings,
)
from art.cli.opening import open_with_retriever
from art.cli.vectors import RetrieverChoice
from art.errors import ArtError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from art.data.formats import Question
    from art.data.passages import PassageStore
    from art.mining import Search


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
        mined = mining.mine(search_in, store, asked, output, choice=choice)
        if distributed.is_main():
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
    from art.retriever.searcher import IndexSearcher

    if language is not None and not bm25:
        raise ArtError("--language is of BM25's words", hint="give it with --bm25")
    if retriever is not None and index is not None and not bm25:
        model, opened, store = open_with_retriever(
            RetrieverChoice(retriever, settings), index, passages, skip_bad_rows, device
        )
        say_what_is_cut(model, [question.text for question in asked])
        return retriever_search(model, IndexSearcher(opened, device)), store
    if not (bm25 and passages) or retriever is not None or index is not None or settings:
        raise ArtError(
            "nothing to search, or two things",
            hint="give --retriever with its --index, or --bm25 with --passages",
        )
    corpus = passages

    def open_words() -> tuple[Search, PassageStore]:
        store = PassageStore.open_or_build(corpus, skip_bad_rows=skip_bad_rows)
        notify_skipped(store.bad_rows)
        words = BM25.build(store, language=language)
        words.check_use([question.text for question in asked])
        return bm25_search(words), store

    return distributed.first_on_each_machine(open_words)
