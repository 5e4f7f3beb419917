"""How far in front a passage stands that several judges agreed on, where no question has labels."""

from __future__ import annotations

import numpy as np

from art.evaluation.metrics.base import METRICS, Metric, Values
from art.evaluation.metrics.evidence import AgreedPassages


def _reciprocal_rank(evidence: AgreedPassages) -> Values:
    stands = evidence.rows == evidence.agreed[:, None]  # [Q, K], once in a row at most
    return np.where(stands.any(axis=1), 1.0 / (stands.argmax(axis=1) + 1.0), 0.0)


METRICS.add(
    Metric(
        "agreed_reciprocal_rank",
        "reciprocal rank of the agreed passage",
        "the reciprocal rank of the passage that BM25 and the teacher agree on; no labels",
        AgreedPassages,
        _reciprocal_rank,
        preference=0,
    )
)
