"""Which checkpoint of a run is kept."""

from __future__ import annotations

from collections.abc import Sequence

from art.evaluation.metrics import metric


def primary_metric(names: Sequence[str]) -> str:
    """Return the metric that chooses the checkpoint.

    Labels of a corpus go first (top-20 or the nearest depth below, else the least deep), then
    relevance judgements, then a pool of passages, then the teacher; names that are not registered
    go last. Each metric says where it stands by its source and its preference.

    Args:
        names: of the metrics of an evaluation; among equals, the first of them chooses.
    """
    return min(names, key=lambda name: metric(name).priority)
