"""Answer match as DPR defines it: the answer's tokens stand in the passage's text, in a row.

That rule makes one token of a run of letters, and so of a whole Chinese, Japanese or Thai clause.
Questions in scripts without spaces are matched by characters instead: there each letter with its
marks is a token, and Korean words may go on behind the answer, with their particles. All other
questions are matched by DPR's rule, to the letter.

Source: Karpukhin et al. 2020 (DPR), top-k accuracy; Chen et al. 2017 (DrQA), simple tokenizer.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex as unicode_regex

from art.data.scripts import HANGUL, RUN_ON, UNSPACED, lower_case, run_on_share
from art.errors import DataError

_FLAGS = unicode_regex.IGNORECASE | unicode_regex.UNICODE | unicode_regex.MULTILINE
_TOKEN = unicode_regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]", _FLAGS)
_CHARACTER_TOKEN = unicode_regex.compile(
    rf"(?V1){UNSPACED}\p{{M}}*|(?P<korean>{HANGUL}+)"
    rf"|(?:(?!{RUN_ON})[\p{{L}}\p{{N}}\p{{M}}])+|[^\p{{Z}}\p{{C}}]"
)
_CACHED_PASSAGES = 1 << 16
_LEAST = 0.1  # of a question's letters, which may be a foreign name in Latin letters but for few
# A control character is never part of a token, so joined tokens can be searched as one string.
_BREAK = "\0"
_KOREAN_START = "\1"  # before the first letter of a Korean word: an answer begins where a word does


def tokenize(text: str) -> list[str]:
    """Return the lower-case tokens of a text: runs of letters, digits and marks; single symbols."""
    return [token.lower() for token in _TOKEN.findall(unicodedata.normalize("NFD", text))]


def character_tokens(text: str) -> list[str]:
    """Return the lower-case tokens of a text in which scripts without spaces are cut into letters.

    Each such letter is a token with its marks; Korean words are cut so too, their first letter
    marked as one. What is left are runs of letters, digits and marks, and single symbols.
    """
    return list(_character_tokens(lower_case(text)))


def _character_tokens(text: str) -> Iterator[str]:
    for token in _CHARACTER_TOKEN.finditer(text):
        if token["korean"]:
            yield _KOREAN_START + token[0][0]
            yield from token[0][1:]
        else:
            yield token[0]


def has_answer(
    text: str, answers: Sequence[str], *, question: str = "", regex: bool = False
) -> bool:
    """Return whether one of the answers stands in the text.

    Args:
        text: a passage's text, without its title.
        answers: strings, or regular expressions when `regex` is set.
        question: that they answer.
        regex: search for each answer as a regular expression (CuratedTREC) instead.

    Raises:
        DataError: an answer is not a valid regular expression.
    """
    by_characters = needs_characters(question, answers)
    matcher = AnswerMatcher([answers], regex=regex, by_characters=[by_characters])
    return matcher.matches(0, text)


def needs_characters(question: str, answers: Sequence[str]) -> bool:
    """Return whether a question is in a script without spaces or Korean, or each of its answers.

    An English question that has such an answer among others, as TriviaQA's have, is not.
    """
    if run_on_share(question) > _LEAST:
        return True
    return bool(answers) and all(run_on_share(answer) > 0 for answer in answers)


class AnswerMatcher:
    """The answers of many questions, prepared once, to be looked for in many passages.

    Args:
        answers: the answers of every question, by the question's position.
        regex: answers are regular expressions.
        by_characters: which questions are matched by characters; None for none, DPR's own rule.

    Attributes:
        empty: the position of a question for each of its answers in which nothing is left to look
            for; such an answer is never found.

    Raises:
        DataError: an answer is not a valid regular expression.
    """

    def __init__(
        self,
        answers: Sequence[Sequence[str]],
        *,
        regex: bool = False,
        by_characters: Sequence[bool] | None = None,
    ) -> None:
        self.empty: list[int] = []
        self._regex = regex
        self._by_characters = by_characters or [False] * len(answers)
        self._needles: list[list[_Needle]] = []
        self._patterns: list[list[Any]] = []
        for position, texts in enumerate(answers):
            cut = character_tokens if self._by_characters[position] else tokenize
            kept = [text for text in texts if (text.strip() if regex else cut(text))]
            self.empty += [position] * (len(texts) - len(kept))
            self._patterns.append([compiled(text) for text in kept] if regex else [])
            self._needles.append([] if regex else [_Needle.of(cut(text)) for text in kept])
        # Questions about one subject retrieve the same passages; tokenising is what takes the time.
        self._haystack = lru_cache(_CACHED_PASSAGES)(_haystack)

    def matches(self, question: int, text: str) -> bool:
        """Return whether an answer of the question at this position stands in the text."""
        if self._regex:
            normal = unicodedata.normalize("NFD", text)
            return any(pattern.search(normal) for pattern in self._patterns[question])
        if self._by_characters[question]:
            haystack = self._haystack(text, True)
            return any(needle.joined in haystack for needle in self._needles[question])
        folded = _fold(unicodedata.normalize("NFD", text))
        return any(
            all(token in folded for token in needle.folded)
            and needle.joined in self._haystack(text, False)
            for needle in self._needles[question]
        )


@dataclass(frozen=True, slots=True)
class _Needle:
    """An answer: its joined tokens decide, its folded ones rule out without tokenising."""

    joined: str
    folded: tuple[str, ...]

    @classmethod
    def of(cls, tokens: list[str]) -> _Needle:
        return cls(_joined(tokens), tuple(dict.fromkeys(map(_fold, tokens))))


def _haystack(text: str, by_characters: bool) -> str:
    return _joined(character_tokens(text) if by_characters else tokenize(text))


def _joined(tokens: list[str]) -> str:
    return _BREAK + _BREAK.join(tokens) + _BREAK


def _fold(text: str) -> str:
    # Lower-casing looks at neighbours for one letter only, the Greek sigma at the end of a word.
    # Without that difference the folded token is part of the folded text, wherever it is cut out.
    final, elsewhere = "\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}"
    return text.lower().replace(final, elsewhere)


def compiled(pattern: str) -> Any:
    """Return an answer that is a regular expression, compiled; it is for text in NFD.

    Raises:
        DataError: it is not valid.
    """
    try:
        return unicode_regex.compile(unicodedata.normalize("NFD", pattern), _FLAGS)
    except unicode_regex.error as error:
        raise DataError(
            f"the answer {pattern!r} is not a valid regular expression: {error}",
            hint="repair it, or match the answers as plain text",
        ) from error
