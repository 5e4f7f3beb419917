"""Questions answered within the first k passages, by their own labels."""

from __future__ import annotations

import numpy as np

from art.evaluation.metrics.base import METRICS, Family, Metric, Values
from art.evaluation.metrics.evidence import Hits

_CHOOSING = 20  # top-20 accuracy chooses the checkpoint, else the nearest depth below


def _top_k(k: int) -> Metric[Hits]:
    def compute(hits: Hits) -> Values | None:
        if hits.depth is not None and k > hits.depth:
            return None
        return np.where(hits.labelled, hits.found[:, :k].any(axis=1), np.nan)

    return Metric(
        name=f"top_{k}",
        title=f"top-{k}",
        meaning=f"top-{k} of labelled questions",
        source=Hits,
        compute=compute,
        has_interval=True,
        preference=_CHOOSING - k if k <= _CHOOSING else k,
        family="Questions answered within the first k, %",
    )


METRICS.add(Family("top_<k>", source=Hits, make=_top_k, numbers=lambda hits: hits.ks))
