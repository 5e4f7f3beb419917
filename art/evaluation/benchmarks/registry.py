"""Data sets that can be fetched and benchmarks that can be named, as stated in `data/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from art.config import Manifest
from art.registry import Registry

_FOLDER = Path(__file__).with_name("data")


class RemoteFile(Manifest):
    """A file of a data set.

    Attributes:
        path: below the folder that data sets are fetched into.
        address: where it is to be had.
        bytes: its size; None where nobody has stated it.
        sha256: its checksum; None where nobody has stated it.
        rows: questions or passages in it; None where nobody has stated it.
        unpacked: for an archive, the folder that its files go to, below the same folder.
        holds: for an archive, files in it that are used, each with its rows.
    """

    path: str
    address: str
    bytes: int | None
    sha256: str | None
    rows: int | None
    unpacked: str | None = None
    holds: tuple[tuple[str, int], ...] = ()


class DataSet(Manifest):
    """Files that are fetched together.

    Attributes:
        name: by which they are asked for.
        title: for a person.
        licence: of the contents; None where nobody has stated it.
        files: of the data set.
    """

    name: str
    title: str
    licence: str | None
    files: tuple[RemoteFile, ...]


class Published(Manifest):
    """What others have published about one system.

    Attributes:
        system: that was measured.
        values: of the benchmark's metrics, in their order, in the unit in which they are shown (%);
            None where nothing was published.
        source: of the values; None where there are none.
    """

    system: str
    values: tuple[float | None, ...]
    source: str | None


class Benchmark(Manifest):
    """Questions, how their results are judged, and what is published; or a mean of such.

    Attributes:
        name: by which it is asked for.
        title: for a person.
        needs: data sets that it is made of.
        questions: file below the folder that data sets are fetched into; None for a mean.
        qrels: file of judgements, likewise; None where the questions have answers, or for a mean.
        num_questions: of the benchmark; None where nobody has stated it.
        num_passages: of its corpus; None where nobody has stated it.
        metrics: by name, those in which results are published.
        protocol: how a passage is judged, for a person.
        regex_answers: answers are regular expressions.
        drop_self_hits: a passage whose id is its question's is left out.
        average_of: benchmarks over which each metric is averaged, each counting the same.
        published: results of others.
    """

    name: str
    title: str
    needs: tuple[str, ...] = ()
    questions: str | None = None
    qrels: str | None = None
    num_questions: int | None = None
    num_passages: int | None = None
    metrics: tuple[str, ...]
    protocol: str
    regex_answers: bool = False
    drop_self_hits: bool = False
    average_of: tuple[str, ...] = ()
    published: tuple[Published, ...]


DATA_SETS: Registry[DataSet] = Registry("data set")
BENCHMARKS: Registry[Benchmark] = Registry("benchmark")


def add_stated(path: Path) -> None:
    """Add the data sets and benchmarks that a file states.

    Args:
        path: YAML, with the lists `datasets` and `benchmarks`.

    Raises:
        CorruptionError: an entry lacks something or has something unknown.
    """
    document: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    for one in document.get("datasets", ()):
        DATA_SETS.add(DataSet.of(one, where=path))
    for one in document.get("benchmarks", ()):
        BENCHMARKS.add(Benchmark.of(one, where=path))


for _path in sorted(_FOLDER.glob("*.yaml")):
    add_stated(_path)
