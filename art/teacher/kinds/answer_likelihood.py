"""How likely a question's answer is, given the passage and the question.

Source: Shi et al. 2023, "REPLUG: Retrieval-Augmented Black-Box Language Models".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from art.data.pairs import Asked, beside_passage, joined
from art.data.prompts import Family, LikelihoodTemplate
from art.errors import DataError
from art.teacher.base import KINDS
from art.teacher.likelihood import ASSUMED_INSTRUCTION, LikelihoodTeacher

if TYPE_CHECKING:
    from art.data.formats import Question

ANSWER_PROMPT = "Passage: {passage} . Question: {question} Answer:"

_ASSUMED_ANSWER = 4  # tokens, where no answers are here


class AnswerTemplate(LikelihoodTemplate):
    """Context and target of a frozen language model that is asked a question's answer.

    Args:
        tokenizer: a Hugging Face tokenizer with a Rust backend.
        answers: question → its answer, for every question that will be asked.
        family: `encoder-decoder`, the answer is decoded, or `causal`, it continues the prompt.
        passage_prompt: text with `{passage}` and `{question}` once each; None for `ANSWER_PROMPT`.
        max_length: tokens of the context at most; the passage is cut, nothing else.
        question_length: tokens of the answer at most.
        chat_template: put the prompt into the user's turn of the tokenizer's chat template.

    Raises:
        ConfigError: the prompt lacks a placeholder, leaves no room, or there is no chat template.
    """

    default_prompt: ClassVar[str] = ANSWER_PROMPT
    placeholders: ClassVar[tuple[str, ...]] = ("{passage}", "{question}")

    def __init__(
        self,
        tokenizer: Any,
        answers: Mapping[str, str],
        *,
        family: Family,
        passage_prompt: str | None = None,
        max_length: int = 512,
        question_length: int = 128,
        chat_template: bool = False,
    ) -> None:
        super().__init__(
            tokenizer,
            family=family,
            passage_prompt=passage_prompt,
            question_prefix="",
            max_length=max_length,
            question_length=question_length,
            chat_template=chat_template,
        )
        self._answers = answers

    def asked(self, question: str) -> Asked:
        """Return the ids of the question and of its answer; arrays of int32.

        Raises:
            DataError: there is no answer, nothing of it or of the question is left after
                tokenising, or the question leaves no room for a passage.
        """
        if question not in self._answers:
            raise DataError(f"no answer to {question!r} is known", hint="give its answers")
        after_space = self._after_space["{question}"]
        ids = beside_passage(self._encoder, question, self._room, after_space=after_space)
        return Asked(joined(ids), joined(self.target(self._answers[question])))


@KINDS.add
class AnswerLikelihood(LikelihoodTeacher):
    """The log-likelihood of a question's first answer, given the passage and the question."""

    name = "answer-likelihood"
    description = "how likely the question's first answer is, given passage and question (REPLUG)"
    unused = ("question_prefix",)
    placeholders = AnswerTemplate.placeholders
    layout = "answer scorer 1"

    @classmethod
    def make_template(
        cls,
        tokenizer: Any,
        *,
        answers: Mapping[str, str],
        question_prefix: str | None,
        **settings: Any,
    ) -> AnswerTemplate:
        """Return what puts passage and question into a prompt for the answer."""
        return AnswerTemplate(tokenizer, answers, **settings)

    @classmethod
    def needed_answers(cls, questions: Sequence[Question], where: str | Path) -> dict[str, str]:
        """Return of each question its first answer.

        A question that occurs several times has the first answer that comes with it.

        Args:
            questions: those it will be asked about.
            where: their file, for messages.

        Raises:
            DataError: some have no answer.
        """
        answers: dict[str, str] = {}
        for question in questions:
            for answer in filter(str.strip, question.answers[:1]):
                answers.setdefault(question.text, answer)
        missing = [question.text for question in questions if question.text not in answers]
        if missing:
            raise DataError(
                f"{len(missing):,} of {len(questions):,} questions have no answer, the first is "
                f"{missing[0]!r}",
                where=where,
                hint=f"teacher.kind: {cls.name} scores answers; give them, or choose another kind",
            )
        return answers

    @classmethod
    def assumed_lengths(
        cls, question: int, passage: int, settings: Mapping[str, Any]
    ) -> tuple[int, int]:
        """Return about how many tokens prompt and answer have."""
        context = passage + ASSUMED_INSTRUCTION + question
        return min(context, settings["max_length"]), _ASSUMED_ANSWER
