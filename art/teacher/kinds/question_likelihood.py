"""How likely the question is, given the passage: the teacher of the paper.

Source: Sachan et al. 2023, "Questions Are All You Need to Train a Dense Passage Retriever" (ART).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from art.data.prompts import LikelihoodTemplate
from art.teacher.base import KINDS
from art.teacher.likelihood import ASSUMED_INSTRUCTION, LikelihoodTeacher

_ASSUMED_PREFIX = 4  # tokens before the question, where no texts are here


@KINDS.add
class QuestionLikelihood(LikelihoodTeacher):
    """The question's log-likelihood given the passage, under a frozen language model."""

    name = "question-likelihood"
    description = "how likely the question is, given the passage (ART)"
    placeholders = LikelihoodTemplate.placeholders
    layout = "scorer 1"

    @classmethod
    def make_template(
        cls,
        tokenizer: Any,
        *,
        answers: Mapping[str, str],
        question_prefix: str | None,
        **settings: Any,
    ) -> LikelihoodTemplate:
        """Return what puts the passage into a prompt for its question."""
        return LikelihoodTemplate(tokenizer, question_prefix=question_prefix, **settings)

    @classmethod
    def _prompt_settings(cls, template: LikelihoodTemplate) -> list[object]:
        own = super()._prompt_settings(template)
        # A decoder-only model's prompt has the prefix in it.
        return own if template.family == "causal" else [*own, template.question_prefix]

    @classmethod
    def assumed_lengths(
        cls, question: int, passage: int, settings: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Return about how many tokens prompt and question have."""
        context = min(passage + ASSUMED_INSTRUCTION, settings["max_length"])
        return context, min(question + _ASSUMED_PREFIX, settings["question_length"])
