"""An index of passages, the questions it is asked, and how well it answers them."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from art import distributed
from art.api.calls import DATA_FOLDER, briefly, join
from art.api.loading import load
from art.data.cutting import cut_passages, cut_questions
from art.data.formats import read_questions
from art.data.in_memory import Rows, questions_of, write_rows
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import notify, say
from art.evaluation.comparison import compare_fused
from art.evaluation.evaluate import evaluate
from art.retriever.bm25 import BM25
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.retriever.fusion import FusedSearch, Fusion
from art.retriever.index import Index
from art.retriever.searcher import IndexSearcher


class Hit(NamedTuple):
    """A passage that was found."""

    passage_id: str
    title: str
    text: str
    score: float


class Searcher:
    """A retriever, the index it made, and the passages: what questions are asked of.

    Args:
        retriever: its question tower embeds.
        index: of the passages under this retriever.
        store: the passages.
    """

    def __init__(self, retriever: Retriever, index: Index, store: PassageStore) -> None:
        self.retriever = retriever
        self.index = index
        self.store = store
        self._said_what_is_cut = False

    @cached_property
    def bm25(self) -> BM25:
        """The words of the passages, indexed the first time and kept in the user's cache."""
        return BM25.build(self.store)

    @briefly
    def search(
        self,
        questions: str | Rows,
        top_k: int = 5,
        *,
        fused: bool = False,
        fused_weight: float | Literal["ranks"] | None = None,
    ) -> list[list[Hit]]:
        """Return for each question the passages with the largest inner products, best first.

        Args:
            questions: one text, or several as for `train`.
            top_k: how many passages each.
            fused: fuse what the retriever finds with what BM25 finds, by their scores.
            fused_weight: the retriever's weight, above 0 and below 1; or `ranks`, for reciprocal
                ranks. None: each question's own, the more of its words BM25 found, the less.

        Raises:
            ArtError: a question is malformed, `top_k` below 1, or a weight makes no sense.
        """
        fusion = Fusion.chosen(fused, fused_weight)
        asked = questions_of([questions] if isinstance(questions, str) else questions, "questions")
        texts = [question.text for question in asked]
        self._say_what_is_cut(texts)
        vectors = self.retriever.embed_questions(texts)
        if fusion is None:
            scores, rows = self.index.search(vectors, top_k)
        else:
            scores, rows = FusedSearch(self.index, self.bm25, fusion).search(texts, vectors, top_k)
        return [
            [self._hit(row, score) for row, score in zip(*found, strict=True)]
            for found in zip(rows.tolist(), scores.tolist(), strict=True)
        ]

    def _say_what_is_cut(self, texts: list[str]) -> None:
        """Say how many questions are cut, the first time that some are."""
        if self._said_what_is_cut or not distributed.is_main():
            return
        for note in cut_questions(self.retriever.question_template, texts):
            notify(note)
            self._said_what_is_cut = True

    def _hit(self, row: int, score: float) -> Hit:
        passage = self.store[row]
        return Hit(passage.passage_id, passage.title, passage.text, score)

    @briefly
    def evaluate(
        self,
        questions: str | Path | Rows,
        *,
        fused: bool = False,
        fused_weight: float | Literal["ranks"] | None = None,
    ) -> dict[str, float]:
        """Return the share of questions that the first 1, 5, 20, 50 and 100 passages answer.

        Args:
            questions: labelled with `answers` or `positive_passage_ids`; a file, or in memory.
            fused: as for `search`.
            fused_weight: as for `search`.

        Returns:
            `top_1`, `top_5`, …; what a reader of them must know besides is told as a note.

        Raises:
            ArtError: a question is malformed, none has a label, or a weight makes no sense.
        """
        fusion = Fusion.chosen(fused, fused_weight)
        asked = (
            read_questions(questions)
            if isinstance(questions, str | Path)
            else questions_of(questions, "questions")
        )
        self._say_what_is_cut([question.text for question in asked])
        searcher = IndexSearcher(self.index, self.retriever.device)
        if fusion is None:
            found = evaluate(self.retriever, searcher, self.store, asked)
        else:
            bm25 = distributed.first_on_each_machine(lambda: self.bm25)
            found = compare_fused(self.retriever, searcher, bm25, self.store, asked, fusion=fusion)[
                "fused"
            ]
        for note in found.notes:
            notify(note)
        return found.metrics


@briefly
def index(
    retriever: str | Path | Retriever, passages: str | Path | Rows, folder: str | Path
) -> Searcher:
    """Embed a corpus and return what searches it; the same call goes on where one was interrupted.

    Args:
        retriever: what `load` takes or returned.
        passages: a file, or in memory, as for `train`.
        folder: of the index. Passages from memory are kept there too, so that it can be moved.

    Raises:
        ArtError: the passages are malformed, or the index cannot be written.
    """
    folder = Path(folder)
    model = retriever if isinstance(retriever, Retriever) else load(retriever)
    join(cpu=model.device.type == "cpu")
    source, cache = passages, None
    with distributed.fail_together():
        if not isinstance(passages, str | Path):
            cache = folder / DATA_FOLDER
            if distributed.is_main():
                source = write_rows("passages", passages, cache, argument="passages")
    source = distributed.broadcast_object(source)
    assert isinstance(source, str | Path)
    where = source

    def open_all() -> tuple[PassageStore, TokenStore]:
        store = PassageStore.open_or_build(where, cache=cache)
        tokens = TokenStore.open_or_build(store, model.passage_template)
        if distributed.is_main():
            for note in cut_passages(model.passage_template, tokens, store):
                notify(note)
        return store, tokens

    store, tokens = distributed.first_on_each_machine(open_all)
    return Searcher(model, embed_passages(model, tokens, folder, store=store), store)


@briefly
def load_index(
    folder: str | Path,
    retriever: str | Path | Retriever,
    *,
    passages: str | Path | None = None,
) -> Searcher:
    """Open what `index` or `art embed` made.

    Args:
        folder: of the index.
        retriever: that made it: what `load` takes or returned.
        passages: the corpus file, where it is no longer where the index found it.

    Raises:
        ArtError: there is no index, its passages are gone, or another retriever made it.
    """
    model = retriever if isinstance(retriever, Retriever) else load(retriever)
    opened = Index.open(folder, retriever_fingerprint=model.fingerprint())
    beside = Path(folder) / DATA_FOLDER / "stores" / opened.store_folder.name
    if opened.manifest.approximate is not None and distributed.is_main():
        say(f"index: {opened.manifest.search_in_words()}")
    moved = not opened.store_folder.exists() and beside.exists()
    return Searcher(model, opened, opened.open_store(beside if moved else passages))
