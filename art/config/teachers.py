"""Kinds of teachers, and which settings each has no use for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from art.config.inputs import TeacherConfig

TeacherKind = Literal["question-likelihood", "answer-likelihood", "cross-encoder"]

_PROMPT = ("passage_prompt", "question_prefix", "chat_template")
_UNUSED: dict[TeacherKind, tuple[str, ...]] = {
    "question-likelihood": (),
    "answer-likelihood": ("question_prefix",),
    "cross-encoder": (*_PROMPT, "reduction", "question_length"),
}


def teacher_contradictions(teacher: TeacherConfig) -> Iterator[str]:
    """Yield a line per setting that the teacher's kind has no use for, or cannot use as it is."""
    unused = _UNUSED[teacher.kind]
    for name in unused:
        if getattr(teacher, name) != type(teacher).model_fields[name].default:
            yield f"teacher.{name}: means nothing to teacher.kind {teacher.kind}; leave it out"
    if teacher.passage_prompt is None or "passage_prompt" in unused:
        return
    wanted = ["{passage}", "{question}"] if teacher.kind == "answer-likelihood" else ["{passage}"]
    for placeholder in wanted:
        if teacher.passage_prompt.count(placeholder) != 1:
            yield f"teacher.passage_prompt: must hold {placeholder} exactly once"
