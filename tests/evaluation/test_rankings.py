"""What is kept of an evaluation, against what went into it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.errors import ArtError
from art.evaluation.evaluate import evaluate_rows
from art.evaluation.rankings import read_rankings, write_rankings

pytestmark = pytest.mark.usefixtures("known_metrics")

ROWS = np.array([[3, 1, 4, 0, 5, 2, 6], [0, 1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1, 0]])
SCORES = np.linspace(1, 0.1, 7) * np.array([[3.0], [1.0], [2.0]])
LABELLED = [
    Question("a", "who <b> ?", positive_passage_ids=frozenset({"p2"})),
    Question("b", "what ?", answers=("zebra",)),
    Question("c", "where ?", positive_passage_ids=frozenset({"p5", "p6"})),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> PassageStore:
    texts = ["a short text", "nothing", "ünïcode\u2028and more", "x" * 900, "y", "z", "w " * 400]
    passages = [Passage(f"p{i}", f"title {i}" if i % 2 else "", t) for i, t in enumerate(texts)]
    folder = tmp_path_factory.mktemp("store") / "store"
    return PassageStore.build(passages, folder, source="test", progress=False)


def write(path: Path, store: PassageStore, questions=LABELLED, **how) -> Path:
    write_rankings(path, evaluate_rows(ROWS, SCORES, store, questions, ks=(1, 5), **how), store)
    return path


def test_each_question_keeps_its_first_hit_its_metrics_and_its_first_passages(
    store, tmp_path
) -> None:
    found = read_rankings(write(tmp_path / "r.jsonl", store))
    assert [(one.id, one.question) for one in found] == [(q.question_id, q.text) for q in LABELLED]
    assert [one.first_hit for one in found] == [6, None, 1]
    assert {one.depth for one in found} == {7}
    assert [one.metrics for one in found] == [
        {"top_1": 0, "top_5": 0}, {"top_1": 0, "top_5": 0}, {"top_1": 1, "top_5": 1}
    ]  # fmt: skip
    for one, rows, scores in zip(found, ROWS, SCORES, strict=True):
        assert [passage.id for passage in one.passages] == [f"p{row}" for row in rows[:5]]
        kept = np.array([passage.score for passage in one.passages], np.float32)
        np.testing.assert_array_equal(kept, scores[:5].astype(np.float32))
    assert [passage.hit for passage in found[2].passages] == [True, True, False, False, False]
    assert found[0].passages[0].title == "title 3"


def test_long_texts_are_cut_and_others_left_as_they_are(store, tmp_path) -> None:
    first, second, third = read_rankings(write(tmp_path / "r.jsonl", store))
    assert first.passages[0].text == "x" * 400 + " …"
    assert second.passages[2].text == "ünïcode\u2028and more"
    assert third.passages[0].text == ("w " * 200).rstrip() + " …"


def test_without_labels_there_are_no_hits(store, tmp_path) -> None:
    judged = {"a": {"p2": 1}, "b": {"p0": 2}}
    questions = [Question("a", "who ?"), Question("b", "what ?"), LABELLED[2]]
    found = read_rankings(write(tmp_path / "r.jsonl", store, questions, qrels=judged))
    assert [one.first_hit for one in found] == [None, None, 1]
    assert {passage.hit for one in found[:2] for passage in one.passages} == {None}
    assert found[0].metrics["top_1"] is None
    assert found[1].metrics["mrr@10"] == 1
    assert found[2].metrics["mrr@10"] is None


def test_the_same_evaluation_gives_the_same_bytes(store, tmp_path) -> None:
    first, second = (write(tmp_path / name, store) for name in ("a.jsonl", "b.jsonl"))
    assert first.read_bytes() == second.read_bytes()
    assert all(isinstance(json.loads(line), dict) for line in first.read_bytes().splitlines())


@pytest.mark.parametrize(
    ("damaged", "complaint"),
    [('{"id": "b"', "not JSON"), ('{"id": "b"}', "Field required"), ("[]", "object is expected")],
)
def test_a_damaged_line_is_named(damaged, complaint, store, tmp_path) -> None:
    path = write(tmp_path / "r.jsonl", store)
    lines = path.read_text().split("\n")
    path.write_text("\n".join([lines[0], damaged, lines[2]]))
    with pytest.raises(ArtError, match=rf"r\.jsonl:2: .*{complaint}"):
        read_rankings(path)
