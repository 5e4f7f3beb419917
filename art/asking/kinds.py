"""The kinds of question that are asked of a passage, each a named prompt."""

from __future__ import annotations

from dataclasses import dataclass

from art.registry import Registry


@dataclass(frozen=True)
class QuestionKind:
    """What is asked for.

    Attributes:
        name: chooses it.
        instruction: to the language model, behind the passage.
        label: of what it writes, with its colon.
        most_copied: share of its words in runs that stand in the passage, at most; above it is
            rejected as copied.
    """

    name: str
    instruction: str
    label: str
    most_copied: float = 0.8


QUESTION_KINDS: Registry[QuestionKind] = Registry("kind of question")

QUESTION_KINDS.add(
    # The paper's, by which the same model scores
    QuestionKind("question", "Please write a question based on this passage.", "Question:")
)
QUESTION_KINDS.add(
    QuestionKind(
        "keywords",
        "Please write the few keywords that somebody would type to find this passage.",
        "Keywords:",
        most_copied=1.0,  # they are words of the passage
    )
)
QUESTION_KINDS.add(
    QuestionKind(
        "claim",
        "Please write one short claim that this passage proves or disproves.",
        "Claim:",
    )
)
