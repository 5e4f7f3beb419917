"""Result files read back as they were written, by us and by trec_eval's own readers."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from art.data import json_lists, passages
from art.data.formats import Passage, Question, read_run, run_format
from art.data.passages import PassageStore
from art.errors import ArtError, DataError
from art.evaluation.runs import check_run_ids, write_run

QUESTIONS = [
    Question("q1", "which word is first?", answers=("Alpha",)),
    Question("é2", "nothing is known", positive_passage_ids=frozenset({"p1"})),
]
ROWS = np.array([[2, 0, 1], [1, 2, 0]])
SCORES = np.array([[0.1, 0.1, -1 / 3], [3e7, 1.0, 0.0]])


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    corpus = [
        Passage("p0", "", 'alpha "quoted"\nline'),
        Passage("p1", "Title", "beta"),
        Passage("p2", "Alpha", "gamma ü"),
    ]
    folder = tmp_path_factory.mktemp("runs") / "store"
    return PassageStore.build(corpus, folder, source="test", progress=False)


@pytest.mark.parametrize(
    "ending", [".trec", ".run", ".txt", ".json", ".jsonl", ".JSON", ".pyserini.json"]
)
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


@pytest.mark.parametrize("name", ["run.tsv", "renamed.txt"])
def test_an_ms_marco_run_reads_back_in_order_whatever_the_order_of_its_lines(
    name: str, store: PassageStore, tmp_path: Path
):
    write_run(tmp_path / "run.tsv", QUESTIONS, ROWS, SCORES, store)
    lines = (tmp_path / "run.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["q1\tp2\t1", "q1\tp0\t2"]
    (tmp_path / name).write_text("\n".join(lines[::-1]), encoding="utf-8")
    run = read_run(tmp_path / name)
    assert run.question_ids == ["é2", "q1"]
    assert run.passage_ids == [["p1", "p2", "p0"], ["p2", "p0", "p1"]]
    assert run.scores.tolist() == [[-1, -2, -3]] * 2


def test_a_pyserini_run_has_its_names_and_which_passages_hold_an_answer(
    store: PassageStore, tmp_path: Path
):
    path = tmp_path / "run.pyserini.json"
    write_run(path, QUESTIONS, ROWS, SCORES, store)
    first = json.loads(path.read_text(encoding="utf-8"))["q1"]
    assert (first["question"], first["answers"]) == ("which word is first?", ["Alpha"])
    assert first["contexts"][0] == {
        "docid": "p2", "score": 0.1, "text": "Alpha\ngamma ü", "has_answer": False
    }  # fmt: skip
    assert [one["has_answer"] for one in first["contexts"]] == [False, True, False]


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


@pytest.mark.parametrize("name", ["run", "run.csv", "run.json.gz", "run.trec.gz"])
def test_another_ending_is_one_clear_error(name: str, store: PassageStore, tmp_path: Path):
    attempts = [run_format, lambda path: write_run(path, QUESTIONS, ROWS, SCORES, store)]
    for attempt in [*attempts, *[read_run] * (".gz" not in name)]:  # packed, they are only read
        with pytest.raises(ArtError, match="a result file ends in") as caught:
            attempt(tmp_path / name)
        assert {".trec,", ".json,"} <= set(str(caught.value).split())


def test_a_trec_run_of_others_is_ordered_by_score_and_may_be_ragged(tmp_path: Path):
    path = tmp_path / "bm25.run"
    path.write_text("b Q0 y 1 2.5 t\na\tQ0\tz\t1\t1\tt\nb Q0 x 2 7 t\n\nb Q0 w 3 2.5 t\n")
    run = read_run(path)
    assert run.question_ids == ["b", "a"]
    assert run.passage_ids == [["x", "y", "w"], ["z"]]  # equal scores: the last id first
    assert run.scores.tolist() == [[7.0, 2.5, 2.5], [1.0, -np.inf, -np.inf]]


def test_dpr_json_of_others_has_scores_as_strings_and_no_ids(tmp_path: Path):
    path = tmp_path / "dpr.json"
    entry = {"question": "?", "answers": [], "ctxs": [{"id": 7, "score": "81.25"}]}
    path.write_text(json.dumps([entry, entry]))
    run = read_run(path)
    assert (run.question_ids, run.passage_ids) == (["1", "2"], [["7"], ["7"]])
    assert run.scores.tolist() == [[81.25], [81.25]]


def test_passages_without_scores_keep_their_order_which_is_said(tmp_path: Path, capsys):
    path = tmp_path / "run.jsonl"
    scored = {"id": "a", "ctxs": [{"id": "x", "score": 3}, {"id": "y", "score": 4}]}
    ranked = {"id": "b", "ctxs": [{"docid": "y"}, {"docid": "x", "score": None}]}
    path.write_text("\n".join(map(json.dumps, [scored, ranked])))
    run = read_run(path)
    assert run.passage_ids == [["x", "y"], ["y", "x"]]
    assert run.scores.tolist() == [[3, 4], [-1, -2]]
    assert "1 of 2 questions come without scores" in capsys.readouterr().err


@pytest.mark.parametrize("indent", [None, 1])
def test_result_dicts_of_beir_and_pyserini_are_read(indent: int | None, tmp_path: Path):
    beir = {"q2": {"x": 1, "y": "2.5", "z": 1.0}, "q1": {}, "7": {"x": -1e-3}}
    (tmp_path / "beir.json").write_text(json.dumps(beir, indent=indent))
    run = read_run(tmp_path / "beir.json")
    assert (run.question_ids, run.passage_ids) == (["q2", "q1", "7"], [["y", "z", "x"], [], ["x"]])
    assert run.scores[0].tolist() == [2.5, 1, 1]
    contexts = [{"docid": "x", "score": 2, "text": "t"}, {"docid": "y", "score": 1}]
    entry = {"question": "who?", "answers": ["a"], "contexts": contexts}
    (tmp_path / "pyserini.json").write_text(json.dumps({"0": entry, "1": entry}, indent=indent))
    run = read_run(tmp_path / "pyserini.json")
    assert (run.question_ids, run.passage_ids) == (["0", "1"], [["x", "y"]] * 2)
    assert run.scores.tolist() == [[2, 1]] * 2


def test_a_dict_of_others_does_not_change_what_is_written_over_it(
    store: PassageStore, tmp_path: Path
):
    path = tmp_path / "run.json"
    path.write_text('{"q": {"p0": 1}}')
    write_run(path, QUESTIONS, ROWS, SCORES, store)
    assert [one["id"] for one in json.loads(path.read_text())] == ["q1", "é2"]


def test_one_line_of_any_length_is_read_in_little_memory(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(json_lists, "ROW_BYTES", 1 << 16)
    monkeypatch.setattr(json_lists, "_READ_CHARACTERS", 1 << 12)
    contexts = [{"id": f"p{k}", "text": "moon " * 500, "score": -k} for k in range(20)]
    entries = [{"id": f"q{q}", "ctxs": contexts} for q in range(100)]
    members = {one["id"]: {"contexts": one["ctxs"]} for one in entries}
    for document in (entries, members):
        (tmp_path / "run.json").write_text(json.dumps(document))
        tracemalloc.start()
        run = read_run(tmp_path / "run.json")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert run.scores.shape == (100, 20)
        assert (tmp_path / "run.json").stat().st_size > 4 * peak


def test_ids_that_a_trec_run_cannot_hold_are_found_before_anything_is_searched(tmp_path: Path):
    for name in ("a b", "a\u00a0b", "\tb"):
        with pytest.raises(ArtError, match="passage id"):
            check_run_ids(tmp_path / "run.trec", ["q"], ["p", name])
        with pytest.raises(ArtError, match="question id"):
            check_run_ids(tmp_path / "run.txt", ["q", name], [])
        check_run_ids(tmp_path / "run.json", [name], [name])
    rows = [Passage("p", "", "x"), Passage("a b", "", "x"), Passage("c d", "", "x")]
    built = PassageStore.build(rows, tmp_path / "store", source="test", progress=False)
    assert built.spaced_id() == "a b"
    manifest = passages._StoreManifest.read(tmp_path / "store" / "manifest.json")
    earlier = manifest.model_copy(update={"spaced_id": None})  # versions that did not look
    earlier.write(tmp_path / "store" / "manifest.json")
    assert PassageStore.open(tmp_path / "store").spaced_id() == "a b"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("r.trec", "q Q0 d 1 1.0 t\nq Q0 d2 2 1.0\n", "r.trec:2: 5 columns"),
        ("r.trec", "q Q0 d 1 high t\n", "r.trec:1: the score 'high'"),
        ("r.trec", "q Q0 d 1 nan t\n", "not a finite number"),
        ("r.trec", "q Q0 d 1 1 t\nq Q0 d 2 0 t\n", "r.trec:2: the passage 'd' stands twice"),
        ("r.tsv", "q d 1\nq e x\n", "r.tsv:2: not `question<TAB>passage<TAB>rank`"),
        ("r.tsv", "q d 1\nq d 2\n", "r.tsv:2: the passage 'd' stands twice"),
        ("r.json", "[{", "r.json: entry 1: not JSON"),
        ("r.json", "{}", "r.json:1: not a question with its `ctxs`"),
        ("r.json", '[{"question": "?"}]', "entry 1: not a question with its `ctxs`"),
        ("r.json", '[{"ctxs": [{"score": 1}]}]', "entry 1: no 'id' or '"),
        ("r.json", '[{"ctxs": [{"id": "d"}, {"id": "e", "score": 1}]}]', "1 of 2 passages have a"),
        ("r.json", '{"q": {"d": 1, "e": "high"}}', "entry 1: the score 'high' is not a finite"),
        ("r.json", '{"q": {"d": 1, "d": 2}}', "entry 1: 'd' stands twice"),
        ("r.json", '{"q": {"d": 1}, "q": {"d": 1}}', "entry 2: the question id 'q' stands twice"),
        ("r.json", '{"q": {"d": 1}, "r": [1]}', "entry 2: a JSON object is expected, not list"),
        ("r.json", '{"q": {"d": 1}, "r"', "entry 2: a name and a colon are expected"),
        ("r.json", '{"q": {"d": 1}', "entry 1: the file ends behind it"),
        ("r.json", '{"q": {"d": 1}} {}', "something follows the end, which is '}'"),
        ("r.json", '{"q": {"contexts": [{"id": "d"}, {"docid": "d"}]}}', "'d' stands twice"),
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
