"""Vectors made elsewhere: a NumPy or FAISS matrix, made an ordinary index of the same passages.

The matrix is copied once into the cache, in the order of the passages, and searched there like any
other index: exactly, with the same order of equals. Nothing of FAISS reads a foreign file: a flat
index is a short header and then its numbers, which are mapped and checked here.
"""

from __future__ import annotations

import platform
import struct
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from art import __version__, files
from art.errors import DataError, MismatchError, notify, shown
from art.integrity import open_or_build
from art.retriever.index import Index
from art.retriever.index_manifest import MANIFEST, IndexManifest
from art.retriever.shards import VectorType, write_shard

if TYPE_CHECKING:
    from art.data.passages import PassageStore

_FORMAT = "foreign vectors 1"  # raise it when the copy becomes another one
_SHARD_ROWS = 65_536
# A flat index: kind, dimensions, rows, two fields without use, trained, metric, count of numbers.
_FLAT_HEADER = struct.Struct("<4siqqq?iQ")
_FLAT_KINDS = (b"IxFI", b"IxFl")  # inner product by its name, and with the metric beside it
_INNER_PRODUCT = 0


def open_foreign_index(
    vectors: str | Path,
    store: PassageStore,
    *,
    ids: str | Path | None = None,
    cache: Path | None = None,
) -> Index:
    """Open vectors made elsewhere as an index of a store, copying them the first time.

    Args:
        vectors: a `.npy` matrix, the file of a flat FAISS index by inner product, or a folder of
            Pyserini's with such an index and its `docid`, [N, D].
        store: the N passages.
        ids: the passage id of each row, one a line; default the folder's `docid`, else the order of
            the passages, which is told.
        cache: where the copy is kept; `files.cache_folder()` when None.

    Raises:
        DataError: a file cannot be read, is of another kind, or holds numbers that are not finite.
        MismatchError: the ids are not those of the passages, each once.
    """
    path = Path(vectors)
    matrix_file = path / "index" if path.is_dir() else path
    if ids is None and (path / "docid").is_file():
        ids = path / "docid"
    matrix = _read_matrix(matrix_file)
    rows = _positions(ids, len(matrix), store, matrix_file)
    parts = [files.file_state(matrix_file), store.fingerprint]
    parts += ["" if ids is None else files.fingerprint_file(ids)]
    key = files.fingerprint(_FORMAT, *parts)
    folder = (cache or files.cache_folder()) / "vectors" / key
    build = partial(_copy, matrix, rows, folder, store=store, key=key, source=matrix_file)
    return open_or_build(folder, Index.open, build)


def read_question_vectors(
    path: str | Path, num_questions: int, index: Index
) -> NDArray[np.float32]:
    """Read the vectors of questions from a `.npy` matrix, row i for question i.

    Args:
        path: the file, [Q, D].
        num_questions: Q.
        index: what they will search, for D.

    Returns:
        [Q, D] float32.

    Raises:
        DataError: it cannot be read, or a number is not finite.
        MismatchError: it has other sizes.
    """
    path = Path(path)
    matrix = _read_npy(path)
    expected = (num_questions, index.embedding_size)
    if matrix.shape != expected:
        raise MismatchError(
            f"a matrix of {list(matrix.shape)}, expected {list(expected)}: a row for each question,"
            " as long as the vectors of the passages",
            where=path,
        )
    return _converted(matrix, "float32", 0, path).astype(np.float32)


def _read_matrix(path: Path) -> NDArray[Any]:
    """Map the rows of a NumPy or FAISS file, [N, D]."""
    return _read_npy(path) if path.suffix == ".npy" else _read_flat(path)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"cannot read: {error.strerror or error}", where=path) from error
    except (ValueError, EOFError, OverflowError, TypeError) as error:
        raise DataError(
            f"not a matrix that numpy.save wrote: {error}", where=path, hint="have it written again"
        ) from error
    if not isinstance(matrix, np.ndarray):
        raise DataError("an archive of arrays, not one matrix", where=path)
    if matrix.dtype.kind != "f" or matrix.ndim != 2:
        raise DataError(
            f"{matrix.dtype} of shape {list(matrix.shape)}, not a matrix of real numbers",
            where=path,
        )
    if not matrix.size:
        raise DataError(f"an empty matrix, {list(matrix.shape)}", where=path)
    return matrix


def _read_flat(path: Path) -> NDArray[Any]:
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            header = file.read(_FLAT_HEADER.size)
    except OSError as error:
        raise DataError(
            f"cannot read: {error.strerror}",
            where=path,
            hint="name a .npy matrix, a FAISS file or a folder with `index` and `docid`",
        ) from error
    if len(header) < _FLAT_HEADER.size or not header.startswith(_FLAT_KINDS):
        raise DataError(
            f"not a flat FAISS index by inner product: it begins with {shown(header[:4])}",
            where=path,
            hint="write an IndexFlatIP, or the vectors as a .npy matrix",
        )
    _, width, num_rows, _, _, _, metric, count = _FLAT_HEADER.unpack(header)
    if metric != _INNER_PRODUCT:
        raise DataError(f"a FAISS index of metric {metric}, not inner product (0)", where=path)
    numbers = _FLAT_HEADER.size
    if min(width, num_rows) < 1 or count != width * num_rows or size - numbers != 4 * count:
        raise DataError(
            f"says {num_rows} rows of {width} numbers, but has {size - numbers} bytes of them",
            where=path,
            hint="have it written again",
        )
    return np.memmap(path, "<f4", mode="r", offset=numbers, shape=(num_rows, width))


def _positions(
    ids: str | Path | None, num_vectors: int, store: PassageStore, path: Path
) -> NDArray[np.int64]:
    """Return for each passage of the store the row of its vector, [N]."""
    if num_vectors != len(store):
        raise MismatchError(
            f"{num_vectors} vectors for {len(store)} passages",
            where=path,
            hint="give the passages these are the vectors of, with --passages",
        )
    if ids is None:
        notify(f"{path}: no ids are given, so row i is taken for passage i of the corpus")
        return np.arange(num_vectors)
    names = files.read_text(ids).removesuffix("\n").split("\n")
    names = [name.removesuffix("\r") for name in names]
    if len(names) != num_vectors:
        raise MismatchError(f"{len(names)} ids for {num_vectors} vectors", where=ids)
    found = [store.row_of(name) for name in names]
    if None in found:
        strange = found.index(None)
        raise MismatchError(
            f"{found.count(None)} of {len(found)} ids are not in the corpus, such as"
            f" {shown(names[strange])} in line {strange + 1}",
            where=ids,
        )
    rows = np.full(len(store), -1, dtype=np.int64)
    rows[np.array(found, dtype=np.int64)] = np.arange(num_vectors)
    if (missing := np.flatnonzero(rows < 0)).size:  # as many ids as passages: some stand twice
        name = store[int(missing[0])].passage_id
        raise MismatchError(
            f"ids stand there twice, and {len(missing)} passages have none, such as {shown(name)}",
            where=ids,
        )
    return rows


def _copy(
    matrix: NDArray[Any],
    rows: NDArray[np.int64],
    folder: Path,
    *,
    store: PassageStore,
    key: str,
    source: Path,
) -> None:
    """Write the vectors as an index, row i that of passage i."""
    dtype: VectorType = "float16" if matrix.dtype.itemsize == 2 else "float32"
    width = matrix.shape[1]
    notify(f"{source}: copying {len(rows):,} vectors of {width} numbers ({dtype}) into {folder}")
    records = []
    with files.atomic_folder(folder) as beside:
        for shard, start in enumerate(range(0, len(rows), _SHARD_ROWS)):
            chosen = rows[start : start + _SHARD_ROWS]
            ordered = bool((np.diff(chosen) == 1).all())
            block = matrix[chosen[0] : chosen[-1] + 1] if ordered else matrix[chosen]
            records.append(write_shard(beside, shard, _converted(block, dtype, start, source), key))
        IndexManifest(
            num_passages=len(rows),
            embedding_size=width,
            dtype=dtype,
            shard_rows=_SHARD_ROWS,
            store_folder=str(Path(store.folder).resolve()),
            store_fingerprint=store.fingerprint,
            retriever_fingerprint=key,
            key=key,
            max_norms=[record.max_norm for record in records],
            blocks=[record.blocks for record in records],
            provenance={
                "art": __version__,
                "python": platform.python_version(),
                "numpy": np.__version__,
                "made_elsewhere": str(source.resolve()),
            },
        ).write(beside / MANIFEST)


def _converted(
    block: NDArray[Any], dtype: VectorType, first: int, path: Path
) -> NDArray[np.floating[Any]]:
    """Return rows in the type that is stored, refused where a number is not finite in it."""
    with np.errstate(over="ignore"):  # what does not fit is refused below
        found = np.ascontiguousarray(block, dtype=dtype)
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if broken.size:
        raise DataError(
            f"row {first + int(broken[0])} (from 0) holds numbers that are not finite in {dtype}",
            where=path,
            hint="have the vectors made again",
        )
    return found
