"""Labelled questions as Parquet, as a folder of datasets' `save_to_disk`, or of the hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.columns import FORMAT, dataset_rows
from art.data.formats.base import FORMATS, SupervisedFormat
from art.data.labelled_rows import labelled_of
from art.data.records import SupervisedExample
from art.data.rows import BadRows, converted


def _read(source: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, SupervisedExample]]:
    examples = converted(dataset_rows(source), labelled_of, source, bad_rows)
    return ((f"{source}:{number}", example) for number, example in examples)


FORMATS.add(SupervisedFormat(name="supervised-datasets", read=_read, **FORMAT))
