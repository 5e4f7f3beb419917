"""Every reader takes `.gz`, and refuses what is packed in another way in one line."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from input_samples import RowFile, row_files

from art.data.documents import Skipped, read_documents
from art.data.formats import (
    read_passages,
    read_qrels,
    read_questions,
    read_run,
    read_supervised,
)
from art.errors import DataError

PLAIN = [one for one in row_files() if not one.name.endswith(".gz")]
READERS = [read_passages, read_questions, read_supervised, read_qrels, read_run]


@pytest.mark.parametrize("target", PLAIN, ids=lambda target: target.name)
@pytest.mark.parametrize("ending", [".gz", ".GZ", ""])
def test_every_kind_of_file_is_read_from_an_archive(
    target: RowFile, ending: str, tmp_path: Path
) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / target.name).write_bytes(target.sample)
    packed = tmp_path / f"{target.name}{ending}"
    packed.write_bytes(gzip.compress(target.sample))
    assert target.read(packed, None) == target.read(tmp_path / "plain" / target.name, None) > 0


@pytest.mark.parametrize("read", [*READERS, lambda path: read_documents(path, Skipped())])
@pytest.mark.parametrize("ending", [".jsonl.zst", ".trec.zst", ".txt.bz2", ".JSON.XZ", ".tar.gz"])
def test_other_archives_are_refused_with_what_to_do(read, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"(\xb5/\xfd")
    with pytest.raises(DataError, match=r"files packed as \.\w+ are not read \(unpack it, or"):
        list(read(path))


def test_an_archive_that_is_none_is_refused_for_results_too(tmp_path: Path) -> None:
    for name in ("a.json.gz", "a.trec.gz"):
        (tmp_path / name).write_bytes(b"[]")
        with pytest.raises(DataError, match="cannot read: Not a gzipped file"):
            read_run(tmp_path / name)
