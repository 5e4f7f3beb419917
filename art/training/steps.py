"""One optimiser step of the method, on one screen: retrieve, score, re-encode, learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from art import distributed
from art.data.tokens import TokenStore, pad
from art.evaluation.metrics import rank_agreement
from art.retriever.encoders import Retriever
from art.scorer.cache import CachedScorer
from art.training.candidates import Propose
from art.training.losses import entropy, log_soft_labels, similarity, soft_label_divergence
from art.training.progress import Clock
from art.training.schedule import MicroBatch, seed_micro_batch


@dataclass
class StepFigures:
    """What a rank saw in one step: sums over its questions, and counts.

    Attributes:
        sums: name → sum over questions.
        num_questions: questions of this rank.
        num_pairs: question–passage pairs asked of the scorer.
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
    propose: Propose,
    scorer: CachedScorer,
    passage_tokens: TokenStore,
    soft_label_temperature: float,
    questions_per_step: int,
    seed: int,
    step: int,
    clock: Clock,
) -> StepFigures:
    """Accumulate the gradient of loss = (1/G) Σ_q KL(p̂(·|q) ‖ q(·|q)) in the retriever.

    Args:
        micro_batches: this rank's share of the step, n questions in all.
        questions: the training set, which the micro-batches point into.
        model: `retriever`, wrapped for gradient averaging when there are several processes.
        retriever: the student: both towers, their templates and τ.
        propose: questions → candidate rows [B, K].
        scorer: the frozen teacher with the scores it already gave.
        passage_tokens: token ids of every row under the retriever's passage template.
        soft_label_temperature: T, divisor of the teacher's log-likelihoods.
        questions_per_step: G, over all processes.
        seed: of the run.
        step: optimiser steps done before this one.
        clock: collects the seconds spent in each phase.

    Returns:
        Figures of this rank's questions; the gradient is in the parameters.

    Source: Sachan et al. 2023, section 2 (equations 1 to 5).
    """
    batch = [[questions[i] for i in micro.questions] for micro in micro_batches]

    # 1. Retrieve with the current question tower (without dropout) from the last index.
    with clock("retrieve"), distributed.fail_together():
        rows = propose(batch)  # [n, K]

    # 2. Score: how likely is the question given each passage, says the frozen language model.
    with clock("score"):
        scored = scorer.score([text for texts in batch for text in texts], rows)
    log_likelihoods = torch.from_numpy(scored.scores).to(retriever.device)  # [n, K]
    figures = StepFigures(len(rows), scored.num_requested, scored.num_known, rows=rows)

    model.train()
    for micro, texts, micro_rows, likelihoods in zip(
        micro_batches,
        batch,
        np.split(rows, len(batch)),
        log_likelihoods.chunk(len(batch)),
        strict=True,
    ):
        last = micro is micro_batches[-1]
        with clock("learn"), distributed.gradient_average(model, enabled=last):
            seed_micro_batch(seed, step, micro.number)
            # 3. Re-encode the K passages with the current passage tower, gradients on. The stale
            # search scores are not used. A passage that several questions share is encoded once.
            scores = _fresh_scores(model, retriever, texts, micro_rows, passage_tokens)  # [B, K]
            # 4. Learn: pull the retriever's distribution over the K passages to the scorer's.
            log_labels = log_soft_labels(
                likelihoods.to(scores.dtype), temperature=soft_label_temperature
            )
            divergence = soft_label_divergence(log_labels, scores)  # [B]
            # × W because the gradients of W processes are averaged, and the loss is a sum.
            loss = divergence.sum() * distributed.world_size() / questions_per_step
            loss.backward()  # type: ignore[no-untyped-call]
            figures.add(**_describe(divergence, log_labels, scores, likelihoods))
    return figures


def _fresh_scores(
    model: nn.Module,
    retriever: Retriever,
    texts: Sequence[str],
    rows: np.ndarray,
    passage_tokens: TokenStore,
) -> Tensor:
    distinct, place = np.unique(rows, return_inverse=True)
    pad_id = retriever.pad_id
    passages = pad([passage_tokens[row] for row in distinct], pad_id=pad_id)
    questions = pad(retriever.question_template.questions(list(texts)), pad_id=pad_id)
    question_vectors, vectors = model(
        *(tensor.to(retriever.device) for tensor in (*questions, *passages))
    )
    passage_vectors = vectors[torch.from_numpy(place.reshape(rows.shape)).to(vectors.device)]
    return similarity(question_vectors, passage_vectors, temperature=retriever.temperature)


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
        "scorer_spread": (log_labels.amax(-1) - log_labels.amin(-1)).sum().item(),
    }
