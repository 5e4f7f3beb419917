"""Answers compared as SQuAD compares them: exact match and F1 over words.

Source: Rajpurkar et al. 2016, the evaluation script of SQuAD 1.1. A word is what stands between
spaces, so in scripts without them F1 is hardly more than exact match. Unlike there, it makes no
difference whether a letter and its accent are written as one character or as two.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_WITHOUT_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalized(answer: str) -> str:
    """Return an answer in lower case, without ASCII punctuation, articles and surplus spaces."""
    bare = unicodedata.normalize("NFC", answer).lower().translate(_WITHOUT_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", bare).split())


def exact_match(given: str, accepted: Sequence[str]) -> bool:
    """Return whether a given answer is one of the accepted ones, all of them normalised."""
    return normalized(given) in map(normalized, accepted)


def f1(given: str, accepted: Sequence[str]) -> float:
    """Return the best F1 of the words of a given answer and those of an accepted one, normalised.

    Args:
        given: the answer.
        accepted: one at least.
    """
    return max(_f1(normalized(given).split(), normalized(one).split()) for one in accepted)


def _f1(given: list[str], accepted: list[str]) -> float:
    common = (Counter(given) & Counter(accepted)).total()
    return 2 * common / (len(given) + len(accepted)) if common else 0.0
