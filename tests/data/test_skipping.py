"""Bad rows that are to be skipped: counted, listed, and no good row lost with them."""

from __future__ import annotations

import json

import pytest

from art.data import json_lists
from art.data import rows as rows_module
from art.data.documents import Skipped, read_documents
from art.data.formats import (
    read_passages,
    read_qrels,
    read_questions,
    read_run,
    read_supervised,
)
from art.data.passages import PassageStore
from art.data.rows import BadRows
from art.data.splitting import split_documents
from art.data.supervised_store import SupervisedStore
from art.errors import DataError, RowError


def test_the_first_ten_are_listed_and_the_others_counted():
    bad_rows = BadRows()
    assert bad_rows.report() == ""
    for line in range(1, 14):
        bad_rows.add(RowError("the text is empty", where=f"p.tsv:{line}"))
    said = bad_rows.report()
    assert said.startswith("skipped 13 rows: p.tsv:1: the text is empty; p.tsv:2: ")
    assert said.endswith("p.tsv:10: the text is empty; and 3 more")


@pytest.mark.parametrize(
    ("name", "contents", "kept", "lines"),
    [
        ("a.tsv", b"id\ttext\n1\tmoon\n2\n3\t \n4\tr\xffver\n5\tstone\n", "15", [3, 4, 5]),
        ("a.tsv", b'id\ttext\n1\t"two\nlines"\n2\t"open\n3\ta\n4\t"x" y\n5\tb\n', "135", [4, 6]),
        ("a.tsv", b"1\tmoon\n2\triver\tthird\n3\tstone\n", "13", [2]),
        ("a.jsonl", b'{"id": 1, "text": "a"}\n[]\n{\n{"id": 4, "text": "d"}\n', "14", [2, 3]),
        ("a.jsonl", b'{"id": 1, "text": "\\ud800"}\n{}\n{"id": 3, "text": "c"}', "3", [1, 2]),
    ],
)  # fmt: skip
def test_bad_passages_are_skipped_and_their_neighbours_are_not(
    tmp_path, name, contents, kept, lines
):
    (tmp_path / name).write_bytes(contents)
    bad_rows = BadRows()
    found = [passage.passage_id for passage in read_passages(tmp_path / name, bad_rows)]
    assert found == list(kept)
    assert [int(one.split(":")[1]) for one in bad_rows.complaints] == lines
    with pytest.raises(RowError, match=f"{name}:{lines[0]}"):
        list(read_passages(tmp_path / name))


def test_a_row_beyond_the_limit_is_skipped_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "ROW_BYTES", 100)
    (tmp_path / "q.txt").write_bytes(b"who?\n" + b"x" * 950 + b"\nwhat?\n" + b"y" * 100 + b"z")
    bad_rows = BadRows()
    assert [one.text for one in read_questions(tmp_path / "q.txt", bad_rows)] == ["who?", "what?"]
    assert bad_rows.count == 2


def test_the_first_line_that_names_the_columns_is_never_skipped(tmp_path):
    for header in (b"id\tt\xffext\n", b'id\ttext\t"title\n', b"id\ttext\ttext\n"):
        (tmp_path / "a.tsv").write_bytes(header + b"1\tmoon\tx\n2\triver\ty\n")
        with pytest.raises(DataError, match=r"a\.tsv:1"):
            list(read_passages(tmp_path / "a.tsv", BadRows()))


def test_questions_judgements_and_results_are_skipped_alike(tmp_path):
    files = {
        "q.csv": "who?\t['a']\nwhat?\t__import__('os')\nwhere?\t['b']\n",
        "q.jsonl": '{"id": 1, "question": "a"}\n{"id": 1, "question": "b"}\n{"question": "c"}\n',
        "qrels.txt": "q 0 a 1\nq 0 a 1\nq 0 b 0\n",
        "run.trec": "q Q0 a 1 2.0 t\nq Q0 b 2 high t\nq Q0 c 3 1.0 t\n",
        "run.json": json.dumps([{"ctxs": []}, {"ctxs": 1}, {"ctxs": []}]),
    }
    readers = [read_questions, read_questions, read_qrels, read_run, read_run]
    found = []
    for (name, contents), read in zip(files.items(), readers, strict=True):
        (tmp_path / name).write_text(contents)
        bad_rows = BadRows()
        found.append(read(tmp_path / name, bad_rows))
        assert bad_rows.count == 1
        assert bad_rows.complaints[0].startswith(f"{tmp_path / name}:")
    assert [one.text for one in found[0]] == ["who?", "where?"]
    assert [(one.question_id, one.text) for one in found[1]] == [("1", "a"), ("3", "c")]
    assert found[2] == {"q": {"a": 1, "b": 0}}
    assert found[3].passage_ids == [["a", "c"]]
    assert found[4].question_ids == ["1", "3"]  # each is called after its own place


def test_a_broken_archive_is_refused_all_the_same(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(b'{"id": 1, "text": "moon"}\n')
    with pytest.raises(DataError, match="cannot read"):
        list(read_passages(tmp_path / "a.jsonl.gz", BadRows()))


def test_a_store_remembers_what_was_skipped_and_that_it_was(tmp_path):
    source, cache = tmp_path / "p.tsv", tmp_path / "cache"
    source.write_text("id\ttext\na\tmoon\nb\nc\triver\na\tstone\n")
    built = PassageStore.open_or_build(source, skip_bad_rows=True, cache=cache, progress=False)
    again = PassageStore.open_or_build(source, skip_bad_rows=True, cache=cache, progress=False)
    assert [one.passage_id for one in again] == ["a", "c"]
    assert built.bad_rows == again.bad_rows
    assert PassageStore.open_or_build(again.folder).bad_rows == again.bad_rows
    first, second = again.bad_rows.complaints
    assert first.startswith(f"{source}:3: 1 columns")
    assert second == f"{source}:5: passage id 'a' occurs on line 2 already"
    with pytest.raises(RowError, match=r"p\.tsv:3"):
        PassageStore.open_or_build(source, cache=cache, progress=False)


def test_a_repeated_id_is_named_with_its_lines(tmp_path):
    source = tmp_path / "p.jsonl"
    source.write_text("\n".join(json.dumps({"id": i % 7, "text": "x"}) for i in range(8)))
    with pytest.raises(RowError, match=r"p\.jsonl:8: passage id '0' occurs on line 1 already"):
        PassageStore.open_or_build(source, cache=tmp_path / "cache", progress=False)


def test_a_corpus_of_bad_rows_alone_is_refused_with_their_list(tmp_path):
    (tmp_path / "p.jsonl").write_text("{}\n[]\n")
    with pytest.raises(DataError, match="there is no passage; skipped 2 rows: "):
        PassageStore.open_or_build(
            tmp_path / "p.jsonl", skip_bad_rows=True, cache=tmp_path / "cache", progress=False
        )


def test_documents_lose_only_their_bad_lines(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_bytes(b"The moon.\n\xff\xfe\nThe river.\n")
    (tmp_path / "in" / "b.jsonl").write_text('{"text": "one"}\n{}\n')
    bad_rows = BadRows()
    result = split_documents(
        tmp_path / "in", tmp_path / "out.jsonl", bad_rows=bad_rows, progress=False
    )
    assert (result.num_documents, bad_rows.count) == (2, 2)
    texts = [one.text for one in read_passages(tmp_path / "out.jsonl")]
    assert texts == ["The moon. The river.", "one"]
    with pytest.raises(RowError, match=r"a\.txt:2"):
        for document in read_documents(tmp_path / "in", Skipped()):
            list(document.lines)


def labelled(question: object, text: object = "moon") -> str:
    return json.dumps({"question": question, "positive_ctxs": [{"text": text}]})


BAD = [
    labelled(" "),
    labelled(1),
    labelled("q", {}),
    '{"question": "q"}',
    "7",
    '"x"',
    "-1.5e3",
    "[]",
]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_bad_labelled_rows_are_skipped_in_lists_and_in_lines(tmp_path, monkeypatch, name):
    rows = [labelled("first"), *BAD, labelled("last")]
    path = tmp_path / name
    path.write_text(f"[{' , '.join(rows)}]" if name == "a.json" else "\n".join(rows))
    unit = " entry " if name == "a.json" else ""
    for piece in (1, 3, 1 << 20):  # a number may be cut where memory ends
        monkeypatch.setattr(json_lists, "_READ_CHARACTERS", piece)
        bad_rows = BadRows()
        found = [(where, one.question) for where, one in read_supervised(path, bad_rows)]
        assert found == [(f"{path}:{unit}1", "first"), (f"{path}:{unit}10", "last")]
        assert bad_rows.count == len(BAD)
        for number, complaint in enumerate(bad_rows.complaints, start=2):
            assert complaint.startswith(f"{path}:{unit}{number}:")


def test_bad_rows_of_a_labelled_table_are_skipped_but_never_its_header(tmp_path):
    header, rows = b"query_text\tgold_passage\n", b'a\tmoon\nb\n\tsun\nc\t\xff\n"d\te\nf\tsea\n'
    path = tmp_path / "a.tsv"
    path.write_bytes(header + rows)
    bad_rows = BadRows()
    assert [one.question for _, one in read_supervised(path, bad_rows)] == ["a", "f"]
    assert [int(one.split(":")[1]) for one in bad_rows.complaints] == [3, 4, 5, 6]
    for broken in (b"query_text\tgold_pass\xffage\n", b'query_text\tgold_passage\t"x\n'):
        path.write_bytes(broken + rows)
        with pytest.raises(DataError, match=r"a\.tsv:1"):
            list(read_supervised(path, BadRows()))


def test_a_line_that_is_not_utf_8_is_skipped_also_where_it_is_the_first(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"question": "\xff"}\n' + labelled("q").encode())
    bad_rows = BadRows()
    assert [where for where, _ in read_supervised(path, bad_rows)] == [f"{path}:2"]
    assert bad_rows.complaints[0].startswith(f"{path}:1: not UTF-8")


@pytest.mark.parametrize("broken", ["{'x'}", "", '{"question": "q"', "[" * 10_000])
def test_what_is_not_json_within_a_list_ends_the_file_all_the_same(tmp_path, broken):
    path = tmp_path / "a.json"
    path.write_text(f"[{labelled('q')}, 7, {broken}, {labelled('r')}]")
    bad_rows = BadRows()
    with pytest.raises(DataError, match=r"entry 3: .*\(.*repair the file|is the file complete"):
        list(read_supervised(path, bad_rows))
    assert bad_rows.count == 1


def test_a_supervised_store_remembers_what_was_skipped_and_that_it_was(tmp_path):
    path, cache = tmp_path / "a.jsonl", tmp_path / "cache"
    path.write_text("\n".join([labelled("a"), "{}", labelled("b")]))

    def opened(*, skip_bad_rows: bool) -> SupervisedStore:
        return SupervisedStore.open_or_build(
            [path], skip_bad_rows=skip_bad_rows, cache=cache, progress=False
        )

    built, again = opened(skip_bad_rows=True), opened(skip_bad_rows=True)
    assert list(again.questions) == ["a", "b"]
    assert built.bad_rows == again.bad_rows
    assert again.bad_rows.report().startswith(f"skipped 1 row: {path}:2: ")
    with pytest.raises(RowError, match=r"a\.jsonl:2"):
        opened(skip_bad_rows=False)
    path.write_text(labelled("a"))
    strict, lenient = opened(skip_bad_rows=False), opened(skip_bad_rows=True)
    assert strict.folder != lenient.folder and strict.fingerprint == lenient.fingerprint
    path.write_text("{}\n[]")  # a line that begins with a bracket is only the second
    with pytest.raises(DataError, match="no example has a positive passage; skipped 2 rows: "):
        opened(skip_bad_rows=True)
