"""Passages taken from all over a deeper list: which ranks, and what both sources then give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from whole_run import configure

from art.errors import ConfigFaults
from art.training.candidates import Candidates, from_both, spread, spread_ranks
from art.training.plan import check_corpus


@given(st.integers(2, 300), st.data())
def test_ranks_are_distinct_ascending_and_reach_both_ends(depth, data) -> None:
    count = data.draw(st.integers(2, depth))
    ranks = spread_ranks(depth, count)
    assert ranks[0] == 0 and ranks[-1] == depth - 1 and len(ranks) == count
    assert (np.diff(ranks) > 0).all()


def test_ranks_are_denser_at_the_top_and_all_of_a_list_no_deeper() -> None:
    assert (spread_ranks(20, 6) + 1).tolist() == [1, 2, 3, 6, 11, 20]
    assert (spread_ranks(50, 8) + 1).tolist() == [1, 2, 3, 5, 9, 16, 29, 50]
    assert spread_ranks(6, 6).tolist() == [*range(6)]
    assert spread_ranks(9, 1).tolist() == [0]


def lists(*rows: Sequence[int]) -> Candidates:
    return lambda batch: np.array(rows)


def test_a_source_alone_gives_what_is_spread_over_its_list() -> None:
    found = spread(lists(range(100, 120), range(20)), 6, share=6)([["a", "b"]])
    ranks = np.array([0, 1, 2, 5, 10, 19])
    np.testing.assert_array_equal(found, [100 + ranks, ranks])


def test_each_of_two_sources_spreads_its_own_half() -> None:
    dense = spread(lists(range(20)), 6, share=3)
    words = spread(lists([3, *range(50, 69)]), 6, share=3)
    found = from_both(dense, words)([["a"]])[0]
    # Ranks 1, 4 and 20 of each.
    assert found.tolist() == [0, 3, 19, 52, 68, 50]  # 3 is the retriever's: the best other follows
    assert len(set(found.tolist())) == 6


def test_a_list_that_ends_early_is_spread_as_far_as_it_goes() -> None:
    found = spread(lists([7, 8, 9, 5, -1, -1, -1, -1], [4, *[-1] * 7]), 4, share=2)([["a", "b"]])
    assert found.tolist() == [[7, 5, 8, 9], [4, -1, -1, -1]]


def test_a_depth_that_does_not_fit_is_refused(settings, tmp_path) -> None:
    with pytest.raises(ConfigFaults, match="candidate_depth: 3 passages are found"):
        configure(settings, tmp_path, training={"candidate_depth": 3})
    config = configure(settings, tmp_path, training={"candidate_depth": 61})
    with pytest.raises(ConfigFaults, match="candidate_depth: 61, but the corpus has only 60"):
        check_corpus(config, 60)
