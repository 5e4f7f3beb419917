"""Labelled questions as JSON, one list or lines.

DPR's, its results, Tevatron's, FlagEmbedding's, triplets, and what `art mine` and `art ask` write.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from art.data.formats.base import FORMATS, SupervisedFormat
from art.data.json_lists import json_rows
from art.data.labelled_rows import labelled_of
from art.data.records import SupervisedExample
from art.data.rows import BadRows, converted


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, SupervisedExample]]:
    unit, rows = json_rows(Path(path), bad_rows)
    examples = converted(rows, labelled_of, path, bad_rows, unit=unit)
    return ((f"{path}:{unit}{number}", example) for number, example in examples)


FORMATS.add(
    SupervisedFormat(
        name="supervised-json",
        endings=(".json", ".jsonl"),
        description="of DPR (`positive_ctxs`, `hard_negative_ctxs`; or `ctxs`), Tevatron "
        "(`positive_passages`, `negative_passages`), FlagEmbedding (`query`, `pos`, `neg`) or "
        "triplets (`anchor`, `positive`, `negative`), of `art ask` (`question`, `passage`)",
        read=_read,
    )
)
