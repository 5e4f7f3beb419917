"""The formulae of the method, on plain tensors: no model, no collective, no settings.

`LOSSES` is the table of what a student can learn from soft labels: a new loss is a function and a
line in it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from art.registry import Registry


@dataclass(frozen=True)
class Temperatures:
    """Divisors of scores before they are compared.

    Attributes:
        student: τ, of the retriever's inner products; √D in the paper.
        teacher: T, of the teacher's scores; 1.0 in the paper.
    """

    student: float
    teacher: float = 1.0


@dataclass(frozen=True)
class Loss:
    """A loss of a student that learns from a teacher's scores.

    Attributes:
        name: the value of `training.loss`.
        description: a sentence for a user.
        function: student scores [B, K] (inner products), teacher scores [B, K] and temperatures →
            losses [B], each ≥ 0; the loss of a step is their mean over its G questions. Gradient
            flows through the student alone.
    """

    name: str
    description: str
    function: Callable[[Tensor, Tensor, Temperatures], Tensor]


def similarity(question_vectors: Tensor, passage_vectors: Tensor, own: Tensor) -> Tensor:
    """Score each question's own passages: E_q(q)·E_z(z).

    The gradient has the same bits each time, also where questions share a passage.

    Args:
        question_vectors: [B, D].
        passage_vectors: [P, D].
        own: rows of the passages of each question, [B, K] int64.

    Returns:
        Inner products [B, K].
    """
    # As an embedding, since threads add up the gradient of plain indexing in any order.
    return torch.einsum("bd,bkd->bk", question_vectors, F.embedding(own, passage_vectors))


def similarity_to_all(
    question_vectors: Tensor, passage_vectors: Tensor, *, temperature: float
) -> Tensor:
    """Score each question against every passage of the batch: s(q, z) = E_q(q)·E_z(z) / τ.

    Args:
        question_vectors: [n, D].
        passage_vectors: [P, D].
        temperature: τ, 1 for DPR's plain inner product.

    Returns:
        Scores [n, P].
    """
    return question_vectors @ passage_vectors.T / temperature


def log_soft_labels(teacher_scores: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Turn the teacher's scores into soft labels: log p̂(z|q) = log softmax_K(t / T).

    The prior over passages is uniform, so the posterior is the softmax of the log-likelihoods
    (Sachan et al. 2023, section 2.3).

    Args:
        teacher_scores: t(q, z), [B, K].
        temperature: T, 1.0 in the paper.

    Returns:
        Log-probabilities [B, K]; no gradient flows through them.
    """
    return F.log_softmax(teacher_scores.detach() / temperature, dim=-1)


def soft_label_divergence(student: Tensor, teacher: Tensor, temperatures: Temperatures) -> Tensor:
    """KL(teacher ‖ retriever) of each question: Σ_k p̂ (log p̂ − log q), q = softmax_K(s).

    It is a sum over the K passages and never a mean: a mean over elements, as in
    `KLDivLoss(reduction="mean")`, would shrink the gradient by K.

    Args:
        student: inner products, [B, K]; s is their quotient by τ.
        teacher: t, [B, K].
        temperatures: τ and T.

    Returns:
        Divergences [B], each ≥ 0.

    Source: Sachan et al. 2023, equation 5.
    """
    log_labels = log_soft_labels(teacher, temperature=temperatures.teacher)
    log_retriever = F.log_softmax(student / temperatures.student, dim=-1)
    return (log_labels.exp() * (log_labels - log_retriever)).sum(dim=-1)


def margin_error(student: Tensor, teacher: Tensor, temperatures: Temperatures) -> Tensor:
    """Mean squared error of the margins: mean over i < j of ((s_i − s_j) − (t_i − t_j) / T)².

    Args:
        student: inner products, [B, K], K ≥ 2; s is their quotient by τ.
        teacher: t, [B, K].
        temperatures: τ and T.

    Returns:
        Errors [B], each ≥ 0.

    Source: Hofstätter et al. 2020 (margin-MSE), over all pairs of the K passages.
    """
    difference = student / temperatures.student - teacher.detach() / temperatures.teacher  # [B, K]
    first, second = torch.triu_indices(
        difference.shape[-1], difference.shape[-1], offset=1, device=difference.device
    )
    return (difference[..., first] - difference[..., second]).square().mean(dim=-1)


LOSSES: Registry[Loss] = Registry("training loss")
for _loss in (
    Loss(
        "kl",
        "KL divergence of the retriever's distribution over the K passages from the soft labels "
        "(the paper).",
        soft_label_divergence,
    ),
    Loss(
        "margin-mse",
        "Mean squared error of the margins between every two of the K passages.",
        margin_error,
    ),
):
    LOSSES.add(_loss)


def contrastive_loss(scores: Tensor, targets: Tensor, excluded: Tensor) -> Tensor:
    """Negative log-likelihood of each question's positive: −log softmax_P(s)[target].

    Source: Karpukhin et al. 2020 (DPR), equation 2.

    Args:
        scores: s, [n, P].
        targets: the column of each question's positive, [n] int64.
        excluded: columns that are no negatives of the question and leave its softmax, [n, P] bool;
            never its target.

    Returns:
        Losses [n], each ≥ 0; the loss of a step is their mean over its G questions.
    """
    return F.cross_entropy(scores.masked_fill(excluded, -torch.inf), targets, reduction="none")


def reader_loss(start: Tensor, end: Tensor, relevance: Tensor, spans: Tensor) -> Tensor:
    """Negative log-likelihood of a question's answer and of the passage it stands in.

    −log Σ over spans of P(first) P(last) − log softmax_M(relevance)[0]. Both P are softmaxes over
    the tokens of that passage, the first of the M, in which an answer may stand several times.

    Args:
        start: logits of each token of that passage as the first of an answer, [L].
        end: likewise as the last, [L].
        relevance: logits of the question's passages, [M].
        spans: first and last token of each occurrence of an answer, [n, 2] int64, n ≥ 1.

    Returns:
        The loss, ≥ 0, in float32 at least; the loss of a step is the mean over its G questions.

    Source: Karpukhin et al. 2020 (DPR), section 6.1.
    """
    wide = torch.promote_types(start.dtype, torch.float32)
    starts, ends, passages = (
        F.log_softmax(logits.to(wide), dim=-1) for logits in (start, end, relevance)
    )
    found = torch.logsumexp(starts[spans[:, 0]] + ends[spans[:, 1]], dim=-1)
    return -found - passages[0]


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy [B], in nats, of distributions given as log-probabilities [B, K]."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
