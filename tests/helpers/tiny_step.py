"""A tiny student, teacher and corpus for the step tests, in one process or in several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from language_model_pairs import one_pair_at_a_time

from art import distributed
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.retriever.loading import create_retriever
from art.teacher.cached import CachedTeacher
from art.teacher.registry import load_teacher
from art.training.losses import Temperatures, soft_label_divergence
from art.training.methods.art_step import art_step
from art.training.progress import PhaseTimer
from art.training.schedule import MicroBatch

QUESTIONS = [
    "what is the moon",
    "who built the stone bridge in the north ?",
    "where does the music of the island lie",
    "how was the paper engine found",
]
K = 5


@dataclass
class TinyStep:
    retriever: object
    teacher: CachedTeacher
    tokens: TokenStore
    temperature: float = 0.05

    def candidates(self, batch: Sequence[Sequence[str]]) -> np.ndarray:
        # Fixed candidates that overlap between questions: what search finds is tested elsewhere.
        starts = [QUESTIONS.index(question) * 3 for questions in batch for question in questions]
        return np.array([[start + 2 * k for k in range(K)] for start in starts])


def build_step(bert: Path, t5: Path, corpus, folder: Path, *, dropout: float = 0.0) -> TinyStep:
    store = PassageStore.build(
        [Passage(*one) for one in corpus], folder / "store", source="test", progress=False
    )
    retriever = create_retriever(str(bert), passage_length=128, dropout=dropout, tied=False)
    retriever = retriever.double()
    teacher = load_teacher(str(t5), dtype="float32")
    tokens = TokenStore.open_or_build(store, retriever.passage_template, cache=folder)
    teacher_tokens = TokenStore.open_or_build(store, teacher.template, cache=folder)
    return TinyStep(retriever, CachedTeacher(teacher, None, teacher_tokens), tokens)


def gradients(
    tiny: TinyStep,
    micro_batches: list[MicroBatch],
    model: torch.nn.Module | None = None,
    *,
    chunk_tokens: int | None = None,
) -> tuple[float, dict[str, torch.Tensor]]:
    tiny.retriever.zero_grad(set_to_none=True)
    statistics = art_step(
        micro_batches,
        QUESTIONS,
        model=model or tiny.retriever,
        retriever=tiny.retriever,
        candidates=tiny.candidates,
        teacher=tiny.teacher,
        passage_tokens=tiny.tokens,
        loss=soft_label_divergence,
        temperatures=Temperatures(tiny.retriever.temperature, tiny.temperature),
        questions_per_step=len(QUESTIONS),
        seed=1,
        step=7,
        timer=PhaseTimer(),
        chunk_tokens=chunk_tokens,
    )
    named = tiny.retriever.named_parameters()
    loss = statistics.sums["loss"] / len(QUESTIONS)
    return loss, {name: p.grad.clone() for name, p in named if p.grad is not None}


def own_gradients(bert: Path, t5: Path, corpus, folder: Path) -> dict[str, np.ndarray]:
    """The gradient of a step with dropout, of which each process takes its share."""
    rank, size = distributed.rank(), distributed.world_size()
    tiny = build_step(bert, t5, corpus, folder / f"of-{rank}-{size}", dropout=0.2)
    one_pair_at_a_time(tiny.teacher.teacher)  # or the last bits depend on who shares a batch
    model = tiny.retriever
    if size > 1:
        model = torch.nn.parallel.DistributedDataParallel(model)
    share = 2 // size
    micro_batches = [MicroBatch(0, (0, 1)), MicroBatch(1, (2, 3))]
    _, grads = gradients(tiny, micro_batches[rank * share : (rank + 1) * share], model)
    return {name: grad.numpy() for name, grad in grads.items()}
