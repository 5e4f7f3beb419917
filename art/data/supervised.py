"""Questions with passages that answer them and passages that do not: files of the supervised mode.

Questions and texts stay exactly as they stand in the file, a question mark at the end included, in
training as in evaluation. (DPR's code takes that mark away; its own files hold none.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from art.data.formats import Passage
from art.data.json_lists import json_rows
from art.data.records import named_columns
from art.data.rows import BadRows, converted, csv_rows, field, id_value, json_object, text_value
from art.errors import DataError, RowError, shown
from art.files import fingerprint

# Positives, hard negatives and, where the format has them, other negatives.
_DPR = ("positive_ctxs", "hard_negative_ctxs", "negative_ctxs")
_TEVATRON = ("positive_passages", "negative_passages")
_CONTEXT_IDS = ("passage_id", "psg_id", "docid")
_KNOWN = (
    "DPR .json or .jsonl, Tevatron .jsonl, each also as .gz; SimpleTransformers .tsv with the "
    "header `query_text gold_passage [title] [hard_negative]`"
)


@dataclass(frozen=True, slots=True)
class SupervisedExample:
    """One question and its passages, each kind in the file's order.

    Attributes:
        question: as it stands in the file.
        answers: where the file has them.
        positives: passages that answer it; none in some rows of published files.
        hard_negatives: passages that were found for it and do not answer it.
        negatives: other passages that do not.
    """

    question: str
    answers: tuple[str, ...]
    positives: tuple[Passage, ...]
    hard_negatives: tuple[Passage, ...] = ()
    negatives: tuple[Passage, ...] = ()


def read_supervised(
    source: str | Path, bad_rows: BadRows | None = None
) -> Iterator[tuple[str, SupervisedExample]]:
    """Stream a file of the supervised mode.

    A passage without an id gets `content_id` of its title and text. A row with one malformed
    passage is malformed. What cannot be skipped is the header of a table, and what is not JSON in
    a list (see `json_rows`).

    Args:
        source: DPR's `.json` (one list) or `.jsonl` (`question`, `answers`, `positive_ctxs`,
            `hard_negative_ctxs`, `negative_ctxs`), Tevatron's `.jsonl` (`query`,
            `positive_passages`, `negative_passages`, which are mined ones and so hard),
            SimpleTransformers' `.tsv`; each also as `.gz`.
        bad_rows: collects malformed rows; None to raise at the first.

    Yields:
        The example's place, as complaints name it (`FILE:17`, `FILE: entry 17`), and the example.

    Raises:
        DataError: the file is missing or of another kind; while reading, a row is malformed.
    """
    path = Path(source)
    if not path.is_file():
        raise DataError("there is no such file", where=path, hint="check the path")
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind in (".json", ".jsonl"):
        unit, rows = json_rows(path, bad_rows)
        examples = converted(rows, example_of, path, bad_rows, unit=unit)
    elif kind == ".tsv":
        unit, examples = "", _table(path, bad_rows)
    else:
        raise DataError("not a supervised file that is known", where=path, hint=f"known: {_KNOWN}")
    return ((f"{path}:{unit}{number}", example) for number, example in examples)


def content_id(title: str, text: str) -> str:
    """Return 32 hexadecimal digits that stand for a passage's title and text."""
    return fingerprint(title, text)


def example_of(row: Mapping[str, Any], where: str) -> SupervisedExample:
    """Return the example of a row of DPR's or Tevatron's JSON.

    Raises:
        DataError: the row is malformed.
    """
    kinds = _TEVATRON if _TEVATRON[0] in row else _DPR
    field(row, kinds[:1], where)  # else every row of another kind of file has no positive
    answers = _items(row, "answers", where)
    return SupervisedExample(
        _question(field(row, ("question", "query"), where), where),
        tuple(text_value(answer, "answer", where) for answer in answers),
        *(_contexts(row, kind, where) for kind in kinds),
    )


def _contexts(row: Mapping[str, Any], name: str, where: str) -> tuple[Passage, ...]:
    items = enumerate(_items(row, name, where))
    return tuple(_context(item, f"{where}: {name}[{place}]") for place, item in items)


def _context(item: Any, where: str) -> Passage:
    row = json_object(item, where)
    title = row.get("title")
    given = next((row[name] for name in _CONTEXT_IDS if row.get(name) not in (None, "")), None)
    return _passage(
        None if given is None else id_value(given, "passage id", where),
        "" if title is None else text_value(title, "title", where),
        text_value(field(row, ("text",), where), "text", where),
        where,
    )


def _table(path: Path, bad_rows: BadRows | None) -> Iterator[tuple[int, SupervisedExample]]:
    # Never skipped: what is read of all other rows hangs on the first.
    place, header = next(csv_rows(path), (1, []))
    # A quotation mark left open in the header would take rows with it.
    whole = len(set(header)) == len(header) and "\n" not in "".join(header)
    if not whole or not {"query_text", "gold_passage"} <= set(header):
        raise DataError(
            "the header does not name `query_text`, `gold_passage` and every other column once",
            where=f"{path}:{place}",
            hint=f"known: {_KNOWN}",
        )
    rows = ((number, row) for number, row in csv_rows(path, bad_rows) if number != place)
    return converted(rows, partial(_table_example, header), path, bad_rows)


def _table_example(header: Sequence[str], columns: Sequence[str], where: str) -> SupervisedExample:
    row = named_columns(header, columns, where)
    negative = row.get("hard_negative", "")
    return SupervisedExample(
        _question(row["query_text"], where),
        (),
        (_passage(None, row.get("title", ""), row["gold_passage"], where),),
        (_passage(None, "", negative, where),) if negative.strip() else (),
    )


def _passage(passage_id: str | None, title: str, text: str, where: str) -> Passage:
    if not title.strip() and not text.strip():
        raise RowError("a passage without text and title", where=where)
    return Passage(passage_id or content_id(title, text), title, text)


def _question(value: Any, where: str) -> str:
    text = text_value(value, "question", where)
    if not text.strip():
        raise RowError("the question is empty", where=where)
    return text


def _items(row: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    value = row.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise RowError(f"{name!r} is not a list but {shown(value)}", where=where)
    return value
