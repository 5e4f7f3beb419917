"""Tiny language models that ask about passages of a store."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from art.asking import asker
from art.asking.asker import AskedPassage, Asker
from art.asking.kinds import QUESTION_KINDS
from art.asking.prompts import Prompts
from art.asking.sampling import Sampling
from art.data.passages import PassageStore
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.weights import load_tokenizer

NUM_TOKENS = 16  # of a question, where tests ask


def asker_of(
    folder: Path,
    *,
    kinds: Sequence[str] = ("question", "keywords"),
    per_passage: int = 2,
    chat_template: bool = False,
    rendered: dict[str, str] | None = None,
    examples: Sequence[str] = (),
    batch_tokens: int | None = None,
    **sampling: Any,
) -> Asker:
    teacher = QuestionLikelihood.load(str(folder), dtype="float32", device="cpu")
    tokenizer = load_tokenizer(folder)
    wanted = [QUESTION_KINDS[name] for name in kinds]
    prompts = Prompts(
        tokenizer,
        wanted,
        family=teacher.family,
        max_length=128,
        chat_template=chat_template,
        rendered=rendered,
        examples=examples,
        seed=0,
    )
    return Asker(
        teacher,
        tokenizer,
        wanted,
        per_passage=per_passage,
        prompts=prompts,
        sampling=Sampling(**sampling),
        batch_tokens=batch_tokens,
    )


def asked_of(asker: Asker, store: PassageStore, rows: Sequence[int]) -> list[AskedPassage]:
    passages = [store[row] for row in rows]
    ids = asker.prompts.encoder([one.title for one in passages], [one.text for one in passages])
    return [AskedPassage(one.passage_id, row) for one, row in zip(passages, ids, strict=True)]


def small_blocks() -> None:
    """Ask sixteen questions at once, so that a few passages make several blocks."""
    asker._BLOCK_QUESTIONS["cpu"] = 16
