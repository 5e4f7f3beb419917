"""Passages, questions and relevance judgements in the layouts users arrive with.

Nothing is dropped silently: a row that does not fit is a `DataError` with its file and line.
"""

from __future__ import annotations

import ast
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from art.data.rows import csv_rows, field, id_value, json_objects, plain_lines, text_value
from art.errors import DataError

ID_KEYS = ("id", "_id", "docid")
TEXT_KEYS = ("text", "contents")
_READ_AS_PASSAGES = (
    ".tsv with the header `id text title`, .tsv of `id<TAB>text` without one, .jsonl, each also "
    "as .gz; a BEIR folder; hf:NAME[:CONFIG]/SPLIT"
)
_READ_AS_QUESTIONS = (
    ".txt (one a line), .csv or .tsv of `question<TAB>['answer', …]` or `id<TAB>question`, .jsonl, "
    "each also as .gz; a BEIR folder"
)


@dataclass(frozen=True, slots=True)
class Passage:
    """One row of a corpus; the title is empty where there is none."""

    passage_id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Question:
    """One question, with what is known of its answer: strings, passage ids, or nothing."""

    question_id: str
    text: str
    answers: tuple[str, ...] = ()
    positive_passage_ids: frozenset[str] = frozenset()


def read_passages(source: str | Path) -> Iterator[Passage]:
    """Stream a corpus in its order; ids are not compared (a store does that).

    Args:
        source: DPR TSV, MS MARCO TSV, JSON lines (`id|_id|docid`, `title`, `text|contents`), a
            BEIR folder, or `hf:NAME[:CONFIG]/SPLIT` for a Hugging Face dataset.

    Raises:
        DataError: the source is missing or of another kind; while reading, a row is malformed.
    """
    if _is_dataset(source):
        rows: Iterator[tuple[int, Mapping[str, Any]]] = enumerate(_dataset(source), start=1)
        return (_passage(row, f"{source}:{number}") for number, row in rows)
    (path,) = passage_files(source)
    kind = _kind(path)
    if kind == ".jsonl":
        return (_passage(row, f"{path}:{number}") for number, row in json_objects(path))
    if kind != ".tsv":
        raise DataError(
            "not a corpus file that is known", where=path, hint=f"known: {_READ_AS_PASSAGES}"
        )
    return (_passage(row, f"{path}:{number}") for number, row in _passage_table(path))


def passage_files(source: str | Path) -> list[Path]:
    """Return the files that a corpus is read from.

    Raises:
        DataError: there is no such file or dataset.
    """
    if _is_dataset(source):
        return [Path(file["filename"]) for file in _dataset(source).cache_files]
    return [_file(source, "corpus.jsonl")]


def read_questions(source: str | Path) -> list[Question]:
    """Read a file of questions; one without an id is called after its line.

    Args:
        source: text with one question a line, DPR `.csv`, MS MARCO `.tsv`, JSON lines
            (`id|_id`, `question|text`, `answers`, `positive_passage_ids`), or a BEIR folder.

    Raises:
        DataError: the file is missing, empty or of another kind, or a row is malformed.
    """
    path = _file(source, "queries.jsonl")
    kind = _kind(path)
    if kind == ".txt":
        rows = (_question(number, {"text": line}, path) for number, line in plain_lines(path))
    elif kind == ".jsonl":
        rows = (_question(number, row, path) for number, row in json_objects(path))
    elif kind in (".csv", ".tsv"):
        rows = (_question(number, row, path) for number, row in _question_table(path))
    else:
        raise DataError(
            "not a question file that is known", where=path, hint=f"known: {_READ_AS_QUESTIONS}"
        )
    questions = _with_ids(list(rows), path)
    if not questions:
        raise DataError("there is no question", where=path)
    return questions


def read_many_questions(sources: Sequence[str | Path]) -> list[Question]:
    """Read several files of questions as one list, in their order.

    An id that several files use is prefixed with its file's name; a name that occurs twice is
    numbered.

    Raises:
        DataError: as `read_questions`, or the prefixed ids meet others.
    """
    files = [read_questions(source) for source in sources]
    used = Counter(question.question_id for questions in files for question in questions)
    names = Counter[str]()
    merged = []
    for source, questions in zip(sources, files, strict=True):
        name = Path(source).name.split(".")[0]
        names[name] += 1
        label = name if names[name] == 1 else f"{name}-{names[name]}"
        for one in questions:
            unique = used[one.question_id] == 1
            own = one.question_id if unique else f"{label}:{one.question_id}"
            merged.append(replace(one, question_id=own))
    final = Counter(question.question_id for question in merged)
    for question_id, count in final.items():
        if count > 1:
            raise DataError(
                f"question id {question_id!r} still occurs {count} times after prefixing",
                where=", ".join(str(source) for source in sources),
                hint="rename the files or the ids",
            )
    return merged


def read_qrels(source: str | Path) -> dict[str, dict[str, int]]:
    """Read relevance judgements, question id → passage id → grade.

    Args:
        source: BEIR's TSV (a header, then `query-id corpus-id score`) or TREC's four columns
            (`qid 0 docid grade`); either may be gzipped.

    Raises:
        DataError: the file is missing or empty, a row is malformed, or a pair is judged twice.
    """
    path = Path(source)
    if path.is_dir():
        found = ", ".join(sorted(str(one) for one in path.glob("**/*.tsv"))) or "no .tsv file"
        raise DataError("a folder, not a file of judgements", where=path, hint=f"it has {found}")
    judged: dict[str, dict[str, int]] = {}
    for place, (number, line) in enumerate(plain_lines(path)):
        columns = line.split("\t") if "\t" in line else line.split()
        if place == 0 and len(columns) == 3 and not _is_whole(columns[2]):
            continue  # BEIR's header
        where = f"{path}:{number}"
        if len(columns) not in (3, 4) or not _is_whole(columns[-1]):
            raise DataError(
                f"not a judgement: {line!r:.60}",
                where=where,
                hint="expected `query-id corpus-id score` or `qid 0 docid grade`",
            )
        question_id, passage_id, grade = columns[0], columns[-2], int(columns[-1])
        grades = judged.setdefault(question_id, {})
        if passage_id in grades:
            raise DataError(f"{question_id!r} and {passage_id!r} are judged twice", where=where)
        grades[passage_id] = grade
    if not judged:
        raise DataError("there is no judgement", where=path)
    return judged


def _is_whole(text: str) -> bool:
    return text.strip().removeprefix("-").isdecimal()


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _file(source: str | Path, name_in_folder: str) -> Path:
    """Return the file that a path means: itself, or in a BEIR folder the file of that name."""
    path = Path(source)
    if not path.is_dir():
        if path.exists():
            return path
        raise DataError("there is no such file", where=path)
    for name in (name_in_folder, f"{name_in_folder}.gz"):
        if (path / name).is_file():
            return path / name
    raise DataError(f"the folder holds no {name_in_folder}", where=path)


def _passage(row: Mapping[str, Any], where: str) -> Passage:
    title = row.get("title")
    passage = Passage(
        id_value(field(row, ID_KEYS, where), "passage id", where),
        "" if title is None else text_value(title, "title", where),
        text_value(field(row, TEXT_KEYS, where), "text", where),
    )
    # BEIR corpora hold articles of which only the title is known.
    if not passage.text.strip() and not passage.title.strip():
        raise DataError("the text is empty, and there is no title", where=where)
    return passage


def _passage_table(path: Path) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield rows of a TSV by column name, with DPR's header or MS MARCO's two bare columns."""
    _, first = next(plain_lines(path), (0, ""))
    header = [name.strip(' "').lower() for name in first.split("\t")]
    if set(header).isdisjoint(ID_KEYS) or set(header).isdisjoint(TEXT_KEYS):
        # Without csv quoting: MS MARCO's passages have quotation marks of their own.
        for number, line in plain_lines(path):
            columns = line.split("\t")
            if len(columns) != 2:
                raise DataError(
                    f"{len(columns)} columns instead of `id<TAB>text`",
                    where=f"{path}:{number}",
                    hint="other columns need a first line that names them: id, text, title",
                )
            yield number, {"id": columns[0], "text": columns[1]}
        return
    rows = csv_rows(path)
    next(rows)
    for number, columns in rows:
        if len(columns) != len(header):
            raise DataError(
                f"{len(columns)} columns, but the header names {len(header)}",
                where=f"{path}:{number}",
                hint="separate columns by one tab; quote a field that holds one",
            )
        yield number, dict(zip(header, columns, strict=True))


def _question(number: int, row: Mapping[str, Any], path: Path) -> tuple[int, Question]:
    where = f"{path}:{number}"
    text = text_value(field(row, ("question", "text"), where), "question", where)
    if not text.strip():
        raise DataError("the question is empty", where=where)
    given = next((row[name] for name in ("id", "_id") if row.get(name) is not None), None)
    answers = _items(row, "answers", where)
    positives = _items(row, "positive_passage_ids", where)
    return number, Question(
        "" if given is None else id_value(given, "question id", where),
        text,
        tuple(text_value(answer, "answer", where) for answer in answers),
        frozenset(id_value(one, "positive passage id", where) for one in positives),
    )


def _items(row: Mapping[str, Any], name: str, where: str) -> list[Any]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise DataError(f"{name!r} is not a list but {value!r:.60}", where=where)
    return value


def _question_table(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield rows of DPR's question and answer list, or of MS MARCO's id and question."""
    if _answers_come_first(path):
        for number, columns in csv_rows(path):
            answers = _answers(columns[1]) if len(columns) == 2 else None
            if answers is None:
                raise DataError(
                    "not a question and a Python list of its answers, separated by a tab",
                    where=f"{path}:{number}",
                    hint="such a file has no header line",
                )
            yield number, {"question": columns[0], "answers": answers}
        return
    for number, line in plain_lines(path):
        columns = line.split("\t")
        if len(columns) != 2 or _answers(columns[1]) is not None:
            raise DataError(
                "not `id<TAB>question`, as this file's first line is",
                where=f"{path}:{number}",
                hint="a file of questions and answer lists has no header line",
            )
        yield number, {"id": columns[0], "question": columns[1]}


def _answers_come_first(path: Path) -> bool:
    """Return whether this is DPR's table: a .csv, or a list of answers in its first row."""
    if ".csv" in path.suffixes:
        return True
    try:
        _, columns = next(csv_rows(path), (0, []))
    except DataError:  # MS MARCO's questions have quotation marks of their own
        return False
    return len(columns) == 2 and _answers(columns[1]) is not None


def _answers(literal: str) -> list[Any] | None:
    if not literal.lstrip().startswith("["):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuratedTREC's expressions hold "\s" in plain strings
        try:
            value = ast.literal_eval(literal.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    return value if isinstance(value, list) else None


def _with_ids(rows: list[tuple[int, Question]], path: Path) -> list[Question]:
    lines: dict[str, int] = {}
    for number, question in rows:
        if question.question_id in lines:
            raise DataError(
                f"question id {question.question_id!r} occurs on line "
                f"{lines[question.question_id]} already",
                where=f"{path}:{number}",
                hint="give every question an id of its own",
            )
        if question.question_id:
            lines[question.question_id] = number
    named = []
    for number, question in rows:
        own = str(number)
        while own in lines:
            own = f"line-{own}"
        named.append(question if question.question_id else replace(question, question_id=own))
    return named


def _is_dataset(source: str | Path) -> bool:
    return str(source).startswith("hf:")


def _dataset(source: str | Path) -> Any:
    import datasets  # here, because it takes a second to load

    place, _, split = str(source).removeprefix("hf:").rpartition("/")
    name, _, config = place.partition(":")
    try:
        return datasets.load_dataset(name, config or None, split=split)
    except (OSError, ValueError) as error:
        raise DataError(
            f"cannot load the dataset: {error}",
            where=source,
            hint="write hf:NAME[:CONFIG]/SPLIT, such as hf:BeIR/scifact:corpus/corpus",
        ) from error
