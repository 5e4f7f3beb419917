"""A world of threads in the place of processes, for what only computes and gathers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from art import distributed


def in_world(size: int, work: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Run `work` as every rank of a world of threads."""
    here, barrier, values = threading.local(), threading.Barrier(size, timeout=30), {}
    results: list[Any] = [None] * size

    def gather(value: Any) -> list[Any]:
        values[here.rank] = value
        barrier.wait()
        gathered = [values[rank] for rank in range(size)]
        barrier.wait()
        return gathered

    def run(rank: int) -> None:
        here.rank = rank
        results[rank] = work()

    monkeypatch.setattr(distributed, "rank", lambda: here.rank)
    monkeypatch.setattr(distributed, "world_size", lambda: size)
    monkeypatch.setattr(distributed, "gather_objects", gather)
    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    monkeypatch.undo()
    return results
