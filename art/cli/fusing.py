"""BM25 beside a retriever, for search and evaluate: options and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.errors import ArtError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from art.data.passages import PassageStore
    from art.evaluation.evaluate import Evaluation
    from art.retriever.bm25 import BM25
    from art.retriever.encoders import Retriever
    from art.retriever.fusion import Found, Fusion
    from art.retriever.index import Index
    from art.retriever.searcher import IndexSearcher

    # Texts of Q questions, their vectors [Q, D] and K → scores and rows, [Q, K] each
    Find = Callable[[list[str], NDArray[np.float32], int], Found]

Fused = Annotated[
    bool, typer.Option("--fused", help="Fuse the results with BM25's, by their scores.")
]
FusedWeight = Annotated[
    str | None,
    typer.Option(
        "--fused-weight",
        help="The retriever's weight, above 0 and below 1; or `ranks`, for reciprocal ranks. "
        "Without, each question's own: the more of its words BM25 found, the less.",
    ),
]

# Fixed, so that a question's vector does not depend on the number of processes.

# What tells a person most, of labels and of judgements, in this order
_TESTED = ("top_5", "ndcg@10")


def check_language_of(fusion: Fusion | None, language: str | None) -> None:
    """Raise an ArtError where a language is given that nothing asks for, or there is none such."""
    if language is None:
        return
    if fusion is None:
        raise ArtError("--language is of BM25's words", hint="give it with --fused")
    from art.retriever.languages import check_language

    check_language(language)


def words_of(
    store: PassageStore, *, language: str | None = None, questions: Sequence[str] = ()
) -> BM25:
    """Return what searches the words of the passages, which are indexed the first time.

    Args:
        store: the passages.
        language: see `BM25.build`.
        questions: of which it is said for how many nothing is found.
    """
    from art.retriever.bm25 import BM25

    bm25 = BM25.build(store, language=language)
    bm25.check_use(questions, alone=False)
    return bm25


def finder(
    index: Index,
    store: PassageStore,
    fusion: Fusion | None,
    *,
    language: str | None = None,
    questions: Sequence[str] = (),
) -> Find:
    """Return what finds passages: the index, or the index and BM25 fused.

    Args:
        index: of the passages.
        store: the passages.
        fusion: how both are fused; None for the index alone.
        language: see `words_of`.
        questions: see `words_of`.
    """
    from art.retriever.fusion import FusedSearch

    if fusion is None:
        return lambda _, vectors, top_k: index.search(vectors, top_k)
    words = words_of(store, language=language, questions=questions)
    return FusedSearch(index, words, fusion).search


def found_together(
    searcher: IndexSearcher,
    words: BM25 | None,
    fusion: Fusion | None,
    asking: Retriever | NDArray[np.float32],
    texts: list[str],
    top_k: int,
) -> Found:
    """Find passages for questions; every process must call it, and gets what all found.

    Args:
        searcher: of the index.
        words: BM25 of the same passages; None without a fusion.
        fusion: how both are fused; None for the index alone.
        asking: embeds the questions, or their vectors, [Q, D].
        texts: Q questions.
        top_k: K.
    """
    import numpy as np

    from art import distributed
    from art.evaluation.sharing import my_share, my_vectors
    from art.retriever.fusion import DEPTH

    depth = top_k if fusion is None else max(top_k, DEPTH)
    found = searcher.search_for_all(lambda: my_vectors(asking, texts), depth)
    if fusion is None or words is None:
        return found
    own = texts[my_share(len(texts))]
    parts = distributed.together(lambda: (*words.search(own, depth), words.most(own)))
    scores, rows, most = (np.concatenate(part) for part in zip(*parts, strict=True))
    return fusion(found, (scores, rows), min(top_k, len(searcher.index)), most=most)


def shown_and_kept(results: Mapping[str, Evaluation], fusion: Fusion) -> tuple[str, dict[str, Any]]:
    """Return the results of `compare_fused` for a person, and for the file of the metrics.

    Args:
        results: from `compare_fused`.
        fusion: how they were fused.
    """
    from art import report
    from art.evaluation.comparison import paired_test

    fused = results["fused"]
    tests = {
        (name, other): paired_test(fused, results[other], name)
        for name in _TESTED
        if name in fused.per_question
        for other in ("retriever", "BM25")
    }
    kept = {
        "fused_by": fusion.in_words(),
        "fused_weight": fusion.weight,
        "tables": {name: result.table() for name, result in results.items()},
        "fused_against": [
            {
                "other": other,
                "metric": name,
                "won": test.only_first,
                "lost": test.only_second,
                "p_value": test.p_value,
            }
            for (name, other), test in tests.items()
        ],
    }
    return report.fused(results, tests, fusion.in_words()), kept
