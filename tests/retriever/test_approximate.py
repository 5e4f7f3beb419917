"""Approximate kinds: what is found is scored exactly, how much is found is measured, or refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from search_threads import in_threads
from thread_ranks import in_world

from art.config import IndexKind
from art.errors import ArtError, CorruptionError
from art.retriever import building
from art.retriever.building import ApproximateSettings, build
from art.retriever.index import Index
from art.retriever.search import inner_products
from art.training.settings import check_config

NUM_QUESTIONS, SIZE = 30, 16
KINDS = ["IVF20,Flat", "IVF8,PQ4", "HNSW8"]


def around(centres: int, count: int, seed: int) -> np.ndarray:
    """Vectors in clusters, as passages are."""
    rng = np.random.default_rng(0)
    middles = rng.standard_normal((centres, SIZE))
    rng = np.random.default_rng(seed)
    chosen = middles[rng.integers(0, centres, count)]
    return (chosen + 0.8 * rng.standard_normal((count, SIZE))).astype(np.float32)


QUESTIONS = around(40, NUM_QUESTIONS, seed=2)


class Asking:
    """A retriever whose questions are the numbers of vectors."""

    device = torch.device("cpu")

    def embed_questions(self, questions: Sequence[str]) -> np.ndarray:
        return QUESTIONS[[int(question) for question in questions]]


def wanted(name: str, **settings) -> ApproximateSettings:
    kind = IndexKind.named(name)
    assert kind is not None
    texts = [str(number) for number in range(NUM_QUESTIONS)]
    return ApproximateSettings(kind, **{"top_k": 10, "questions": texts, **settings})


def built(exact: Index, settings: ApproximateSettings) -> Index:
    record = build(exact, settings, Asking(), progress=False)
    exact.manifest.model_copy(update={"approximate": record}).write(exact.folder / "manifest.json")
    return Index.open(exact.folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_index):
    """Return an index of a kind, made once, and the same vectors in an exact one."""
    known: dict[tuple, tuple[Index, Index]] = {}

    def make(name: str, *, dtype: str = "float32", **settings) -> tuple[Index, Index]:
        key = (name, dtype, *settings.items())
        if key not in known:
            count = 10_000 if "PQ" in name else 900
            vectors, folder = around(40, count, seed=1), tmp_path_factory.mktemp("index")
            exact = write_index(folder, vectors, shard_rows=count // 5 + 1, dtype=dtype)
            known[key] = built(exact, wanted(name, **settings)), exact
        return known[key]

    return make


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("size", [1, 2, 7])  # of seven, two have no shard
def test_all_lists_of_whole_vectors_give_the_bits_of_exact_search(made, dtype, size):
    index, exact = made("IVF20,Flat", dtype=dtype, effort=20)
    expected = exact.search(QUESTIONS, 12)
    finders = [index.finder(range(rank, 5, size)) for rank in range(size)]
    for scores, rows in in_threads(finders, QUESTIONS, 12):
        assert (scores == expected[0]).all() and (rows == expected[1]).all()
    assert index.manifest.approximate.recall == 1


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("name", KINDS)
def test_any_number_of_processes_finds_the_same_bits(made, name, size):
    index, exact = made(name, effort=2)
    expected = index.search(QUESTIONS, 20)
    assert (expected[1] != exact.search(QUESTIONS, 20)[1]).any()  # else nothing is shown here
    finders = [index.finder(range(rank, 5, size)) for rank in range(size)]
    for scores, rows in in_threads(finders, QUESTIONS, 20):
        assert (scores == expected[0]).all() and (rows == expected[1]).all()


@pytest.mark.parametrize(("name", "copies"), [("IVF20,Flat", 20), ("IVF8,PQ4", 250)])
def test_which_of_equal_passages_are_found_does_not_depend_on_processes(
    tmp_path, write_index, name, copies
):
    distinct = around(40, 10_000 // copies, seed=1)
    index = write_index(tmp_path, np.tile(distinct, (copies, 1)), shard_rows=2_500)
    index = built(index, wanted(name, effort=3))
    expected = index.search(QUESTIONS, 22)
    for size in (2, 3):
        finders = [index.finder(range(rank, 4, size)) for rank in range(size)]
        for scores, rows in in_threads(finders, QUESTIONS, 22):
            assert (scores == expected[0]).all() and (rows == expected[1]).all()


def test_where_all_passages_are_alike_the_first_are_found_as_by_exact_search(tmp_path, write_index):
    exact = write_index(tmp_path, np.ones((300, SIZE), np.float32), shard_rows=100)
    scores, rows = built(exact, wanted("IVF4,Flat")).search(QUESTIONS, 5)
    assert (rows == np.arange(5)).all() and (scores == exact.search(QUESTIONS, 5)[0]).all()


@pytest.mark.parametrize("name", KINDS)
def test_what_is_found_has_its_exact_score_and_order(made, name):
    index, exact = made(name, effort=2)
    scores, rows = index.search(QUESTIONS, 20)
    vectors = torch.from_numpy(exact.vectors(rows.reshape(-1)).reshape(*rows.shape, SIZE))
    asked = torch.from_numpy(QUESTIONS)[:, None]
    assert (scores == inner_products(vectors, asked).numpy()).all()
    assert (np.lexsort((rows, -scores)) == np.arange(20)).all()
    alone_scores, alone_rows = index.search(QUESTIONS[3:4], 20)
    assert (alone_scores == scores[3:4]).all() and (alone_rows == rows[3:4]).all()


@pytest.mark.parametrize("name", KINDS)
def test_the_recall_in_the_manifest_is_that_of_the_questions(made, name):
    index, exact = made(name, effort=2)
    record = index.manifest.approximate
    found, best = index.search(QUESTIONS, 10)[1], exact.search(QUESTIONS, 10)[1]
    pairs = zip(found.tolist(), best.tolist(), strict=True)
    recall = np.mean([len(set(one) & set(other)) / 10 for one, other in pairs])
    assert record.recall == pytest.approx(recall) and 0.2 < recall < 1
    said = f"recall@10 {recall:.3f} against exact search, on 30 questions"
    assert record.in_words() == f"{name}, {IndexKind.named(name).setting} 2: {said}"


def test_without_questions_recall_is_that_of_passages(made):
    record = made("IVF20,Flat", questions=(), effort=2)[0].manifest.approximate
    assert (record.asked, record.num_questions) == ("passages", 256)
    assert 0.3 < record.recall < 1


def test_the_more_lists_are_searched_the_higher_is_recall(made):
    records = [made("IVF20,Flat", effort=effort)[0].manifest.approximate for effort in (1, 2, 20)]
    recalls = [record.recall for record in records]
    assert recalls == sorted(recalls) and recalls[0] < recalls[1] < recalls[2] == 1


def test_a_question_with_too_few_candidates_is_compared_with_everything(made):
    index, exact = made("IVF20,Flat", effort=2)
    expected = exact.search(QUESTIONS, 500)
    finders = [index.finder(range(rank, 5, 2)) for rank in range(2)]
    for scores, rows in [index.search(QUESTIONS, 500), *in_threads(finders, QUESTIONS, 500)]:
        assert (scores == expected[0]).all() and (rows == expected[1]).all()
    assert index.search(QUESTIONS[:0], 500)[1].shape == (0, 500)


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    parts = folder.glob("approximate-*")
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in parts}


def test_a_killed_build_goes_on_and_ends_with_the_same_bytes(tmp_path, write_index, monkeypatch):
    vectors = around(40, 900, seed=1)
    exact = write_index(tmp_path, vectors, shard_rows=200)
    build(exact, wanted("IVF20,Flat"), Asking(), progress=False)
    whole = files(tmp_path)
    assert len(whole) == 2 * (1 + 5)
    for path in tmp_path.glob("approximate-0000[23]*"):
        path.unlink()
    record = tmp_path / "approximate-00004.json"  # written by no one, or for other bytes
    record.write_text(record.read_text().replace('"key": "', '"key": "0'))
    build(exact, wanted("IVF20,Flat"), Asking(), progress=False)
    again = files(tmp_path)
    assert {name: data for name, (data, _) in again.items()} == {
        name: data for name, (data, _) in whole.items()
    }
    kept = {name.partition(".")[0] for name in whole if again[name][1] == whole[name][1]}
    assert kept == {"approximate-trained", "approximate-00000", "approximate-00001"}


@pytest.mark.parametrize("name", ["IVF20,Flat", "HNSW8"])
def test_a_damaged_part_is_found_out_and_written_again(tmp_path, write_index, name):
    exact = write_index(tmp_path, around(40, 900, seed=1), shard_rows=500)
    index = built(exact, wanted(name))
    expected = index.search(QUESTIONS, 10)
    paths = sorted(tmp_path.glob("approximate-*.faiss"))
    assert len(paths) == (3 if name.startswith("IVF") else 1)
    for path in paths:
        contents = bytearray(path.read_bytes())
        contents[len(contents) // 2] ^= 1
        path.write_bytes(contents)
        complaint = rf"{path.name}.*not what was written.*embed"
        with pytest.raises(CorruptionError, match=complaint):
            Index.open(tmp_path).search(QUESTIONS, 10)
        with pytest.raises(CorruptionError, match=complaint):
            Index.open(tmp_path).check(range(2))
        found = built(exact, wanted(name)).search(QUESTIONS, 10)
        assert name == "HNSW8" or (found[1] == expected[1]).all()
    paths[0].unlink()
    with pytest.raises(CorruptionError, match=f"{paths[0].name}: cannot read"):
        Index.open(tmp_path).search(QUESTIONS, 10)


@pytest.mark.parametrize("name", KINDS)
def test_the_files_are_as_large_as_planned(made, name):
    index, exact = made(name, effort=2)
    held = sum(path.stat().st_size for path in index.folder.glob("approximate-[0g]*.faiss"))
    planned = IndexKind.named(name).bytes_of_a_passage(SIZE) * len(exact)
    assert planned <= held < 1.25 * planned + 5000


def test_processes_build_what_one_builds(tmp_path, write_index, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_index(tmp_path / name, around(40, 900, seed=1), shard_rows=200)
    alone = build(Index.open(tmp_path / "one"), wanted("IVF20,Flat"), Asking(), progress=False)

    def work():
        return build(Index.open(tmp_path / "two"), wanted("IVF20,Flat"), Asking(), progress=False)

    assert in_world(2, work, monkeypatch) == [alone, alone]
    for name, (data, _) in files(tmp_path / "one").items():
        assert files(tmp_path / "two")[name][0] == data


def test_recall_below_what_is_wanted_is_one_line_that_says_what_to_raise(tmp_path, write_index):
    exact = write_index(tmp_path, around(40, 900, seed=1), shard_rows=500)
    with pytest.raises(ArtError) as caught:
        build(exact, wanted("IVF20,Flat", effort=1, min_recall=0.95), Asking(), progress=False)
    assert "\n" not in str(caught.value)
    assert "IVF20,Flat, nprobe 1: recall@10 0." in caught.value.what
    assert "below index.min_recall 0.95" in caught.value.what
    assert "raise index.nprobe, at most 20" in caught.value.hint
    build(exact, wanted("IVF20,Flat", effort=20, min_recall=1.0), Asking(), progress=False)


@pytest.mark.parametrize(
    ("name", "num_passages", "complaint"),
    [
        ("IVF20,Flat", 779, r"takes 780 passages to train, and there are 779 \(choose fewer lists"),
        ("IVF20,PQ4", 9_983, "takes 9,984 passages"),
        ("IVF20,PQ5", 20_000, "the 5 bytes of a code do not divide the 16 dimensions"),
    ],
)
def test_a_kind_that_cannot_be_built_is_refused_before(name, num_passages, complaint):
    with pytest.raises(ArtError, match=complaint):
        wanted(name).check(num_passages, SIZE)
    wanted(name.replace("PQ5", "PQ4")).check(20_000, SIZE)


def test_a_graph_is_not_for_training_and_kinds_have_numbers():
    sections = {
        "data": {"passages": "p", "questions": "q"},
        "retriever": {"model": "m"},
        "teacher": {"model": "s"},
        "output": {"folder": "runs/x"},
    }
    for kind, complaint in {
        "HNSW32": "index.kind: a graph takes too long .* `art embed --index-kind HNSW32`",
        "IVF": "index.kind: a kind is exact, IVF4096,Flat, IVF4096,PQ64 .* got 'IVF'",
        "IVF0,Flat": "index.kind: a kind is",
        "IVF16,PQ8x4fs": "index.kind: a kind is",
    }.items():
        with pytest.raises(ArtError, match=complaint):
            check_config(sections | {"index": {"kind": kind}}, source="test")
    check_config(sections | {"index": {"kind": "IVF4096,PQ64", "nprobe": 64}}, source="test")


def test_without_faiss_an_approximate_kind_is_one_line(monkeypatch):
    def load():
        raise ArtError("FAISS, which searches the index, cannot be imported")

    monkeypatch.setattr(building, "load_faiss", load)
    with pytest.raises(ArtError, match="FAISS"):
        wanted("IVF20,Flat").check(20_000, SIZE)
