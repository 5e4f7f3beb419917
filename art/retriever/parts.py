"""Files of an approximate kind beside the shards of an index.

`approximate-trained.faiss` has the centroids of lists, and what codes are made with;
`approximate-0000s.faiss` has shard s in these lists; `approximate-graph.faiss` is a whole graph.
Each has a record beside it, written after it, as a shard has.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO

from art.files import atomic_write
from art.integrity import CheckedFile, file_checksums
from art.retriever.index_manifest import PartRecord
from art.retriever.shards import BUILD_AGAIN, finished_file

TRAINED, GRAPH = "trained", "graph"

_FILE = re.compile(r"\.?approximate-([a-z0-9]+)\.(faiss|json)(\..+\.tmp)?")


def part_path(folder: Path, name: str) -> Path:
    """Return the path of a part."""
    return folder / f"approximate-{name}.faiss"


def shard_part(shard: int) -> str:
    """Return what stands for a shard in the name of its part."""
    return f"{shard:05d}"


def built_part(folder: Path, name: str, key: str, write: Callable[[IO[bytes]], None]) -> PartRecord:
    """Write a part and then its record, each atomically, unless it stands as it would be written.

    Args:
        folder: of the index.
        name: of the part.
        key: stands for everything that it depends on.
        write: its contents.

    Raises:
        ArtError: it cannot be written.
    """
    path = part_path(folder, name)
    if known := finished_file(path, PartRecord, key):
        return known
    path.with_suffix(".json").unlink(missing_ok=True)  # as for a shard
    with atomic_write(path) as file:
        write(file)
    record = PartRecord(key=key, blocks=file_checksums(path), num_bytes=path.stat().st_size)
    record.write(path.with_suffix(".json"))
    return record


def check_part(folder: Path, name: str, record: PartRecord) -> Path:
    """Read a part and compare it with its checksums; return its path.

    Raises:
        CorruptionError: it is missing, or not what was written.
    """
    path = part_path(folder, name)
    file = CheckedFile(path, record.num_bytes, record.blocks, hint=BUILD_AGAIN)
    file.check(range(len(record.blocks)))
    return path


def remove_parts(folder: Path, *, keep: Collection[str] = ()) -> None:
    """Delete the parts of another kind, and what killed writers left half-written.

    Args:
        folder: of the index.
        keep: names of parts that stay.
    """
    for path in folder.iterdir():
        named = _FILE.fullmatch(path.name)
        if named and (named[3] or named[1] not in keep):
            path.unlink(missing_ok=True)
