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


def log_soft_labels(log_likelihoods: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Turn the scorer's log-likelihoods into soft labels: log p̂(z|q) = log softmax_K(t / T).

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
    """KL(scorer ‖ retriever) of each question: Σ_k p̂ (log p̂ − log q), q = softmax_K(s).

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


def entropy(log_probabilities: Tensor) -> Tensor:
    """Return the entropy [B], in nats, of distributions given as log-probabilities [B, K]."""
    return -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
