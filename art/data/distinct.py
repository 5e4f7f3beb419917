"""A corpus without the passages whose id stood before, in the memory of its ids' hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from art.data.formats import Passage, numbered_passages
from art.data.rows import BadRows, refuse
from art.errors import RowError, shown


def distinct_passages(source: str | Path, bad_rows: BadRows | None) -> Iterator[Passage]:
    """Stream a corpus as `read_passages` does; of passages with the same id only the first.

    The corpus is read twice: hashes find the few ids that may repeat, and only those are compared.
    That takes 16 bytes a passage, where a set of all ids would take a hundred.

    Args:
        source: what `read_passages` reads.
        bad_rows: collects malformed and repeated rows; None to raise at the first.

    Raises:
        DataError: as `read_passages`, or an id repeats.
    """
    ignored = None if bad_rows is None else BadRows()  # the second reading lists them
    rows = numbered_passages(source, ignored)
    hashes = np.fromiter((_hash(passage.passage_id) for _, passage in rows), dtype=np.uint64)
    hashes.sort()
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
    lines: dict[str, int] = {}
    for line, passage in numbered_passages(source, bad_rows):
        name = passage.passage_id
        if _hash(name) in repeated and lines.setdefault(name, line) != line:
            error = RowError(
                f"passage id {shown(name)} occurs on line {lines[name]} already",
                where=f"{source}:{line}",
                hint="give every passage an id of its own",
            )
            refuse(error, bad_rows)
        else:
            yield passage


def _hash(passage_id: str) -> int:
    return int.from_bytes(hashlib.blake2b(passage_id.encode(), digest_size=8).digest(), "little")
