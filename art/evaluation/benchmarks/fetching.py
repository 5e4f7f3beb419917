"""Data sets fetched by name: what, from where, which licence and how large is known beforehand.

What was fetched is recorded in the folder that it went to, so that the same command goes on where
it stopped and fetches nothing twice. A file that stands there without a record is the user's own,
and is left as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from art.config import Manifest
from art.errors import ArtError, notify
from art.evaluation.benchmarks.archives import unpack
from art.evaluation.benchmarks.download import download, size_of
from art.evaluation.benchmarks.registry import DATA_SETS, DataSet, RemoteFile
from art.files import lock
from art.network import ask_hub, fetch_from_hub

HUB_PREFIX = "hf:"
_RECORD = ".fetched.json"
_LOCK = ".fetch.lock"


class FetchedFile(Manifest):
    """A file that was fetched.

    Attributes:
        address: where it came from.
        sha256: its checksum.
        holds: path → bytes, of what is there of it: itself, or the files of an archive.
    """

    address: str
    sha256: str
    holds: dict[str, int]


class FetchedFiles(Manifest):
    """What was fetched into a folder: path of the registry → what came."""

    files: dict[str, FetchedFile]


@dataclass(frozen=True)
class Fetchable:
    """A data set that was asked for.

    Attributes:
        name: as it was asked for.
        title: for a person.
        licence: None where nobody has stated it.
        missing: path → bytes (None where nobody says) and address, of what is not there.
        there: paths of what is.
        bring: fetches what is missing.
    """

    name: str
    title: str
    licence: str | None
    missing: dict[str, tuple[int | None, str]]
    there: list[str]
    bring: Callable[[], None]


def find(names: Sequence[str], output: Path) -> list[Fetchable]:
    """Return what stands behind names and is not there yet; servers are asked for sizes alone.

    Args:
        names: of data sets in the registry, or `hf:OWNER/NAME` for one of the hub.
        output: folder that they go to.

    Raises:
        ArtError: a name is unknown, or a server does not answer.
    """
    known = [None if one.startswith(HUB_PREFIX) else DATA_SETS[one] for one in names]
    return [
        _of_hub(name.removeprefix(HUB_PREFIX), output)
        if data_set is None
        else _of(data_set, output)
        for name, data_set in zip(names, known, strict=True)
    ]


def fetch(wanted: Sequence[Fetchable], output: Path) -> None:
    """Fetch what is missing, one file after the other.

    Raises:
        ArtError: there is no room, another process fetches into the folder, or a file cannot be
            had; what has come is kept, and the same call goes on.
    """
    sizes = [size for one in wanted for size, _ in one.missing.values() if size is not None]
    existing = next(one for one in (output, *output.absolute().parents) if one.exists())
    free = shutil.disk_usage(existing).free
    if sum(sizes) > free:
        raise ArtError(
            f"{sum(sizes) / 1e9:.1f} GB to fetch, but {free / 1e9:.1f} GB are free in {existing}",
            where=output,
            hint="free space there, or fetch into another folder",
        )
    with lock(output / _LOCK, wait=False, holder="another `art fetch`"):
        for one in wanted:
            if one.missing:
                one.bring()


def _of_hub(name: str, output: Path) -> Fetchable:
    found = ask_hub(name)
    folder = output / name
    there = [path for path, size in found.files.items() if _has(folder / path, size)]
    missing = {
        f"{name}/{path}": (size, f"{HUB_PREFIX}{name}")
        for path, size in found.files.items()
        if path not in there
    }
    return Fetchable(
        name=f"{HUB_PREFIX}{name}",
        title="a data set of the Hugging Face hub",
        licence=found.licence,
        missing=missing,
        there=[f"{name}/{path}" for path in there],
        bring=partial(fetch_from_hub, name, folder),
    )


def _has(path: Path, size: int | None) -> bool:
    return path.is_file() and (size is None or path.stat().st_size == size)


def _of(data_set: DataSet, output: Path) -> Fetchable:
    record = _read_record(output)
    missing = [one for one in data_set.files if not _is_there(one, output, record)]
    return Fetchable(
        name=data_set.name,
        title=data_set.title,
        licence=data_set.licence,
        missing={one.path: (_size(one, output), one.address) for one in missing},
        there=[one.path for one in data_set.files if one not in missing],
        bring=partial(_bring, missing, output),
    )


def _size(file: RemoteFile, output: Path) -> int | None:
    if (output / file.path).exists():  # an archive that has come and is not unpacked
        return 0
    return size_of(file.address) if file.bytes is None else file.bytes


def _is_there(file: RemoteFile, output: Path, record: FetchedFiles) -> bool:
    known = record.files.get(file.path)
    if known is not None and known.address == file.address:
        return all(_has(output / path, size) for path, size in known.holds.items())
    if file.unpacked is None and (output / file.path).exists():
        notify(f"{output / file.path} was there before, and is left as it is")
        return True
    return False


def _bring(files: Sequence[RemoteFile], output: Path) -> None:
    for file in files:
        path = output / file.path
        if path.exists() and file.unpacked is not None:
            notify(f"{path} has come before, and is unpacked now")
            sha256 = "unknown"
        else:
            sha256 = download(file.address, path, size=file.bytes, sha256=file.sha256)
        holds = {file.path: path.stat().st_size}
        if file.unpacked is not None:
            unpacked = unpack(path, output / file.unpacked)
            holds = {f"{file.unpacked}/{name}": size for name, size in unpacked.items()}
        came = FetchedFile(address=file.address, sha256=sha256, holds=holds)
        files_there = {**_read_record(output).files, file.path: came}
        FetchedFiles(files=files_there).write(output / _RECORD)
        if file.unpacked is not None:
            path.unlink()


def _read_record(output: Path) -> FetchedFiles:
    path = output / _RECORD
    return FetchedFiles.read(path) if path.exists() else FetchedFiles(files={})
