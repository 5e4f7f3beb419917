"""Folders of documents: a fixed order, names that stay, nothing passed over silently."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from art.data.documents import Skipped, read_documents
from art.data.rows import BadRows
from art.errors import DataError, RowError


def read(source: Path, skipped: Skipped | None = None) -> dict[str, list[tuple[str, str]]]:
    documents = read_documents(source, skipped or Skipped())
    return {one.name: [line for line in one.lines if line[1].strip()] for one in documents}


def test_documents_are_ordered_by_name_and_named_by_path(tmp_path):
    for name in ("b/z.txt", "b/a.md", "a.txt", "c.html", "B.text"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("moon")
    assert list(read(tmp_path)) == ["B.text", "a.txt", "b/a.md", "b/z.txt", "c.html"]


def test_a_name_has_no_white_space_and_no_two_become_one(tmp_path):
    for name in ("my notes.txt", "my%20notes.txt"):
        (tmp_path / name).write_text("moon")
    assert list(read(tmp_path)) == ["my%20notes.txt", "my%2520notes.txt"]


def test_a_file_by_itself_is_called_by_its_name(tmp_path):
    (tmp_path / "moon_and-stars.txt").write_text("Far.\n")
    assert read(tmp_path / "moon_and-stars.txt") == {
        "moon_and-stars.txt": [("moon and stars", "Far.\n")]
    }


def test_a_number_is_no_title(tmp_path):
    (tmp_path / "0001.txt").write_text("Far.")
    assert read(tmp_path) == {"0001.txt": [("", "Far.")]}


def test_gz_files_and_byte_order_marks_are_read(tmp_path):
    (tmp_path / "a.md.gz").write_bytes(gzip.compress("\ufeff# Título\n\nTexto.".encode()))
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfMoon.")
    assert read(tmp_path) == {"a.md.gz": [("Título", "Texto.")], "b.txt": [("b", "Moon.")]}


def test_rows_of_a_json_lines_file_are_documents(tmp_path):
    (tmp_path / "c.jsonl").write_text(
        '{"_id": "x y", "title": " T\\n", "contents": "one\\ntwo", "url": "http://u"}\n'
        '{"text": "three"}\n'
    )
    documents = list(read_documents(tmp_path / "c.jsonl", Skipped()))
    assert [(one.name, one.source) for one in documents] == [
        ("c.jsonl:x%20y", "http://u"),
        ("c.jsonl:line-2", "c.jsonl:2"),
    ]
    assert list(documents[0].lines) == [("T", "one"), ("T", "two")]
    assert list(documents[1].lines) == [("", "three")]


def test_what_is_not_read_is_counted_and_named(tmp_path):
    (tmp_path / "ok.txt").write_text("moon")
    (tmp_path / "binary.txt").write_bytes(b"MZ\0\0")
    for number in range(25):
        (tmp_path / f"{number:02}.png").touch()
    (tmp_path / "Makefile").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "a.txt").write_text("never")
    (tmp_path / "gone.md").symlink_to("nowhere")
    (tmp_path / "self.md").symlink_to("self.md")
    skipped = Skipped()
    assert list(read(tmp_path, skipped)) == ["ok.txt"]
    report = skipped.report()
    assert "1 binary: binary.txt" in report
    assert "1 hidden: .git" in report
    assert "2 link to nothing, or no ordinary file: gone.md, self.md" in report
    assert "1 of an unknown type (no ending): Makefile" in report
    (pictures,) = [line for line in report if ".png" in line]
    assert pictures.startswith("25 of an unknown type (.png): 00.png, 01.png")
    assert pictures.endswith("19.png and 5 more")


def test_links_are_followed_but_never_in_a_circle(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "a.txt").write_text("moon")
    folder = tmp_path / "documents"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "up").symlink_to("..")
    (folder / "linked").symlink_to(elsewhere)
    (folder / "twice").symlink_to(elsewhere)
    skipped = Skipped()
    assert list(read(folder, skipped)) == ["linked/a.txt"]
    assert skipped.report() == [
        "2 link to a folder that was read already: inner/up, twice",
    ]


@pytest.mark.parametrize("contents", ["Möond".encode("latin-1"), "Moon".encode("utf-16")])
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html"])
def test_another_encoding_is_one_error_with_the_file(tmp_path, contents, name):
    (tmp_path / name).write_bytes(contents)
    with pytest.raises(DataError, match=rf"{name}:1: not UTF-8.*convert the file to UTF-8"):
        read(tmp_path)


def test_a_file_that_is_no_document_is_refused_when_it_is_all_there_is(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    with pytest.raises(DataError, match=r"a\.pdf: not a document: of an unknown type \(\.pdf\)"):
        read(tmp_path / "a.pdf")
    with pytest.raises(DataError, match="no such file or folder"):
        read(tmp_path / "none")


@pytest.mark.parametrize(
    "row",
    ["[1]", '{"id": 1}', '{"text": 3}', '{"text": "x", "title": 3}', '{"text": "x", "id": []}'],
)
def test_a_malformed_row_is_named_by_its_line(tmp_path, row):
    (tmp_path / "a.jsonl").write_text(f'{{"text": "moon"}}\n{row}\n')
    with pytest.raises(DataError) as caught:
        read(tmp_path)
    assert caught.value.where == f"{tmp_path / 'a.jsonl'}:2"


@pytest.mark.skipif(os.name == "nt" or os.uname().sysname == "Darwin", reason="names are UTF-8")
def test_a_name_that_is_not_utf8_can_still_be_written(tmp_path):
    with open(os.fsencode(tmp_path) + b"/M\xf6nd.txt", "w") as file:
        file.write("moon")
    (document,) = read_documents(tmp_path, Skipped())
    assert document.name == "M%F6nd.txt"
    document.source.encode()
    (line,) = document.lines
    line[0].encode()


@pytest.mark.parametrize("rows", [["a", "b", "a"], ["a", None, "line-2"], [1, "b", "1"]])
def test_a_repeated_id_is_refused_before_any_row_is_a_document(tmp_path, rows):
    path = tmp_path / "d.jsonl"
    path.write_text("".join(json.dumps({"id": one, "text": "x"}) + "\n" for one in rows))
    with pytest.raises(RowError, match=r"d\.jsonl:3: document id .* occurs on line \d already"):
        next(iter(read_documents(path, Skipped())))
    bad_rows = BadRows()
    assert len(list(read_documents(path, Skipped(), bad_rows=bad_rows))) == 2
    assert bad_rows.count == 1


def test_one_id_in_two_files_is_two_documents(tmp_path):
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text('{"id": 1, "text": "x"}\n')
    found = [one.name for one in read_documents(tmp_path, Skipped())]
    assert found == ["a.jsonl:1", "b.jsonl:1"]
