"""BM25 beside a retriever, for search and evaluate: options and what they ask for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from art.data.passages import PassageStore
    from art.evaluation.evaluate import Evaluation
    from art.retriever.bm25 import BM25
    from art.retriever.fusion import Found, Fusion
    from art.retriever.index import Index

    # Texts of Q questions, their vectors [Q, D] and K → scores and rows, [Q, K] each
    Find = Callable[[list[str], NDArray[np.float32], int], Found]

Fused = Annotated[
    bool, typer.Option("--fused", help="Fuse the results with BM25's, by reciprocal ranks.")
]
FusedWeight = Annotated[
    float | None,
    typer.Option(
        "--fused-weight",
        help="Fuse by scores in place of ranks: the retriever's weight, above 0 and below 1.",
    ),
]

# What tells a person most, of labels and of judgements, in this order
_TESTED = ("top_5", "ndcg@10")


def words_of(store: PassageStore) -> BM25:
    """Return what searches the words of the passages, which are indexed the first time."""
    from art.retriever.bm25 import BM25

    return BM25.build(store)


def finder(index: Index, store: PassageStore, fusion: Fusion | None) -> Find:
    """Return what finds passages: the index, or the index and BM25 fused.

    Args:
        index: of the passages.
        store: the passages.
        fusion: how both are fused; None for the index alone.
    """
    from art.retriever.fusion import FusedSearch

    if fusion is None:
        return lambda _, vectors, top_k: index.search(vectors, top_k)
    return FusedSearch(index, words_of(store), fusion).search


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
