"""Search by all processes of a job together: each compares questions with its own shards only.

Process r of W has the shards r, r + W, …, exactly those that it embeds. Nothing else of the index
is read, kept or uploaded by it, and W processes find what one finds, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from art import distributed
from art.retriever.search import final_scores

if TYPE_CHECKING:
    from art.retriever.blocks import Blocks
    from art.retriever.index import Index
    from art.retriever.search import Finder, Floats, Rows

    Vectors = NDArray[np.float32]
    Ask = Callable[[], Vectors | None]

RESIDENT_SHARE = 0.5
"""Of a GPU's free memory, at the most for the index; the rest is for activations."""


def own_shards(num_shards: int) -> range:
    """Return the numbers of the shards that this process embeds, keeps and searches."""
    return range(distributed.rank(), num_shards, distributed.world_size())


class IndexSearcher:
    """Searches an index with all processes of the job; every one of them has one.

    On a CPU its blocks are the mapping itself. On a GPU they are kept in its memory, in the type in
    which they are stored, where they fit; else they are uploaded for each search. The first search
    reads and checks them. An approximate kind is searched on the CPU.

    Args:
        index: N vectors of D numbers.
        device: where this process searches.
    """

    def __init__(self, index: Index, device: torch.device) -> None:
        self.index = index
        self._device = device

    def search(self, ask: Ask, top_k: int) -> tuple[Floats, Rows]:
        """Find passages for the questions of each process.

        Every process must call it at the same point of the program.

        Args:
            ask: returns the vectors of this process's questions, [q, D], or None where it has none.
                It holds no collective; what it raises on one process is raised on all of them.
            top_k: K, the same on every process; above N, all N passages are returned.

        Returns:
            Scores and rows of this process's questions, [q, min(K, N)] each, ordered by (score
            descending, row ascending).

        Raises:
            ArtError: as `Index.search`; every process raises it.
        """
        asked, (scores, rows) = self._search(ask, top_k)
        ends = np.cumsum([len(vectors) for vectors in asked])
        end = ends[distributed.rank()]
        own = slice(end - len(asked[distributed.rank()]), end)
        return scores[own], rows[own]

    def search_for_all(self, ask: Ask, top_k: int) -> tuple[Floats, Rows]:
        """Find passages for the questions of all processes, and return them on every process.

        Args:
            ask: as for `search`, like `top_k`; each question is asked by one process.
            top_k: K.

        Returns:
            Scores and rows of all questions, those of rank 0 first, [Q, min(K, N)] each.

        Raises:
            ArtError: as `search`.
        """
        return self._search(ask, top_k)[1]

    def score(self, ask: Ask, rows: Rows) -> Floats:
        """Return the scores that given passages have for the questions of each process.

        Every process must call it at the same point of the program.

        Args:
            ask: as for `search`.
            rows: of this process's questions, [q, C]; any rows of the index.

        Returns:
            [q, C], the scores that `search` gives.

        Raises:
            ArtError: as `search`.
        """
        everything = distributed.together(lambda: (self._ready(ask), rows))
        parts = distributed.together(lambda: [self._own_scores(*one) for one in everything])
        # Each row is one process's: the others have 0.
        scores: Floats = np.sum([part[distributed.rank()] for part in parts], axis=0)
        return scores

    def _own_scores(self, vectors: Vectors, rows: Rows) -> Floats:
        """Return the scores of this process's own rows, [q, C], and 0 for the others."""
        shards = rows // self.index.manifest.shard_rows
        asked, place = np.nonzero(shards % distributed.world_size() == distributed.rank())
        found = torch.from_numpy(rows[asked, place])[:, None]
        scores = np.zeros(rows.shape)
        own = final_scores(self._stored, torch.from_numpy(vectors[asked]), found)
        scores[asked, place] = own.squeeze(1).numpy()
        return scores

    def _search(self, ask: Ask, top_k: int) -> tuple[list[Vectors], tuple[Floats, Rows]]:
        depth = self.index.depth(top_k)
        asked = distributed.together(lambda: self._ready(ask))
        together = np.concatenate(asked)
        return asked, self._finder(together, depth, exchange=distributed.together)

    def _ready(self, ask: Ask) -> Vectors:
        _ = self._finder  # read the first time: damage, too, is raised by every process
        vectors = ask()
        if vectors is None:
            return np.empty((0, self.index.embedding_size), dtype=np.float32)
        return self.index.validated(vectors)

    @cached_property
    def _finder(self) -> Finder:
        own = own_shards(self.index.num_shards)
        needed = sum(self.index.shard_bytes[shard] for shard in own)
        resident = self._device.type != "cpu" and needed <= RESIDENT_SHARE * _free(self._device)
        return self.index.finder(own, device=self._device, resident=resident)

    @cached_property
    def _stored(self) -> Blocks:
        """This process's rows where they are stored, whatever searches them and where."""
        return self.index.blocks(own_shards(self.index.num_shards))


def _free(device: torch.device) -> int:
    """Return the bytes of a GPU's memory that nothing holds, what torch has kept for later too."""
    free, _ = torch.cuda.mem_get_info(device)
    kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free + kept
