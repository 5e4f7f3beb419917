"""Passages as Parquet, as a folder of datasets' `save_to_disk`, or of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.columns import FORMAT, dataset_rows
from art.data.formats.base import FORMATS, PassageFormat
from art.data.records import Passage, passage_of
from art.data.rows import BadRows, converted


def _read(source: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    return converted(dataset_rows(source), passage_of, source, bad_rows)


FORMATS.add(PassageFormat(name="passages-datasets", read=_read, **FORMAT))
