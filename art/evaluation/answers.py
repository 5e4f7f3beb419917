"""Answer match in the passages of a corpus, see `art.data.answers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from art.data.answers import AnswerMatcher, needs_characters
from art.data.batching import evenly_spaced
from art.data.scripts import run_on_share

if TYPE_CHECKING:
    from art.data.formats import Question
    from art.data.passages import PassageStore

_SAMPLED_PASSAGES = 256
_MOST = 0.5  # of a corpus' letters


def matcher_of(
    questions: Sequence[Question],
    store: PassageStore,
    *,
    regex: bool = False,
    answers: Sequence[Sequence[str]] | None = None,
) -> AnswerMatcher:
    """Return what looks for the answers of questions in the passages of a corpus.

    Args:
        questions: Q of them; in scripts without spaces they are matched by characters, all of them
            where the corpus is in such scripts.
        store: the passages, of which 256 are looked at.
        regex: answers are regular expressions.
        answers: of each question, those that are looked for; None for its own.

    Raises:
        DataError: an answer is not a valid regular expression.
    """
    sought = [one.answers for one in questions] if answers is None else answers
    shares = [run_on_share(text) for text in sampled_texts(store)]
    whole = sum(shares) > _MOST * len(shares)
    by_characters = [
        whole or needs_characters(one.text, of) for one, of in zip(questions, sought, strict=True)
    ]
    return AnswerMatcher(sought, regex=regex, by_characters=by_characters)


def sampled_texts(store: PassageStore) -> list[str]:
    """Return the texts of at most 256 passages, evenly spaced."""
    return [store[row].text for row in evenly_spaced(len(store), _SAMPLED_PASSAGES)]
