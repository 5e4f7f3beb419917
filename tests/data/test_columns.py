"""Parquet files and datasets, saved or of the hub, are read as the same rows of JSON lines are."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from art.data.formats import (
    PassageFormat,
    SupervisedFormat,
    read_many_questions,
    read_passages,
    read_questions,
    read_supervised,
    source_files,
)
from art.data.passages import PassageStore
from art.data.rows import BadRows
from art.data.supervised_store import SupervisedStore
from art.errors import DataError

PASSAGES = [
    {"id": 1, "title": None, "text": "a moon,\n«far»"},
    {"id": 2, "title": "t", "text": "b"},
    {"id": 3, "title": "", "text": "c"},
]
QUESTIONS = [
    {"id": "q1", "question": "who?", "answers": ["a", "b"], "positive_passage_ids": [1, 2]},
    {"id": None, "question": "where?", "answers": [], "positive_passage_ids": None},
]
TRIPLETS = [
    {"anchor": "who?", "positive": "moon", "negative": "sun"},
    {"anchor": "where?", "positive": "river", "negative": None},
]


def as_lines(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def as_parquet(folder: Path, rows: list[dict[str, Any]]) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "rows.parquet", row_group_size=1)
    return folder / "rows.parquet"


def as_shards(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "shards").mkdir()
    schema = pyarrow.Table.from_pylist(rows).schema
    for number, row in enumerate(rows):
        table = pyarrow.Table.from_pylist([row], schema=schema)
        parquet.write_table(table, folder / "shards" / f"train-{number:05}-of-00003.parquet")
    return folder / "shards"


def as_saved(folder: Path, rows: list[dict[str, Any]]) -> Path:
    datasets.Dataset.from_list(rows).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def as_only_split(folder: Path, rows: list[dict[str, Any]]) -> Path:
    made = datasets.DatasetDict(train=datasets.Dataset.from_list(rows))
    made.save_to_disk(str(folder / "splits"))
    return folder / "splits"


def as_hub(folder: Path, rows: list[dict[str, Any]]) -> str:
    (folder / "hub").mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "hub" / "test.parquet")
    return f"hf:{folder}/hub/test"


@pytest.mark.parametrize(
    ("read", "rows"),
    [(read_passages, PASSAGES), (read_questions, QUESTIONS), (read_supervised, TRIPLETS)],
)
@pytest.mark.parametrize("save", [as_parquet, as_shards, as_saved, as_only_split, as_hub])
def test_rows_of_a_dataset_are_those_of_json_lines(
    read: Callable[..., Any], rows: list[dict[str, Any]], save: Callable[..., Any], tmp_path: Path
) -> None:
    def contents(source: str | Path) -> list[Any]:
        found = list(read(source))
        return [example for _, example in found] if read is read_supervised else found

    expected = contents(as_lines(tmp_path, rows))
    # The line that a question is called after is the number of its row.
    assert contents(save(tmp_path, rows)) == expected and len(expected) == len(rows)


def test_stores_are_built_of_datasets_and_again_when_these_change(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"cache": tmp_path / "cache", "progress": False}
    source = as_shards(tmp_path, PASSAGES)
    built = PassageStore.open_or_build(source, **settings)
    assert [one.passage_id for one in built] == ["1", "2", "3"]
    assert len(source_files(PassageFormat, source)) == 3
    added = [{"id": 4, "title": "", "text": "d"}]
    parquet.write_table(pyarrow.Table.from_pylist(added), source / "train-00003-of-00004.parquet")
    assert len(PassageStore.open_or_build(source, **settings)) == 4
    saved = as_saved(tmp_path, TRIPLETS)
    assert source_files(SupervisedFormat, saved)
    more = as_hub(tmp_path, [{"anchor": "when?", "positive": "noon"}])
    examples = SupervisedStore.open_or_build([saved, more], **settings)
    assert list(examples.questions) == ["who?", "where?", "when?"]


def test_null_texts_are_refused_or_counted_and_repeated_ids_named(tmp_path: Path) -> None:
    source = as_parquet(tmp_path, [*PASSAGES[:1], {"id": 1, "title": "t", "text": None}])
    with pytest.raises(DataError, match=r"rows\.parquet:2: 'text' is null"):
        list(read_passages(source))
    bad_rows = BadRows()
    assert [one.passage_id for one in read_passages(source, bad_rows)] == ["1"]
    assert bad_rows.report() == f"skipped 1 row: {source}:2: 'text' is null"
    source = as_parquet(tmp_path, [PASSAGES[0], PASSAGES[0]])
    with pytest.raises(DataError, match=r"rows\.parquet:2: passage id '1' occurs"):
        PassageStore.open_or_build(source, cache=tmp_path / "cache", progress=False)


def test_columns_that_nobody_reads_cost_nothing_and_may_be_of_any_type(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "docid": pyarrow.array(["x", "y"]).dictionary_encode(),
            "contents": pyarrow.array(["a", "b"], pyarrow.large_string()),
            "embedding": [np.ones(4, np.float32)] * 2,
            "when": pyarrow.array([1, 2], pyarrow.timestamp("ns")),
        }
    )
    parquet.write_table(table, tmp_path / "a.parquet")
    found = [(one.passage_id, one.text) for one in read_passages(tmp_path / "a.parquet")]
    assert found == [("x", "a"), ("y", "b")]


def test_a_beir_folder_stays_one_where_parquet_files_lie_in_it_too(tmp_path: Path) -> None:
    as_parquet(tmp_path, PASSAGES)
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "moon"}\n')
    assert [one.passage_id for one in read_passages(tmp_path)] == ["d1"]


def test_several_datasets_of_questions_have_ids_of_their_own(tmp_path: Path) -> None:
    source = as_hub(tmp_path, QUESTIONS)
    found = [one.question_id for one in read_many_questions([source, source])]
    assert found == ["test:q1", "test:2", "test-2:q1", "test-2:2"]


def test_what_is_not_one_table_is_refused_in_one_line(tmp_path: Path) -> None:
    shards = as_shards(tmp_path, PASSAGES)
    as_parquet(shards, PASSAGES)
    one = datasets.Dataset.from_list(PASSAGES)
    datasets.DatasetDict(train=one, test=one).save_to_disk(str(tmp_path / "both"))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "packed.parquet.gz").write_bytes(b"")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "state.json").write_text("{}")
    for name, said in [
        ("shards", "several tables: rows, train (name one file"),
        ("both", f"several splits (name one: {tmp_path / 'both' / 'train'}"),
        ("broken.parquet", "cannot read: "),
        ("packed.parquet.gz", "not a corpus file that is known"),
        ("half", "cannot read: "),
    ]:
        with pytest.raises(DataError) as caught:
            list(read_passages(tmp_path / name))
        assert said in str(caught.value) and "\n" not in str(caught.value)
    assert list(read_passages(tmp_path / "both" / "test")) == list(
        read_passages(as_lines(tmp_path, PASSAGES))
    )
