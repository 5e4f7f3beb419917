"""Kinds of scorers, and which settings each has no use for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from art.config.inputs import ScorerConfig

TeacherKind = Literal["question-likelihood", "answer-likelihood", "cross-encoder"]

_PROMPT = ("passage_prompt", "question_prefix", "chat_template")
_UNUSED: dict[TeacherKind, tuple[str, ...]] = {
    "question-likelihood": (),
    "answer-likelihood": ("question_prefix",),
    "cross-encoder": (*_PROMPT, "reduction", "question_length"),
}


def scorer_contradictions(scorer: ScorerConfig) -> Iterator[str]:
    """Yield a line per setting that the scorer's kind has no use for, or cannot use as it is."""
    unused = _UNUSED[scorer.kind]
    for name in unused:
        if getattr(scorer, name) != type(scorer).model_fields[name].default:
            yield f"scorer.{name}: means nothing to scorer.kind {scorer.kind}; leave it out"
    if scorer.passage_prompt is None or "passage_prompt" in unused:
        return
    wanted = ["{passage}", "{question}"] if scorer.kind == "answer-likelihood" else ["{passage}"]
    for placeholder in wanted:
        if scorer.passage_prompt.count(placeholder) != 1:
            yield f"scorer.passage_prompt: must hold {placeholder} exactly once"
