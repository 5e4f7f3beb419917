"""An approximate kind built over the shards of an index, and its recall measured.

The first process trains centroids and codes on a sample, or builds the graph; then each puts its
own shards into the lists. What an earlier job finished is kept, as shards are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import torch
from tqdm import tqdm

from art import distributed
from art.config import IndexKind
from art.errors import ArtError
from art.files import fingerprint
from art.retriever.index import Index
from art.retriever.index_manifest import ApproximateRecord, PartRecord
from art.retriever.nearest import load_faiss
from art.retriever.parts import (
    GRAPH,
    TRAINED,
    built_part,
    check_part,
    shard_part,
)
from art.retriever.searcher import IndexSearcher, own_shards

if TYPE_CHECKING:
    from art.retriever.approximate import Vectors
    from art.retriever.encoders import Retriever

_TRAINED_ON = 64  # vectors for each centroid
_SAMPLED = 256  # questions that recall is measured on
_SEED = 0


@dataclass(frozen=True)
class ApproximateSettings:
    """An approximate kind that is wanted.

    Attributes:
        kind: the kind.
        effort: lists that are searched, or passages that a graph's search keeps in mind; None for
            the kind's own.
        min_recall: what recall must be, from 0 to 1; None for any.
        top_k: K of the recall.
        questions: texts that it is measured on, some of them; passages where there are none.
    """

    kind: IndexKind
    effort: int | None = None
    min_recall: float | None = None
    top_k: int = 100
    questions: Sequence[str] = ()

    def check(self, num_passages: int, embedding_size: int) -> None:
        """Refuse what cannot be built, before anything is embedded.

        Args:
            num_passages: N.
            embedding_size: D.

        Raises:
            ArtError: it is too large for the passages or does not fit their vectors, or FAISS is
                missing.
        """
        load_faiss()
        for fault, hint in self.kind.faults(num_passages, embedding_size):
            raise ArtError(f"{self.kind.name}: {fault}", hint=hint)


def build(
    index: Index, wanted: ApproximateSettings, retriever: Retriever, *, progress: bool
) -> ApproximateRecord:
    """Build an approximate kind over an index and measure its recall; every process calls it.

    Args:
        index: whose shards are all there.
        wanted: what to build.
        retriever: embeds the questions that recall is measured on, and says where.
        progress: show a bar.

    Raises:
        ArtError: recall is below what it must be, or a file cannot be written.
    """
    kind = wanted.kind
    effort = wanted.effort or kind.default_effort
    if kind.num_lists:
        effort = min(effort, kind.num_lists)
    made = _build_graph if kind.num_links else _build_lists
    parts = made(index, kind, progress)
    record = ApproximateRecord(
        kind=kind.name,
        effort=effort,
        recall=0.0,
        top_k=index.depth(wanted.top_k),
        num_questions=min(_SAMPLED, len(wanted.questions) or len(index)),
        asked="questions" if wanted.questions else "passages",
        parts=parts,
    )
    record = record.model_copy(update={"recall": _recall(index, record, wanted, retriever)})
    with distributed.fail_together():
        if distributed.is_main():
            _require(record, wanted)
    return record


def _require(record: ApproximateRecord, wanted: ApproximateSettings) -> None:
    if wanted.min_recall is None or record.recall >= wanted.min_recall:
        return
    kind = wanted.kind
    coded = f", or the {kind.code_bytes} behind PQ" if kind.code_bytes else ""
    raise ArtError(
        f"{record.in_words()}; that is below index.min_recall {wanted.min_recall:g}",
        hint=f"raise index.nprobe, at most {kind.num_lists}{coded}; or set index.kind to exact",
    )


def _recall(
    index: Index, record: ApproximateRecord, wanted: ApproximateSettings, retriever: Retriever
) -> float:
    """Return the share of the K best scores that is reached, of the mean question."""

    def ask() -> Vectors | None:
        if not distributed.is_main():
            return None
        if not wanted.questions:
            return index.vectors(_sampled(len(index), record.num_questions))
        chosen = _sampled(len(wanted.questions), record.num_questions)
        return retriever.embed_questions([wanted.questions[position] for position in chosen])

    def searched(manifest_of: ApproximateRecord | None, device: torch.device) -> Any:
        manifest = index.manifest.model_copy(update={"approximate": manifest_of})
        searcher = IndexSearcher(Index(index.folder, manifest), device)
        return searcher.search_for_all(ask, record.top_k)[0]

    exact = searched(None, retriever.device)
    found = searched(record, torch.device("cpu"))
    # By score and not by row: which of several equal passages is found makes no difference.
    return float((found >= exact[:, -1:]).mean())


def _sampled(size: int, count: int) -> Any:
    return np.sort(np.random.default_rng(_SEED).choice(size, min(size, count), replace=False))


def _build_lists(index: Index, kind: IndexKind, progress: bool) -> dict[str, PartRecord]:
    trained = _by_first(partial(_train, index, kind))
    shards = own_shards(index.num_shards)
    bar = tqdm(shards, desc=kind.name, unit=" shards", leave=None, disable=not progress)

    def fill() -> dict[str, PartRecord]:
        path = check_part(index.folder, TRAINED, trained)
        empty = load_faiss().read_index(str(path))
        return {shard_part(shard): _fill(index, trained, empty, shard) for shard in bar}

    by_process = distributed.together(fill)
    return {TRAINED: trained} | {name: one for of in by_process for name, one in of.items()}


def _train(index: Index, kind: IndexKind) -> PartRecord:
    faiss = load_faiss()

    def train(file: IO[bytes]) -> None:
        made = faiss.index_factory(index.embedding_size, kind.name, faiss.METRIC_INNER_PRODUCT)
        most = _TRAINED_ON * kind.num_centroids
        if kind.code_bytes:  # annealing for a way to search that is not used: seconds a byte
            made.do_polysemous_training = False
        made.train(index.vectors(_sampled(len(index), most)))
        faiss.write_index(made, faiss.PyCallbackIOWriter(file.write))

    return built_part(index.folder, TRAINED, _key(index, kind), train)


def _fill(index: Index, trained: PartRecord, lists: Any, shard: int) -> PartRecord:
    """Write a shard in lists; `lists` are empty before and after."""

    def fill(file: IO[bytes]) -> None:
        rows = index.rows_of(shard)
        lists.add_with_ids(index.vectors(rows), np.asarray(rows, dtype=np.int64))
        faiss = load_faiss()
        faiss.write_InvertedLists(lists.invlists, faiss.PyCallbackIOWriter(file.write))
        lists.reset()

    key = fingerprint(*trained.blocks, *index.manifest.blocks[shard])
    return built_part(index.folder, shard_part(shard), key, fill)


def _build_graph(index: Index, kind: IndexKind, progress: bool) -> dict[str, PartRecord]:
    faiss = load_faiss()

    def build_graph(file: IO[bytes]) -> None:
        made = faiss.index_factory(index.embedding_size, kind.name, faiss.METRIC_INNER_PRODUCT)
        bar = tqdm(desc=kind.name, total=len(index), unit=" passages", disable=not progress)
        with bar:
            for shard in range(index.num_shards):
                made.add(index.vectors(index.rows_of(shard)))
                bar.update(len(index.rows_of(shard)))
        faiss.write_index(made, faiss.PyCallbackIOWriter(file.write))

    key = _key(index, kind)
    return {GRAPH: _by_first(partial(built_part, index.folder, GRAPH, key, build_graph))}


def _by_first(build_part: Callable[[], PartRecord]) -> PartRecord:
    """Return what the first process builds, on every process."""
    built, *_ = distributed.together(lambda: build_part() if distributed.is_main() else None)
    assert built is not None
    return built


def _key(index: Index, kind: IndexKind) -> str:
    """Return what stands for all that centroids or a graph depend on."""
    checksums = [one for of_shard in index.manifest.blocks for one in of_shard]
    return fingerprint(kind.name, load_faiss().__version__, *checksums)
