"""Rows with named columns: Parquet files and datasets, saved in a folder or of the hub, streamed.

Embeddings, times and other columns that no reader of rows knows are left out, as reading them takes
longer than all others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from art.errors import DataError
from art.network import cache_unless_reachable

if TYPE_CHECKING:
    import pyarrow

PREFIX = "hf:"
PARQUET = ".parquet"
_BATCH_ROWS = 256
_BUFFER_BYTES = 1 << 20
_SPLITS = "dataset_dict.json"
# What the name of one file of several has behind the name of all: `-00003-of-00012`.
_SHARD = re.compile(r"[-_.]?\d+(-of-\d+)?$")


def is_dataset_folder(folder: Path) -> bool:
    """Return whether `save_to_disk` wrote a folder, or Parquet files lie in it."""
    return _is_saved(folder) or any(folder.glob(f"*{PARQUET}"))


def dataset_files(source: str | Path) -> list[Path]:
    """Return the files that `dataset_rows` reads a source from.

    Raises:
        DataError: see `dataset_rows`.
    """
    if _is_parquet(source):
        return _parquet_files(Path(source))
    return [Path(file["filename"]) for file in _dataset(source).cache_files]


# What every format of rows with named columns says of itself, whatever its rows mean.
FORMAT: dict[str, Any] = {
    "endings": (PARQUET,),
    "description": "file or folder, a folder of datasets' save_to_disk, hf:NAME[:CONFIG]/SPLIT",
    "gzipped": False,
    "takes_folder": is_dataset_folder,
    "prefix": PREFIX,
    "files": dataset_files,
}


def dataset_rows(source: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (number from 1, row) of a source; what is null in a row is None.

    Args:
        source: a Parquet file, a folder of them or of `save_to_disk`, or `hf:NAME[:CONFIG]/SPLIT`.

    Raises:
        DataError: it cannot be read, two columns have one name, or it holds several tables.
    """
    number = 0
    for batch in _batches(source):
        for row in batch.to_pylist():
            number += 1
            yield number, row


def _batches(source: str | Path) -> Iterable[Any]:
    if _is_parquet(source):
        return _parquet_batches(_parquet_files(Path(source)))
    dataset = _dataset(source)
    dataset = dataset.select_columns(_used_columns(dataset.features.arrow_schema, source))
    batches: Iterable[Any] = dataset.with_format("arrow").iter(batch_size=_BATCH_ROWS)
    return batches


def _used_columns(schema: pyarrow.Schema, source: str | Path) -> list[str]:
    if len(set(schema.names)) < len(schema.names):
        names = ", ".join(schema.names)
        raise DataError(f"two columns have one name: {names}", where=source)
    return [field.name for field in schema if _is_used(field.type)]


def _is_used(kind: pyarrow.DataType) -> bool:
    import pyarrow

    types = pyarrow.types
    while types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        kind = kind.value_type
        if types.is_floating(kind):
            return False
    return not (types.is_temporal(kind) or types.is_decimal(kind))


def _is_parquet(source: str | Path) -> bool:
    if str(source).startswith(PREFIX):
        return False
    return not _is_saved(Path(source))


def _is_saved(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("state.json", _SPLITS))


def _parquet_files(path: Path) -> list[Path]:
    """Return a file, or those of a folder in the order of their names."""
    if path.is_file():
        return [path]
    files = sorted(path.glob(f"*{PARQUET}"))
    tables = sorted({_SHARD.sub("", file.stem) for file in files})
    if len(tables) > 1:
        raise DataError(
            f"the folder holds several tables: {', '.join(tables[:5])}",
            where=path,
            hint="name one file, or put the files of one table into a folder of their own",
        )
    return files


def _parquet_batches(files: list[Path]) -> Iterator[Any]:
    import pyarrow
    from pyarrow import parquet

    for path in files:
        try:
            # Buffered, because else a whole column of a group of rows is read at once.
            opened = parquet.ParquetFile(path, buffer_size=_BUFFER_BYTES, pre_buffer=False)
            with opened as file:
                names = _used_columns(file.schema_arrow, path)
                yield from file.iter_batches(batch_size=_BATCH_ROWS, columns=names)
        except (OSError, pyarrow.ArrowException) as error:
            raise DataError(f"cannot read: {error}", where=path, hint="is it complete?") from error


def _dataset(source: str | Path) -> Any:
    import datasets  # here, because it takes a second to load

    if not str(source).startswith(PREFIX):
        return _saved(Path(source))
    place, _, split = str(source).removeprefix(PREFIX).rpartition("/")
    name, _, config = place.partition(":")
    try:
        with nullcontext() if Path(name).exists() else cache_unless_reachable():
            return datasets.load_dataset(name, config or None, split=split)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"cannot load the dataset: {error}",
            where=source,
            hint="write hf:NAME[:CONFIG]/SPLIT, such as hf:BeIR/scifact:corpus/corpus",
        ) from error


def _saved(folder: Path) -> Any:
    import datasets

    try:
        found = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"cannot read: {error}", where=folder, hint="is it complete?") from error
    if not (folder / _SPLITS).is_file():
        return found
    if len(found) != 1:
        names = ", ".join(str(folder / name) for name in found)
        raise DataError("a dataset of several splits", where=folder, hint=f"name one: {names}")
    return next(iter(found.values()))
