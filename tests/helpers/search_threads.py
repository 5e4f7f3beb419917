"""Searches in threads, each as if it were another process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from art.retriever.search import Exchange, Finder, Floats, Rows


def in_threads(
    finders: Sequence[Finder], questions: np.ndarray, top_k: int
) -> list[tuple[Floats, Rows]]:
    """Search the parts of an index together; return what each finds."""
    meeting = threading.Barrier(len(finders), timeout=20)
    found: list = [None] * len(finders)

    def exchange_of(rank: int) -> Exchange:
        def exchange(compute: Callable) -> list:
            found[rank] = compute()
            meeting.wait()
            everything = list(found)
            meeting.wait()
            return everything

        return exchange

    def run(rank: int) -> tuple[Floats, Rows]:
        return finders[rank](questions, top_k, exchange=exchange_of(rank))

    with ThreadPoolExecutor(len(finders)) as threads:
        return list(threads.map(run, range(len(finders))))
