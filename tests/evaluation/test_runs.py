"""Result files read back as they were written, by us and by trec_eval's own readers."""

from __future__ import annotations

import json
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from art.data.formats import Passage, Question, read_run, run_format
from art.data.passages import PassageStore
from art.errors import ArtError, DataError
from art.evaluation.runs import write_run

QUESTIONS = [
    Question("q1", "which word is first?", answers=("Alpha",)),
    Question("é2", "nothing is known", positive_passage_ids=frozenset({"p1"})),
]
ROWS = np.array([[2, 0, 1], [1, 2, 0]])
SCORES = np.array([[0.1, 0.1, -1 / 3], [3e7, 1.0, 0.0]])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    passages = [
        Passage("p0", "", 'alpha "quoted"\nline'),
        Passage("p1", "Title", "beta"),
        Passage("p2", "Alpha", "gamma ü"),
    ]
    folder = tmp_path_factory.mktemp("runs") / "store"
    return PassageStore.build(passages, folder, source="test", progress=False)


@pytest.mark.parametrize("ending", [".trec", ".run", ".txt", ".json", ".jsonl", ".JSON"])
def test_a_written_run_reads_back_in_order_and_to_the_bit(
    ending: str, store: PassageStore, tmp_path: Path
):
    path = tmp_path / f"run{ending}"
    write_run(path, QUESTIONS, ROWS, SCORES, store)
    run = read_run(path)
    assert run.question_ids == ["q1", "é2"]
    assert run.passage_ids == [["p2", "p0", "p1"], ["p1", "p2", "p0"]]
    tenth = np.float32(0.1)
    expected = [[tenth, np.nextafter(tenth, np.float32(0)), np.float32(-1 / 3)], [3e7, 1, 0]]
    assert run.scores.dtype == np.float32 and (run.scores == np.float32(expected)).all()


def test_a_trec_run_has_the_six_columns_and_other_readers_see_the_same(
    store: PassageStore, tmp_path: Path
):
    path = tmp_path / "run.trec"
    write_run(path, QUESTIONS, ROWS, SCORES, store, tag="mine")
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["q1 Q0 p2 1 0.1 mine", "q1 Q0 p0 2 0.099999994 mine"]
    theirs = list(ir_measures.read_trec_run(str(path)))
    order = [(hit.query_id, hit.doc_id) for hit in theirs]
    by_score = sorted(theirs, key=lambda hit: (hit.query_id != "q1", -np.float32(hit.score)))
    assert order == [(hit.query_id, hit.doc_id) for hit in by_score]


def test_dpr_json_holds_the_passages_and_which_hold_an_answer(store: PassageStore, tmp_path: Path):
    path = tmp_path / "run.json"
    write_run(path, QUESTIONS, ROWS, SCORES, store)
    first, second = json.loads(path.read_text(encoding="utf-8"))
    assert (first["question"], first["answers"]) == ("which word is first?", ["Alpha"])
    assert first["ctxs"][1] == {
        "id": "p0",
        "title": "",
        "text": 'alpha "quoted"\nline',
        "score": 0.099999994,
        "has_answer": True,
    }
    # The title does not count, and without answers nobody knows.
    assert [context["has_answer"] for context in first["ctxs"]] == [False, True, False]
    assert [context["has_answer"] for context in second["ctxs"]] == [None] * 3


def test_no_questions_are_an_empty_list(store: PassageStore, tmp_path: Path):
    write_run(tmp_path / "run.json", [], np.zeros((0, 3), int), np.zeros((0, 3)), store)
    assert json.loads((tmp_path / "run.json").read_text()) == []
    assert read_run(tmp_path / "run.json").question_ids == []


def test_an_id_with_white_space_is_named_and_nothing_is_written(tmp_path: Path):
    store = PassageStore.build(
        [Passage("a b", "", "text")], tmp_path / "store", source="test", progress=False
    )
    one = (np.array([[0]]), np.array([[1.0]]))
    with pytest.raises(ArtError, match="'a b'"):
        write_run(tmp_path / "run.trec", [QUESTIONS[0]], *one, store)
    with pytest.raises(ArtError, match="'q 1'"):
        write_run(tmp_path / "run.trec", [Question("q 1", "?")], *one, store)
    assert not (tmp_path / "run.trec").exists()
    write_run(tmp_path / "run.json", [QUESTIONS[0]], *one, store)


@pytest.mark.parametrize("name", ["run", "run.csv", "run.json.gz"])
def test_another_ending_is_one_clear_error(name: str, store: PassageStore, tmp_path: Path):
    for attempt in (run_format, read_run, lambda p: write_run(p, QUESTIONS, ROWS, SCORES, store)):
        with pytest.raises(ArtError, match="a result file ends in") as caught:
            attempt(tmp_path / name)
        assert {".trec,", ".json,"} <= set(str(caught.value).split())


def test_a_trec_run_of_others_is_ordered_by_score_and_may_be_ragged(tmp_path: Path):
    path = tmp_path / "bm25.run"
    path.write_text("b Q0 y 1 2.5 t\na\tQ0\tz\t1\t1\tt\nb Q0 x 2 7 t\n\nb Q0 w 3 2.5 t\n")
    run = read_run(path)
    assert run.question_ids == ["b", "a"]
    assert run.passage_ids == [["x", "y", "w"], ["z"]]
    assert run.scores.tolist() == [[7.0, 2.5, 2.5], [1.0, -np.inf, -np.inf]]


def test_dpr_json_of_others_has_scores_as_strings_and_no_ids(tmp_path: Path):
    path = tmp_path / "dpr.json"
    entry = {"question": "?", "answers": [], "ctxs": [{"id": 7, "score": "81.25"}]}
    path.write_text(json.dumps([entry, entry]))
    run = read_run(path)
    assert (run.question_ids, run.passage_ids) == (["1", "2"], [["7"], ["7"]])
    assert run.scores.tolist() == [[81.25], [81.25]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.trec", "q Q0 d 1 1.0 t\nq Q0 d2 2 1.0\n", "r.trec:2: 5 columns"),
        ("r.trec", "q Q0 d 1 high t\n", "r.trec:1: the score 'high'"),
        ("r.trec", "q Q0 d 1 nan t\n", "not a finite number"),
        ("r.trec", "q Q0 d 1 1 t\nq Q0 d 2 0 t\n", "r.trec:2: the passage 'd' stands twice"),
        ("r.json", "[{", "r.json: not JSON"),
        ("r.json", "{}", "not a list of questions"),
        ("r.json", '[{"question": "?"}]', "question 1: not a question with its `ctxs`"),
        ("r.json", '[{"ctxs": [{"id": "d"}]}]', "without `id` and `score`"),
        ("r.jsonl", '{"ctxs": []}\n{]\n', "r.jsonl:2: not JSON"),
        ("r.jsonl", '{"id": "q", "ctxs": []}\n{"id": "q", "ctxs": []}\n', ":2: the question id"),
    ],
)
def test_a_broken_file_is_named_with_its_line(name: str, text: str, message: str, tmp_path: Path):
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as error:
        read_run(tmp_path / name)
    assert message in str(error.value)


def test_a_missing_or_binary_file_is_a_data_error(tmp_path: Path):
    (tmp_path / "b.trec").write_bytes(b"\xff\xfe\x80")
    for name in ("missing.trec", "b.trec"):
        with pytest.raises(DataError, match=name):
            read_run(tmp_path / name)
