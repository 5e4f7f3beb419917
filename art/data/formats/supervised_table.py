"""Labelled questions as a table with named columns, such as SimpleTransformers reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from art.data.formats.base import FORMATS, SupervisedFormat, known_formats
from art.data.records import SupervisedExample, asked_text, context, named_columns
from art.data.rows import BadRows, converted, csv_rows
from art.errors import DataError


def _read(path: Path, bad_rows: BadRows | None) -> Iterator[tuple[str, SupervisedExample]]:
    # Never skipped: all other rows are read by the first.
    place, header = next(csv_rows(path), (1, []))
    # A quotation mark left open in the header would take rows with it.
    whole = len(set(header)) == len(header) and "\n" not in "".join(header)
    if not whole or not {"query_text", "gold_passage"} <= set(header):
        raise DataError(
            "the header does not name `query_text`, `gold_passage` and every other column once",
            where=f"{path}:{place}",
            hint=f"known: {known_formats(SupervisedFormat)}",
        )
    rows = ((number, row) for number, row in csv_rows(path, bad_rows) if number != place)
    examples = converted(rows, partial(_example, header), path, bad_rows)
    return ((f"{path}:{number}", example) for number, example in examples)


def _example(header: Sequence[str], columns: Sequence[str], where: str) -> SupervisedExample:
    row = named_columns(header, columns, where)
    negative = row.get("hard_negative", "")
    return SupervisedExample(
        asked_text(row["query_text"], where),
        (),
        (context(None, row.get("title", ""), row["gold_passage"], where),),
        (context(None, "", negative, where),) if negative.strip() else (),
    )


FORMATS.add(
    SupervisedFormat(
        name="supervised-table",
        endings=(".tsv",),
        description="with the header `query_text gold_passage [title] [hard_negative]`",
        read=_read,
    )
)
