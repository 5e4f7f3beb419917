"""How many rows a file has, counted without any of the readers: for finding rows that got lost."""

from __future__ import annotations

import ast
import contextlib
import json
from collections.abc import Iterator

_HEADER = ("query-id", "query_id", "queryid", "qid", "query", "question-id", "question_id")
_IDS = {"id", "docid", "pid", "passageid", "psgid", "corpusid", "docno"}
_QUESTION_IDS = {"id", "qid", "queryid", "questionid"}
_QUESTIONS = {"question", "query", "text", "questiontext", "querytext"}
_ASKED = {"question", "query", "text", "question_text", "query_text"}
_TEXTS = {"text", "contents", "content", "passage", "passagetext", "document", "body", "paragraph"}


def num_lines(data: bytes) -> int:
    """Count the lines that are not blank."""
    return sum(1 for line in _lines(data) if _text(line).strip())


def num_judgements(data: bytes) -> int:
    """Count lines that are not blank, without a header that names the columns."""
    filled = [line for line in map(_text, _lines(data)) if line.strip()]
    first = next((line for line in filled if "\ufffd" not in line), "")
    names = first.split("\t") if "\t" in first else first.split()
    return len(filled) - (len(names) == 3 and names[0].strip().lower() in _HEADER)


def num_passages(data: bytes) -> int:
    """Count the rows of a .tsv of passages: csv under a header, else lines."""
    filled = [line for line in _lines(data) if _text(line).strip()]
    header = {_squeezed(name) for name in _row(filled[0]).split("\t")} if filled else set()
    if header & _IDS and header & {"text", "contents"}:
        starts = list(_csv_rows(data))
        place = _lines(data).index(filled[0])
        return len([start for start in starts if start != place])
    return num_lines(data) - _names_two_columns(filled, _IDS, _TEXTS)


def num_questions(data: bytes) -> int:
    """Count the rows of a .tsv of questions: lines, or csv where the first has answers."""
    lines = _lines(data)
    first = next((at for at, line in enumerate(lines) if line.strip(b"\r\n")), None)
    length = None if first is None else _row_length(lines, first)
    with contextlib.suppress(Exception):
        _, answers = b"".join(lines[first : first + length]).decode().split("\t")
        # Without the quotation marks of csv.
        if isinstance(ast.literal_eval(answers.strip('" \r\n').replace('""', '"')), list):
            return num_csv_rows(data)
    filled = [line for line in lines if _text(line).strip()]
    return num_lines(data) - _names_two_columns(filled, _QUESTION_IDS, _QUESTIONS)


def num_asked(data: bytes) -> int:
    """Count the lines of a .txt of questions, without a first one that is a column's name."""
    filled = [_text(line).strip() for line in _lines(data) if _text(line).strip()]
    first = next((line for line in filled if "\ufffd" not in line), "")  # the others cannot be read
    return len(filled) - (first.lower() in _ASKED)


def num_csv_rows(data: bytes) -> int:
    """Count csv rows; a line at which none can start counts as one."""
    return len(list(_csv_rows(data)))


def num_listed(data: bytes) -> int:
    """Count the entries of one JSON list."""
    return len(json.loads(data.decode("utf-8-sig")))


def num_examples(data: bytes) -> int:
    """Count the entries of one JSON list, or the lines where the file does not begin with one."""
    is_list = _text(data).removeprefix("\ufeff").lstrip(" \t\n\r").startswith("[")
    return num_listed(data) if is_list else num_lines(data)


def num_members(data: bytes) -> int:
    """Count the members of one JSON object of objects, or what other JSON has."""
    with contextlib.suppress(ValueError, RecursionError):
        found = json.loads(data.decode("utf-8-sig"), object_pairs_hook=tuple)  # with what repeats
        if isinstance(found, tuple) and found and isinstance(found[0][1], tuple):
            return len(found)
    return num_examples(data)


def num_below_header(data: bytes) -> int:
    """Count the csv rows but the first."""
    return num_csv_rows(data) - 1


def _names_two_columns(filled: list[bytes], ids: set[str], texts: set[str]) -> bool:
    """Return whether the first line that is not blank names an id and a text, or any word."""
    readable = (_row(line) for line in filled if "\ufffd" not in _text(line))
    names = next(readable, "").split("\t")
    if len(names) != 2:
        return False
    first, second = map(_squeezed, names)
    if first in ids and (second in texts or len(names[1].strip(' "').split()) == 1):
        return True
    return first in texts and second in ids


def _squeezed(name: str) -> str:
    return "".join(letter for letter in name.strip(' "\r').lower() if letter not in "-_ ")


def _lines(data: bytes) -> list[bytes]:
    if b"\n" not in data:
        data = data.replace(b"\r", b"\n")
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return [line + b"\n" for line in lines[:-1]] + [line for line in lines[-1:] if line]


def _text(line: bytes) -> str:
    return line.decode(errors="replace")


def _row(line: bytes) -> str:
    return _text(line).removesuffix("\n").removesuffix("\r")


def _csv_rows(data: bytes) -> Iterator[int]:
    """Yield the number of the line, from 0, that each row starts on, good or bad."""
    lines = _lines(data)
    at = 0
    while at < len(lines):
        taken = _row_length(lines, at)
        if taken is None or _text(lines[at]).strip("\r\n"):
            yield at
        at += taken or 1


def _row_length(lines: list[bytes], at: int) -> int | None:
    """Return how many lines the row takes that starts here, None where none can."""
    state = "start of a field"
    for taken, line in enumerate(lines[at:], start=1):
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return None
        for character in text:
            state = _NEXT[state].get(character, _NEXT[state]["other"])
        if state == "broken":
            return None
        if state != "quoted":
            return taken
    return None


# The rules of a strict csv row, by state: what a character leads to.
_ENDS = {"\r": "end", "\n": "end", "\t": "start of a field"}
_NEXT = {
    "start of a field": {**_ENDS, '"': "quoted", "other": "plain"},
    "plain": {**_ENDS, "other": "plain"},
    "quoted": {'"': "behind a quotation mark", "other": "quoted"},
    "behind a quotation mark": {**_ENDS, '"': "quoted", "other": "broken"},
    "end": {"\r": "end", "\n": "end", "other": "broken"},
    "broken": {"other": "broken"},
}
