"""Embedding a store into shards: bits, resuming, repairing, what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from art import distributed
from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import ArtError, CorruptionError, MismatchError
from art.files import lock
from art.retriever.embedding import embed_passages, overlapped
from art.retriever.index import Index
from art.retriever.loading import create_retriever

SIZE = 6
SETTINGS = {"shard_rows": 16, "batch_tokens": 200, "progress": False}


class LetterCodes:
    """Token ids of a passage: the code points of its text, 5 to 40 of them."""

    fingerprint = "letters"
    vocab_size = 1 << 16

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text[: 5 + len(text) * 7 % 36]] for text in texts]


class Sums:
    """A retriever whose vectors show what was in the batch: its first number is the row's own."""

    embedding_size = SIZE
    device = torch.device("cpu")
    pad_id = 0

    def __init__(self, batch_tokens: int = SETTINGS["batch_tokens"]) -> None:
        self.batch_tokens = batch_tokens
        self.batches: list[list[int]] = []
        self.spoil: dict[int, float] = {}
        self.stop_after: int | None = None

    def fingerprint(self) -> str:
        return "sums"

    @property
    def passage_tower(self) -> Sums:
        return self

    def embed(self, ids, mask):
        if self.stop_after is not None and len(self.batches) >= self.stop_after:
            raise KeyboardInterrupt
        lengths = mask.sum(dim=1).tolist()
        assert len(lengths) == 1 or ids.numel() <= self.batch_tokens
        self.batches.append(lengths)
        sums = ids.sum(dim=1).numpy()
        vectors = sums[:, None] / np.arange(7.0, 7.0 + SIZE)
        vectors[:, 1] += sum(lengths)  # the batch's composition shows in the bits
        for position, total in enumerate(sums.tolist()):
            if total in self.spoil:
                vectors[position, 2] = self.spoil[total]
        return vectors.astype(np.float32)


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory) -> PassageStore:
    passages = [Passage(*passage) for passage in corpus]
    folder = tmp_path_factory.mktemp("stores") / "store"
    return PassageStore.build(passages, folder, source="memory", progress=False)


@pytest.fixture(scope="module")
def tokens(store, tmp_path_factory) -> TokenStore:
    cache = tmp_path_factory.mktemp("tokens")
    return TokenStore.open_or_build(store, LetterCodes(), cache=cache, progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


def test_vectors_are_the_retrievers_whatever_the_shards(tiny_bert, store, tmp_path):
    retriever = create_retriever(str(tiny_bert), passage_length=64)
    tokens = TokenStore.open_or_build(
        store, retriever.passage_template, cache=tmp_path, progress=False
    )
    for shard_rows in (7, 60, 1000):
        index = embed_passages(
            retriever,
            tokens,
            tmp_path / str(shard_rows),
            store=store,
            shard_rows=shard_rows,
            batch_tokens=300,
            progress=False,
        )
        expected = [
            retriever.embed_tokens("passage", [tokens[row]], batch_tokens=1)[0] for row in range(60)
        ]
        np.testing.assert_allclose(index.vectors(range(60)), expected, atol=2e-6)
        assert index.retriever_fingerprint == retriever.fingerprint()
    question = retriever.embed_questions(["moon river"])
    scores, rows = index.search(question, 60)
    np.testing.assert_allclose(scores[0], (np.array(expected) @ question[0])[rows[0]], atol=1e-5)


def test_manifest_names_store_retriever_and_what_made_it(store, tokens, tmp_path):
    index = embed_passages(Sums(), tokens, tmp_path, store=store, **SETTINGS)
    assert index.store_folder == Path(store.folder).resolve()
    assert index.store_fingerprint == store.fingerprint
    assert index.retriever_fingerprint == "sums"
    assert len(index) == 60 and index.embedding_size == SIZE
    assert {"art", "torch", "numpy", "python"} <= index.manifest.provenance.keys()
    norms = np.linalg.norm(index.vectors(range(60)).astype(np.float64), axis=1)
    assert index.manifest.max_norms == [norms[i : i + 16].max() for i in range(0, 60, 16)]


def test_batches_hold_passages_of_similar_length(store, tokens, tmp_path):
    retriever = Sums()
    embed_passages(retriever, tokens, tmp_path, store=store, **{**SETTINGS, "shard_rows": 60})
    padded = sum(len(batch) * max(batch) for batch in retriever.batches)
    assert padded < 1.15 * tokens.lengths().sum()
    assert len(retriever.batches[0]) * max(retriever.batches[0]) <= 200
    assert max(retriever.batches[0]) == tokens.lengths().max()


def test_a_killed_job_goes_on_and_ends_with_the_same_bytes(store, tokens, tmp_path):
    whole = Sums()
    embed_passages(whole, tokens, tmp_path / "whole", store=store, **SETTINGS)
    killed = Sums()
    killed.stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        embed_passages(killed, tokens, tmp_path / "killed", store=store, **SETTINGS)
    with pytest.raises(ArtError, match="go on building it, with `art embed`"):
        Index.open(tmp_path / "killed")
    half_written = tmp_path / "killed" / ".shard-00001.bin.node-1.123.tmp"
    half_written.write_bytes(b"...")
    resumed = Sums()
    embed_passages(resumed, tokens, tmp_path / "killed", store=store, **SETTINGS)
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert 0 < len(resumed.batches) < len(whole.batches)


def test_bytes_do_not_depend_on_the_number_of_processes(store, tokens, tmp_path, monkeypatch):
    embed_passages(Sums(), tokens, tmp_path / "one", store=store, **SETTINGS)
    ranks = [Sums(), Sums(), Sums()]
    with monkeypatch.context() as patch:  # as if each of three ranks did its part, the main last
        patch.setattr(distributed, "gather_objects", lambda value: [value])
        patch.setattr(distributed, "world_size", lambda: 3)
        patch.setattr(distributed, "require_shared", lambda folder: None)
        for rank in (1, 2):
            patch.setattr(distributed, "rank", lambda rank=rank: rank)
            with pytest.raises(ArtError, match="no finished index"):
                embed_passages(ranks[rank], tokens, tmp_path / "three", store=store, **SETTINGS)
        patch.setattr(distributed, "rank", lambda: 0)
        embed_passages(ranks[0], tokens, tmp_path / "three", store=store, **SETTINGS)
    assert contents(tmp_path / "three") == contents(tmp_path / "one")
    assert all(rank.batches for rank in ranks)


def test_a_folder_that_machines_do_not_share_is_refused_before_anything_is_embedded(
    store, tokens, tmp_path, monkeypatch
):
    def refuse(folder: Path) -> None:
        raise ArtError("not shared", where=folder)

    monkeypatch.setattr(distributed, "require_shared", refuse)
    retriever = Sums()
    with pytest.raises(ArtError, match="not shared"):
        embed_passages(retriever, tokens, tmp_path, store=store, **SETTINGS)
    assert not retriever.batches


def test_a_finished_index_is_not_embedded_again(store, tokens, tmp_path):
    embed_passages(Sums(), tokens, tmp_path, store=store, **SETTINGS)
    before = contents(tmp_path)
    again = Sums()
    embed_passages(again, tokens, tmp_path, store=store, **SETTINGS)
    assert not again.batches and contents(tmp_path) == before


@pytest.mark.parametrize("damage", ["flipped", "cut", "record", "changed record", "gone"])
def test_embedding_again_mends_what_is_damaged_and_only_that(store, tokens, tmp_path, damage):
    whole = Sums()
    index = embed_passages(whole, tokens, tmp_path, store=store, **SETTINGS)
    before = contents(tmp_path)
    path = tmp_path / "shard-00002.bin"
    if damage == "flipped":
        path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
        with pytest.raises(CorruptionError, match="art embed"):
            Index.open(tmp_path).vectors([40])
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-4])
    elif damage == "record":
        path.with_suffix(".json").write_text("{")
    elif damage == "changed record":
        record = path.with_suffix(".json")
        record.write_text(re.sub(r'"max_norm": \d', '"max_norm": 0', record.read_text()))
    else:
        path.unlink()
    again = Sums()
    index = embed_passages(again, tokens, tmp_path, store=store, **SETTINGS)
    assert contents(tmp_path) == before
    assert sum(map(len, again.batches)) == 16
    assert (index.vectors([40]) != 0).all()


@pytest.mark.parametrize("damage", ["cut", "another key", "gone"])
def test_a_damaged_manifest_is_written_again(store, tokens, tmp_path, damage):
    embed_passages(Sums(), tokens, tmp_path, store=store, **SETTINGS)
    before = contents(tmp_path)
    path = tmp_path / "manifest.json"
    if damage == "cut":
        path.write_text(path.read_text()[:-9])
    elif damage == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text().replace("max_norms", "min_norms"))
    again = Sums()
    embed_passages(again, tokens, tmp_path, store=store, **SETTINGS)
    assert contents(tmp_path) == before and not again.batches


@pytest.mark.parametrize(
    "change",
    [{"shard_rows": 20}, {"batch_tokens": 250}, {"dtype": "float16"}, {"fingerprint": "other"}],
)
def test_shards_made_under_other_settings_are_not_kept(store, tokens, tmp_path, change):
    embed_passages(Sums(), tokens, tmp_path / "reused", store=store, **SETTINGS)
    others = {**SETTINGS, **change}
    again, afresh = Sums(others["batch_tokens"]), Sums(others["batch_tokens"])
    embed_passages(again, tokens, tmp_path / "reused", store=store, **others)
    embed_passages(afresh, tokens, tmp_path / "fresh", store=store, **others)
    assert sum(map(len, again.batches)) == 60
    assert contents(tmp_path / "reused") == contents(tmp_path / "fresh")  # no shard left over


def test_float16_holds_the_rounded_vectors(store, tokens, tmp_path):
    wide = embed_passages(Sums(), tokens, tmp_path / "wide", store=store, **SETTINGS)
    half = embed_passages(
        Sums(), tokens, tmp_path / "half", store=store, dtype="float16", **SETTINGS
    )
    expected = wide.vectors(range(60)).astype(np.float16).astype(np.float32)
    assert (half.vectors(range(60)) == expected).all()
    assert (tmp_path / "half" / "shard-00000.bin").stat().st_size == 16 * SIZE * 2


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_vector_that_is_not_finite_names_its_passage(store, tokens, tmp_path, value):
    retriever = Sums()
    retriever.spoil = {int(tokens[23].sum()): value}
    with pytest.raises(ArtError, match=r"'p23' is not finite.*learning rate"):
        embed_passages(retriever, tokens, tmp_path, store=store, **SETTINGS)


def test_a_number_too_large_for_float16_is_refused(store, tokens, tmp_path):
    retriever = Sums()
    retriever.spoil = {int(tokens[23].sum()): -65_505.0}
    with pytest.raises(ArtError, match=r"'p23' does not fit float16.*65505.*float32"):
        embed_passages(
            retriever, tokens, tmp_path / "half", store=store, dtype="float16", **SETTINGS
        )
    embed_passages(retriever, tokens, tmp_path / "wide", store=store, **SETTINGS)


def test_token_ids_of_another_store_are_refused(tokens, tmp_path):
    other = PassageStore.build(
        [Passage("a", "", "one")], tmp_path / "store", source="memory", progress=False
    )
    with pytest.raises(MismatchError, match="60 passages for a store of 1"):
        embed_passages(Sums(), tokens, tmp_path / "index", store=other, **SETTINGS)


def test_two_jobs_do_not_write_to_one_folder(store, tokens, tmp_path):
    with lock(tmp_path / ".lock"), pytest.raises(ArtError, match="another embedding job"):
        embed_passages(Sums(), tokens, tmp_path, store=store, **SETTINGS)


def test_the_bar_tells_passages_a_second_and_counts_kept_shards(store, tokens, tmp_path, capsys):
    settings = {**SETTINGS, "progress": True}
    embed_passages(Sums(), tokens, tmp_path, store=store, **settings, description="refresh 3")
    shown = capsys.readouterr().err
    assert "refresh 3" in shown and "60.0/60.0" in shown and "passages/s" in shown


@pytest.mark.parametrize("count", [0, 1, 5])
def test_results_come_in_order_with_one_begun_early_at_the_most(count: int) -> None:
    begun: list[int] = []

    def square(number: int) -> int:
        begun.append(number)
        return number * number

    found = []
    for place, one in enumerate(overlapped(square, range(count))):
        assert len(begun) <= place + 2
        found.append(one)
    assert found == [number * number for number in range(count)]


def test_what_fails_early_fails_where_it_is_asked_for() -> None:
    made = overlapped(lambda number: 1 // (2 - number), range(4))
    assert [next(made), next(made)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)
