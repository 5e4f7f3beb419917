"""The metrics: what each is called, how it is shown, which direction is better, how it is computed.

    base      `Metric`, families such as `top_<k>`, the registry, the look-up by name
    evidence  what metrics are computed from, the most trusted first
    top_k     share of questions answered within the first k passages, by their own labels
    judged    trec_eval's metrics within the first k, and capped recall, by relevance judgements
    pooled    rank of the positive in a pool of passages
    agreed    rank of the passage that several judges agreed on
    reading   exact match and F1 of what a reader answered
    teacher   the teacher's score of the first passage

A metric is added by one call of `METRICS.add`, in one of these modules or in a new one beside them:
evaluation, `metrics.jsonl`, tables, curves, the page and the choice of the checkpoint then know it.
"""

from art.evaluation.metrics.base import METRICS, Family, Metric, compute_all, means, metric
from art.registry import import_all

__all__ = ["METRICS", "Family", "Metric", "compute_all", "means", "metric"]

import_all(__name__, __path__)
