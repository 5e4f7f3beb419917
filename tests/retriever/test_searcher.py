"""Search by several processes: what one finds, to the bit, each reading its own shards only."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from forked import call
from search_job import Job, search_all
from search_threads import in_threads

from art.retriever import search as searching
from art.retriever.blocks import Blocks
from art.retriever.index import Index
from art.retriever.search import Finder
from art.retriever.searcher import IndexSearcher


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def whole_numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 2, shape).astype(np.float32)


KINDS = {
    "apart": (normal(900, 24), normal(7, 24, seed=1), 12),
    "ties across shards": (whole_numbers(900, 3), whole_numbers(7, 3, seed=1), 40),
    "all alike": (np.ones((300, 8), np.float32), normal(5, 8, seed=1), 6),
    "more asked than a process has": (normal(120, 8), normal(5, 8, seed=1), 100),
}


@pytest.fixture(scope="module", params=KINDS)
def case(request, tmp_path_factory, write_index) -> tuple[Index, np.ndarray, int]:
    vectors, questions, top_k = KINDS[request.param]
    folder = tmp_path_factory.mktemp("index")
    shard_rows = -(-len(vectors) // 5)
    return write_index(folder, vectors, shard_rows=shard_rows), questions, top_k


def exactly(parts: list[Blocks]) -> list[Finder]:
    return [partial(searching.search, part) for part in parts]


@pytest.mark.parametrize("size", [1, 2, 3, 7])  # of seven, two have no shard
def test_any_division_of_the_shards_finds_the_same_bits(case, size):
    index, questions, top_k = case
    expected = index.search(questions, top_k)
    parts = [index.blocks(range(rank, index.num_shards, size)) for rank in range(size)]
    for scores, rows in in_threads(exactly(parts), questions, top_k):
        assert (scores == expected[0]).all() and (rows == expected[1]).all()


@pytest.mark.parametrize("size", [2, 3])
def test_candidates_that_one_process_gets_wrong_are_believed_by_none(
    tmp_path, size, write_index, monkeypatch
):
    index = write_index(tmp_path, normal(400, 16), shard_rows=50)
    questions = normal(4, 16, seed=1)
    expected = index.search(questions, 9)
    nearest = searching.nearest

    def coarse(asked, block, count):  # as tensor cores would, in the process of the first shard
        if block.data_ptr() == first_block:
            return nearest(asked.half().float(), block.half().float(), count)
        return nearest(asked, block, count)

    parts = [index.blocks(range(rank, index.num_shards, size)) for rank in range(size)]
    first_block = parts[0].blocks[0].vectors.data_ptr()
    monkeypatch.setattr(searching, "nearest", coarse)
    for scores, rows in in_threads(exactly(parts), questions, 9):
        assert (scores == expected[0]).all() and (rows == expected[1]).all()


def test_one_process_finds_what_the_index_finds(case):
    index, questions, top_k = case
    expected = index.search(questions, top_k)
    searcher = IndexSearcher(index, torch.device("cpu"))
    for find in (searcher.search, searcher.search_for_all):
        scores, rows = find(lambda: questions, top_k)
        assert (scores == expected[0]).all() and (rows == expected[1]).all()
        assert find(lambda: None, top_k)[1].shape == (0, top_k)
    assert (searcher.score(lambda: questions, expected[1]) == expected[0]).all()


@pytest.mark.parametrize("size", [2, 3])
def test_processes_find_what_one_finds_and_map_only_their_own_shards(size, tmp_path, write_index):
    jobs, expected = [], []
    for name, (vectors, questions, top_k) in KINDS.items():
        folder = tmp_path / name
        folder.mkdir()
        # Five shards; two where all are alike, so that the last of three processes has none.
        shard_rows = -(-len(vectors) // (2 if name == "all alike" else 5))
        index = write_index(folder, vectors, shard_rows=shard_rows)
        jobs.append(Job(folder, questions, top_k))
        expected.append((index.num_shards, *index.search(questions, top_k)))
    jobs.append(Job(jobs[0].folder, jobs[0].questions, 5, failing=1))
    for rank, outcomes in enumerate(call(search_all, jobs, world_size=size)):
        failed = outcomes.pop()
        assert failed.error == "process 1 has no luck"
        for outcome, (num_shards, scores, rows) in zip(outcomes, expected, strict=True):
            assert outcome.error is None
            assert (outcome.every[0] == scores).all() and (outcome.every[1] == rows).all()
            assert (outcome.own[0] == scores[outcome.asked]).all()
            assert (outcome.own[1] == rows[outcome.asked]).all()
            assert (outcome.scored[:, ::-1] == scores[outcome.asked]).all()
            assert outcome.shards == set(range(rank, num_shards, size))


def test_damage_in_a_shard_of_one_process_is_raised_by_all(tmp_path, write_index):
    index = write_index(tmp_path, normal(100, 8), shard_rows=30)
    path = tmp_path / "shard-00001.bin"  # of process 1
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    job = Job(tmp_path, normal(4, 8, seed=1), 5)
    (first,), (second,) = call(search_all, [job], world_size=2)
    assert first.error == second.error
    assert "shard-00001.bin" in first.error
    assert index.num_shards == 4
