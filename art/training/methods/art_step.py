"""One step from questions alone: retrieve, score, re-encode, learn.

Source: Sachan et al. 2023, "Questions Are All You Need to Train a Dense Passage Retriever".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from art import distributed
from art.training.gradient_cache import TowerInputs, grad_cached
from art.training.losses import Temperatures, similarity
from art.training.statistics import StepStatistics, describe_distillation

if TYPE_CHECKING:
    from art.data.tokens import TokenStore
    from art.retriever.encoders import Retriever
    from art.teacher.cached import CachedTeacher
    from art.training.candidates import Candidates
    from art.training.progress import PhaseTimer
    from art.training.schedule import MicroBatch
    from art.training.soft_labels import SoftLabels

LossFunction = Callable[[Tensor, Tensor, Temperatures], Tensor]


def art_step(
    micro_batches: Sequence[MicroBatch],
    questions: Sequence[str],
    *,
    model: nn.Module,
    retriever: Retriever,
    candidates: Candidates,
    teacher: CachedTeacher,
    passage_tokens: TokenStore,
    loss: LossFunction,
    temperatures: Temperatures,
    questions_per_step: int,
    seed: int,
    step: int,
    timer: PhaseTimer,
    labels: SoftLabels | None = None,
    num_generated: int = 0,
    chunk_tokens: int | None = None,
) -> StepStatistics:
    """Accumulate the gradient of loss = (1/G) Σ_q KL(p̂(·|q) ‖ q(·|q)) in the retriever.

    Args:
        micro_batches: this rank's share of the step, n questions in all.
        questions: the training set, which the micro-batches point into.
        model: `retriever`, wrapped for gradient averaging when there are several processes.
        retriever: the student: both towers and their templates.
        candidates: questions → candidate rows [n, K].
        teacher: the frozen teacher with the scores it already gave.
        passage_tokens: token ids of every row under the retriever's passage template.
        loss: see `losses.Loss.function`; the paper's is the KL divergence above.
        temperatures: τ of the retriever and T of the teacher.
        questions_per_step: G, over all processes.
        seed: of the run.
        step: optimiser steps done before this one.
        timer: collects the seconds spent in each phase.
        labels: makes the scores that the soft labels are made of; None for the teacher's own.
        num_generated: how many of the questions, the last ones, are generated; these are told apart
            in the statistics.
        chunk_tokens: see `grad_cached`.

    Returns:
        Statistics of this rank's questions; the gradient is in the parameters.

    Source: Sachan et al. 2023, section 2 (equations 1 to 5).
    """
    batch = [[questions[i] for i in micro.questions] for micro in micro_batches]

    # 1. Retrieve with the current question tower (without dropout) from the last index.
    with timer("retrieve"):
        rows = candidates(batch)  # [n, K]

    # 2. Score: how likely is the question given each passage, by the frozen language model?
    with timer("score"):
        scored = teacher.score([text for texts in batch for text in texts], rows)
        blended = scored.scores if labels is None else labels(batch, rows, scored.scores)
    targets = torch.from_numpy(blended).to(retriever.device)  # [n, K]
    statistics = StepStatistics(len(rows), scored.num_requested, scored.num_known, retrieved=rows)

    model.train()
    encode = partial(grad_cached, model, retriever, seed=seed, step=step, chunk_tokens=chunk_tokens)
    parts = (micro_batches, batch, np.split(rows, len(batch)), targets.chunk(len(batch)))
    for micro, texts, micro_rows, micro_labels in zip(*parts, strict=True):
        # 3. Re-encode the K passages with the current passage tower, gradients on. The stale search
        # scores are not used. A passage that several questions share is encoded once.
        distinct, place = np.unique(micro_rows, return_inverse=True)
        own = torch.from_numpy(place.reshape(micro_rows.shape)).to(retriever.device)
        ids = retriever.question_template.questions(list(texts))
        inputs = TowerInputs(micro.number, ids, [passage_tokens[row] for row in distinct])
        with timer("learn"), encode([inputs], average=micro is micro_batches[-1]) as vectors:
            question_vectors, passage_vectors = vectors
            student = similarity(question_vectors, passage_vectors, own)  # [B, K]
            # 4. Learn: pull the retriever's distribution over the K passages to the teacher's.
            losses = loss(student, micro_labels.to(student.dtype), temperatures)  # [B]
            # × W because the gradients of W processes are averaged, and the loss is a sum.
            total = losses.sum() * distributed.world_size() / questions_per_step
            total.backward()  # type: ignore[no-untyped-call]
            statistics.add(describe_distillation(losses, student, micro_labels, temperatures))
            if num_generated:
                first = len(questions) - num_generated
                is_generated = [position >= first for position in micro.questions]
                statistics.add_by_origin(losses, micro_labels, temperatures, is_generated)
    return statistics
