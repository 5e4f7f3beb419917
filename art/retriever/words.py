"""Texts cut into the words that BM25 matches.

A word is a run of letters, marks and digits, in lower case; of English and its neighbours exactly
what `\\w+` finds. Where a script puts no spaces between words, each two characters in a row are a
word (a character: a letter with its marks), as in Lucene's CJK analyzer; so they are in Korean,
whose particles are written on to the words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

import regex as unicode_regex

from art.data.scripts import RUN_ON, is_everyday, lower_case, runs_on
from art.retriever.languages import NO_LANGUAGE, stemmer_of, stop_words_of

_EVERYDAY_WORD = re.compile(r"\w+")
_WORD = unicode_regex.compile(r"[\p{L}\p{N}_][\p{L}\p{N}\p{Mn}\p{Mc}_]*")
_CHARACTER = unicode_regex.compile(rf"(?V1){RUN_ON}\p{{M}}*")
_PIECE = unicode_regex.compile(rf"(?V1)(?P<run>(?:{RUN_ON}\p{{M}}*)+)|(?:(?!{RUN_ON}).)+")


def split_words(text: str, *, singles: bool = False) -> list[str]:
    """Return the words of a text, in order, repetitions included.

    Args:
        text: of a passage or a question.
        singles: of scripts without spaces also each character, which a question of one character
            asks for. For passages.
    """
    if is_everyday(text):
        return _EVERYDAY_WORD.findall(text.lower())
    text = lower_case(text)
    words: list[str] = _WORD.findall(text)
    if not runs_on(text):
        return words
    return [piece for word in words for piece in _pieces(word, singles)]


def _pieces(word: str, singles: bool) -> Iterator[str]:
    for piece in _PIECE.finditer(word):
        if piece["run"] is None:
            yield piece[0]
            continue
        characters = _CHARACTER.findall(piece[0])
        if singles or len(characters) == 1:
            yield from characters
        yield from map("".join, pairwise(characters))


class WordCutter:
    """Cuts texts into words of one language: without its stop words, stemmed.

    Args:
        language: one of `languages()`; `none` for words as they stand.

    Attributes:
        language: the same.
    """

    def __init__(self, language: str) -> None:
        self.language = language
        self._stop_words = stop_words_of(language)
        self._stemmer = None if language == NO_LANGUAGE else stemmer_of(language)

    def __call__(self, text: str, *, singles: bool = False) -> list[str]:
        """Return the stems of a text's words, see `split_words`."""
        stop_words = self._stop_words
        words = [word for word in split_words(text, singles=singles) if word not in stop_words]
        if self._stemmer is None:
            return words
        stems: list[str] = self._stemmer.stemWords(words)
        return stems
