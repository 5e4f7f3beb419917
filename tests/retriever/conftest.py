"""An index written from given vectors, without a retriever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from art.retriever.index import Index
from art.retriever.index_manifest import IndexManifest
from art.retriever.shards import write_shard


def _write_index(folder: Path, vectors: np.ndarray, *, shard_rows: int, dtype="float32") -> Index:
    records = [
        write_shard(folder, shard, vectors[start : start + shard_rows].astype(dtype), "key")
        for shard, start in enumerate(range(0, len(vectors), shard_rows))
    ]
    IndexManifest(
        num_passages=len(vectors),
        embedding_size=vectors.shape[1],
        dtype=dtype,
        shard_rows=shard_rows,
        store_folder="stores/one",
        store_fingerprint="store",
        retriever_fingerprint="retriever",
        key="key",
        max_norms=[record.max_norm for record in records],
        blocks=[record.blocks for record in records],
        provenance={},
    ).write(folder / "manifest.json")
    return Index.open(folder)


@pytest.fixture(scope="session")
def write_index() -> Callable[..., Index]:
    """Write vectors [N, D] as an index and open it: (folder, vectors, *, shard_rows, dtype)."""
    return _write_index
