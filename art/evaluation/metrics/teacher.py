"""The teacher's judgement of a ranking, where no question has labels."""

from __future__ import annotations

from art.evaluation.metrics.base import METRICS, NATS, Metric
from art.evaluation.metrics.evidence import FirstPassages

METRICS.add(
    Metric(
        "teacher_log_likelihood",
        "teacher-log-likelihood",
        "the teacher's log-likelihood of a question given its first passage; no labels",
        FirstPassages,
        lambda first: first.scores,
        unit=NATS,
        preference=0,
        heading="The teacher's log-likelihood of a question given its first passage",
    )
)
