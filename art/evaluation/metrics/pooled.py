"""Metrics of questions that are each asked of a pool of passages, without a corpus."""

from __future__ import annotations

from art.evaluation.metrics.base import METRICS, RANK, Metric
from art.evaluation.metrics.evidence import PooledRanks

METRICS.add(
    Metric(
        "pooled_mrr",
        "pooled MRR",
        "the reciprocal rank of a question's positive among the passages of all of them",
        PooledRanks,
        lambda ranks: 1.0 / (1 + ranks.before),
        preference=0,
    )
)
METRICS.add(
    Metric(
        "pooled_top_1",
        "pooled top-1",
        "pooled top-1 of labelled questions",
        PooledRanks,
        lambda ranks: (ranks.before == 0).astype(float),
        preference=1,
    )
)
# DPR's and Haystack's average rank: the number of passages before the positive, 0 at best.
METRICS.add(
    Metric(
        "pooled_average_rank",
        "pooled average rank",
        "pooled average rank of labelled questions",
        PooledRanks,
        lambda ranks: ranks.before.astype(float),
        unit=RANK,
        higher_is_better=False,
        preference=2,
    )
)
