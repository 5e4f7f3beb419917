"""Which metric chooses the checkpoint."""

from __future__ import annotations

import pytest

from art.training.selection import primary_metric

JUDGED = ["ndcg@10", "mrr@10", "recall@100", "map@100"]
POOLED = ["pooled_mrr", "pooled_top_1", "pooled_average_rank"]
CHOSEN = {
    "top_20": ["top_1", "top_5", "top_20", "top_50", *JUDGED, *POOLED],
    "top_19": ["top_1", "top_19", "top_21"],
    "top_21": ["top_100", "top_21", "top_50"],
    "ndcg@10": [*POOLED, *JUDGED],
    "mrr@10": ["map@100", "mrr@10"],
    "pooled_mrr": [*reversed(POOLED), "teacher_log_likelihood"],
    "pooled_top_1": ["pooled_top_1", "teacher_log_likelihood"],
    "agreed_reciprocal_rank": ["teacher_log_likelihood", "agreed_reciprocal_rank"],
    "teacher_log_likelihood": ["of_another_version", "teacher_log_likelihood"],
    "of_another_version": ["of_another_version", "of_a_third"],
}


@pytest.mark.parametrize("chosen", CHOSEN)
def test_the_most_trusted_metric_chooses(chosen: str) -> None:
    assert primary_metric(CHOSEN[chosen]) == chosen
