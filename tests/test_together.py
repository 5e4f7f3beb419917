"""Values or failures of every process, exchanged at once."""

from __future__ import annotations

import pytest
from forked import call
from together_job import failing, ranks

from art import distributed
from art.errors import ArtError


def test_every_process_gets_every_value_by_rank() -> None:
    assert call(ranks, world_size=3) == [[0, 1, 2]] * 3


def test_a_failure_is_raised_by_every_process_and_reported_by_the_first() -> None:
    assert call(failing, 1, 2, world_size=3) == [
        "no luck on 1, reported elsewhere: True",
        "no luck on 1, reported elsewhere: False",
        "no luck on 2, reported elsewhere: True",
    ]


def test_one_process_gets_its_own_value_or_failure() -> None:
    assert distributed.together(lambda: 7) == [7]

    def fail() -> None:
        raise ArtError("no luck")

    with pytest.raises(ArtError, match="no luck") as raised:
        distributed.together(fail)
    assert not raised.value.reported_elsewhere
