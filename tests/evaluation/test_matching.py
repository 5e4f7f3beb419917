"""The questions and passages of a run, found by id, else by text, and never by position."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from command import run as art

from art.data.formats import Passage, Question, Run, read_questions, read_run
from art.data.passages import PassageStore
from art.errors import DataError, MismatchError
from art.evaluation.matching import match_questions, match_run

QUESTIONS = [
    Question("a", "who built the stone bridge ?"),
    Question("b", "where is the moon"),
    Question("none", "nothing was found"),
    Question("c", "why does the doctor keep the mirror"),
]


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    folder = tmp_path_factory.mktemp("matching") / "store"
    return PassageStore.build(
        [Passage(*one) for one in corpus], folder, source="test", progress=False
    )


def run_of(question_ids: list[str], passage_ids: list[list[str]]) -> Run:
    width = max(map(len, passage_ids), default=0)
    return Run(question_ids, passage_ids, np.zeros((len(question_ids), width), np.float32))


def test_a_run_is_matched_by_ids_in_its_own_order(store) -> None:
    run = run_of(["b", "a"], [["p7"], ["p3", "p59"]])
    questions, rows = match_run(run, QUESTIONS, store, where="run.trec")
    assert [question.question_id for question in questions] == ["b", "a"]
    assert rows.tolist() == [[7, -1], [3, 59]]


@pytest.mark.parametrize(
    ("run", "kind", "complaint"),
    [
        (
            run_of(["a", "x", "y"], [["p1"], ["p1"], ["p1"]]),
            MismatchError,
            "run.trec: 2 of 3 questions of the run are not among the questions given (x, y)",
        ),
        (
            run_of(["a", "b"], [["p1", "q"], ["p2", "q"]]),
            MismatchError,
            "run.trec: 1 of 3 passages of the run are not in the corpus (q)",
        ),
        (run_of(["a"], [[]]), DataError, "run.trec: the run holds no passage"),
        (run_of([], []), DataError, "run.trec: the run holds no passage"),
    ],
)
def test_a_run_of_other_questions_or_passages_is_refused(store, run, kind, complaint) -> None:
    with pytest.raises(kind) as caught:
        match_run(run, QUESTIONS, store, where="run.trec")
    assert str(caught.value).startswith(complaint)


def dpr_run(folder: Path, *entries: dict, ending: str = "json") -> Path:
    rows = [{"ctxs": [{"id": "p1", "score": 1.0}], **entry} for entry in entries]
    path = folder / f"run.{ending}"
    path.write_text(json.dumps(rows) if ending == "json" else "\n".join(map(json.dumps, rows)))
    return path


def asked(folder: Path, *lines: str, name: str = "q.txt") -> list[Question]:
    (folder / name).write_text("\n".join(lines))
    return read_questions(folder / name)


def ids(path: Path, questions: list[Question]) -> list[str]:
    return [one.question_id for one in match_questions(read_run(path), questions, where=path)]


@pytest.mark.parametrize("ending", ["json", "jsonl"])
@pytest.mark.parametrize("given", ["none", "number", "own"])
def test_a_dpr_run_in_another_order_is_matched_by_its_texts(
    ending, given, tmp_path, capsys
) -> None:
    texts = [f"question {number} ?" for number in range(9)]
    questions = asked(tmp_path, *texts)
    shuffled = random.Random(3).sample(texts, 9)
    names = {"none": lambda place: {}, "number": lambda place: {"id": place + 1}}
    name = names.get(given, lambda place: {"query_id": f"q{place}"})
    entries = [{"question": text} | name(place) for place, text in enumerate(shuffled)]
    path = dpr_run(tmp_path, *entries, ending=ending)
    assert ids(path, questions) == [str(texts.index(text) + 1) for text in shuffled]
    assert f"{path}: " in (said := capsys.readouterr().err) and "matched by their text" in said


def test_ids_go_before_texts_and_white_space_is_no_difference(tmp_path, capsys) -> None:
    row = '{{"qid": "{}", "question": "{}"}}'
    questions = asked(
        tmp_path, row.format("1", "who ?"), row.format("2", "caf\u00e9"), name="q.jsonl"
    )
    path = dpr_run(tmp_path, {"id": "2", "question": "cafe\u0301 "}, {"id": 1, "query": " who  ?"})
    assert ids(path, questions) == ["2", "1"]
    assert capsys.readouterr().err == ""


def test_runs_of_other_tools_are_read_under_their_own_names(tmp_path) -> None:
    entry = {"qid": 7, "query": "who ?", "contexts": [{"id": "p1", "score": 2}], "ctxs": None}
    run = read_run(dpr_run(tmp_path, entry))
    assert (run.question_ids, run.passage_ids, run.texts) == (["7"], [["p1"]], {"7": "who ?"})
    assert not run.unnamed and not run.first_texts


def test_a_dict_of_results_numbered_from_0_is_matched_by_its_texts(tmp_path) -> None:
    texts = [f"question {number} ?" for number in range(5)]
    questions = asked(tmp_path, *texts)
    contexts = [{"docid": "p1", "score": "1.0", "text": "x"}]
    entries = {
        str(place): {"question": text, "answers": [], "contexts": contexts}
        for place, text in enumerate(texts)
    }
    (tmp_path / "run.json").write_text(json.dumps(entries))
    assert ids(tmp_path / "run.json", questions) == ["1", "2", "3", "4", "5"]
    assert set(read_run(tmp_path / "run.json").first_texts.values()) == {"x"}


def test_two_texts_of_one_id_are_refused_with_both(tmp_path) -> None:
    rows = ['{"id": 1, "question": "who ?"}', '{"id": 2, "question": "what ?"}']
    questions = asked(tmp_path, *rows, name="q.jsonl")
    path = dpr_run(tmp_path, {"id": "1", "question": "what ?"}, {"id": "2", "question": "who ?"})
    with pytest.raises(MismatchError) as caught:
        ids(path, questions)
    assert str(caught.value) == (
        f"{path}: the question '1' is 'what ?' in the run, but 'who ?' among the questions given "
        "(give the questions that were searched for)"
    )


def test_a_text_that_is_not_asked_is_refused_with_what_is(tmp_path) -> None:
    questions = asked(tmp_path, "who ?", "what ?")
    path = dpr_run(tmp_path, {"question": "who ?"}, {"question": "where ?"})
    with pytest.raises(MismatchError) as caught:
        ids(path, questions)
    assert "1 of 2 questions of the run are not among" in str(caught.value)
    assert "(2: 'where ?')" in str(caught.value) and "like '1', 'who ?'" in str(caught.value)


def test_questions_that_ask_the_same_are_each_matched_once(tmp_path) -> None:
    questions = asked(tmp_path, "who ?", "what ?", "who ?")
    path = dpr_run(tmp_path, *({"question": text} for text in ("who ?", "who ?", "what ?")))
    assert ids(path, questions) == ["1", "3", "2"]
    path = dpr_run(tmp_path, *({"question": text} for text in ("what ?", "what ?")))
    with pytest.raises(MismatchError, match="1 of 2 questions of the run"):
        ids(path, questions)


def test_a_run_without_ids_and_texts_is_taken_in_order_if_it_is_as_long(tmp_path, capsys) -> None:
    questions = asked(tmp_path, "who ?", "", "what ?")
    assert ids(dpr_run(tmp_path, {}, {}), questions) == ["1", "3"]
    assert "names neither ids nor texts of its questions, which" in capsys.readouterr().err
    with pytest.raises(MismatchError, match="neither ids nor texts of its 3 questions, and 2 are"):
        ids(dpr_run(tmp_path, {}, {}, {}), questions)


def test_a_trec_run_of_questions_without_ids_is_said_to_name_their_lines(tmp_path, capsys) -> None:
    (tmp_path / "run.trec").write_text("2 Q0 p1 1 1.0 t\n")
    assert ids(tmp_path / "run.trec", asked(tmp_path, "who ?", "what ?")) == ["2"]
    assert "ids of 1 questions are taken for their lines" in capsys.readouterr().err


def test_a_corpus_that_calls_other_passages_so_is_refused(store, tmp_path) -> None:
    questions = asked(tmp_path, "who ?", "what ?", "where ?")

    def matched(*texts: str) -> list[int]:
        contexts = [{"id": f"p{i}", "text": text, "score": 1} for i, text in enumerate(texts)]
        entries = [
            {"question": one.text, "ctxs": [context, {"id": "p30", "score": 0}]}
            for one, context in zip(questions, contexts, strict=True)
        ]
        path = dpr_run(tmp_path, *entries)
        return match_run(read_run(path), questions, store, where=path)[1][:, 0].tolist()

    own = [f'"{store[i].title}"\n{store[i].text.upper()}' for i in range(3)]
    assert matched(*own) == matched(own[0][:40], own[1], "cut") == [0, 1, 2]
    with pytest.raises(MismatchError) as caught:
        matched("yet another text", "and another", own[2])
    assert "2 of 3 passages have another text in the run than in the corpus: 'p0' is 'yet anot" in (
        str(caught.value)
    )


def test_the_command_writes_each_list_under_its_own_question(
    corpus, tiny_t5, tmp_path, capsys
) -> None:
    passages = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    (tmp_path / "passages.jsonl").write_text("\n".join(map(json.dumps, passages)))
    texts = ["who is the moon ?", "what is the river ?", "where is the bridge ?"]
    (tmp_path / "q.txt").write_text("\n".join(texts))
    found = {text: f"p{number}" for number, text in enumerate(texts)}
    entries = [
        {"question": text, "ctxs": [{"id": found[text], "score": 1}]} for text in texts[::-1]
    ]
    words = ["score", "--teacher", tiny_t5, "--passages", tmp_path / "passages.jsonl", "--cpu"]
    words += ["--questions", tmp_path / "q.txt", "--run", dpr_run(tmp_path, *entries)]
    assert art(*words, "--output", tmp_path / "out.trec", "--dtype", "float32") == 0
    run = read_run(tmp_path / "out.trec")
    assert dict(zip(run.question_ids, run.passage_ids, strict=True)) == {
        "3": ["p2"], "2": ["p1"], "1": ["p0"]
    }  # fmt: skip
