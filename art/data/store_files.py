"""The files of a passage store, written; `art.data.passages` says what they hold and reads them."""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from art.data.records import Passage
from art.data.rows import is_word

HEADER = struct.Struct("<III")  # bytes of the id, of the title, of the text


def write_records(passages: Iterable[Passage], folder: Path) -> tuple[array[int], int, str, str]:
    """Write text.bin and offsets.bin.

    Returns:
        The ids' hashes, the bytes, the fingerprint, and the first id with white space, "" if none.
    """
    hashes, position, digest = array("Q"), 0, hashlib.blake2b(digest_size=16)
    spaced_id = ""
    with open(folder / "text.bin", "wb") as texts, open(folder / "offsets.bin", "wb") as offsets:
        offsets.write(struct.pack("<q", 0))
        for passage in passages:
            record = _pack(passage)
            digest.update(record)
            texts.write(record)
            position += len(record)
            offsets.write(struct.pack("<q", position))
            hashes.append(id_hash(passage.passage_id.encode()))
            if not spaced_id and not is_word(passage.passage_id):
                spaced_id = passage.passage_id
    return hashes, position, digest.hexdigest(), spaced_id


def _pack(passage: Passage) -> bytes:
    passage_id, title = passage.passage_id.encode(), passage.title.encode()
    text = passage.text.encode()
    return HEADER.pack(len(passage_id), len(title), len(text)) + passage_id + title + text


def write_hashes(hashes: array[int], path: Path) -> None:
    """Write hashes.bin from the ids' hashes in the order of their rows."""
    values = np.frombuffer(hashes, dtype=np.uint64)
    order = np.argsort(values, kind="stable")  # equal hashes stay in the order of their rows
    with open(path, "wb") as file:
        file.write(values[order].astype("<u8").data)
        file.write(order.astype("<u8").data)


def id_hash(passage_id: bytes) -> int:
    """Return the 64 bits that an id, in UTF-8, is looked up by."""
    return int.from_bytes(hashlib.blake2b(passage_id, digest_size=8).digest(), "little")
