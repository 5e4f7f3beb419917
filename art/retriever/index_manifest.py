"""What the manifest of an index says: its shards, and how it finds what it scores."""

from __future__ import annotations

from typing import Literal

from art.config import IndexKind, Manifest, PositiveInt, SealedManifest
from art.retriever.shards import FileRecord, VectorType

MANIFEST = "manifest.json"


class PartRecord(FileRecord):
    """What a finished file of an approximate kind is."""

    num_bytes: int


class ApproximateRecord(Manifest):
    """How an index finds what it scores, and how much of the exact result that is.

    Args:
        kind: its name.
        effort: lists that are searched, or passages that a graph's search keeps in mind.
        recall: the share of the K best passages that is found, of the mean question.
        top_k: that K.
        num_questions: that it was measured on.
        asked: whose vectors these were.
        parts: the files, by what stands for each in its name.
    """

    kind: str
    effort: PositiveInt
    recall: float
    top_k: PositiveInt
    num_questions: int
    asked: Literal["passages", "questions"]
    parts: dict[str, PartRecord]

    def in_words(self) -> str:
        """Return the kind and its recall, for a person."""
        kind = IndexKind.named(self.kind)
        assert kind is not None  # an exact index has no such record
        return (
            f"{self.kind}, {kind.setting} {self.effort}: recall@{self.top_k} "
            f"{self.recall:.3f} against exact search, on {self.num_questions} {self.asked}"
        )


class IndexManifest(SealedManifest):
    """What an index holds, what it was made from, and what its bytes must be.

    Args:
        version: of this format.
        num_passages: N.
        embedding_size: D.
        dtype: type of the stored vectors.
        shard_rows: rows of every shard but the last.
        store_folder: the passage store whose row i is row i here.
        store_fingerprint: of that store.
        retriever_fingerprint: of the passage tower that made the vectors.
        key: what the shards were made under; see `embedding`.
        max_norms: the largest Euclidean length of a vector, per shard.
        blocks: the checksum of every 4 MiB, per shard.
        provenance: versions and settings that made it.
        approximate: how a search finds what it scores; None where it compares everything.
    """

    version: Literal[1] = 1
    num_passages: PositiveInt
    embedding_size: PositiveInt
    dtype: VectorType
    shard_rows: PositiveInt
    store_folder: str
    store_fingerprint: str
    retriever_fingerprint: str
    key: str
    max_norms: list[float]
    blocks: list[list[str]]
    provenance: dict[str, str]
    approximate: ApproximateRecord | None = None

    def search_in_words(self) -> str:
        """Return how an index is searched, for a person."""
        return "exact" if self.approximate is None else self.approximate.in_words()
