"""One optimiser step of each method, on one screen.

`art_step`: retrieve, score, re-encode, learn. `dpr_step`: in-batch negatives, for labelled
questions and for pairs cut from passages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from art import distributed
from art.data.contrastive import ContrastiveItem, Items
from art.data.tokens import TokenStore
from art.errors import ArtError
from art.evaluation.metrics import positive_ranks, rank_agreement
from art.retriever.encoders import Retriever
from art.teacher.cached import CachedTeacher
from art.training.candidates import Candidates
from art.training.gradient_cache import TowerInputs, encoded
from art.training.losses import (
    contrastive_loss,
    entropy,
    log_soft_labels,
    similarity,
    similarity_to_all,
    soft_label_divergence,
)
from art.training.progress import PhaseTimer
from art.training.schedule import MicroBatch

# What a timer counts of a step, the optimiser's update included.
STEP_PHASES = ("retrieve", "score", "read", "learn", "update")


@dataclass
class StepStatistics:
    """What a rank saw in one step: sums over its questions, and counts.

    Attributes:
        sums: name → sum over questions.
        num_questions: questions of this rank.
        num_pairs: question–passage pairs asked of the teacher.
        num_known: pairs whose score was known already.
        rows: what was proposed for its questions, [n, K].
    """

    num_questions: int = 0
    num_pairs: int = 0
    num_known: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def add(self, **values: float) -> None:
        """Add to the sums."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value


def art_step(
    micro_batches: Sequence[MicroBatch],
    questions: Sequence[str],
    *,
    model: nn.Module,
    retriever: Retriever,
    propose: Candidates,
    teacher: CachedTeacher,
    passage_tokens: TokenStore,
    soft_label_temperature: float,
    questions_per_step: int,
    seed: int,
    step: int,
    timer: PhaseTimer,
    chunk_tokens: int | None = None,
) -> StepStatistics:
    """Accumulate the gradient of loss = (1/G) Σ_q KL(p̂(·|q) ‖ q(·|q)) in the retriever.

    Args:
        micro_batches: this rank's share of the step, n questions in all.
        questions: the training set, which the micro-batches point into.
        model: `retriever`, wrapped for gradient averaging when there are several processes.
        retriever: the student: both towers, their templates and τ.
        propose: questions → candidate rows [B, K].
        teacher: the frozen teacher with the scores it already gave.
        passage_tokens: token ids of every row under the retriever's passage template.
        soft_label_temperature: T, divisor of the teacher's log-likelihoods.
        questions_per_step: G, over all processes.
        seed: of the run.
        step: optimiser steps done before this one.
        timer: collects the seconds spent in each phase.
        chunk_tokens: see `gradient_cache.encoded`.

    Returns:
        Metrics of this rank's questions; the gradient is in the parameters.

    Source: Sachan et al. 2023, section 2 (equations 1 to 5).
    """
    batch = [[questions[i] for i in micro.questions] for micro in micro_batches]

    # 1. Retrieve with the current question tower (without dropout) from the last index.
    with timer("retrieve"), distributed.fail_together():
        rows = propose(batch)  # [n, K]

    # 2. Score: how likely is the question given each passage, says the frozen language model.
    with timer("score"):
        scored = teacher.score([text for texts in batch for text in texts], rows)
    log_likelihoods = torch.from_numpy(scored.scores).to(retriever.device)  # [n, K]
    metrics = StepStatistics(len(rows), scored.num_requested, scored.num_known, rows=rows)

    model.train()
    encode = partial(encoded, model, retriever, seed=seed, step=step, chunk_tokens=chunk_tokens)
    for micro, texts, micro_rows, likelihoods in zip(
        micro_batches,
        batch,
        np.split(rows, len(batch)),
        log_likelihoods.chunk(len(batch)),
        strict=True,
    ):
        # 3. Re-encode the K passages with the current passage tower, gradients on. The stale search
        # scores are not used. A passage that several questions share is encoded once.
        distinct, place = np.unique(micro_rows, return_inverse=True)
        own = torch.from_numpy(place.reshape(micro_rows.shape)).to(retriever.device)
        with (
            timer("learn"),
            encode(
                [_inputs(retriever, micro.number, texts, distinct, passage_tokens)],
                average=micro is micro_batches[-1],
            ) as (question_vectors, vectors),
        ):
            scores = similarity(question_vectors, vectors[own], temperature=retriever.temperature)
            # 4. Learn: pull the retriever's distribution over the K passages to the teacher's.
            log_labels = log_soft_labels(
                likelihoods.to(scores.dtype), temperature=soft_label_temperature
            )
            divergence = soft_label_divergence(log_labels, scores)  # [B]
            # × W because the gradients of W processes are averaged, and the loss is a sum.
            loss = divergence.sum() * distributed.world_size() / questions_per_step
            loss.backward()  # type: ignore[no-untyped-call]
            metrics.add(**_describe(divergence, log_labels, scores, likelihoods))
    return metrics


def _inputs(
    retriever: Retriever,
    number: int,
    texts: Sequence[str],
    rows: np.ndarray,
    passage_tokens: TokenStore,
) -> TowerInputs:
    questions = retriever.question_template.questions(list(texts))
    return TowerInputs(number, questions, [passage_tokens[row] for row in rows])


@torch.no_grad()
def _describe(
    divergence: Tensor, log_labels: Tensor, scores: Tensor, likelihoods: Tensor
) -> dict[str, float]:
    agreement = rank_agreement(likelihoods.cpu().numpy(), scores.detach().cpu().double().numpy())
    return {
        "loss": divergence.sum().item(),
        "soft_label_entropy": entropy(log_labels).sum().item(),
        "agreement": agreement * len(scores),
        "retriever_spread": (scores.amax(-1) - scores.amin(-1)).sum().item(),
        "teacher_spread": (log_labels.amax(-1) - log_labels.amin(-1)).sum().item(),
    }


def dpr_step(
    micro_batches: Sequence[MicroBatch],
    items: Items,
    *,
    model: nn.Module,
    retriever: Retriever,
    seed: int,
    step: int,
    timer: PhaseTimer,
    chunk_tokens: int | None = None,
) -> StepStatistics:
    """Accumulate the gradient of loss = −(1/G) Σ_q log softmax(s(q, ·))[the positive of q].

    Every question is told apart from the positives and hard negatives of all G questions, whatever
    micro-batch or process they belong to, except from passages that are its positives too.

    Args:
        micro_batches: this rank's share of the step, n questions in all.
        items: what the micro-batches point to: each question with its positive and negatives.
        model: `retriever`, wrapped for gradient averaging when there are several processes.
        retriever: both towers and τ.
        seed: of the run.
        step: optimiser steps done before this one.
        timer: collects the seconds spent in each phase.
        chunk_tokens: see `gradient_cache.encoded`; several micro-batches are chunks in any case.

    Returns:
        Metrics of this rank's questions; the gradient is in the parameters.

    Raises:
        ArtError: the step has one question without a negative, and so nothing to learn from.

    Source: Karpukhin et al. 2020 (DPR), section 3.2.
    """
    # 1. Read the questions with their passages. Those of all processes are columns of the scores.
    with timer("read"), distributed.fail_together():
        batch = [items(micro.questions) for micro in micro_batches]
    own = [item for some in batch for item in some]
    columns = _columns(own)
    inputs = [
        TowerInputs(
            micro.number,
            [item.question for item in some],
            [ids for item in some for ids in item.passages],
        )
        for micro, some in zip(micro_batches, batch, strict=True)
    ]

    # 2. Encode this rank's questions and passages. Those of the other ranks are constants here.
    model.train()
    with (
        timer("learn"),
        encoded(
            model,
            retriever,
            inputs,
            seed=seed,
            step=step,
            average=True,
            chunk_tokens=chunk_tokens,
        ) as (question_vectors, passage_vectors),
    ):
        scores = similarity_to_all(
            distributed.gather_rows(question_vectors),
            distributed.gather_rows(passage_vectors),
            temperature=retriever.temperature,
        )  # [G, P]
        # 3. Learn: the positive should stand out among all passages. On every rank the loss of all
        # questions, through its own vectors; × W because the gradients of W ranks are averaged.
        targets, excluded = columns.targets.to(scores.device), columns.excluded.to(scores.device)
        losses = contrastive_loss(scores, targets, excluded)  # [G]
        (losses.mean() * distributed.world_size()).backward()  # type: ignore[no-untyped-call]
    metrics = StepStatistics(len(own))
    metrics.add(**_describe_contrast(losses, scores, columns))
    return metrics


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Which of the step's P passages is what to each of its G questions.

    Attributes:
        targets: the positive of each question, [G] int64.
        excluded: what leaves the question's softmax: its positives, but for the target, [G, P].
        own: which of the G questions are this rank's.
    """

    targets: Tensor
    excluded: Tensor
    own: slice


def _columns(items: Sequence[ContrastiveItem]) -> _Columns:
    by_rank = distributed.gather_objects([(item.keys, item.positive_keys) for item in items])
    start = sum(len(of_rank) for of_rank in by_rank[: distributed.rank()])
    everyones = [one for of_rank in by_rank for one in of_rank]
    keys = np.concatenate([one for one, _ in everyones])  # [P]
    if len(keys) == 1:
        raise ArtError(
            "a step of one question without hard negatives has nothing to tell its passage from",
            hint="raise training.questions_per_step",
        )
    firsts = np.cumsum([0, *(len(one) for one, _ in everyones[:-1])])  # [G]
    excluded = np.stack([np.isin(keys, positives) for _, positives in everyones])  # [G, P]
    np.put_along_axis(excluded, firsts[:, None], False, axis=1)
    own = slice(start, start + len(items))
    return _Columns(torch.from_numpy(firsts), torch.from_numpy(excluded), own)


@torch.no_grad()
def _describe_contrast(losses: Tensor, scores: Tensor, columns: _Columns) -> dict[str, float]:
    own = columns.own
    competing = scores[own].cpu().masked_fill(columns.excluded[own], -torch.inf)
    ranks = positive_ranks(competing.numpy(), columns.targets[own].numpy())
    return {
        "loss": losses[own].sum().item(),
        "in_batch_accuracy": float((ranks == 0).sum()),
        "average_rank": float(ranks.sum()),
    }
