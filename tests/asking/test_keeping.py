"""Questions sifted: in order, each rejected one with its reason, and the model's word last."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from command import run
from forked import finish
from html_page import Page
from tiny_askers import small_blocks

from art.asking import asker
from art.asking.asker import AskedQuestion
from art.asking.filters import DUPLICATE, EMPTY, TextFilter
from art.asking.keeping import TEACHER_PREFERS_ANOTHER, rejected_path, sift, write_questions
from art.asking.kinds import QUESTION_KINDS
from art.asking.round_trip import contenders, preferred
from art.data.formats import SupervisedExample, read_questions, read_supervised
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import DataError
from art.retriever.loading import create_retriever
from art.teacher.cached import CachedTeacher
from art.teacher.kinds.question_likelihood import QuestionLikelihood

KINDS = [QUESTION_KINDS["question"]]
TEXTS = {
    "p0": "who lies in the winter garden",
    "p1": "",
    "p2": "who lies in the winter garden ?",
    "p3": "where is the silver moon found",
    "p4": "how was the hammer of the doctor made",
    "p5": "why does the engine keeps the mirror",
}


def asked() -> list[AskedQuestion]:
    return [AskedQuestion(name, "question", text, False) for name, text in TEXTS.items()]


def finding(rows: dict[str, list[int]]):
    """A search that finds these rows for a question, and row 40 for any other."""

    def search(texts: list[str], top_k: int):
        found = np.full((len(texts), top_k), -1)
        for place, text in enumerate(texts):
            some = rows.get(text, [40])
            found[place, : len(some)] = some
        return np.zeros(found.shape), found

    return search


def test_each_filter_gets_what_those_before_it_left(store: PassageStore, tmp_path: Path) -> None:
    words = finding({TEXTS["p0"]: [9, 0], TEXTS["p4"]: [4], TEXTS["p5"]: [7, 8, 9, 5, 6, 10]})
    start = finding({TEXTS["p0"]: [0, 3], TEXTS["p4"]: [4, 2], TEXTS["p5"]: [5, 1, 2, 3, 4, 6]})
    judged: list[tuple[list[str], list[list[int]]]] = []

    def judge(questions: Sequence[AskedQuestion], rows: np.ndarray) -> np.ndarray:
        judged.append(([one.passage_id for one in questions], rows.tolist()))
        return np.array([one.passage_id != "p4" for one in questions])

    def sifted(max_pairs: int, judge=judge):
        return sift(
            asked(),
            store,
            texts=TextFilter(KINDS, {"question": "{passage}"}),
            examples=(),
            searches={"BM25": words, "the start": start},
            judge=judge,
            max_pairs=max_pairs,
            seed=0,
        )

    sieve = sifted(1000)
    assert sieve.reasons == {
        1: EMPTY,
        2: DUPLICATE,
        3: "not found by BM25",
        4: TEACHER_PREFERS_ANOTHER,
    }
    # Each passage first, then the best four others of the last search.
    ((names, rows),) = judged
    assert names == ["p0", "p4", "p5"]
    assert rows == [[0, 3, -1, -1, -1], [4, 2, -1, -1, -1], [5, 1, 2, 3, 4]]
    assert sieve.kept == [0, 5] and sieve.num_unjudged == 0
    output = tmp_path / "questions.jsonl"
    write_questions(sieve, store, output)
    kept = read_questions(output)
    assert [(one.text, one.positive_passage_ids) for one in kept] == [
        (TEXTS["p0"], frozenset()),  # no label
        (TEXTS["p5"], frozenset()),
    ]
    # Read as labelled examples, each has its passage.
    examples = [example for _, example in read_supervised(output)]
    assert examples == [
        SupervisedExample(TEXTS[name], (), (store[row],)) for name, row in (("p0", 0), ("p5", 5))
    ]
    rejected = [json.loads(line) for line in rejected_path(output).read_text().splitlines()]
    assert [one["reason"] for one in rejected] == list(sieve.reasons.values())
    for read in (read_questions, lambda path: list(read_supervised(path))):
        with pytest.raises(DataError, match=r"rejected\.jsonl:1: `art ask` rejected this question"):
            read(rejected_path(output))
    few = sifted(7)
    assert few.num_unjudged == 2 and len(judged[-1][0]) == 1
    assert sifted(1000, None).num_unjudged == 3


def test_the_teachers_preference_is_its_scores(
    tiny_llama: Path, store: PassageStore, tmp_path: Path
) -> None:
    teacher = QuestionLikelihood.load(str(tiny_llama), dtype="float32", device="cpu")
    tokens = TokenStore.open_or_build(store, teacher.template, progress=False)
    questions = [one for one in asked() if one.text]
    own = np.array([int(one.passage_id[1:]) for one in questions])
    found = np.array([[own[i], 11, 12, 13, 14, 15] for i in range(len(own))])
    rows = contenders(own, found)
    assert rows.tolist() == [[row, 11, 12, 13, 14] for row in own]
    is_preferred = preferred(teacher, tokens, questions, rows, tmp_path, progress=False)
    scores = (
        CachedTeacher(teacher, None, tokens).score([one.text for one in questions], rows).scores
    )
    assert is_preferred.tolist() == [row[0] == max(row) for row in scores.tolist()]
    assert len(set(is_preferred.tolist())) == 2

    # What a killed job scored is not scored again.
    def refuse(pairs):
        raise AssertionError(f"{len(pairs)} pairs again")

    teacher.score_pairs = refuse
    again = preferred(teacher, tokens, questions, rows, tmp_path, progress=False)
    assert again.tolist() == is_preferred.tolist()


def test_the_command_asks_sifts_and_says_what_it_did_by_however_many_processes(
    corpus, tiny_llama: Path, tiny_bert: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    passages, output = tmp_path / "passages.jsonl", tmp_path / "asked.jsonl"
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus[:12]]
    passages.write_text("\n".join(map(json.dumps, rows)))
    examples = tmp_path / "examples.txt"
    examples.write_text("who built the bridge ?\nwhat is the moon\n")
    start = tmp_path / "start"
    create_retriever(str(tiny_bert), passage_length=64).save(start)
    words = ["ask", "--model", tiny_llama, "--passages", passages, "--retriever", start]
    words += ["--kinds", "question,keywords", "--examples", examples, "--num-passages", 10]
    words += ["--dtype", "float32", "--temperature", 1, "--cpu", "--output"]
    by_two = tmp_path / "by-two.jsonl"
    assert [
        status
        for status, _ in finish([*words, by_two], tmp_path, world_size=2, before=[small_blocks])
    ] == [0, 0]
    monkeypatch.setitem(asker._BLOCK_QUESTIONS, "cpu", 16)
    monkeypatch.setattr(asker, "NUM_TOKENS", 64)
    assert run(*words, output) == 0
    said = capsys.readouterr().out
    assert "40  100.0 %  asked" in said and str(rejected_path(output)) in said
    written = [path.read_text() for path in (output, rejected_path(output))]
    assert written == [path.read_text() for path in (by_two, rejected_path(by_two))]
    found = [json.loads(line) for text in written for line in text.splitlines()]
    assert sorted(one["id"] for one in found) == sorted(f"asked-{i + 1}" for i in range(40))
    assert {one["kind"] for one in found} == {"question", "keywords"}
    assert len({one["passage"]["id"] for one in found}) == 10
    assert not output.with_name("asked.jsonl.asking").exists()
    page = tmp_path / "asked.html"
    words_of_init = f"--questions {examples} --generated {output} --output {tmp_path}/asked.yaml"
    assert f"to train on them: art init --passages {passages} {words_of_init}\n" in said
    other = by_two.with_suffix(".html").read_text()
    assert str(page) in said and page.read_text() == other.replace("by-two", "asked")
    # The same again asks nothing: the page is drawn anew, here beside other questions.
    own = tmp_path / "own.txt"
    own.write_text("who wrote the letter ?\nwhy is the river silver\nwhere was the garden")
    monkeypatch.setattr(asker.Asker, "ask", None)
    assert Page(page.read_text()).row("questions")[2:] == ["2"]  # the examples
    assert run(*words, output, "--questions", own) == 0
    assert "exists already: nothing is asked" in capsys.readouterr().out
    assert Page(page.read_text()).row("questions")[2:] == ["3"]
    assert [path.read_text() for path in (output, rejected_path(output))] == written
    rejected_path(output).unlink()  # then it may be anything
    assert run(*words, output) == 1
    assert "asked.jsonl: exists already" in capsys.readouterr().err


def test_a_command_that_keeps_no_question_fails_and_says_where_to_see_why(
    corpus, tiny_llama: Path, tmp_path: Path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr("art.planning.init_config.installed_encoder", lambda: None)
    passages, output = tmp_path / "passages.jsonl", tmp_path / "mine.questions.jsonl"
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus[:3]]
    passages.write_text("\n".join(map(json.dumps, rows)))
    words = ["ask", "--model", tiny_llama, "--passages", passages, "--cpu", "--output", output]
    for option, value, fault in (
        ("--language", "klingon", "'klingon'"),
        ("--temperature", 0, "all the same"),
        ("--top-p", 0, "all the same"),
    ):
        assert run(*words, option, value) == 1
        assert fault in capsys.readouterr().err and not list(tmp_path.glob("*.asking"))
    words += ["--kinds", "question, question"]  # as one
    for _ in range(2):  # and once more where the files are there
        assert run(*words) == 1
        said = capsys.readouterr()
        assert f"{output}: none of the questions was kept (see why in {tmp_path}/mine" in said.err
        assert "art init" not in said.out
    assert output.read_bytes() == b"" and len(rejected_path(output).read_text().splitlines()) == 6
    assert not output.with_name(f"{output.name}.asking").exists()
