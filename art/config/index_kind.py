"""Kinds of indexes: how a search finds the passages that it scores, by FAISS's names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

EXACT = "exact"
"""The kind that compares a question with every passage."""

_LISTS = re.compile(r"IVF([1-9]\d*),(?:Flat|PQ([1-9]\d*))")
_GRAPH = re.compile(r"HNSW([1-9]\d*)")

_SMALLEST_SHARE = 16  # of the lists that are searched: one in so many
_FEWEST_LISTS = 8
_KEPT_IN_GRAPH = 128  # FAISS's efSearch
_TRAINED_ON = 39  # vectors for each centroid, without which FAISS complains
_CODES = 256  # centroids of each byte of a code


@dataclass(frozen=True)
class IndexKind:
    """An approximate kind.

    Attributes:
        name: as FAISS's `index_factory` reads it.
        num_lists: into which the passages are divided, nlist; 0 for a graph.
        code_bytes: of a passage in such a list, m; 0 where its whole vector is there.
        num_links: of a passage to others in a graph, M; 0 for lists.
    """

    name: str
    num_lists: int = 0
    code_bytes: int = 0
    num_links: int = 0

    @classmethod
    def named(cls, name: str) -> IndexKind | None:
        """Return what a name stands for; None for `exact`.

        Raises:
            ValueError: it stands for nothing here; says what does.
        """
        if name == EXACT:
            return None
        if lists := _LISTS.fullmatch(name):
            return cls(name, num_lists=int(lists[1]), code_bytes=int(lists[2] or 0))
        if graph := _GRAPH.fullmatch(name):
            return cls(name, num_links=int(graph[1]))
        raise ValueError(
            "a kind is exact, IVF4096,Flat, IVF4096,PQ64 or, of `art embed`, HNSW32, with other "
            "numbers too"
        )

    @property
    def setting(self) -> str:
        """FAISS's name for how thoroughly it is searched."""
        return "efSearch" if self.num_links else "nprobe"

    @property
    def default_effort(self) -> int:
        """How thoroughly it is searched where nothing is said: lists, or passages kept in mind."""
        if self.num_links:
            return _KEPT_IN_GRAPH
        return min(self.num_lists, max(_FEWEST_LISTS, self.num_lists // _SMALLEST_SHARE))

    @property
    def num_centroids(self) -> int:
        """How many centroids are trained together at the most: of lists, or of a byte of codes."""
        return max(self.num_lists, _CODES if self.code_bytes else 0)

    def faults(self, num_passages: int, embedding_size: int | None) -> Iterator[tuple[str, str]]:
        """Yield why it cannot be built, and what to do, where it cannot.

        Args:
            num_passages: N.
            embedding_size: D; None where nobody knows it yet.
        """
        if self.code_bytes and embedding_size and embedding_size % self.code_bytes:
            yield (
                f"the {self.code_bytes} bytes of a code do not divide the {embedding_size} "
                "dimensions of a vector",
                "choose a number behind PQ that does",
            )
        needed = _TRAINED_ON * self.num_centroids
        if num_passages < needed:
            yield (
                f"it takes {needed:,} passages to train, and there are {num_passages:,}",
                "choose fewer lists, IVF…,Flat without codes, or exact",
            )

    def bytes_of_a_passage(self, embedding_size: int) -> int:
        """Return the bytes on disk for each passage, beside its vector.

        Args:
            embedding_size: D.
        """
        if self.num_links:  # twice as many links at the bottom as above, four bytes each
            return 4 * embedding_size + 8 * self.num_links
        return 8 + (self.code_bytes or 4 * embedding_size)
