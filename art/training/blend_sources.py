"""What soft labels are blended of besides the teacher's scores, as a run opens it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch

from art.files import fingerprint
from art.retriever.bm25 import BM25
from art.retriever.encoders import Retriever
from art.retriever.searcher import IndexSearcher
from art.teacher.base import Teacher
from art.teacher.cached import CachedTeacher
from art.training.corpus import RunCorpus
from art.training.recovery import open_start_index
from art.training.run_folder import RunFolder
from art.training.soft_labels import RerankerScores, Source, StartScores, WordScores
from art.weights import fingerprint_tensors


@dataclass(frozen=True)
class BlendModels:
    """The models of a blend besides the teacher; None where it is not made of them.

    Attributes:
        start: the retriever before training.
        reranker: a cross-encoder.
    """

    start: Retriever | None = None
    reranker: Teacher | None = None

    def fingerprints(self) -> dict[str, str]:
        """Return a fingerprint of each, which must not change under the run, by its name."""
        found = {}
        if self.start is not None:
            questions = fingerprint_tensors(self.start.question_tower.named_parameters())
            found["start"] = fingerprint(self.start.fingerprint(), questions)
        if self.reranker is not None:
            found["reranker"] = self.reranker.fingerprint
        return found


def open_sources(
    run: RunFolder,
    models: BlendModels,
    *,
    corpus: RunCorpus,
    bm25: BM25 | None,
    reranker: CachedTeacher | None,
) -> dict[str, Source]:
    """Return what gives the scores of a blend besides the teacher's, by name.

    Args:
        run: its folder, where the start's index is.
        models: of the blend.
        corpus: that the run reads.
        bm25: over the corpus; None where it is none of the sources.
        reranker: that of `models`, with the scores it already gave.
    """
    sources: dict[str, Source] = {}
    if models.start is not None:
        opened = partial(_start_searcher, run, corpus, models.start)
        sources["start"] = StartScores(models.start, opened)
    if bm25 is not None:
        sources["bm25"] = WordScores(bm25)
    if reranker is not None:
        sources["reranker"] = RerankerScores(reranker)
    return sources


def _start_searcher(run: RunFolder, corpus: RunCorpus, start: Retriever) -> IndexSearcher:
    # On the CPU: a few rows of it are read in a step, and a GPU's memory holds the run's own index.
    return IndexSearcher(open_start_index(run, corpus=corpus, start=start), torch.device("cpu"))
