"""Token ids of every passage of a store, made once and memory-mapped; padding.

A corpus is embedded again at every refresh, so tokenising it each time would cost more than the
model on a fast machine. A token store is a folder: `ids.bin` (uint16 where the vocabulary fits,
else uint32), `offsets.bin` (int64, N + 1 borders in tokens) and `manifest.json`, with a checksum
of every 4 MiB, compared when that block is first read.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from art.config import SealedManifest
from art.data.passages import PassageStore
from art.errors import ArtError, CorruptionError
from art.files import atomic_folder, cache_folder, fingerprint
from art.integrity import CheckedFile, file_checksums, open_or_build, repairing

if TYPE_CHECKING:
    from torch import Tensor

_BORDERS = struct.Struct("<qq")
_FORMAT = "token store 2"
_CHUNK_PASSAGES = 512  # in one call: enough for many cores, and quicker than more on few

Chunk = tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]  # ids end to end, length of each


class PassageEncoder(Protocol):
    """Something that turns passages into token ids, many of them in one call."""

    @property
    def fingerprint(self) -> str:
        """Stands for everything the token ids depend on besides the passages."""

    @property
    def vocab_size(self) -> int:
        """No token id is as high as this."""

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        """Return the token ids of n passages."""


class _TokenManifest(SealedManifest):
    format: str
    store_fingerprint: str
    encoder_fingerprint: str
    num_passages: int
    num_tokens: int
    dtype: Literal["uint16", "uint32"]
    blocks: dict[str, list[str]]


class TokenStore:
    """The token ids of every passage of one store under one encoding, mapped for reading.

    Attributes:
        folder: where it lies.
        fingerprint: stands for the passages and their encoding.
    """

    folder: Path
    fingerprint: str

    def __init__(self, folder: Path, build: Callable[[], None]) -> None:
        manifest = _TokenManifest.read(folder / "manifest.json")
        if manifest.format != _FORMAT:
            raise CorruptionError(f"not a {_FORMAT!r} but {manifest.format!r}", where=folder)
        self.folder = folder
        self.fingerprint = fingerprint(manifest.store_fingerprint, manifest.encoder_fingerprint)
        self._num_passages = manifest.num_passages
        self._type = np.dtype(manifest.dtype).newbyteorder("<")

        def opened(name: str, num_bytes: int) -> CheckedFile:
            checksums, repair = manifest.blocks[name], repairing(folder, build)
            return CheckedFile(folder / name, num_bytes, checksums, repair=repair)

        self._ids = opened("ids.bin", manifest.num_tokens * self._type.itemsize)
        self._offsets = opened("offsets.bin", 8 * (self._num_passages + 1))

    @classmethod
    def open_or_build(
        cls,
        store: PassageStore,
        encode: PassageEncoder,
        *,
        cache: Path | None = None,
        progress: bool = True,
    ) -> TokenStore:
        """Open the token ids of a store, tokenising it where this encoding is new.

        What turns out damaged is made again, now or when it is first read. Fast tokenizers use
        every core, or one where the environment says `TOKENIZERS_PARALLELISM=false`; the files do
        not depend on it.

        Args:
            store: the passages.
            encode: what makes token ids of them.
            cache: folder for things that can be built again; None for the user's.
            progress: draw a progress bar while building.

        Raises:
            ArtError: tokenising failed, or the files cannot be written.
        """
        folder = (cache or cache_folder()) / "tokens"
        folder /= fingerprint(_FORMAT, store.fingerprint, encode.fingerprint)
        build = partial(_build, store, encode, folder, progress)
        return open_or_build(folder, partial(cls, build=build), build)

    def lengths(self, rows: range | None = None) -> NDArray[np.int32]:
        """Return the number of tokens of consecutive rows, of all when None, [n]."""
        chosen = range(len(self)) if rows is None else rows
        borders = self._offsets.read(8 * chosen.start, 8 * (chosen.stop + 1))
        return np.diff(np.frombuffer(borders, dtype="<i8")).astype(np.int32)

    def __len__(self) -> int:
        return self._num_passages

    def __getitem__(self, row: int) -> NDArray[np.int64]:
        """Return the token ids [L] of one row."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} of {len(self)} passages")
        start, stop = _BORDERS.unpack(self._offsets.read(8 * row, 8 * row + _BORDERS.size))
        size = self._type.itemsize
        found = np.frombuffer(self._ids.read(start * size, stop * size), dtype=self._type)
        return found.astype(np.int64)


def pad(
    sequences: Sequence[ArrayLike], *, pad_id: int, side: Literal["left", "right"] = "right"
) -> tuple[Tensor, Tensor]:
    """Make one batch of sequences of different lengths.

    Args:
        sequences: n sequences of token ids.
        pad_id: what fills up the shorter ones.
        side: where the filling stands.

    Returns:
        ids [n, L] int64 and mask [n, L] bool (True = attend), L the longest sequence's length.
    """
    import torch  # here, because tokenising does not need it

    arrays = [np.asarray(sequence, dtype=np.int64) for sequence in sequences]
    longest = max((len(array) for array in arrays), default=0)
    ids = np.full((len(arrays), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(arrays), longest), dtype=np.bool_)
    for row, array in enumerate(arrays):
        start = longest - len(array) if side == "left" else 0
        ids[row, start : start + len(array)] = array
        mask[row, start : start + len(array)] = True
    return torch.from_numpy(ids), torch.from_numpy(mask)


def _build(store: PassageStore, encode: PassageEncoder, folder: Path, progress: bool) -> None:
    num_tokens = 0
    bar = tqdm(
        total=len(store), desc="tokens", unit=" passages", unit_scale=True, disable=not progress
    )
    with bar, atomic_folder(folder) as beside:
        with (
            open(beside / "ids.bin", "wb") as ids_file,
            open(beside / "offsets.bin", "wb") as offsets_file,
        ):
            offsets_file.write(np.zeros(1, dtype="<i8").data)
            for ids, lengths in _chunks(store, encode):
                ids_file.write(ids.data)
                offsets_file.write((num_tokens + np.cumsum(lengths)).astype("<i8").data)
                num_tokens += len(ids)
                bar.update(len(lengths))
        manifest = _TokenManifest(
            format=_FORMAT,
            store_fingerprint=store.fingerprint,
            encoder_fingerprint=encode.fingerprint,
            num_passages=len(store),
            num_tokens=num_tokens,
            dtype=_dtype(encode),
            blocks={name: file_checksums(beside / name) for name in ("ids.bin", "offsets.bin")},
        )
        manifest.write(beside / "manifest.json")


def _dtype(encode: PassageEncoder) -> Literal["uint16", "uint32"]:
    return "uint16" if encode.vocab_size <= 1 << 16 else "uint32"


def _chunks(store: PassageStore, encode: PassageEncoder) -> Iterator[Chunk]:
    """Yield the token ids of a store in its order, some hundreds of passages at a time.

    Raises:
        ArtError: the encoder failed; names the passages.
    """
    for start in range(0, len(store), _CHUNK_PASSAGES):
        stop = min(start + _CHUNK_PASSAGES, len(store))
        passages = [store[row] for row in range(start, stop)]
        try:
            rows = encode([one.title for one in passages], [one.text for one in passages])
        except ArtError:
            raise
        except Exception as error:
            raise ArtError(
                f"tokenising failed among passages {start + 1} to {stop}: "
                f"{type(error).__name__}: {error}",
                where=store.source,
            ) from error
        lengths = np.array([len(row) for row in rows], dtype=np.int64)
        dtype = np.dtype(_dtype(encode)).newbyteorder("<")
        flat = np.fromiter(chain.from_iterable(rows), dtype, count=int(lengths.sum()))
        yield flat, lengths
