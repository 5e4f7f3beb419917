"""How long a run's texts are: tokens of a sample of them, or assumed where they are not here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from art.data.formats import Passage
from art.data.pairs import Ids
from art.planning.inventory import Inventory
from art.planning.rates import Sample
from art.retriever.loading import DEFAULT_PASSAGE_LENGTH, DEFAULT_QUESTION_LENGTH
from art.teacher.registry import KINDS

_SAMPLED = 256
# Where no texts are here: passages of 100 words with a title, questions of a dozen words.
_ASSUMED_PASSAGE, _ASSUMED_QUESTION = 150, 16


@dataclass(frozen=True)
class Lengths:
    """Tokens of a sample of the run's texts, as each model reads them.

    Attributes:
        questions: of the question tower.
        passages: of the passage tower.
        firsts: of the teacher, the first part of each pair.
        seconds: of the teacher, the second part of each pair.
        teacher_passages: of the teacher, passages uncut.
    """

    questions: list[int]
    passages: list[int]
    firsts: list[int]
    seconds: list[int]
    teacher_passages: list[int]


def sample_texts(parts: Inventory) -> tuple[Sample | None, Lengths]:
    """Encode some of the run's texts where both texts and models are here, else assume lengths."""
    config, retriever, teacher = parts.config, parts.retriever, parts.teacher
    found = _some_texts(parts)
    if found and retriever and (teacher or parts.teacher_settings is None):
        texts, chosen = found
        titles, bodies = [one.title for one in chosen], [one.text for one in chosen]
        template = teacher.template if teacher else None
        ids = Sample(
            questions=retriever.question_template.questions(texts),
            passages=retriever.passage_template(titles, bodies),
            asked=[template.asked(text) for text in texts] if template else [],
            teacher_passages=template(titles, bodies) if template else [],
        )
        pairs = [*map(template.pair, ids.asked, ids.teacher_passages)] if template else []
        firsts, seconds = zip(*pairs, strict=True) if pairs else ((), ())
        parts.basis.append(
            f"lengths of {_SAMPLED} of the run's own texts: questions of "
            f"{_mean(ids.questions):.0f} tokens, passages of {_mean(ids.passages):.0f}"
            + (
                f", pairs for the teacher of {_mean(firsts):.0f} + {_mean(seconds):.0f}"
                if pairs
                else ""
            )
        )
        every = (ids.questions, ids.passages, firsts, seconds, ids.teacher_passages)
        return ids, Lengths(*([len(one) for one in each] for each in every))
    question, passage = _ASSUMED_QUESTION, _ASSUMED_PASSAGE
    because = "" if config.reader else ", because texts or tokenizers are not here"
    parts.basis.append(
        f"lengths assumed: questions of {question} tokens, passages of {passage} (100 words and a "
        f"title){because}"
    )
    student, settings = config.towers, parts.teacher_settings
    first, second = 0, 0
    if settings is not None:
        kind = KINDS[settings.kind]
        first, second = kind.assumed_lengths(question, passage, settings.model_dump())
    read = passage + question if config.reader else passage  # a reader reads both at once
    return None, Lengths(
        questions=[min(question, student.question_length or DEFAULT_QUESTION_LENGTH)],
        passages=[min(read, student.passage_length or DEFAULT_PASSAGE_LENGTH)],
        firsts=[first],
        seconds=[second],
        teacher_passages=[passage] if settings is not None else [],
    )


def _some_texts(parts: Inventory) -> tuple[list[str], list[Passage]] | None:
    """Return some of the run's questions and passages; None where they are not here."""
    rng = np.random.default_rng(parts.config.training.seed)
    return parts.method.sample(parts.files, rng=rng, count=_SAMPLED)


def _mean(items: Sequence[Ids]) -> float:
    return float(np.mean([len(one) for one in items]))
