"""Passages, questions and relevance judgements in the layouts users arrive with.

Nothing is dropped silently: a row that does not fit is a `RowError` with its file and line, or is
counted and listed where bad rows are collected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from art.data.records import (
    ID_KEYS,
    TEXT_KEYS,
    Passage,
    Question,
    answered_question,
    answers_of,
    bare_question,
    is_qrels_header,
    judgement_of,
    ms_marco_passage,
    ms_marco_question,
    named_passage,
    passage_of,
    question_of,
)
from art.data.rows import (
    BadRows,
    converted,
    csv_rows,
    json_objects,
    plain_lines,
    refuse,
)
from art.errors import DataError, RowError, shown

__all__ = [
    "Passage",
    "Question",
    "numbered_passages",
    "passage_files",
    "read_many_questions",
    "read_passages",
    "read_qrels",
    "read_questions",
]

_CHECK = "check the path"
_READ_AS_PASSAGES = (
    ".tsv with the header `id text title`, .tsv of `id<TAB>text` without one, .jsonl, each also "
    "as .gz; a BEIR folder; hf:NAME[:CONFIG]/SPLIT"
)
_READ_AS_QUESTIONS = (
    ".txt (one a line), .csv or .tsv of `question<TAB>['answer', …]` or `id<TAB>question`, .jsonl, "
    "each also as .gz; a BEIR folder"
)


def read_passages(source: str | Path, bad_rows: BadRows | None = None) -> Iterator[Passage]:
    """Stream a corpus in its order; ids are not compared (a store does that).

    Args:
        source: DPR TSV, MS MARCO TSV, JSON lines (`id|_id|docid`, `title`, `text|contents`), a
            BEIR folder, or `hf:NAME[:CONFIG]/SPLIT` for a Hugging Face dataset.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        DataError: the source is missing or of another kind; while reading, a row is malformed.
    """
    return (passage for _, passage in numbered_passages(source, bad_rows))


def numbered_passages(
    source: str | Path, bad_rows: BadRows | None = None
) -> Iterator[tuple[int, Passage]]:
    """Stream a corpus as `read_passages` does, each passage with its line."""
    if _is_dataset(source):
        rows: Iterable[tuple[int, Mapping[str, Any]]] = enumerate(_dataset(source), start=1)
        return converted(rows, passage_of, source, bad_rows)
    (path,) = passage_files(source)
    kind = _kind(path)
    if kind == ".jsonl":
        return converted(json_objects(path, bad_rows), passage_of, path, bad_rows)
    if kind != ".tsv":
        raise DataError(
            "not a corpus file that is known", where=path, hint=f"known: {_READ_AS_PASSAGES}"
        )
    return _passage_table(path, bad_rows)


def passage_files(source: str | Path) -> list[Path]:
    """Return the files that a corpus is read from.

    Raises:
        DataError: there is no such file or dataset.
    """
    if _is_dataset(source):
        return [Path(file["filename"]) for file in _dataset(source).cache_files]
    return [_file(source, "corpus.jsonl")]


def read_questions(source: str | Path, bad_rows: BadRows | None = None) -> list[Question]:
    """Read a file of questions; one without an id is called after its line.

    Args:
        source: text with one question a line, DPR `.csv`, MS MARCO `.tsv`, JSON lines
            (`id|_id`, `question|text`, `answers`, `positive_passage_ids`), or a BEIR folder.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        DataError: the file is missing, empty or of another kind, or a row is malformed.
    """
    path = _file(source, "queries.jsonl")
    kind = _kind(path)
    rows: Iterator[tuple[int, Any]]
    convert: Callable[[Any, str], Question] = question_of
    if kind == ".txt":
        rows, convert = plain_lines(path, bad_rows), bare_question
    elif kind == ".jsonl":
        rows = json_objects(path, bad_rows)
    elif kind in (".csv", ".tsv") and _answers_come_first(path):
        rows, convert = csv_rows(path, bad_rows), answered_question
    elif kind in (".csv", ".tsv"):
        rows, convert = plain_lines(path, bad_rows), ms_marco_question
    else:
        raise DataError(
            "not a question file that is known", where=path, hint=f"known: {_READ_AS_QUESTIONS}"
        )
    questions = _with_ids(converted(rows, convert, path, bad_rows), path, bad_rows)
    if not questions:
        raise DataError("there is no question", where=path, hint="is it the file you meant?")
    return questions


def read_many_questions(
    sources: Sequence[str | Path], bad_rows: BadRows | None = None
) -> list[Question]:
    """Read several files of questions as one list, in their order.

    An id that several files use is prefixed with its file's name; a name that occurs twice is
    numbered.

    Raises:
        DataError: as `read_questions`, or the prefixed ids meet others.
    """
    files = [read_questions(source, bad_rows) for source in sources]
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


def read_qrels(source: str | Path, bad_rows: BadRows | None = None) -> dict[str, dict[str, int]]:
    """Read relevance judgements, question id → passage id → grade.

    Args:
        source: BEIR's TSV (a header, then `query-id corpus-id score`) or TREC's four columns
            (`qid 0 docid grade`); either may be gzipped.
        bad_rows: collects malformed rows; None to raise at the first.

    Raises:
        DataError: the file is missing or empty, a row is malformed, or a pair is judged twice.
    """
    path = Path(source)
    if path.is_dir():
        found = ", ".join(sorted(str(one) for one in path.glob("**/*.tsv"))) or "no .tsv file"
        raise DataError("a folder, not a file of judgements", where=path, hint=f"it has {found}")
    judged: dict[str, dict[str, int]] = {}
    rows = plain_lines(path, bad_rows)
    first = [row for row in (next(rows, None),) if row and not is_qrels_header(row[1])]
    for number, (question_id, passage_id, grade) in converted(
        chain(first, rows), judgement_of, path, bad_rows
    ):
        grades = judged.setdefault(question_id, {})
        if passage_id in grades:
            what = f"{shown(question_id)} and {shown(passage_id)} are judged twice"
            refuse(RowError(what, where=f"{path}:{number}"), bad_rows)
        else:
            grades[passage_id] = grade
    if not judged:
        raise DataError("there is no judgement", where=path, hint="is it the file you meant?")
    return judged


def _kind(path: Path) -> str:
    return Path(path.name.removesuffix(".gz")).suffix.lower()


def _file(source: str | Path, name_in_folder: str) -> Path:
    """Return the file that a path means: itself, or in a BEIR folder the file of that name."""
    path = Path(source)
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except OSError as error:  # a name that is too long, a folder that is closed to us
        raise DataError(f"cannot read: {error.strerror}", where=path, hint=_CHECK) from error
    if not is_folder:
        if is_there:
            return path
        raise DataError("there is no such file", where=path, hint=_CHECK)
    for name in (name_in_folder, f"{name_in_folder}.gz"):
        if (path / name).is_file():
            return path / name
    raise DataError(f"the folder holds no {name_in_folder}", where=path, hint=_CHECK)


def _passage_table(path: Path, bad_rows: BadRows | None) -> Iterator[tuple[int, Passage]]:
    """Read a TSV by column name, with DPR's header, or MS MARCO's two bare columns."""
    # Never skipped: what is read of all other rows hangs on the first.
    place, first = next(plain_lines(path), (0, ""))
    header = [name.strip(' "').lower() for name in first.split("\t")]
    if set(header).isdisjoint(ID_KEYS) or set(header).isdisjoint(TEXT_KEYS):
        # Without csv quoting: MS MARCO's passages have quotation marks of their own.
        return converted(plain_lines(path, bad_rows), ms_marco_passage, path, bad_rows)
    _, columns = next(csv_rows(path))
    # A quotation mark left open in the header would take rows with it.
    if len(set(header)) < len(header) or len(columns) != len(header) or "\n" in "".join(columns):
        raise DataError(
            "the header does not name every column once",
            where=f"{path}:{place}",
            hint="begin the file with a line such as id<TAB>text<TAB>title",
        )
    rows = ((number, row) for number, row in csv_rows(path, bad_rows) if number != place)
    return converted(rows, partial(named_passage, header), path, bad_rows)


def _answers_come_first(path: Path) -> bool:
    """Return whether this is DPR's table: a .csv, or a list of answers in its first row."""
    if ".csv" in path.suffixes:
        return True
    try:
        _, columns = next(csv_rows(path), (0, []))
    except RowError:  # MS MARCO's questions have quotation marks of their own
        return False
    return len(columns) == 2 and answers_of(columns[1]) is not None


def _with_ids(
    rows: Iterable[tuple[int, Question]], path: Path, bad_rows: BadRows | None
) -> list[Question]:
    lines: dict[str, int] = {}
    kept: list[tuple[int, Question]] = []
    for number, question in rows:
        own = question.question_id
        if own in lines:
            error = RowError(
                f"question id {shown(own)} occurs on line {lines[own]} already",
                where=f"{path}:{number}",
                hint="give every question an id of its own",
            )
            refuse(error, bad_rows)
            continue
        if own:
            lines[own] = number
        kept.append((number, question))
    named = []
    for number, question in kept:
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
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"cannot load the dataset: {error}",
            where=source,
            hint="write hf:NAME[:CONFIG]/SPLIT, such as hf:BeIR/scifact:corpus/corpus",
        ) from error
