"""Rows given in memory: the files they become, and what is said of those that are malformed."""

from __future__ import annotations

import json
from collections import OrderedDict
from pathlib import Path

import datasets
import numpy as np
import pandas
import pytest

from art.data.formats import (
    Passage,
    Question,
    read_passages,
    read_questions,
    read_supervised,
)
from art.data.in_memory import questions_of, write_rows
from art.data.rows import BadRows
from art.errors import DataError

PASSAGES = [
    {"id": "a", "title": "Moon", "text": "far\u2028away"},
    {"_id": 7, "contents": 'a "quote"\nand a line', "title": None},
    {"docid": "c", "text": "ümläut", "more": [1]},
]
EXAMPLES = [
    {
        "question": "who ?",
        "answers": ["he"],
        "positive_ctxs": [{"title": "t", "text": "x", "passage_id": "p"}, {"text": "no id"}],
        "hard_negative_ctxs": [{"text": "y", "psg_id": 3}],
        "negative_ctxs": [],
    },
    {
        "query": "where ?",
        "positive_passages": [{"docid": "q", "text": "z", "title": ""}],
        "negative_passages": [{"docid": "r", "text": "w"}],
    },
]


def as_file(folder: Path, rows: list) -> Path:
    path = folder / "by hand.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_mappings_become_what_a_file_of_them_is_read_as(tmp_path) -> None:
    path = write_rows("passages", PASSAGES, tmp_path, argument="passages")
    assert list(read_passages(path)) == list(read_passages(as_file(tmp_path, PASSAGES)))
    asked = [
        {"question": "who ?", "answers": ["a", "b"], "positive_passage_ids": [1, "x"]},
        {"text": "where ?", "id": "q7"},
    ]
    path = write_rows("questions", asked, tmp_path, argument="questions")
    assert read_questions(path) == read_questions(as_file(tmp_path, asked))
    path = write_rows("supervised", EXAMPLES, tmp_path, argument="supervised")
    ours, theirs = (read_supervised(one) for one in (path, as_file(tmp_path, EXAMPLES)))
    assert [example for _, example in ours] == [example for _, example in theirs]


def test_texts_are_passages_called_after_their_positions_and_questions(tmp_path) -> None:
    path = write_rows("passages", ["x", {"text": "y"}], tmp_path, argument="passages")
    assert list(read_passages(path)) == [Passage("0", "", "x"), Passage("1", "", "y")]
    path = write_rows("questions", ("who ?",), tmp_path, argument="questions")
    assert read_questions(path) == [Question("1", "who ?")]  # as of a file with a line each
    assert questions_of(["who ?"], "asked") == [Question("asked[0]", "who ?")]


@pytest.mark.parametrize("kind", ["passages", "supervised"])
def test_a_dataset_becomes_the_file_of_the_list(kind, tmp_path) -> None:
    untitled = {"id": "b", "title": None, "text": "y"}
    rows = {"passages": [PASSAGES[0], untitled], "supervised": EXAMPLES[:1]}[kind]
    path = write_rows(kind, rows, tmp_path, argument=kind)
    given = datasets.Dataset.from_list(rows)
    assert write_rows(kind, given, tmp_path, argument=kind) == path
    assert write_rows(kind, given.to_iterable_dataset(), tmp_path, argument=kind) == path


def test_a_dataset_that_gives_tensors_is_read_as_what_it_holds(tmp_path) -> None:
    rows = [{"question": "who ?", "answers": ["a"], "id": 3}]
    given = datasets.Dataset.from_list(rows).with_format("numpy")
    path = write_rows("questions", given, tmp_path, argument="questions")
    assert read_questions(path) == [Question("3", "who ?", ("a",))]


def test_a_file_that_is_there_is_left_as_it_is_and_others_get_other_names(tmp_path) -> None:
    path = write_rows("questions", ["who ?"], tmp_path, argument="questions")
    written = path.stat().st_mtime_ns
    assert write_rows("questions", ["who ?"], tmp_path, argument="questions") == path
    assert path.stat().st_mtime_ns == written
    assert write_rows("questions", ["why ?"], tmp_path, argument="questions") != path
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("kind", "rows", "said"),
    [
        ("passages", ["x", "  "], "argument[1]: the text is empty, and there is no title (repair"),
        ("passages", ["x", 5], "argument[1]: a text or a mapping is expected, not 5 (repair that"),
        ("passages", [{"body": "x"}], "argument[0]: no 'text' or 'contents' in the row (it has 'b"),
        ("passages", ["x", {"text": 5}], "argument[1]: the text is not a string but 5 (repair"),
        ("passages", ["x\ud800"], "argument[0]: the text holds half a surrogate pair (repair"),
        ("passages", ["x" * (16 << 20)], "argument[0]: a row is longer than 16 MiB (split it)"),
        (
            "passages",
            [{"id": "b", "text": "x"}, "y", {"id": 1, "text": "z"}],
            "argument[2]: passage id '1' occurs in argument[1] already (give every passage an id",
        ),
        ("questions", ["who ?", ""], "argument[1]: the question is empty (repair that row)"),
        (
            "questions",
            [{"question": "who ?", "answers": "he"}],
            "argument[0]: 'answers' is not a list but 'he' (repair that row)",
        ),
        (
            "questions",
            [{"question": "a", "id": "q"}, {"question": "b", "id": "q"}],
            "argument[1]: question id 'q' occurs in argument[0] already (give every question an",
        ),
        ("supervised", ["who ?"], "argument[0]: a mapping is expected, not 'who ?' (give question"),
        (
            "supervised",
            [EXAMPLES[0], {**EXAMPLES[0], "positive_ctxs": [{"title": "t"}]}],
            "argument[1]: positive_ctxs[0]: no 'text' or 'contents' in the row (it has 'ti",
        ),
        ("passages", [], "argument: there is no row"),
        ("passages", "passages.jsonl", "argument: a list of texts or mappings, or a datasets.Data"),
        ("questions", iter(["who ?"]), "expected, not list_iterator (choose a split of a DatasetD"),
        ("questions", OrderedDict(train=["who ?"]), "is expected, not OrderedDict (choose a spl"),
        ("questions", pandas.DataFrame({"question": ["who ?"]}), "expected, not DataFrame (choose"),
        ("questions", datasets.DatasetDict(), "is expected, not DatasetDict (choose a split of a"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_left_behind(
    kind, rows, said, tmp_path
) -> None:
    with pytest.raises(DataError) as caught:
        write_rows(kind, rows, tmp_path, argument="argument")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_list_of_file_names_is_not_taken_for_questions(tmp_path) -> None:
    names = [str(as_file(tmp_path, PASSAGES))]
    with pytest.raises(DataError, match=r"argument\[0\]: .* is the name of a file"):
        write_rows("questions", names, tmp_path, argument="argument")


def test_bad_rows_are_left_out_and_listed_where_that_is_asked_for(tmp_path) -> None:
    bad_rows = BadRows()
    rows = ["x", 5, {"id": "0", "text": "y"}, "z"]
    path = write_rows("passages", rows, tmp_path, argument="passages", bad_rows=bad_rows)
    assert [one.text for one in read_passages(path)] == ["x", "z"]
    assert bad_rows.complaints == [
        "passages[1]: a text or a mapping is expected, not 5",
        "passages[2]: passage id '0' occurs in passages[0] already",
    ]


def test_numpys_types_are_what_pythons_are(tmp_path) -> None:
    rows = [
        {"id": 3, "text": "a", "title": "t"},
        {"id": "x", "text": "b", "title": None},
    ]
    plain = write_rows("passages", rows, tmp_path, argument="passages")
    typed = [
        {"id": np.int64(3), "text": np.str_("a"), "title": np.array("t")},
        {"id": np.str_("x"), "text": "b", "title": np.float32("nan")},
    ]
    frame = pandas.DataFrame({"id": [3, "x"], "text": ["a", "b"], "title": ["t", None]})
    for given in (typed, np.array(typed), frame.to_dict("records")):
        assert write_rows("passages", given, tmp_path, argument="passages") == plain
    texts = write_rows("passages", ["x", "y"], tmp_path, argument="passages")
    assert write_rows("passages", np.array(["x", "y"]), tmp_path, argument="passages") == texts
    asked = {"id": "7", "question": "q", "answers": ["b", "a"], "positive_passage_ids": [1, 2]}
    typed_row = {
        "id": np.uint8(7),
        "question": "q",
        "answers": np.array(["b", "a"]),
        "positive_passage_ids": {np.int32(2), np.int32(1)},
    }
    assert questions_of([typed_row], "asked") == questions_of([asked], "asked")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"id": np.bool_(True), "text": "x"}, "the passage id is not a string but True"),
        ({"id": np.float64(3), "text": "x"}, "the passage id is not a string but 3.0"),
        ({"id": 1, "text": None}, "'text' is null"),
        ({"id": 1, "text": float("nan")}, "'text' is null"),
        ({"id": 1, "text": b"x"}, "the text is not a string but b'x'"),
        (None, "a text or a mapping is expected, not None"),
    ],
)
def test_a_type_that_could_be_misread_is_refused_and_no_null_becomes_a_word(
    row, said, tmp_path
) -> None:
    with pytest.raises(DataError) as caught:
        write_rows("passages", [{"id": 0, "text": "y"}, row], tmp_path, argument="passages")
    assert f"passages[1]: {said}" in str(caught.value)
    bad_rows = BadRows()
    rows = [{"id": 0, "text": "y"}, row]
    path = write_rows("passages", rows, tmp_path, argument="passages", bad_rows=bad_rows)
    assert list(read_passages(path)) == [Passage("0", "", "y")] and bad_rows.count == 1


def test_triplets_and_texts_of_flagembedding_become_examples(tmp_path) -> None:
    rows = [
        {"anchor": "q", "positive": "a", "negative": "b"},
        {"query": "q", "pos": ("a",), "neg": ["b"]},
    ]
    path = write_rows("supervised", rows, tmp_path, argument="supervised")
    first, second = (example for _, example in read_supervised(path))
    assert first == second and first.positives[0].text == "a"
