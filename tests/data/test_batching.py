import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from art.data.batching import epoch_order, token_batches


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 100))
def test_batches_hold_every_item_once_and_keep_to_the_budget(lengths, budget):
    batches = token_batches(lengths, budget)
    assert sorted(np.concatenate([[], *batches]).tolist()) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget


@given(st.lists(st.integers(0, 40), max_size=60), st.integers(1, 100), st.integers(0, 50))
def test_batches_hold_no_more_padding_than_is_allowed(lengths, budget, padding):
    batches = token_batches(lengths, budget, padding)
    assert sorted(np.concatenate([[], *batches]).tolist()) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[i] for i in batch)
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert sum(longest - lengths[i] for i in batch) <= padding


def test_what_needs_no_padding_fills_the_budget():
    assert [len(batch) for batch in token_batches([5] * 9 + [6] * 3, 30, padding=0)] == [6, 3, 3]


def test_batches_go_by_length_and_equal_lengths_by_index():
    batches = token_batches([3, 1, 3, 1, 9], budget=6)
    assert [batch.tolist() for batch in batches] == [[1, 3], [0, 2], [4]]


def test_an_epoch_is_a_permutation_of_its_own_and_a_pure_function():
    first = epoch_order(100, seed=3, epoch=0)
    assert sorted(first.tolist()) == list(range(100))
    assert (first == epoch_order(100, seed=3, epoch=0)).all()
    assert (first != epoch_order(100, seed=3, epoch=1)).any()
    assert (first != epoch_order(100, seed=4, epoch=0)).any()
