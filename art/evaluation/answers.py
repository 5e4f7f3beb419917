"""Answer match as DPR defines it: the answer's tokens stand in the passage's text, in a row.

Source: Karpukhin et al. 2020 (DPR), top-k accuracy; Chen et al. 2017 (DrQA), simple tokenizer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex as unicode_regex

from art.errors import DataError

_FLAGS = unicode_regex.IGNORECASE | unicode_regex.UNICODE | unicode_regex.MULTILINE
_TOKEN = unicode_regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]", _FLAGS)
_CACHED_PASSAGES = 1 << 16
# A control character is never part of a token, so joined tokens can be searched as one string.
_BREAK = "\0"


def tokenize(text: str) -> list[str]:
    """Return the lower-case tokens of a text: runs of letters, digits and marks; single symbols."""
    return [token.lower() for token in _TOKEN.findall(unicodedata.normalize("NFD", text))]


def has_answer(text: str, answers: Sequence[str], *, regex: bool = False) -> bool:
    """Return whether one of the answers stands in the text.

    Args:
        text: a passage's text, without its title.
        answers: strings, or regular expressions when `regex` is set.
        regex: search for each answer as a regular expression (CuratedTREC) instead.

    Raises:
        DataError: an answer is not a valid regular expression.
    """
    return AnswerMatcher([answers], regex=regex).matches(0, text)


class AnswerMatcher:
    """The answers of many questions, prepared once, to be looked for in many passages.

    Args:
        answers: the answers of every question, by the question's position.
        regex: answers are regular expressions.

    Attributes:
        empty: the position of a question for each of its answers in which nothing is left to look
            for; such an answer is never found.

    Raises:
        DataError: an answer is not a valid regular expression.
    """

    def __init__(self, answers: Sequence[Sequence[str]], *, regex: bool = False) -> None:
        self.empty: list[int] = []
        self._regex = regex
        self._needles: list[list[_Needle]] = []
        self._patterns: list[list[Any]] = []
        for position, texts in enumerate(answers):
            kept = [text for text in texts if (text.strip() if regex else tokenize(text))]
            self.empty += [position] * (len(texts) - len(kept))
            self._patterns.append([_compile(text) for text in kept] if regex else [])
            self._needles.append([] if regex else [_Needle.of(text) for text in kept])
        # Questions about one subject retrieve the same passages; tokenising is what takes the time.
        self._haystack = lru_cache(_CACHED_PASSAGES)(_haystack)

    def matches(self, question: int, text: str) -> bool:
        """Return whether an answer of the question at this position stands in the text."""
        normal = unicodedata.normalize("NFD", text)
        if self._regex:
            return any(pattern.search(normal) for pattern in self._patterns[question])
        folded = _fold(normal)
        return any(
            all(token in folded for token in needle.folded)
            and needle.joined in self._haystack(text)
            for needle in self._needles[question]
        )


@dataclass(frozen=True, slots=True)
class _Needle:
    """An answer: its joined tokens decide, its folded ones rule out without tokenising."""

    joined: str
    folded: tuple[str, ...]

    @classmethod
    def of(cls, answer: str) -> _Needle:
        return cls(_haystack(answer), tuple(dict.fromkeys(map(_fold, tokenize(answer)))))


def _haystack(text: str) -> str:
    return _BREAK + _BREAK.join(tokenize(text)) + _BREAK


def _fold(text: str) -> str:
    # Lower-casing looks at neighbours for one letter only, the Greek sigma at the end of a word.
    # Without that difference the folded token is part of the folded text, wherever it is cut out.
    final, elsewhere = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"
    return text.lower().replace(final, elsewhere)


def _compile(pattern: str) -> Any:
    try:
        return unicode_regex.compile(unicodedata.normalize("NFD", pattern), _FLAGS)
    except unicode_regex.error as error:
        raise DataError(
            f"the answer {pattern!r} is not a valid regular expression: {error}",
            hint="repair it, or match the answers as plain text",
        ) from error
