"""The rows of an index that one process searches, where it searches them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from art.retriever.shards import Shards, Vectors


@dataclass(frozen=True)
class BlockLimits:
    """What bounds memory where the blocks are searched, and keeps caches warm.

    Attributes:
        rows: of a block that is widened or uploaded at once.
        numbers: float64 numbers multiplied at once.
    """

    rows: int
    numbers: int


_LIMITS = {"cpu": BlockLimits(16_384, 1 << 18)}
_LIMITS_ELSEWHERE = BlockLimits(65_536, 1 << 26)


@dataclass(frozen=True)
class RowBlock:
    """Consecutive rows of an index.

    Attributes:
        first_row: the first of them.
        vectors: [n, D], in their stored type.
    """

    first_row: int
    vectors: Tensor


@dataclass(frozen=True)
class Blocks:
    """The rows that one process searches.

    Attributes:
        blocks: in the order of their rows.
        device: where they are searched; they may wait elsewhere for it.
        embedding_size: D.
        max_norm: the largest Euclidean length of a row of the index, those of other processes too.
    """

    blocks: Sequence[RowBlock]
    device: torch.device
    embedding_size: int
    max_norm: float

    @classmethod
    def of(
        cls,
        shards: Shards,
        chosen: Iterable[int],
        *,
        max_norm: float,
        device: torch.device | None = None,
        resident: bool = False,
    ) -> Blocks:
        """Return some shards of an index, checked.

        Args:
            shards: of the index.
            chosen: their numbers, ascending.
            max_norm: see there.
            device: where they are searched; None for the CPU.
            resident: whether they are kept there; else they are mapped.

        Raises:
            CorruptionError: bytes are not what was written.
        """
        device = device or torch.device("cpu")
        blocks = [
            RowBlock(number * shards.shard_rows, _mapped(shards.matrix(number)))
            for number in chosen
        ]
        if resident:
            blocks = [RowBlock(block.first_row, block.vectors.to(device)) for block in blocks]
        return cls(blocks, device, shards.embedding_size, max_norm)

    @property
    def num_rows(self) -> int:
        """How many rows they are."""
        return sum(len(block.vectors) for block in self.blocks)

    @property
    def limits(self) -> BlockLimits:
        """What bounds memory here."""
        return _LIMITS.get(self.device.type, _LIMITS_ELSEWHERE)

    def widened(self, dtype: torch.dtype, most_rows: int) -> Iterator[tuple[int, Tensor]]:
        """Yield all rows in another type on the device: the first row, [n, D].

        Args:
            dtype: of the numbers.
            most_rows: n at most, but on a CPU where nothing has to be copied.
        """
        for block in self.blocks:
            # On a CPU what is there already is taken whole: FAISS cuts it as it likes.
            as_it_is = self.device.type == "cpu" and block.vectors.dtype == dtype
            step = max(1, len(block.vectors) if as_it_is else most_rows)
            for start in range(0, len(block.vectors), step):
                part = block.vectors[start : start + step]
                yield block.first_row + start, part.to(self.device).to(dtype)

    def gather(self, rows: Tensor) -> Tensor:
        """Return the vectors of any of these rows, in the order asked for.

        Args:
            rows: [n] int64, on the CPU.

        Returns:
            [n, D] in the stored type, on the device.
        """
        firsts = torch.tensor([block.first_row for block in self.blocks])
        block_of = torch.searchsorted(firsts, rows.contiguous(), right=True) - 1
        inside = rows - firsts[block_of]
        if len(self.blocks) == 1:
            return _taken(self.blocks[0].vectors, inside).to(self.device)
        dtype = self.blocks[0].vectors.dtype
        vectors = torch.empty(len(rows), self.embedding_size, dtype=dtype, device=self.device)
        for number in torch.unique(block_of).tolist():
            here = (block_of == number).nonzero().squeeze(1)
            taken = _taken(self.blocks[number].vectors, inside[here])
            vectors.index_copy_(0, here.to(self.device), taken.to(self.device))
        return vectors


def _taken(vectors: Tensor, positions: Tensor) -> Tensor:
    return vectors.index_select(0, positions.to(vectors.device))


def _mapped(vectors: Vectors) -> Tensor:
    with warnings.catch_warnings():  # torch has no tensors that cannot be written; we only read
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(vectors)
