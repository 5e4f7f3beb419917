"""What several searches find: each pair once, and each search's part of the scores again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from art.diagnosis.candidates import Union

rows_of_three = st.lists(st.integers(0, 9), min_size=3, max_size=3, unique=True)
lists_of = st.lists(st.tuples(rows_of_three, rows_of_three, rows_of_three), min_size=1, max_size=6)


@given(lists_of)
def test_each_pair_is_there_once_and_every_search_gets_its_scores(lists: list) -> None:
    searches = {f"search {i}": np.array([line[i] for line in lists]) for i in range(3)}
    union = Union.of(searches)
    for line, found in zip(lists, union.rows.tolist(), strict=True):
        kept = [row for row in found if row >= 0]
        assert len(set(kept)) == len(kept) and set(kept) == {row for part in line for row in part}
    assert union.num_twice == (union.rows < 0).sum()
    questions = np.arange(len(lists))[:, None]
    scores = np.where(union.rows < 0, -np.inf, 100 * questions + union.rows).astype(np.float32)
    for name, part in union.divided(scores).items():
        np.testing.assert_array_equal(part, 100 * questions + searches[name])
