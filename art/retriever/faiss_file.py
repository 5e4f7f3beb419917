"""An index as one flat FAISS file, written a shard at a time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from art.errors import ArtError
from art.retriever.nearest import load_faiss

if TYPE_CHECKING:
    from art.retriever.index import Index

# After four letters and the size of a vector: the number of vectors, in eight bytes.
_COUNT = slice(8, 16)


def write_flat_index(index: Index, path: Path) -> None:
    """Write the vectors of an index as FAISS's `IndexFlatIP`, float32, in the order of its rows.

    FAISS would hold all of them in memory. The file is what it writes for no vector at all, with
    the numbers of vectors and of values put in, and the values behind them.

    Args:
        index: N vectors [N, D].
        path: of the new file.

    Raises:
        ArtError: FAISS is missing or writes another layout, or the disk is full.
        CorruptionError: a shard is not what was written.
    """
    faiss = load_faiss()
    size = index.embedding_size
    one = np.arange(size, dtype=np.float32)[None]
    reference = faiss.IndexFlatIP(size)
    reference.add(one)
    if faiss.serialize_index(reference).tobytes() != _head(size, 1) + one.tobytes():
        raise ArtError(
            f"FAISS {faiss.__version__} has another layout of flat indexes than is known here",
            hint="use another version of it",
        )
    with open(path, "wb") as file:
        file.write(_head(size, len(index)))
        for vectors in index.shards():
            file.write(np.ascontiguousarray(vectors, dtype="<f4").data)


def _head(size: int, num_vectors: int) -> bytes:
    faiss = load_faiss()
    head = bytearray(faiss.serialize_index(faiss.IndexFlatIP(size)).tobytes())
    head[_COUNT] = num_vectors.to_bytes(8, "little")
    head[-8:] = (num_vectors * size).to_bytes(8, "little")
    return bytes(head)
