"""Passages: every word once and in order, ends where sentences end, lengths within bounds."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from art.data.formats import Passage, read_passages
from art.data.splitting import split_documents, split_text
from art.errors import DataError

ordinary = st.text(st.sampled_from("abcdeXYZéß.!?'\"(),1"), min_size=1, max_size=30)
ordinary_lines = st.lists(st.lists(ordinary, max_size=40).map(" ".join), max_size=12)
# Every script, white space of every kind, marks without a letter, runs of a thousand.
characters = st.sampled_from("a. 。中あーก็ำမ「」(é…\n\u00a0\u0300") | st.characters(codec="utf-8")
any_lines = st.lists(
    st.text(characters, max_size=80) | characters.map(lambda one: one * 1000), max_size=6
)


def without_space(text: str) -> str:
    return "".join(text.split())


@settings(max_examples=200, deadline=None)
@given(ordinary_lines, st.integers(1, 40))
def test_every_word_is_in_exactly_one_passage_in_its_order(lines, words):
    passages = list(split_text(lines, words))
    assert [word for one in passages for word in one.split()] == " ".join(lines).split()
    assert all(1 <= len(one.split()) <= max(1, math.floor(1.3 * words)) for one in passages)
    # All but the last are long enough, too.
    assert all(len(one.split()) >= math.floor(0.7 * words) for one in passages[:-1])


@settings(max_examples=200, deadline=None)
@given(any_lines, st.integers(1, 40))
def test_no_character_is_lost_in_any_script(lines, words):
    passages = list(split_text(lines, words))
    assert without_space("".join(passages)) == without_space("".join(lines))
    assert all(passage == " ".join(passage.split()) and passage for passage in passages)
    assert passages == list(split_text(lines, words))


@settings(max_examples=100, deadline=None)
@given(ordinary_lines, st.integers(1, 40), st.data())
def test_where_lines_break_inside_a_paragraph_does_not_matter(lines, words, data):
    all_words = " ".join(lines).split()
    place = data.draw(st.integers(0, len(all_words)))
    parts = [" ".join(part) for part in (all_words[:place], all_words[place:]) if part]
    assert list(split_text(parts, words)) == list(split_text([" ".join(all_words)], words))


def sentence(length: int, end: str = ".") -> str:
    return " ".join(["Word"] + ["word"] * (length - 1)) + end


def lengths(*lines: str, words: int = 100) -> list[int]:
    return [len(one.split()) for one in split_text(lines, words)]


def test_a_passage_ends_with_the_sentence_end_that_is_nearest():
    assert lengths(*[sentence(30)] * 10) == [90, 90, 120]  # 120 are left: within 1.3 times
    assert lengths(sentence(72), sentence(40), sentence(90)) == [112, 90]
    assert lengths(sentence(95), sentence(20), sentence(90)) == [95, 110]


def test_without_a_sentence_end_a_passage_has_exactly_the_words_asked_for():
    assert lengths(sentence(350)) == [100, 100, 100, 50]
    assert lengths(sentence(60), sentence(100), words=100) == [100, 60]
    assert lengths(sentence(35), words=10) == [10, 10, 10, 5]


def test_a_paragraph_ends_a_sentence():
    assert lengths(sentence(80, ""), "", sentence(80, "")) == [80, 80]
    assert lengths(sentence(80, ""), sentence(80, "")) == [100, 60]


@pytest.mark.parametrize(
    ("end", "following", "ends"),
    [
        (".", "Next", True),
        ("?", "«Next", True),
        ('."', "Next", True),
        (".)", "7", True),
        ("؟", "التالي", True),  # no capitals there
        ("।", "अगला", True),
        ("…", "Next", True),
        (".", "next", False),  # an abbreviation
        (".", '"next', False),
        (",", "Next", False),
        (" J.", "Rowling", False),
        (" 2.", "Item", False),
    ],
)
def test_what_ends_a_sentence(end, following, ends):
    first = sentence(82, end)  # 82 or 83 words
    found = next(split_text([first + " " + following + " word" * 60]))
    assert (found == first) == ends


def test_an_address_does_not_end_at_its_full_stops():
    assert lengths(sentence(80, " see art.data.Splitting"), sentence(60, "")) == [100, 42]


@pytest.mark.parametrize(
    ("text", "longest"),
    [
        ("这是一个很长的句子。" * 200, 260),
        ("これはとてもながいぶんです。" * 200, 280),
        ("ภาษาไทยไม่มีการเว้นวรรคระหว่างคำ" * 100, 130 * 8),
        ("x" * 50_000, 3900),
    ],
)
def test_a_text_without_spaces_does_not_become_one_passage(text, longest):
    passages = list(split_text([text]))
    assert "".join(passages) == text
    assert max(map(len, passages)) <= longest
    if "。" in text:
        assert all(one.endswith("。") for one in passages)


def test_words_of_both_kinds_keep_the_spaces_between_them_and_no_others():
    text = "安装 numpy 版本 1.2.3 以上、然后运行「art train」命令。"
    assert list(split_text([text])) == [text]


def test_what_is_written_is_a_corpus_with_sources(tmp_path):
    folder = tmp_path / "documents"
    (folder / "guide").mkdir(parents=True)
    (folder / "guide" / "intro.md").write_text(
        f"# Guide\n{sentence(95)}\n\n{sentence(95)}\n## Use\nIt."
    )
    (folder / "b.jsonl").write_text(
        '{"id": 7, "title": "Seven", "text": "7!", "url": "http://x"}\n'
    )
    output = tmp_path / "passages.jsonl"
    split = split_documents(folder, output, progress=False)
    assert (split.num_documents, split.num_passages) == (2, 4)
    assert list(read_passages(output)) == [
        Passage("b.jsonl:7#1", "Seven", "7!"),
        Passage("guide/intro.md#1", "Guide", sentence(95)),
        Passage("guide/intro.md#2", "Guide", sentence(95)),
        Passage("guide/intro.md#3", "Guide - Use", "It."),
    ]
    sources = [json.loads(line)["source"] for line in output.read_text().splitlines()]
    assert sources == ["http://x", *["guide/intro.md"] * 3]


def test_a_second_run_does_not_read_its_own_output(tmp_path):
    (tmp_path / "a.txt").write_text("Moon.")
    first = split_documents(tmp_path, tmp_path / "passages.jsonl", progress=False)
    contents = (tmp_path / "passages.jsonl").read_bytes()
    again = split_documents(tmp_path, tmp_path / "passages.jsonl", progress=False)
    assert (tmp_path / "passages.jsonl").read_bytes() == contents
    assert not first.skipped.counts
    assert again.skipped.report() == ["1 the file that is being written: passages.jsonl"]


def test_a_fault_leaves_the_output_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("Moon.")
    (tmp_path / "b.txt").write_bytes(b"M\xf6nd.")
    output = tmp_path / "out" / "passages.jsonl"
    output.parent.mkdir()
    output.write_text("before")
    with pytest.raises(DataError, match=r"b\.txt:1: not UTF-8.*convert the file"):
        split_documents(tmp_path, output, progress=False)
    assert output.read_text() == "before"
    assert [one.name for one in output.parent.iterdir()] == ["passages.jsonl"]


def test_nothing_to_split_is_one_error_that_says_what_was_there(tmp_path):
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    (tmp_path / "empty.md").write_text("\n\n")
    with pytest.raises(DataError, match=r"no document with text; 2 skipped: .*\.pdf.*known: \.txt"):
        split_documents(tmp_path, tmp_path / "p.jsonl", progress=False)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(DataError, match="it is empty"):
        split_documents(tmp_path / "nothing", tmp_path / "p.jsonl", progress=False)
    with pytest.raises(DataError, match=r"end it in \.jsonl"):
        split_documents(tmp_path, tmp_path / "p.tsv", progress=False)
