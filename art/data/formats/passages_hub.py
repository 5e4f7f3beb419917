"""Passages as a dataset of the Hugging Face hub: `hf:NAME[:CONFIG]/SPLIT`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from art.data.formats.base import FORMATS, PassageFormat
from art.data.records import Passage, passage_of
from art.data.rows import BadRows, converted
from art.errors import DataError

_PREFIX = "hf:"


def _read(source: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    return converted(enumerate(_dataset(source), start=1), passage_of, source, bad_rows)


def _files(source: str) -> list[Path]:
    return [Path(file["filename"]) for file in _dataset(source).cache_files]


def _dataset(source: str | Path) -> Any:
    import datasets  # here, because it takes a second to load

    place, _, split = str(source).removeprefix(_PREFIX).rpartition("/")
    name, _, config = place.partition(":")
    try:
        return datasets.load_dataset(name, config or None, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"cannot load the dataset: {error}",
            where=source,
            hint="write hf:NAME[:CONFIG]/SPLIT, such as hf:BeIR/scifact:corpus/corpus",
        ) from error


FORMATS.add(
    PassageFormat(
        name="passages-hub",
        endings=(),
        description="hf:NAME[:CONFIG]/SPLIT",
        read=_read,
        prefix=_PREFIX,
        files=_files,
    )
)
