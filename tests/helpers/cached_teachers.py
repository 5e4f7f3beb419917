"""A teacher and processes that are none, for what remembers and shares scores."""

from __future__ import annotations

import hashlib
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from art import distributed
from art.data.pairs import Pair, joined
from art.errors import ArtError

MINE = "a" * 32
TOKENS = [np.array(ids) for ids in ([5, 6], [7], [8, 9, 10], [7], [11, 12], [13])]  # 1 and 3 alike


class FakeTeacher:
    """Scores from a hash of the token ids; remembers what it was asked."""

    fingerprint = MINE
    offset = 0.0
    batch_tokens = 20
    reads_passages_apart = False

    def __init__(self) -> None:
        self.template = SimpleNamespace(
            longest=20,
            asked=lambda text: joined([3, *text.encode()]),
            pair=lambda asked, ids: Pair(joined([1, *ids.tolist(), 2]), asked),
        )
        self.asked: list[tuple[tuple[int, ...], tuple[int, ...]]] = []

    def score_pairs(self, given: list[Pair]) -> np.ndarray:
        pairs = [tuple(tuple(map(int, part)) for part in pair) for pair in given]
        self.asked += pairs
        digests = [hashlib.md5(repr(pair).encode()).digest()[:2] for pair in pairs]
        return np.array(
            [-int.from_bytes(one, "big") / 7 - self.offset for one in digests], dtype=np.float32
        )


class Job:
    """Processes played by threads: each has its rank, and gathering waits for all of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, world_size: int) -> None:
        self.world_size = world_size
        self.local = threading.local()
        self.barrier = threading.Barrier(world_size, timeout=20)
        self.values: list[object] = [None] * world_size
        monkeypatch.setattr(distributed, "gather_objects", self.gather)
        monkeypatch.setattr(distributed, "broadcast_object", lambda value: self.gather(value)[0])
        monkeypatch.setattr(distributed, "world_size", lambda: world_size)
        monkeypatch.setattr(distributed, "rank", lambda: self.local.rank)
        monkeypatch.setattr(distributed, "is_main", lambda: self.local.rank == 0)

    def gather(self, value: object) -> list[object]:
        self.values[self.local.rank] = value
        self.barrier.wait()
        gathered = list(self.values)
        self.barrier.wait()
        return gathered

    def run(self, work: object) -> list[object]:
        results: list[object] = [None] * self.world_size

        def process(rank: int) -> None:
            self.local.rank = rank
            try:
                results[rank] = work(rank)
            except ArtError as error:
                results[rank] = error

        threads = [threading.Thread(target=process, args=(rank,)) for rank in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results
