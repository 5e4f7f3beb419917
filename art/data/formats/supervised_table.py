"""Labelled questions as a table with named columns: SimpleTransformers' and triplets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from art.data.formats.base import FORMATS, SupervisedFormat, known_formats
from art.data.labelled_rows import is_triplet, labelled_of
from art.data.packed import ungzipped
from art.data.records import SupervisedExample, asked_text, context, named_columns
from art.data.rows import BadRows, converted, csv_rows, plain_lines
from art.errors import DataError


def _read(path: str | Path, bad_rows: BadRows | None) -> Iterator[tuple[str, SupervisedExample]]:
    path = Path(path)
    _, first = next(plain_lines(path), (1, ""))
    delimiter = "\t" if "\t" in first or ungzipped(path).suffix.lower() == ".tsv" else ","
    # Never skipped: all other rows are read by the first.
    place, names = next(csv_rows(path, delimiter=delimiter), (1, []))
    header = [name.strip().lower() for name in names]
    # A quotation mark left open in the header would take rows with it.
    whole = len(set(header)) == len(header) and "\n" not in "".join(header)
    if not whole or not ({"query_text", "gold_passage"} <= set(header) or is_triplet(header)):
        raise DataError(
            "the header does not name `query_text` and `gold_passage`, or `anchor` and `positive`, "
            "and every other column once",
            where=f"{path}:{place}",
            hint=f"known: {known_formats(SupervisedFormat)}",
        )
    every = csv_rows(path, bad_rows, delimiter=delimiter)
    rows = ((number, row) for number, row in every if number != place)
    examples = converted(rows, partial(_example, header), path, bad_rows)
    return ((f"{path}:{number}", example) for number, example in examples)


def _example(header: Sequence[str], columns: Sequence[str], where: str) -> SupervisedExample:
    row = named_columns(header, columns, where)
    if "query_text" not in row:
        return labelled_of(row, where)
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
        endings=(".tsv", ".csv"),
        description="with the header `query_text gold_passage [title] [hard_negative]` or `anchor "
        "positive negative`",
        read=_read,
    )
)
