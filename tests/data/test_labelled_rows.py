"""Labelled questions of FlagEmbedding and sentence-transformers, in every file they come in."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from art.data.formats import read_supervised
from art.data.rows import BadRows
from art.errors import DataError, RowError

FLAG = {"query": "who?", "pos": ["moon", "sea"], "neg": ["sun"], "pos_scores": [1, 2], "prompt": ""}
EXPECTED = [("who?", ["moon, «far»"], ["sun"]), ("where?", ["a\nriver"], [])]
TRIPLETS = [
    {"anchor": "who?", "positive": "moon, «far»", "negative": "sun"},
    {"anchor": "where?", "positive": "a\nriver", "negative": None},
]


def texts_of(path: Path, bad_rows: BadRows | None = None) -> list[tuple[str, list[str], list[str]]]:
    return [
        (one.question, [p.text for p in one.positives], [p.text for p in one.hard_negatives])
        for _, one in read_supervised(path, bad_rows)
    ]


def table(rows: list[dict[str, Any]], delimiter: str) -> str:
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.csv", "a.tsv", "tabs.csv"])
def test_triplets_are_the_same_in_every_text_file(name: str, packed: bool, tmp_path: Path) -> None:
    contents = {
        "a.json": json.dumps(TRIPLETS),
        "a.jsonl": "\n".join(map(json.dumps, TRIPLETS)),
        "a.csv": table(TRIPLETS, ","),
        "a.tsv": table(TRIPLETS, "\t"),
        "tabs.csv": "\ufeff" + table(TRIPLETS, "\t"),
    }[name].encode()
    path = tmp_path / (f"{name}.gz" if packed else name)
    path.write_bytes(gzip.compress(contents) if packed else contents)
    assert texts_of(path) == EXPECTED


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (FLAG, ("who?", ["moon", "sea"], ["sun"])),
        ({"query": "q", "pos": ["a"]}, ("q", ["a"], [])),
        ({"query": "q", "pos": [], "neg": ["b"]}, ("q", [], ["b"])),
        ({"query": "q", "positive": "a", "negative_1": "b", "negative_2": "c"}, "q|a|b,c"),
        ({"question": "q", "positive": "a", "negative_1": "b", "negative_2": ""}, "q|a|b"),
        ({"anchor": "q", "positives": ["a", "b"], "negatives": ["c"]}, "q|a,b|c"),
        ({"anchor": "q", "positive_1": "a", "positive_2": None}, "q|a|"),
        ({"query": "q", "positive": "a", "hard_negative": "b", "label": 1}, "q|a|b"),
    ],
)
def test_texts_of_a_row_are_found_under_the_names_they_go_by(row, expected, tmp_path: Path) -> None:
    if isinstance(expected, str):
        question, positives, negatives = expected.split("|")
        expected = (question, positives.split(","), [one for one in negatives.split(",") if one])
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    assert texts_of(tmp_path / "a.jsonl") == [expected]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({**FLAG, "pos": None}, "'pos' is None"),
        ({**FLAG, "pos": [None]}, "pos[0]: the text is not a string but None"),
        ({**FLAG, "neg": ["x", ""]}, "neg[1]: a passage without text"),
        ({**FLAG, "query": None}, "'query' is null"),
        ({"pos": ["x"]}, "no 'anchor' or 'query' or 'question'"),
        ({"anchor": "q", "positive": " "}, "'positive' is ' '"),
        ({"anchor": "q", "positive": None}, "'positive' is None"),
        ({"anchor": "q", "positive": "a", "label": 0}, "the label 0 says that 'positive' is none"),
        ({"anchor": "q", "positive": 1}, "positive: the text is not a string but 1"),
        ({"anchor": "q", "negative": "a"}, "no 'positive_ctxs'"),
        ({"question": "q", "ctxs": 1}, "'ctxs' is not a list but 1"),
        ({"question": "q", "ctxs": [{"text": "a"}]}, "ctxs[0]: neither `has_answer` nor an answer"),
        (
            {"question": "q", "ctxs": [{"text": "a", "has_answer": "yes"}]},
            "ctxs[0]: 'has_answer' is not true or false but 'yes'",
        ),
        ({"question": "q", "positive_ctxs": [{"text": None}]}, "positive_ctxs[0]: 'text' is null"),
    ],
)
def test_a_null_or_blank_text_is_refused_or_counted_never_a_word(row, said, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join([json.dumps(row), json.dumps(FLAG)]))
    with pytest.raises(RowError) as caught:
        texts_of(path)
    assert said in str(caught.value)
    bad_rows = BadRows()
    assert texts_of(path, bad_rows) == [("who?", ["moon", "sea"], ["sun"])]
    assert bad_rows.count == 1 and said in bad_rows.report()


def test_a_table_of_other_columns_is_refused_and_a_short_row_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for header in ("anchor;positive", "sentence1,sentence2", "anchor,positive,positive", ""):
        path.write_text(f"{header}\nx,y\n")
        with pytest.raises(DataError, match=r"a\.csv:\d: the header does not"):
            texts_of(path)
    path.write_text(",Anchor,Positive\n0,q,a\n1,q\n2,,a\n3,q,\n")  # as pandas numbers its rows
    bad_rows = BadRows()
    assert texts_of(path, bad_rows) == [("q", ["a"], [])]
    assert [one.split(":")[1] for one in bad_rows.complaints] == ["3", "4", "5"]


def test_what_was_found_is_told_apart_by_has_answer_or_by_answer_match(
    tmp_path: Path, capsys
) -> None:
    def context(text: str, **said: object) -> dict[str, object]:
        return {"id": text, "title": "", "text": text, "score": 1.5, **said}

    row = {
        "question": "who?",
        "answers": ["Moon", "sun"],
        "ctxs": [
            context("a moon"),
            context("moonlight"),
            context("moon", has_answer=False),
            context("star", has_answer=True),
            context("the Sun.", has_answer=None),
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps([row, row]))
    found = ("who?", ["a moon", "star", "the Sun."], ["moonlight", "moon"])
    assert texts_of(tmp_path / "a.json") == [found] * 2
    assert capsys.readouterr().err.count("a.json: labelled by its answers: of 'ctxs', ") == 1
    labelled = row | {"positive_ctxs": [context("x")]}  # then they are labels, as before
    (tmp_path / "b.json").write_text(json.dumps([labelled]))
    assert texts_of(tmp_path / "b.json") == [("who?", ["x"], [])]
