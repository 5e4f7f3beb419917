"""Vectors made elsewhere, in place of a retriever and its index: options and what they open."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from art.cli.common import notify_skipped
from art.errors import ArtError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from art.data.passages import PassageStore
    from art.retriever.index import Index

QuestionVectors = Annotated[
    Path | None,
    typer.Option(
        "--question-vectors",
        help="Their vectors, .npy, in place of --retriever; --index then takes any vectors.",
    ),
]
VectorIds = Annotated[
    Path | None,
    typer.Option("--ids", help="Passage id of each row of such an --index, one a line."),
]


@dataclass(frozen=True)
class RetrieverChoice:
    """What embeds the questions.

    Attributes:
        model: a retriever's folder, or any model to start from.
        settings: of the retriever, as far as options give them.
    """

    model: str
    settings: dict[str, Any]


@dataclass(frozen=True)
class VectorFiles:
    """Files in place of a retriever; the attributes are options of the command.

    Attributes:
        question_vectors: a `.npy` matrix, a row for each question.
        ids: of the rows of the index; None where it has its own, or is in the order of the corpus.
    """

    question_vectors: Path
    ids: Path | None

    def open(
        self, num_questions: int, index: Path, passages: Path | None, skip_bad_rows: bool
    ) -> tuple[NDArray[np.float32], Index, PassageStore]:
        """Open what belongs together: vectors of questions, an index of any making, its passages.

        Args:
            num_questions: Q.
            index: a folder of ours, or what `open_foreign_index` reads.
            passages: the corpus; needed for vectors made elsewhere.
            skip_bad_rows: of the corpus.

        Returns:
            The vectors of the questions [Q, D], the index and the passages.
        """
        from art.data.passages import PassageStore
        from art.retriever.foreign_vectors import open_foreign_index, read_question_vectors
        from art.retriever.index import Index
        from art.retriever.index_manifest import MANIFEST

        if (index / MANIFEST).is_file():
            if self.ids is not None:
                raise ArtError("--ids is for vectors made elsewhere", hint="leave it out")
            opened = Index.open(index)
            store = opened.open_store(passages, skip_bad_rows=skip_bad_rows)
        elif passages is None:
            raise ArtError(
                "vectors made elsewhere, without the passages they are of",
                where=index,
                hint="name the corpus with --passages",
            )
        else:
            store = PassageStore.open_or_build(passages, skip_bad_rows=skip_bad_rows)
            opened = open_foreign_index(index, store, ids=self.ids)
        notify_skipped(store.bad_rows)
        vectors = read_question_vectors(self.question_vectors, num_questions, opened)
        return vectors, opened, store


def source_of(
    retriever: str | None,
    settings: dict[str, Any],
    question_vectors: Path | None,
    ids: Path | None,
) -> RetrieverChoice | VectorFiles:
    """Return where vectors come from: a retriever, or files.

    Raises:
        ArtError: there are both or neither, ids beside a retriever, or settings of none.
    """
    if retriever is not None and question_vectors is None:
        if ids is not None:
            raise ArtError("--ids is for vectors made elsewhere", hint="leave it out")
        return RetrieverChoice(retriever, settings)
    if retriever is None and question_vectors is not None:
        if settings:
            options = ", ".join(f"--{name.replace('_', '-')}" for name in settings)
            raise ArtError(
                f"{options}: settings of a retriever, but vectors made elsewhere",
                hint="leave them out",
            )
        return VectorFiles(question_vectors, ids)
    raise ArtError(
        "questions need a retriever or vectors, and not both",
        hint="give --retriever, or --question-vectors for vectors made elsewhere",
    )
