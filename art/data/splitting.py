"""Documents → passages of a hundred words that end with a sentence where they can.

Every word of a document is in exactly one passage, in its order; passages do not overlap, and none
reaches across a heading. Reading, cutting and writing stream, in constant memory.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import regex
from tqdm import tqdm

from art.data.documents import KNOWN, Document, Skipped, read_documents
from art.data.formats import Passage
from art.data.rows import BadRows
from art.errors import DataError
from art.files import atomic_write

PASSAGE_WORDS = 100  # the length of DPR's Wikipedia passages

# Lengths are whole numbers: a word is 20, whatever counts as a part of one is less.
_WORD = 20
_WORD_CHARACTERS = 30  # a longer run without a space counts as several words
_MOST, _LEAST = 1.3, 0.7  # of the wanted length, to end with a sentence

# Scripts written without spaces between words, and how long one of their characters is: a Chinese
# or Japanese word has about two, a Thai one about five.
_SHORT = r"\p{Han}\p{Hiragana}\p{Katakana}ー"
_LONG = r"\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}"
_SPACELESS = regex.compile(f"[{_SHORT}{_LONG}]")
_LENGTHS = ((regex.compile(f"[{_SHORT}]"), 10), (regex.compile(f"[{_LONG}]"), 4))
# One character of such a script, or a run of others; brackets that open go with what follows,
# marks and punctuation with what they follow.
_PIECE = regex.compile(
    rf"[\p{{Ps}}\p{{Pi}}]*(?:[{_SHORT}{_LONG}]"
    rf"|[^{_SHORT}{_LONG}\p{{Ps}}\p{{Pi}}]+)"
    r"(?:(?![\p{Ps}\p{Pi}])[\p{M}\p{P}])*|.",
    regex.DOTALL,
)

# Unicode's sentence terminals and the ellipsis; the wide ones need no space behind them.
_CLOSING = r"[\p{Pe}\p{Pf}\p{Pi}\"'*_]*$"
_WIDE_END = regex.compile(r"[\u3002\uff01\uff0e\uff1f\uff61]" + _CLOSING)
_END = regex.compile(r"[\p{Sentence_Terminal}\u2026]" + _CLOSING)
_LIST_NUMBER = regex.compile(r"\(?(?:\d{1,2}|\p{L})[.)]$")  # or an initial
_GOES_ON = regex.compile(r"[\p{P}\p{S}]*\p{Ll}")


class _Piece(NamedTuple):
    """A word, or a part of a run that has no spaces.

    Attributes:
        text: without white space.
        length: 20 for a word.
        is_parted: white space comes before it.
        ends: a sentence or a paragraph ends with it.
    """

    text: str
    length: int
    is_parted: bool
    ends: bool


@dataclass
class Split:
    """What became of the documents.

    Attributes:
        num_documents: with text.
        num_passages: written.
        skipped: what gave none, by reason.
    """

    num_documents: int = 0
    num_passages: int = 0
    skipped: Skipped = field(default_factory=Skipped)


def split_documents(
    source: str | Path,
    output: str | Path,
    *,
    words: int = PASSAGE_WORDS,
    bad_rows: BadRows | None = None,
    progress: bool = True,
) -> Split:
    """Write the passages of a file or folder of documents as JSON lines.

    Args:
        source: what `read_documents` reads.
        output: a `.jsonl` file of `id`, `title`, `text` and `source`, which `read_passages` reads;
            it appears when it is complete. Ids are `PATH#NUMBER`, numbered from 1.
        words: the length of a passage, 0.7 to 1.3 times this where a sentence ends there.
        bad_rows: collects lines that are not UTF-8 text and malformed rows; None to raise.
        progress: draw a progress bar.

    Returns:
        How much was written, and what was skipped.

    Raises:
        DataError: the output has another ending, a document cannot be read, or none has text.
        ArtError: the file cannot be written.
    """
    output = Path(output)
    if output.suffix.lower() != ".jsonl":
        raise DataError("passages are written as JSON lines", where=output, hint="end it in .jsonl")
    result = Split()
    documents = read_documents(source, result.skipped, exclude=output, bad_rows=bad_rows)
    bar = tqdm(desc="passages", unit="", unit_scale=True, disable=not progress)
    with bar, atomic_write(output) as file:
        for document in documents:
            num_passages = 0
            for passage in document_passages(document, words):
                row = {"id": passage.passage_id, "title": passage.title, "text": passage.text}
                row["source"] = document.source
                file.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                num_passages += 1
                bar.update()
            if num_passages == 0:
                result.skipped.add("without text", document.source)
            result.num_documents += num_passages > 0
            result.num_passages += num_passages
        if not result.num_passages:
            what = f"there is no document with text; {result.skipped.summary()}"
            raise DataError(what, where=source, hint=f"known: {KNOWN}")
    return result


def document_passages(document: Document, words: int = PASSAGE_WORDS) -> Iterator[Passage]:
    """Yield one document's passages, numbered from 1; a new title begins a new passage."""
    number = 0
    for title, lines in groupby(document.lines, key=itemgetter(0)):
        for text in split_text((text for _, text in lines), words):
            number += 1
            yield Passage(f"{document.name}#{number}", title, text)


def split_text(lines: Iterable[str], words: int = PASSAGE_WORDS) -> Iterator[str]:
    """Cut text into passages of about this many words.

    A passage ends with the sentence whose end is nearest to `words`, between 0.7 and 1.3 times
    that; where there is none, it has exactly `words`. What is left at the end is added to the last
    passage up to 1.3 times. Scripts without spaces are counted by characters, and so are runs of
    more than thirty.

    Args:
        lines: pieces of text, parted by white space from each other; a blank one ends a paragraph,
            and with it a sentence.
        words: wanted length, at least 1.

    Returns:
        An iterator over the passages, their white space single spaces.
    """
    wanted, most = words * _WORD, int(words * _WORD * _MOST)
    held: deque[_Piece] = deque()
    length = 0
    for piece in _pieces(lines, words * _WORD_CHARACTERS):
        held.append(piece)
        length += piece.length
        while length > most and len(held) > 1:
            taken = [held.popleft() for _ in range(_cut(held, wanted))]
            length -= sum(piece.length for piece in taken)
            yield _joined(taken)
    if held:
        yield _joined(held)


def sentences(text: str) -> list[list[str]]:
    """Cut a text into its sentences, and these into their words.

    A word keeps a space before it where it had white space there, so that joining any run of words
    gives that part of the text again, its white space single spaces. Scripts without spaces between
    words are cut between characters. A blank line ends a sentence.
    """
    found: list[list[str]] = [[]]
    for piece in _pieces(text.splitlines(), PASSAGE_WORDS * _WORD_CHARACTERS):
        found[-1].append(" " * piece.is_parted + piece.text)
        if piece.ends:
            found.append([])
    return found[:-1]  # the last piece ends a sentence


def _cut(pieces: Iterable[_Piece], wanted: int) -> int:
    """Return how many of the pieces make the next passage, at least one."""
    length = full = 0
    best: tuple[float, int] | None = None
    for count, piece in enumerate(pieces, start=1):
        length += piece.length
        if length > wanted * _MOST:
            break
        if length <= wanted:
            full = count
        if piece.ends and length >= wanted * _LEAST:
            found = (abs(length - wanted), count)
            best = found if best is None else min(best, found)
    return max(1, full) if best is None else best[1]


def _joined(pieces: Iterable[_Piece]) -> str:
    return "".join(" " * piece.is_parted + piece.text for piece in pieces).lstrip(" ")


def _pieces(lines: Iterable[str], most_characters: int) -> Iterator[_Piece]:
    """Yield the words and parts of words of a text, each knowing whether a sentence ends there."""
    last: _Piece | None = None  # whether it ends a sentence is seen from what follows
    for line in lines:
        words = line.split()
        if not words and last:
            last = last._replace(ends=True)
        for word in words:
            is_parted = True
            for text in _parts(word, most_characters):
                if last:
                    ends = last.ends or _ends(last.text, text, is_parted)
                    yield last._replace(ends=True) if ends else last
                last = _Piece(text, _length(text), is_parted, ends=False)
                is_parted = False
    if last:
        yield last._replace(ends=True)


def _parts(word: str, most_characters: int) -> Iterator[str]:
    """Cut a word where its script has no spaces, or where it alone would fill a passage."""
    if word.isascii() and len(word) <= most_characters:
        yield word
        return
    whole = word.isascii() or not _SPACELESS.search(word)
    for part in [word] if whole else (match[0] for match in _PIECE.finditer(word)):
        for start in range(0, len(part), most_characters):
            yield part[start : start + most_characters]


def _length(text: str) -> int:
    if len(text) > _WORD_CHARACTERS:
        return _WORD * -(-len(text) // _WORD_CHARACTERS)
    if text.isascii():
        return _WORD
    return next((length for script, length in _LENGTHS if script.search(text)), _WORD)


def _ends(text: str, following: str, is_parted: bool) -> bool:
    """Return whether a sentence ends with a piece, given the next one."""
    if text[-1].isalnum():  # most words
        return False
    if _WIDE_END.search(text):
        return True
    if not is_parted or not _END.search(text) or _LIST_NUMBER.match(text):
        return False
    return _GOES_ON.match(following) is None
