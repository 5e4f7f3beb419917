"""Names of columns as other tools write them: what is read, what is said of the rest, headers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from art.data.formats import (
    Passage,
    Question,
    read_many_questions,
    read_passages,
    read_qrels,
    read_questions,
    read_run,
    read_supervised,
)
from art.data.in_memory import questions_of, write_rows
from art.data.passages import PassageStore
from art.data.rows import text_lines
from art.errors import DataError, RowError


def write(path: Path, contents: str) -> Path:
    data = contents.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def one(tmp_path: Path, row: dict) -> Question:
    (found,) = read_questions(write(tmp_path / "q.jsonl", json.dumps(row)))
    assert found.named
    return found


ID_NAMES = ["id", "_id", "qid", "query_id", "query-id", "queryId", "QueryID", "question_id", "ID"]


@pytest.mark.parametrize("name", ID_NAMES)
@pytest.mark.parametrize("text", ["question", "query", "text", "Question", "query_text"])
def test_a_question_is_called_by_its_id_whatever_its_columns_are_called(
    name, text, tmp_path, capsys
):
    assert one(tmp_path, {name: 7, text: "who ?"}) == Question("7", "who ?")
    assert questions_of([{name: "7", text: "who ?"}], "asked") == [Question("7", "who ?")]
    assert capsys.readouterr().err == ""


def test_answers_and_passages_are_read_under_every_name_they_have(tmp_path, capsys):
    row = {"id": 1, "question": "q"}
    assert one(tmp_path, {**row, "answer": "a"}).answers == ("a",)
    assert one(tmp_path, {**row, "answer": ["a", "b"]}).answers == ("a", "b")
    assert one(tmp_path, {**row, "Answers": [], "answer": "b"}).answers == ("b",)
    found = one(tmp_path, {**row, "positive_passage_id": 3, "positive_ids": ["x"]})
    assert found.positive_passage_ids == {"3", "x"}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("row", "unread"),
    [
        ({"question": "q", "exampleId": 3}, "'exampleId'"),
        ({"question": "q", "id": 1, "doc_id": "d"}, "'doc_id'"),
        ({"question": "q", "uuid": 1, "gold": ["d"]}, "'uuid', 'gold'"),
        ({"question": "q", "id": 1, "reference_answers": ["a"]}, "'reference_answers'"),
        ({"question": "q", "id": 1, "positive_ctxs": []}, "'positive_ctxs'"),
    ],
)
def test_a_column_that_looks_like_an_id_or_a_label_and_is_not_read_is_named_once(
    row, unread, tmp_path, capsys
):
    path = write(tmp_path / "q.jsonl", f"{json.dumps(row)}\n{json.dumps(row | {'id': 2})}\n")
    read_questions(path)
    questions_of([row], f"asked in {tmp_path.name}")
    in_file, in_memory = capsys.readouterr().err.splitlines()
    assert in_file.startswith(f"note: {path}: not read: {unread}; an id is read from 'id', '_id',")
    assert in_memory.startswith(f"note: asked in {tmp_path.name}: not read: {unread}; an id")
    read_questions(path)
    assert capsys.readouterr().err == ""


def test_other_columns_are_passed_in_silence(tmp_path, capsys):
    row = {"_id": "a", "text": "q", "metadata": {}, "video": 1, "category": "x", "Nord": 2}
    assert one(tmp_path, row) == Question("a", "q")
    assert capsys.readouterr().err == ""


def test_where_rows_have_two_ids_the_one_that_is_taken_is_said(tmp_path, capsys):
    assert one(tmp_path, {"id": 0, "qid": "q9", "question": "q"}).question_id == "0"
    assert "rows have 'id' and 'qid'; 'id' is taken for the id" in capsys.readouterr().err
    assert one(tmp_path, {"id": "q9", "qid": "q9", "question": "q"}).question_id == "q9"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["docid", "pid", "passage_id", "doc-id", "corpusId", "docno"])
def test_a_passage_is_called_by_its_id_in_files_and_in_memory(name, tmp_path):
    row = {name: "d7", "Text": "moon", "Title": "t"}
    expected = [Passage("d7", "t", "moon")]
    assert list(read_passages(write(tmp_path / "c.jsonl", json.dumps(row)))) == expected
    path = write_rows("passages", [row], tmp_path, argument="passages")
    assert list(read_passages(path)) == expected


def test_passages_in_memory_whose_id_is_not_read_are_said_to_be_called_by_place(tmp_path, capsys):
    path = write_rows("passages", [{"chunk_key": "x", "text": "y"}], tmp_path, argument="passages")
    assert list(read_passages(path)) == [Passage("0", "", "y")]
    assert "passages: not read: 'chunk_key'; passages without `id` are" in capsys.readouterr().err


def test_passages_of_labelled_questions_have_ids_under_every_name(tmp_path, capsys):
    names = ["passage_id", "psg_id", "docid", "id", "_id", "pid", "doc_id"]
    contexts = [{name: f"{place}", "text": "x"} for place, name in enumerate(names)]
    row = {"query": "q", "answer": "a", "positive_ctxs": contexts, "negatives_ctxs": []}
    path = write(tmp_path / "s.jsonl", json.dumps(row))
    ((_, found),) = read_supervised(path)
    assert [passage.passage_id for passage in found.positives] == list("0123456")
    assert found.answers == ("a",)
    assert f"{path}: not read: 'negatives_ctxs'; passages are" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [".tsv", ".tsv.gz"])
@pytest.mark.parametrize(
    "header", ["query_id\tquery", "qid\tquestion", "ID\tText", '"query-id"\t"query"', "qid\tfrage"]
)
def test_names_above_a_table_of_questions_are_no_question(header, ending, tmp_path, capsys):
    path = write(tmp_path / f"q{ending}", f"{header}\n12\twho ?\n13\twhat ?\n")
    assert read_questions(path) == [Question("12", "who ?"), Question("13", "what ?")]
    guess = f"note: {path}:1: taken for the names of the columns (qid, frage)\n"
    assert capsys.readouterr().err == (guess if "frage" in header else "")


def test_columns_in_another_order_are_read_by_their_names(tmp_path):
    path = write(tmp_path / "q.tsv", "\nquery\tqid\nwho ?\t12\n")
    assert read_questions(path) == [Question("12", "who ?")]
    path = write(tmp_path / "c.tsv", "passage\tpid\nthe moon\t12\n")
    assert list(read_passages(path)) == [Passage("12", "", "the moon")]


@pytest.mark.parametrize("header", ["pid\ttext", "passage_id\tpassage", "id\tcontents", "pid\tx"])
def test_names_above_a_table_of_passages_are_no_passage(header, tmp_path):
    path = write(tmp_path / "c.tsv", f"{header}\n12\tthe moon\n13\ta river\n")
    expected = [Passage("12", "", "the moon"), Passage("13", "", "a river")]
    assert list(read_passages(path)) == expected
    assert list(PassageStore.open_or_build(path, cache=tmp_path, progress=False)) == expected


@pytest.mark.parametrize("row", ["12\tquestion", "id\twho is it ?", "query\twho ?"])
def test_a_first_row_like_the_others_is_a_question(row, tmp_path):
    path = write(tmp_path / "q.tsv", f"{row}\n13\twhat ?\n")
    assert [one.text for one in read_questions(path)] == [row.split("\t")[1], "what ?"]


def test_a_name_above_lines_of_questions_is_no_question(tmp_path, capsys):
    path = write(tmp_path / "q.txt", "Question\nwho ?\n")
    assert read_questions(path) == [Question("2", "who ?")]
    assert "q.txt:1: taken for the name of the column (Question)" in capsys.readouterr().err


def test_a_table_that_is_called_text_is_said_to_be_read_as_lines(tmp_path, capsys):
    path = write(tmp_path / "q.txt", "12\twho ?\n13\twhat ?\n")
    assert read_questions(path)[0].text == "12\twho ?"
    assert capsys.readouterr().err.count("lines hold tabs") == 1


JSON = '{"id": "1", "question": "a", "text": "a"}'
OLD_LINES = {
    "q.txt": (read_questions, ["who ?", "what ?"]),
    "q.txt.gz": (read_questions, ["who ?", "what ?"]),
    "q.tsv": (read_questions, ["1\twho ?", "2\twhat ?"]),
    "q.csv": (read_questions, ["who ?\t['a']", "what ?\t['b']"]),
    "q.jsonl": (read_questions, [JSON, JSON.replace("1", "2")]),
    "c.jsonl": (read_passages, [JSON, JSON.replace("1", "2")]),
    "c.tsv": (read_passages, ["id\ttext", "1\tmoon", "2\tsea"]),
    "s.jsonl": (read_supervised, ['{"question": "q", "positive_ctxs": [{"text": "x"}]}'] * 2),
    "s.tsv": (read_supervised, ["query_text\tgold_passage", "q\tp"]),
    "r.trec": (read_run, ["q Q0 a 1 2.0 t", "q Q0 b 2 1.0 t"]),
    "r.jsonl": (read_run, ['{"id": 1, "ctxs": []}', '{"id": 2, "ctxs": []}']),
    "j.tsv": (read_qrels, ["q 0 a 1", "q 0 b 0"]),
}


@pytest.mark.parametrize("name", OLD_LINES)
def test_a_file_whose_lines_end_in_cr_alone_is_read_like_any_other(name, tmp_path):
    read, lines = OLD_LINES[name]
    found = []
    for end in ("\n", "\r\n", "\r"):
        for last in ("", end):
            write(tmp_path / name, "\ufeff" + end.join(lines) + last)
            rows = read(tmp_path / name)
            found.append(
                str(rows if hasattr(rows, "scores") or isinstance(rows, dict) else list(rows))
            )
    assert len(set(found)) == 1 and found[0] != "[]"


def test_lines_that_end_in_cr_have_numbers_and_limits(tmp_path, monkeypatch):
    path = write(tmp_path / "q.txt", "who ?\r\rwhat ?\r")
    assert read_questions(path) == [Question("1", "who ?"), Question("3", "what ?")]
    monkeypatch.setattr("art.data.rows.ROW_BYTES", 20)
    monkeypatch.setattr("art.data.rows._READ_BYTES", 7)
    path = write(tmp_path / "q.txt", "who ?\r" + "x" * 50 + "\rwhat ?\r" + "y" * 50)
    bad: list = []
    monkeypatch.setattr("art.data.rows.refuse", lambda error, _: bad.append(error.where))
    assert list(text_lines(path)) == [(1, "who ?\n"), (3, "what ?\n")]
    assert bad == [f"{path}:2", f"{path}:4"]


def test_a_cr_within_a_line_of_questions_is_refused_and_kept_elsewhere(tmp_path):
    path = write(tmp_path / "q.txt", "who ?\rwhat ?\nwhere ?\n")
    with pytest.raises(RowError, match=r"q\.txt:1: a carriage return stands within the line"):
        read_questions(path)
    assert read_questions(write(tmp_path / "p.txt", "who ?\r\r\nwhat ?\r\r\n"))[1].text == "what ?"
    path = write(tmp_path / "c.tsv", "1\tthe\rmoon\n2\tsea\n")
    assert [one.text for one in read_passages(path)] == ["the\rmoon", "sea"]


def test_rows_without_ids_that_name_passages_of_one_question_are_one(tmp_path, capsys):
    rows = [
        {"question": "who ?", "positive_passage_ids": ["a"], "answers": ["x"]},
        {"question": "what ?", "positive_passage_ids": ["b"]},
        {"question": "who  ?", "positive_passage_ids": ["c"], "answers": ["x", "y"]},
        {"question": "who ?", "answers": ["z"]},
        {"question": "what ?", "positive_passage_ids": ["d"], "qid": "own"},
    ]
    expected = [
        ("who ?", {"a", "c"}, ("x", "y")),
        ("what ?", {"b"}, ()),
        ("who ?", set(), ("z",)),
        ("what ?", {"d"}, ()),
    ]
    path = write(tmp_path / "q.jsonl", "\n".join(map(json.dumps, rows)))
    for found in (read_questions(path), questions_of(rows, "asked")):
        assert [(q.text, q.positive_passage_ids, q.answers) for q in found] == expected
    assert [q.question_id for q in read_questions(path)] == ["1", "2", "4", "own"]
    assert "1 of 5 rows ask what a row before them asks and name pass" in capsys.readouterr().err


def test_a_question_in_two_files_without_ids_is_one_with_the_passages_of_both(tmp_path):
    rows = [json.dumps({"question": "who ?", "positive_passage_ids": [name]}) for name in "ab"]
    files = [write(tmp_path / f"{name}.jsonl", row) for name, row in zip("xy", rows, strict=True)]
    (found,) = read_many_questions(files)
    assert (found.question_id, found.positive_passage_ids) == ("x:1", {"a", "b"})


def test_a_corpus_whose_ids_repeat_is_refused_with_both_lines(tmp_path):
    rows = "\n".join(f'{{"passage_id": 0, "text": "x{number}"}}' for number in range(3))
    with pytest.raises(DataError, match="passage id '0' occurs on line 1 already"):
        PassageStore.open_or_build(
            write(tmp_path / "c.jsonl", rows), cache=tmp_path / "cache", progress=False
        )
