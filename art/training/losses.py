"""The formulae of the method, on plain tensors: no model, no collective, no settings."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def similarity(question_vectors: Tensor, passage_vectors: Tensor, *, temperature: float) -> Tensor:
    """Score each question's own passages: s(q, z) = E_q(q)·E_z(z) / τ.

    Args:
        question_vectors: [B, D].
        passage_vectors: [B, K, D], row b holding the passages of question b.
        temperature: τ, √D in the paper.

    Returns:
        Scores [B, K].
    """
    return torch.einsum("bd,bkd->bk", question_vectors, passage_vectors) / temperature


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


def log_soft_labels(log_likelihoods: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Turn the teacher's log-likelihoods into soft labels: log p̂(z|q) = log softmax_K(t / T).

    The prior over passages is uniform, so the posterior is the softmax of the likelihoods
    (Sachan et al. 2023, section 2.3).

    Args:
        log_likelihoods: t(q, z), [B, K].
        temperature: T, 1.0 in the paper.

    Returns:
        Log-probabilities [B, K]; no gradient flows through them.
    """
    return F.log_softmax(log_likelihoods.detach() / temperature, dim=-1)


def soft_label_divergence(log_labels: Tensor, scores: Tensor) -> Tensor:
    """KL(teacher ‖ retriever) of each question: Σ_k p̂ (log p̂ − log q), q = softmax_K(s).

    It is a sum over the K passages and never a mean: a mean over elements, as in
    `KLDivLoss(reduction="mean")`, would shrink the gradient by K.

    Args:
        log_labels: log p̂, [B, K].
        scores: s, [B, K].

    Returns:
        Divergences [B], each ≥ 0; the loss of a step is their mean over its G questions.
    """
    log_retriever = F.log_softmax(scores, dim=-1)
    return (log_labels.exp() * (log_labels - log_retriever)).sum(dim=-1)


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


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy [B], in nats, of distributions given as log-probabilities [B, K]."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
