import csv
import gzip
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art.data import rows as rows_module
from art.data.formats import (
    Passage,
    Question,
    read_many_questions,
    read_passages,
    read_qrels,
    read_questions,
)
from art.errors import DataError

# "\r" alone and "\r\n" inside a field survive csv quoting too; half surrogates have no UTF-8.
# A byte-order mark at the beginning of a file is not part of its text: another test.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=30)
filled = texts.filter(lambda text: bool(text.strip()))
bare = st.text(
    st.characters(codec="utf-8", exclude_characters="\t\n\r\ufeff"), min_size=1, max_size=30
).filter(lambda text: bool(text.strip()))
triples = st.lists(st.tuples(filled, texts, filled), min_size=1, max_size=8)


def write(name: str, contents: str) -> Path:
    path = Path(tempfile.mkdtemp()) / name
    data = contents.encode()
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def fault(read, *arguments) -> DataError:
    with pytest.raises(DataError) as caught:
        list(read(*arguments))
    return caught.value


@settings(max_examples=60, deadline=None)
@given(triples, st.permutations(["id", "text", "title"]), st.sampled_from(["", ".gz"]))
def test_every_row_of_a_dpr_corpus_comes_back_exactly(triples, order, suffix):
    path = write(f"corpus.tsv{suffix}", "")
    opener = gzip.open if suffix else open
    with opener(path, "wt", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(order)
        for one in triples:
            named = dict(zip(("id", "title", "text"), one, strict=True))
            writer.writerow([named[column] for column in order])
    assert list(read_passages(path)) == [Passage(*one) for one in triples]


@settings(max_examples=60, deadline=None)
@given(triples, st.sampled_from(["id", "_id", "docid"]), st.sampled_from(["text", "contents"]))
def test_every_row_of_a_json_lines_corpus_comes_back_exactly(triples, id_key, text_key):
    lines = [
        json.dumps({id_key: i, "title": title, text_key: text}, ensure_ascii=len(text) % 2 == 0)
        for i, title, text in triples
    ]
    path = write("corpus.jsonl.gz", "\n".join(lines))
    assert list(read_passages(path)) == [Passage(*one) for one in triples]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(bare, bare), min_size=1, max_size=8))
def test_every_row_of_an_ms_marco_corpus_comes_back_exactly(pairs):
    path = write("collection.tsv", "".join(f"x{i}\t{text}\n" for i, text in pairs))
    assert list(read_passages(path)) == [Passage("x" + i, "", text) for i, text in pairs]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(filled, st.lists(texts, max_size=4)), min_size=1, max_size=6))
def test_every_row_of_dpr_questions_comes_back_exactly(pairs):
    path = write("nq.qa.csv", "")
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([q, repr(a)] for q, a in pairs)
    found = [(one.text, list(one.answers)) for one in read_questions(path)]
    assert found == pairs


def test_a_byte_order_mark_is_not_part_of_the_first_column():
    assert list(read_passages(write("a.tsv", "\ufeffid\ttext\n1\tmoon\n"))) == [
        Passage("1", "", "moon")
    ]


def test_a_beir_folder_gives_its_corpus_and_its_queries(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "", "text": "moon"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "who?", "metadata": {}}\n')
    assert list(read_passages(tmp_path)) == [Passage("d1", "", "moon")]
    assert read_questions(tmp_path) == [Question("q1", "who?")]


def test_a_folder_without_a_corpus_is_refused(tmp_path):
    assert "corpus.jsonl" in str(fault(read_passages, tmp_path))


def test_a_local_dataset_is_read_like_a_file(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text('{"docid": "a", "text": "moon"}\n')
    assert list(read_passages(f"hf:{tmp_path}/data/train")) == [Passage("a", "", "moon")]
    assert "hf:NAME" in str(fault(read_passages, f"hf:{tmp_path}/nothing/train"))


def test_a_title_alone_is_a_passage_and_nothing_at_all_is_not():
    path = write("c.jsonl", '{"id": 1, "title": "t", "text": ""}\n{"id": 2, "text": " "}\n')
    rows = read_passages(path)
    assert next(rows) == Passage("1", "t", "")
    assert fault(lambda: rows).where == f"{path}:2"


@pytest.mark.parametrize(
    ("name", "contents", "line"),
    [
        ("a.tsv", "id\ttext\ttitle\n1\tmoon\tx\n2\triver\n", 3),  # a column is missing
        ("a.tsv", "id\ttext\ttitle\n1\tmoon\tx\ty\n", 2),  # a column too many
        ("a.tsv", 'id\ttext\n1\t"two\nlines"\n2\t"never closed\n', 4),
        ("a.tsv", 'id\ttext\n1\t"quoted" and not\n', 2),
        ("a.tsv", "id\ttext\n1\t \n", 2),
        ("a.tsv", "id\ttext\n\tmoon\n", 2),
        ("a.tsv", "1\tmoon\n2\triver\tthird\n", 2),  # MS MARCO has two columns
        ("a.jsonl", '{"id": "1", "text": "moon"}\n{"id": "2"\n', 2),
        ("a.jsonl", '{"id": "1", "text": "moon"}\n\n[1]\n', 3),
        ("a.jsonl", '{"id": "1", "title": "x"}\n', 1),
        ("a.jsonl", '{"text": "x"}\n', 1),
        ("a.jsonl", '{"id": true, "text": "x"}\n', 1),
        ("a.jsonl", '{"id": "1", "text": ["x"]}\n', 1),
        ("a.jsonl", '{"id": "1", "text": "\\ud800"}\n', 1),
    ],
)
def test_a_malformed_passage_is_named_by_file_and_line(name, contents, line):
    path = write(name, contents)
    assert fault(read_passages, path).where == f"{path}:{line}"


@pytest.mark.parametrize(
    ("name", "contents", "line"),
    [
        ("q.csv", "who?\t['a']\nwhat?\t'b'\n", 2),
        ("q.csv", "who?\t__import__('os')\n", 1),
        ("q.csv", "who?\t['a']\nwhat?\t__import__('os')\n", 2),
        ("q.csv", "who?\t[1]\n", 1),
        ("q.csv", "question\tanswers\nwho?\t['a']\n", 1),
        ("q.csv", "who?,['a']\n", 1),
        ("q.tsv", "1\twho?\n2\t\n", 2),
        ("q.tsv", "1\twho?\n1\twhat?\n", 2),
        ("q.jsonl", '{"question": " "}\n', 1),
        ("q.jsonl", '{"question": "x", "answers": "y"}\n', 1),
        ("q.jsonl", '{"question": "x", "positive_passage_ids": [null]}\n', 1),
        ("q.jsonl", '{"id": "1", "question": "x"}\n{"id": "1", "question": "y"}\n', 2),
    ],
)
def test_a_malformed_question_is_named_by_file_and_line(name, contents, line):
    path = write(name, contents)
    assert fault(read_questions, path).where == f"{path}:{line}"


def test_bytes_that_are_not_utf8_are_named_by_line(tmp_path):
    path = tmp_path / "q.txt"
    path.write_bytes(b"who?\nwh\xe4t?\n")
    assert fault(read_questions, path).where == f"{path}:2"


def test_a_cut_off_gz_file_is_refused(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": 1, "text": "moon"}\n' * 500)[:-20])
    assert "cannot read" in str(fault(read_passages, path))


@pytest.mark.parametrize("row", ["x" * 200, '"' + "moon\n" * 50])
def test_a_row_without_end_is_refused_with_its_line(monkeypatch, row):
    monkeypatch.setattr(rows_module, "ROW_BYTES", 100)
    path = write("a.tsv", "id\ttext\n1\tmoon\n2\t" + row)
    error = fault(read_passages, path)
    assert error.where == f"{path}:3" and "16 MiB" in error.what


def test_unknown_kinds_are_refused_with_what_is_read():
    for read in (read_passages, read_questions):
        assert ".jsonl" in (fault(read, write("a.xml", "")).hint or "")
    assert "no such file" in str(fault(read_questions, "missing.txt"))
    assert "no question" in str(fault(read_questions, write("empty.txt", "\n")))


def test_questions_without_ids_are_called_after_their_line():
    path = write("q.txt", "who?\n\n  what?\r\n")
    assert read_questions(path) == [Question("1", "who?"), Question("3", "  what?")]
    path = write("q.jsonl", '{"question": "a"}\n{"id": 1, "text": "b"}\n')
    assert [one.question_id for one in read_questions(path)] == ["line-1", "1"]


def test_ms_marco_queries_keep_their_quotation_marks():
    path = write("queries.tsv", '12\t"moon" river\n13\twhat is "x\n')
    assert read_questions(path) == [Question("12", '"moon" river'), Question("13", 'what is "x')]


def test_all_that_a_json_question_knows_is_read():
    row = {"_id": 7, "question": "q", "answers": ["a", "b"], "positive_passage_ids": ["p", 2]}
    assert read_questions(write("q.jsonl", json.dumps(row))) == [
        Question("7", "q", ("a", "b"), frozenset({"p", "2"}))
    ]


def test_several_files_have_ids_of_their_own():
    first = write("train.txt", "a\nb\nc")
    second = write("train.txt", "d\ne")
    third = write("other.jsonl", '{"id": "own", "question": "f"}')
    found = read_many_questions([first, second, third])
    assert [one.text for one in found] == list("abcdef")
    expected = ["train:1", "train:2", "3", "train-2:1", "train-2:2", "own"]
    assert [one.question_id for one in found] == expected


def test_judgements_of_beir_and_trec_are_read():
    beir = write("test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n")
    trec = write("qrels.txt.gz", "q1 0 d1 2\nq1 0 d2 0\n")
    assert read_qrels(beir) == read_qrels(trec) == {"q1": {"d1": 2, "d2": 0}}


def test_grades_may_be_written_with_a_point_and_judgements_as_json():
    beir = write("test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2.0\nq1\td2\t0.00\n")
    trec = write("qrels.txt", "q1 0 d1 2.0\nq1 0 d2 -0\n")
    dicts = [write("qrels.json.gz", json.dumps({"q1": {"d1": two, "d2": 0}})) for two in (2, 2.0)]
    for path in (beir, trec, *dicts):
        assert read_qrels(path) == {"q1": {"d1": 2, "d2": 0}}
    for broken in ('{"q": {"d": 1.5}}', '{"q": {"d": true}}', '{"q": {"d": null}}', '{"q": 1}'):
        path = write("qrels.json", broken)
        assert fault(read_qrels, path).where == f"{path}: entry 1"
    assert "stands twice" in str(fault(read_qrels, write("q.json", '{"q": {"d": 1, "d": 0}}')))


def test_questions_and_passages_are_read_from_one_json_list():
    rows = [{"question": "who?", "answers": ["a"], "relation": "P1"}, {"question": "where?"}]
    expected = [Question("1", "who?", ("a",)), Question("2", "where?")]  # EntityQuestions
    for text in (json.dumps(rows), json.dumps(rows, indent=4), "\n".join(map(json.dumps, rows))):
        assert read_questions(write("P1.test.json", text)) == expected
    path = write("p.json.gz", json.dumps([{"id": 1, "text": "moon"}]))
    assert list(read_passages(path)) == [Passage("1", "", "moon")]
    assert "'question' is null" in str(
        fault(read_questions, write("q.json", '[{"question":null}]'))
    )


@pytest.mark.parametrize(
    ("contents", "line"),
    [
        ("q 0 d 1\nq 0 d\n", 2),
        ("q 0 d 1\nq 0 d 1\n", 2),
        ("q 0 d high\n", 1),
        ("q d 1.5\nq d\n", 1),
        ("query-id\tcorpus-id\tscore\nq\td\t1.5\n", 2),
    ],
)
def test_a_malformed_judgement_is_named_by_file_and_line(contents, line):
    path = write("qrels.txt", contents)
    assert fault(read_qrels, path).where == f"{path}:{line}"
