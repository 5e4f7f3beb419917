"""What the tests of `distributed.together` run in several processes."""

from __future__ import annotations

from art import distributed
from art.errors import ArtError


def ranks() -> list[int]:
    """Return what every process computed."""
    return distributed.together(distributed.rank)


def failing(*failing_ranks: int) -> str:
    """Fail on some processes; return what this one raised, and whether another reports it."""

    def compute() -> int:
        if distributed.rank() in failing_ranks:
            raise ArtError(f"no luck on {distributed.rank()}")
        return distributed.rank()

    try:
        distributed.together(compute)
    except ArtError as error:
        said = f"{error}, reported elsewhere: {error.reported_elsewhere}"
    assert ranks() == list(range(distributed.world_size()))  # all of them are where they were
    return said
