"""What a process saw in one step, for the log; none of it flows back into training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from art.evaluation.statistics import positive_ranks, rank_agreement
from art.training.losses import Temperatures, entropy, log_soft_labels


@dataclass
class StepStatistics:
    """What a process saw in one step: sums over its questions, and counts.

    Attributes:
        num_questions: questions of this process.
        num_pairs: question–passage pairs asked of the teacher.
        num_known: pairs whose score was known already.
        sums: name → sum over questions.
        counts: over how many questions a sum goes, by name, where not over all.
        retrieved: rows that the retriever itself found for its questions, [n, k].
        grad_norm: of the step's gradient, over all processes, before it was clipped.
    """

    num_questions: int = 0
    num_pairs: int = 0
    num_known: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    retrieved: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))
    grad_norm: float = 0.0

    @property
    def is_finite(self) -> bool:
        """Whether the step moved the weights; else it was skipped."""
        return math.isfinite(self.grad_norm)

    def add(self, values: dict[str, float], count: int | None = None) -> None:
        """Add to the sums.

        Args:
            values: sums over some questions, by name.
            count: how many these are, perhaps none, where the others have no part in sums of these
                names; None where all have.
        """
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            if count is not None:
                self.counts[name] = self.counts.get(name, 0) + count

    @torch.no_grad()
    def add_by_origin(
        self,
        losses: Tensor,
        teacher: Tensor,
        temperatures: Temperatures,
        is_generated: Sequence[bool],
    ) -> None:
        """Count the generated ones of B questions, and add what either kind had by itself.

        Args:
            losses: [B].
            teacher: the teacher's scores, [B, K].
            temperatures: of both models.
            is_generated: whether a language model wrote each, B of them.
        """
        self.add({"generated_share": float(sum(is_generated))})
        log_labels = log_soft_labels(teacher, temperature=temperatures.teacher)
        values = {"loss": losses, "soft_label_entropy": entropy(log_labels)}
        generated = torch.tensor(is_generated, device=losses.device)
        for origin, chosen in (("generated", generated), ("real", ~generated)):
            sums = {f"{origin}_{name}": its[chosen].sum().item() for name, its in values.items()}
            self.add(sums, int(chosen.sum()))

    def rename(self, old: str, new: str) -> None:
        """Give a sum another name."""
        self.sums[new] = self.sums.pop(old)


@torch.no_grad()
def describe_distillation(
    losses: Tensor, student: Tensor, teacher: Tensor, temperatures: Temperatures
) -> dict[str, float]:
    """Describe how a retriever's scores stand to its teacher's, summed over B questions.

    Args:
        losses: [B].
        student: inner products, [B, K].
        teacher: the teacher's scores, [B, K].
        temperatures: of both.
    """
    scores = student / temperatures.student
    log_labels = log_soft_labels(teacher, temperature=temperatures.teacher)
    agreement = rank_agreement(teacher.cpu().numpy(), scores.cpu().double().numpy())
    return {
        "loss": losses.sum().item(),
        "soft_label_entropy": entropy(log_labels).sum().item(),
        "agreement": agreement * len(scores),
        "retriever_spread": (scores.amax(-1) - scores.amin(-1)).sum().item(),
        "teacher_spread": (log_labels.amax(-1) - log_labels.amin(-1)).sum().item(),
    }


@torch.no_grad()
def describe_contrast(
    losses: Tensor, scores: Tensor, targets: Tensor, excluded: Tensor
) -> dict[str, float]:
    """Describe where each question's positive ranks among the passages of its step, summed.

    Args:
        losses: of B questions, [B].
        scores: [B, P].
        targets: the column of each positive, [B].
        excluded: columns that do not compete, [B, P].
    """
    competing = scores.cpu().masked_fill(excluded, -torch.inf)
    ranks = positive_ranks(competing.numpy(), targets.numpy())
    return {
        "loss": losses.sum().item(),
        "in_batch_accuracy": float((ranks == 0).sum()),
        "average_rank": float(ranks.sum()),
    }
