"""The kinds of teacher by name: loaded, asked what they need, their settings checked.

Importing it imports every module in `kinds/`, and neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art.registry import import_all
from art.teacher import kinds
from art.teacher.base import KINDS, Teacher

if TYPE_CHECKING:
    from art.data.formats import Question

# Settings of the section that say what training makes of scores, whatever kind gave them.
_OF_TRAINING = ("temperature", "blend", "reranker", "known_scores")

__all__ = ["KINDS", "answers_for", "load_teacher", "setting_faults"]

import_all(kinds.__name__, [*kinds.__path__])


def load_teacher(
    model: str,
    *,
    kind: str = "question-likelihood",
    answers: Mapping[str, str] | None = None,
    **settings: Any,
) -> Teacher:
    """Load a frozen teacher of some kind.

    Args:
        model: hub name, folder or file; see `load` of the kind.
        kind: of `KINDS`.
        answers: question → answer, from `answers_for`.
        settings: of the kind's `load`; those that mean nothing to it are passed over, because
            `setting_faults` refuses the ones that were chosen, and so are those of training.

    Raises:
        ArtError: there is no such kind, or the model cannot be loaded or is of another one.
    """
    chosen = KINDS[kind]
    others = (*chosen.unused, *_OF_TRAINING)
    own = {name: value for name, value in settings.items() if name not in others}
    return chosen.load(model, answers=answers or {}, **own)


def answers_for(kind: str, questions: Sequence[Question], *, where: str | Path) -> dict[str, str]:
    """Return the answers that a teacher of this kind needs, question → answer; empty for most.

    Args:
        kind: of `KINDS`.
        questions: those it will be asked about.
        where: their file, for messages.

    Raises:
        DataError: some have no answer.
    """
    return KINDS[kind].needed_answers(questions, where)


def setting_faults(
    kind: str, settings: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[str]:
    """Yield a line per setting that means nothing to a kind, or cannot be used as it is.

    Args:
        kind: of `KINDS`.
        settings: of the section `teacher`, by name.
        defaults: what each of them is where it is not given.

    Raises:
        ConfigError: there is no such kind.
    """
    chosen = KINDS[kind]
    for name in chosen.unused:
        if settings[name] != defaults[name]:
            yield f"teacher.{name}: means nothing to teacher.kind {kind}; leave it out"
    yield from chosen.faults(settings)
