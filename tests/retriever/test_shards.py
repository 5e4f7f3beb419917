"""What `Index.open` refuses, and damage found when it is read."""

from __future__ import annotations

import numpy as np
import pytest

from art import integrity
from art.errors import ArtError, CorruptionError, MismatchError
from art.retriever.index import Index


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_open_refuses_what_is_not_a_finished_index(tmp_path, write_index):
    with pytest.raises(ArtError, match="art embed"):
        Index.open(tmp_path / "nowhere")
    write_index(tmp_path, normal(100, 8), shard_rows=64)
    (tmp_path / "manifest.json").write_text('{"version": 1}')
    with pytest.raises(CorruptionError, match="num_passages"):
        Index.open(tmp_path)


def test_open_refuses_a_manifest_that_was_changed(tmp_path, write_index):
    write_index(tmp_path, normal(100, 8), shard_rows=64)
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace('"shard_rows": 64', '"shard_rows": 65'))
    with pytest.raises(CorruptionError, match=r"manifest\.json: not what was written"):
        Index.open(tmp_path)


def test_open_names_both_fingerprints_of_a_mismatch(tmp_path, write_index):
    write_index(tmp_path, normal(100, 8), shard_rows=64)
    assert len(Index.open(tmp_path, retriever_fingerprint="retriever")) == 100
    with pytest.raises(MismatchError, match=r"made by retriever retriever, .* given is other"):
        Index.open(tmp_path, retriever_fingerprint="other")


@pytest.mark.parametrize("damage", ["cut", "longer", "gone"])
def test_open_refuses_a_shard_of_another_size(tmp_path, damage, write_index):
    write_index(tmp_path, normal(100, 8), shard_rows=64)
    path = tmp_path / "shard-00001.bin"
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else path.read_bytes() + b"x")
    with pytest.raises(CorruptionError, match=r"shard-00001\.bin: .*art embed"):
        Index.open(tmp_path)


def test_a_flipped_bit_is_found_when_its_block_is_read(tmp_path, monkeypatch, write_index):
    monkeypatch.setattr(integrity, "BLOCK_BYTES", 1000)  # rows of 32 bytes straddle blocks
    index = write_index(tmp_path, normal(100, 8), shard_rows=64)
    assert [len(blocks) for blocks in index.manifest.blocks] == [3, 2]
    path = tmp_path / "shard-00000.bin"
    contents = bytearray(path.read_bytes())
    contents[1003] ^= 1
    path.write_bytes(contents)
    index = Index.open(tmp_path)
    index.vectors([0, 30, 63, 64])  # blocks 0 and 2 are whole
    with pytest.raises(CorruptionError, match=r"shard-00000\.bin: block 1 .*art embed"):
        index.vectors([31])  # bytes 992 to 1023
    with pytest.raises(CorruptionError, match="block 1"):
        index.search(normal(1, 8), 5)


def test_each_block_is_hashed_once_per_opened_index(tmp_path, monkeypatch, write_index):
    write_index(tmp_path, normal(100, 8), shard_rows=64)
    hashed = []
    checksum = integrity._checksum

    def recording(contents, block):
        hashed.append(block)
        return checksum(contents, block)

    monkeypatch.setattr(integrity, "_checksum", recording)
    index = Index.open(tmp_path)
    for _ in range(3):
        index.search(normal(2, 8), 60)
        index.vectors([0, 99])
    assert hashed == [0, 0]  # one block in each of two shards
