"""Questions with passages that answer them and passages that do not: files of the supervised mode.

Questions and texts stay exactly as they stand in the file, a question mark at the end included, in
training as in evaluation. (DPR's code takes that mark away; its own files hold none.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art.data.formats import Passage
from art.data.json_lists import json_rows
from art.data.rows import csv_rows, field, id_value, text_value
from art.errors import DataError
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


def read_supervised(source: str | Path) -> Iterator[tuple[str, SupervisedExample]]:
    """Stream a file of the supervised mode.

    A passage without an id gets `content_id` of its title and text.

    Args:
        source: DPR's `.json` (one list) or `.jsonl` (`question`, `answers`, `positive_ctxs`,
            `hard_negative_ctxs`, `negative_ctxs`), Tevatron's `.jsonl` (`query`,
            `positive_passages`, `negative_passages`, which are mined ones and so hard),
            SimpleTransformers' `.tsv`; each also as `.gz`.

    Yields:
        The example's place, as complaints name it (`FILE:17`, `FILE: entry 17`), and the example.

    Raises:
        DataError: the file is missing or of another kind; while reading, a row is malformed.
    """
    path = Path(source)
    if not path.is_file():
        raise DataError("there is no such file", where=path)
    kind = Path(path.name.removesuffix(".gz")).suffix.lower()
    if kind in (".json", ".jsonl"):
        return ((where, _json_example(row, where)) for where, row in json_rows(path))
    if kind == ".tsv":
        return ((where, _table_example(row, where)) for where, row in _table(path))
    raise DataError("not a supervised file that is known", where=path, hint=f"known: {_KNOWN}")


def content_id(title: str, text: str) -> str:
    """Return 32 hexadecimal digits that stand for a passage's title and text."""
    return fingerprint(title, text)


def _json_example(row: Mapping[str, Any], where: str) -> SupervisedExample:
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
    if not isinstance(item, dict):
        raise DataError(f"a passage is a JSON object, not {item!r:.60}", where=where)
    title = item.get("title")
    given = next((item[name] for name in _CONTEXT_IDS if item.get(name) not in (None, "")), None)
    return _passage(
        None if given is None else id_value(given, "passage id", where),
        "" if title is None else text_value(title, "title", where),
        text_value(field(item, ("text",), where), "text", where),
        where,
    )


def _table(path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    rows = csv_rows(path)
    number, header = next(rows, (1, []))
    if not {"query_text", "gold_passage"} <= set(header):
        raise DataError(
            "the header names no `query_text` and `gold_passage`",
            where=f"{path}:{number}",
            hint=f"known: {_KNOWN}",
        )
    for number, columns in rows:
        where = f"{path}:{number}"
        if len(columns) != len(header):
            raise DataError(
                f"{len(columns)} columns, but the header names {len(header)}",
                where=where,
                hint="separate columns by one tab; quote a field that holds one",
            )
        yield where, dict(zip(header, columns, strict=True))


def _table_example(row: Mapping[str, str], where: str) -> SupervisedExample:
    negative = row.get("hard_negative", "")
    return SupervisedExample(
        _question(row["query_text"], where),
        (),
        (_passage(None, row.get("title", ""), row["gold_passage"], where),),
        (_passage(None, "", negative, where),) if negative.strip() else (),
    )


def _passage(passage_id: str | None, title: str, text: str, where: str) -> Passage:
    if not title.strip() and not text.strip():
        raise DataError("a passage without text and title", where=where)
    return Passage(passage_id or content_id(title, text), title, text)


def _question(value: Any, where: str) -> str:
    text = text_value(value, "question", where)
    if not text.strip():
        raise DataError("the question is empty", where=where)
    return text


def _items(row: Mapping[str, Any], name: str, where: str) -> Sequence[Any]:
    value = row.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise DataError(f"{name!r} is not a list but {value!r:.60}", where=where)
    return value
