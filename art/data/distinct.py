"""Rows without those whose id stood before, in the memory of their ids' hashes."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from art.data.formats import Passage, numbered_passages
from art.data.rows import BadRows, refuse
from art.errors import RowError, shown

Row = TypeVar("Row")


def distinct_passages(source: str | Path, bad_rows: BadRows | None) -> Iterator[Passage]:
    """Stream a corpus as `read_passages` does; of passages with the same id only the first.

    Args:
        source: what `read_passages` reads.
        bad_rows: collects malformed and repeated rows; None to raise at the first.

    Raises:
        DataError: as `read_passages`, or an id repeats.
    """
    return distinct(
        partial(numbered_passages, source),
        bad_rows,
        what="passage",
        id_of=lambda passage: passage.passage_id,
        place=lambda line: f"{source}:{line}",
        place_before=lambda line: f"on line {line}",
    )


def distinct(
    read: Callable[[BadRows | None], Iterator[tuple[int, Row]]],
    bad_rows: BadRows | None,
    *,
    what: str,
    id_of: Callable[[Row], str],
    place: Callable[[int], str],
    place_before: Callable[[int], str],
) -> Iterator[Row]:
    """Stream rows; of those with the same id only the first.

    They are read twice: hashes find the few ids that may repeat, and only those are compared.
    That takes 16 bytes a row, where a set of all ids would take a hundred.

    Args:
        read: begins to read the rows, each with its number, and collects malformed ones.
        bad_rows: collects malformed and repeated rows; None to raise at the first.
        what: a row is.
        id_of: a row's id; rows without one are all different.
        place: of a row, for a complaint.
        place_before: where the row stands that had the id first, with its preposition.

    Raises:
        DataError: as `read`, or an id repeats.
    """
    ignored = None if bad_rows is None else BadRows()  # the second reading lists them
    ids = (id_of(row) for _, row in read(ignored))
    hashes = np.fromiter((_hash(name) for name in ids if name), dtype=np.uint64)
    hashes.sort()
    repeated = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())

    def compared() -> Iterator[Row]:
        numbers: dict[str, int] = {}
        for number, row in read(bad_rows):
            name = id_of(row)
            if name and _hash(name) in repeated and numbers.setdefault(name, number) != number:
                error = RowError(
                    f"{what} id {shown(name)} occurs {place_before(numbers[name])} already",
                    where=place(number),
                    hint=f"give every {what} an id of its own",
                )
                refuse(error, bad_rows)
            else:
                yield row

    if repeated and bad_rows is None:  # refused before anybody works on the rows above it
        deque(compared(), maxlen=0)
    yield from compared()


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
