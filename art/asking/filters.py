"""Faults of generated questions that their text shows, beside the passage and beside each other."""

from __future__ import annotations

import math
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import combinations

from art.asking.asker import AskedQuestion
from art.asking.kinds import QuestionKind
from art.data.formats import Passage
from art.data.scripts import scripts_of
from art.retriever.languages import ENGLISH, little_words
from art.retriever.words import split_words

EMPTY = "empty"
CUT_OFF = "cut off"
LEFTOVERS = "leftovers of the prompt"
TOO_SHORT = "too short"
OTHER_LANGUAGE = "another language than the passage"
COPIED = "copied from the passage"
COPY_OF_EXAMPLE = "copied from an example"
DUPLICATE = "duplicate"
NEAR_DUPLICATE = "near-duplicate"

_LEAST_WORDS = 3
_LEAST_LITTLE_WORDS = 2  # in a question, and in a passage, for their language to be plain
# Short questions have few of the commonest little words; and English is what most models fall into.
_ENGLISH_QUESTIONS = frozenset(["what", "who", "when", "where", "why", "how", "did", "does"])
_RUN = 4  # words in a row that two texts do not share by chance
_ALIKE = 0.8  # words in common of all words of two texts, for them to be near-duplicates
_KEY_WORDS = 2  # that two texts must share to be compared: many share one

Words = Sequence[str]


class TextFilter:
    """Finds the first fault of a question, whatever else was asked.

    Args:
        kinds: of question.
        prompts: their prompts' texts, `{passage}` standing for the passage, by the kinds' names.
    """

    def __init__(self, kinds: Sequence[QuestionKind], prompts: dict[str, str]) -> None:
        self._kinds = {kind.name: kind for kind in kinds}
        # Of either part alone: what stands on both sides of a passage is no run.
        self._instructions = {
            name: {run for part in text.split("{passage}") for run in _runs(split_words(part))}
            for name, text in prompts.items()
        }
        self._labels = ("passage:", *(kind.label.lower() for kind in kinds))

    def fault(self, question: AskedQuestion, passage: Passage) -> str | None:
        """Return what is wrong with a question about a passage, None where nothing is."""
        if not question.text:
            return EMPTY
        if question.is_cut:
            return CUT_OFF
        words = split_words(question.text)
        lower = question.text.lower()
        runs = set(_runs(words))
        if runs & self._instructions[question.kind] or any(one in lower for one in self._labels):
            return LEFTOVERS
        if len(words) < _LEAST_WORDS:
            return TOO_SHORT
        about = f"{passage.title} {passage.text}"
        told = split_words(about)
        if _is_otherwise_written(question.text, about) or _is_in_other_language(words, told):
            return OTHER_LANGUAGE
        if copied_share(words, told) > self._kinds[question.kind].most_copied:
            return COPIED
        return None


def copied_share(words: Words, passage: Words) -> float:
    """Return the share of a question's words in runs that stand in the passage."""
    length = min(_RUN, len(words))
    known = set(_runs(passage, length))
    copied = [False] * len(words)
    for start, run in enumerate(_runs(words, length)):
        if run in known:
            copied[start : start + length] = [True] * length
    return sum(copied) / len(words)


def repetitions(texts: Sequence[str], examples: Sequence[str]) -> list[str | None]:
    """Return of each text what it repeats: an example, or a text before it; None where nothing.

    Every two texts are compared that could be alike: those that share some of their rarest words.

    Source: Bayardo et al. 2007, "Scaling Up All Pairs Similarity Search" (prefix filtering);
    several words at once: Wang et al. 2012, "Can We Beat the Prefix Filtering?".
    """
    cut = [split_words(text) for text in (*examples, *texts)]
    frequency = Counter(word for words in cut for word in set(words))
    by_key: dict[tuple[str, ...], list[int]] = defaultdict(list)
    found: list[str | None] = []
    for position, words in enumerate(cut):
        distinct = set(words)
        rarest = sorted(distinct, key=lambda word: (frequency[word], word))
        # Two sets that are alike share so many words among the first of either.
        rarest = rarest[: len(rarest) - math.ceil(_ALIKE * len(rarest)) + _KEY_WORDS]
        keys = list(combinations(rarest, min(_KEY_WORDS, len(rarest))))
        near = sorted({other for key in keys for other in by_key.get(key, ())})
        alike = [other for other in near if _similarity(distinct, set(cut[other])) >= _ALIKE]
        if not alike:
            for key in keys:
                by_key[key].append(position)
            found.append(None)
        elif alike[0] < len(examples):
            found.append(COPY_OF_EXAMPLE)
        else:
            same = any(cut[other] == words for other in alike)
            found.append(DUPLICATE if same else NEAR_DUPLICATE)
    return found[len(examples) :]


def _similarity(one: set[str], other: set[str]) -> float:
    return len(one & other) / len(one | other)


def _runs(words: Words, length: int = _RUN) -> list[tuple[str, ...]]:
    return [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]


def _is_otherwise_written(text: str, passage: str) -> bool:
    """Return whether most letters of a text are of scripts that the passage has not."""
    known = scripts_of(passage)
    if not known:  # numbers alone are of every language
        return False
    letters = list(filter(str.isalpha, unicodedata.normalize("NFKC", text)))
    foreign = [letter for letter in letters if scripts_of(letter) - known]
    return 2 * len(foreign) > len(letters)


def _is_in_other_language(words: Words, passage: Words) -> bool:
    """Return whether the little words of a question are plainly of another language."""
    of_passage = little_words(passage)
    own = max(of_passage, key=lambda language: of_passage[language])
    asked = _little_words_asked(set(words))[own]
    # What stands in the passage as well is no sign of another language.
    foreign = _little_words_asked(set(words) - set(passage))
    return of_passage[own] >= _LEAST_LITTLE_WORDS and any(
        count >= _LEAST_LITTLE_WORDS and count > asked and count > of_passage[language]
        for language, count in foreign.items()
        if language != own
    )


def _little_words_asked(words: set[str]) -> dict[str, int]:
    found = little_words(words)
    found[ENGLISH] += len(words & _ENGLISH_QUESTIONS)
    return found
