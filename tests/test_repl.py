"""Questions at a prompt or from a pipe, and passages as a terminal shows them."""

from __future__ import annotations

import io
import sys

import pytest

from art.data.formats import Passage
from art.errors import DataError
from art.repl import piped_questions, ranking, typed_questions


def typing(monkeypatch, *answers: str | type[BaseException]) -> None:
    given = iter(answers)

    def typed(prompt: str) -> str:
        answer = next(given)
        if isinstance(answer, str):
            return answer
        raise answer

    monkeypatch.setattr("builtins.input", typed)


@pytest.mark.parametrize("end", ["", "  ", EOFError, KeyboardInterrupt])
def test_an_empty_line_or_a_key_ends_the_prompt(monkeypatch, capsys, end):
    typing(monkeypatch, "who? ", "what?", end, "never")
    assert list(typed_questions()) == ["who?", "what?"]


def test_a_pipe_gives_a_question_a_line_and_no_prompt(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("who?\n\n what?\r\nwhere?"))
    assert list(piped_questions()) == ["who?", "what?", "where?"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_pipe_that_is_not_utf8_is_one_error(monkeypatch, errors):
    stream = io.TextIOWrapper(io.BytesIO(b"wh\xf6?\n"), encoding="utf-8", errors=errors)
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(DataError, match="standard input"):
        list(piped_questions())


def test_passages_are_numbered_wrapped_and_cut_to_the_terminal():
    hits = [
        (12.3456, Passage("guide/intro.md#3", "The Guide", "moon " * 100)),
        (-1.0, Passage("p2", "", "river")),
    ]
    lines = ranking(hits, columns=40).splitlines()
    assert lines[0] == " 1. 12.346  The Guide [guide/intro.md#3]"
    assert lines[-2:] == [" 2. -1.000  [p2]", "    river"]
    assert lines[4].endswith("moon …")
    assert len(lines) == 1 + 4 + 2
    assert max(map(len, lines)) <= 40


def test_a_documents_escape_sequences_do_not_reach_the_terminal():
    shown = ranking([(1.0, Passage("p\x1b", "\x1b[2J", "a\x07b\x1b]0;x"))], columns=80)
    assert shown.replace("\n", "").isprintable()
