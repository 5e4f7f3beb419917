"""What belongs together, opened: a retriever, or vectors of questions, an index, its passages."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from art.cli.common import notify_skipped
from art.cli.vectors import RetrieverChoice, VectorFiles
from art.errors import say

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from art.data.passages import PassageStore
    from art.retriever.encoders import Retriever
    from art.retriever.index import Index


def open_any(
    source: RetrieverChoice | VectorFiles,
    num_questions: int,
    index: Path,
    passages: Path | None,
    skip_bad_rows: bool,
    device: torch.device,
) -> tuple[Retriever | NDArray[np.float32], Index, PassageStore]:
    """Open an index with what embeds the questions, or with vectors of theirs made elsewhere.

    Args:
        source: the retriever, or files of vectors.
        num_questions: that are asked.
        index: its folder, or a matrix of vectors.
        passages: the corpus, where it is not where the index found it.
        skip_bad_rows: of the corpus, where it is read again.
        device: of the retriever.

    Raises:
        ArtError: they do not belong together, or cannot be read.
    """
    from art import distributed

    if not isinstance(source, VectorFiles):
        return open_with_retriever(source, index, passages, skip_bad_rows, device)
    opened = distributed.first_on_each_machine(
        partial(source.open, num_questions, index, passages, skip_bad_rows)
    )
    _say_what_finds(opened[1])
    return opened


def open_with_retriever(
    source: RetrieverChoice,
    index: Path,
    passages: Path | None,
    skip_bad_rows: bool,
    device: torch.device,
) -> tuple[Retriever, Index, PassageStore]:
    """Open what belongs together: the retriever, the index it built, and the index's passages.

    Args:
        source: the retriever.
        index: its folder.
        passages: the corpus, where it is not where the index found it.
        skip_bad_rows: of the corpus, where it is read again.
        device: of the retriever.

    Raises:
        ArtError: they do not belong together, or cannot be read.
    """
    from art import distributed
    from art.retriever.index import Index
    from art.retriever.loading import create_retriever

    def open_all() -> tuple[Retriever, Index, PassageStore]:
        model = create_retriever(source.model, **source.settings).to(device)
        opened = Index.open(index, retriever_fingerprint=model.fingerprint())
        store = opened.open_store(passages, skip_bad_rows=skip_bad_rows)
        notify_skipped(store.bad_rows)
        say_what_is_used(model)
        _say_what_finds(opened)
        return model, opened, store

    return distributed.first_on_each_machine(open_all)


def open_index(folder: Path) -> Index:
    """Open an index, and say how much of an exact search it finds where it is approximate.

    Raises:
        ArtError: there is none, or it is damaged.
    """
    from art.retriever.index import Index

    opened = Index.open(folder)
    _say_what_finds(opened)
    return opened


def _say_what_finds(index: Index) -> None:
    """Say how much of an exact search an approximate one finds."""
    from art import distributed

    if distributed.is_main() and index.manifest.approximate is not None:
        say(f"index: {index.manifest.search_in_words()}")


def say_what_is_used(model: Retriever) -> None:
    """Say once what the retriever does with a text."""
    from art import distributed

    if distributed.is_main():
        say(f"retriever: {model.settings.in_words()}")
