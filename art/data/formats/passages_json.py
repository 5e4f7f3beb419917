"""Passages as JSON, one list or lines, BEIR's corpora among them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, PassageFormat
from art.data.json_lists import json_rows
from art.data.records import Passage, passage_of
from art.data.rows import BadRows, converted


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    unit, rows = json_rows(Path(path), bad_rows)
    return converted(rows, passage_of, path, bad_rows, unit=unit)


FORMATS.add(
    PassageFormat(
        name="passages-json",
        endings=(".jsonl", ".json"),
        description="with `id`, `_id` or `docid`, `text` or `contents`, and perhaps `title`; a "
        "BEIR folder",
        read=_read,
        name_in_folder="corpus.jsonl",
    )
)
