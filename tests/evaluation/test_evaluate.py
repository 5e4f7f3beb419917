"""What decides a metric, what is left out and said, and that processes only share the work."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from thread_ranks import in_world

from art import distributed
from art.data.formats import Passage, Question, read_questions
from art.data.passages import PassageStore
from art.errors import ArtError
from art.evaluation import sharing
from art.evaluation.comparison import compare_fused
from art.evaluation.evaluate import Evaluation, evaluate, evaluate_rows
from art.evaluation.rerank import in_order, score_rows
from art.retriever.bm25 import BM25
from art.retriever.fusion import Fusion
from art.training.selection import primary_metric

pytestmark = pytest.mark.usefixtures("known_metrics")

N = 30


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    passages = [Passage(f"p{i}", f"title{i}", f"number{i} of the texts") for i in range(N)]
    folder = tmp_path_factory.mktemp("evaluate") / "store"
    return PassageStore.build(passages, folder, source="test", progress=False)


class PlainIndex:
    """Ranks by the inner product with fixed random vectors; equal scores by row."""

    def __init__(self, seed: int = 0) -> None:
        self.vectors = np.random.default_rng(seed).integers(-3, 4, (N, 4)).astype(np.float32)

    def search(self, questions: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        assert top_k <= N
        scores = questions.astype(np.float64) @ self.vectors.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
        return np.take_along_axis(scores, rows, 1), rows

    def search_for_all(self, ask, top_k: int) -> tuple[np.ndarray, np.ndarray]:
        asked = [vectors for vectors in distributed.together(ask) if vectors is not None]
        return self.search(np.concatenate(asked), top_k)


class PlainRetriever:
    embedding_size = 4

    def embed_questions(self, texts: list[str]) -> np.ndarray:
        numbers = [[len(text), ord(text[-1]), ord(text[0]), 1] for text in texts]
        return np.array(numbers, np.float32) % 7 - 3


class PlainTeacher:
    """Likes a passage by its row and the question's length."""

    def score(self, questions: list[str], rows: np.ndarray) -> Any:
        lengths = np.array([len(question) for question in questions])[:, None]
        scores = -((rows * 7 + lengths) % 5).astype(np.float32)
        return SimpleNamespace(scores=scores.reshape(rows.shape))


def by_rows(rows: list[list[int]], store: PassageStore, questions: list[Question], **options: Any):
    ranking = np.array(rows)
    return evaluate_rows(
        ranking, -np.cumsum(np.ones(ranking.shape), 1), store, questions, **options
    )


def primary_of(result: Evaluation) -> str:
    return primary_metric(list(result.metrics))


def test_gold_passages_decide_where_present_and_answers_elsewhere(store: PassageStore):
    questions = [
        Question("a", "?", answers=("number0",), positive_passage_ids=frozenset({"p5"})),
        Question("b", "?", answers=("number1 of", "zzz")),
        Question("c", "?", answers=("title2",)),  # stands in a title only
    ]
    result = by_rows([[0, 5, 6], [1, 0, 2], [2, 3, 4]], store, questions, ks=(1, 2, 3))
    assert result.hits.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
    assert result.metrics == {"top_1": 1 / 3, "top_2": 2 / 3, "top_3": 2 / 3}
    assert primary_of(result) == "top_3"
    assert result.per_question["top_1"].tolist() == [0, 1, 0]
    assert result.notes == [] and result.num_questions == 3


@pytest.mark.parametrize(
    ("ks", "primary"),
    [((1, 5, 20, 25), "top_20"), ((1, 5), "top_5"), ((1, 25), "top_1"), ((25, 26), "top_25")],
)
def test_top_20_chooses_models_or_the_nearest_depth(ks, primary: str, store: PassageStore):
    rows = [list(range(28))]
    assert primary_of(by_rows(rows, store, [Question("a", "?", ("x",))], ks=ks)) == primary


def test_questions_without_labels_are_left_out_and_said(store: PassageStore):
    questions = [Question("a", "?"), Question("b", "?", ("number1",)), Question("c", "?")]
    result = by_rows([[0, 1], [1, 0], [2, 3]], store, questions, ks=(1,))
    assert [question.question_id for question in result.questions] == ["b"]
    assert result.rows.tolist() == [[1, 0]] and result.metrics == {"top_1": 1.0}
    assert result.notes == ["2 of 3 questions have no label and are left out (a, c)"]


def test_labels_that_can_never_be_found_are_counted_and_said(store: PassageStore):
    gold = frozenset({"p1", "lost1", "lost2", "lost3", "lost4"})
    questions = [Question("a", "?", ("",), gold), Question("b", "?", ("", "\u200b", "number0"))]
    result = by_rows([[0, 1], [1, 0]], store, questions, ks=(2,))
    assert result.metrics == {"top_2": 1.0}
    missing, empty = result.notes
    assert "4 of 5 passages named by positive_passage_ids" in missing
    assert "(lost1, lost2, lost3, …)" in missing
    assert "2 answers hold nothing to look for" in empty and "(questions b)" in empty


@pytest.mark.parametrize(
    ("question", "qrels", "said"),
    [
        (
            Question("a", "?", positive_passage_ids=frozenset({"x1", "x2"})),
            None,
            "test: none of the 2 passages named by positive_passage_ids is in the corpus (x1, x2) "
            "(give the corpus they are of; this one has ids like 'p0')",
        ),
        (Question("a", "?"), {"a": {"7": 1, "p0": 0}}, "none of the 1 passages named by judgement"),
        (Question("a", "?"), {"a": {"p0": 0}}, "the judgements call no passage relevant to any"),
        (Question("a", "?"), {"b": {"p0": 1}}, "no question id occurs in the relevance judgements"),
        (Question("a", "?", answers=("", " \u200b")), None, "no answer holds anything to look for"),
    ],
)
def test_labels_of_which_none_could_be_found_are_refused_before_the_search(
    question, qrels, said, store: PassageStore
):
    class Unsearched:
        def search(self, *_: Any) -> None:
            pytest.fail("searched")

    with pytest.raises(ArtError) as caught:
        evaluate(PlainRetriever(), Unsearched(), store, [question], qrels=qrels)
    assert said in str(caught.value)
    with pytest.raises(ArtError):
        by_rows([[0]], store, [question], qrels=qrels, ks=(1,))


def test_one_label_that_can_be_found_is_enough_and_the_others_are_said(store: PassageStore):
    lost = Question("a", "?", positive_passage_ids=frozenset({"lost"}))
    result = by_rows([[0], [1]], store, [lost, Question("b", "?", ("number1",))], ks=(1,))
    assert result.metrics == {"top_1": 0.5}
    assert "1 of 1 passages named by positive_passage_ids are not" in result.notes[0]


def test_answers_that_stand_in_no_passage_found_are_said(store: PassageStore):
    questions = [Question("a", "?", ("of another corpus",)), Question("b", "?", ("nothing",))]
    result = by_rows([[0, 1], [1, 0]], store, questions, ks=(2,))
    assert result.metrics == {"top_2": 0.0}
    assert result.notes == [
        "no passage that was found answers any question: do the labels belong to this corpus?"
    ]


@pytest.mark.parametrize("name", ["id", "qid", "query_id", "queryId"])
def test_judgements_are_looked_up_under_the_ids_that_questions_have(name, store, tmp_path):
    numbers = [2, 3, 1]
    rows = [{name: number, "query": f"question {number} ?"} for number in numbers]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    qrels = {str(number): {f"p{number}": 1, f"p{number + 9}": 2} for number in numbers}
    ranking = [[number, 25, number + 9, *range(13, 20)] for number in numbers]
    result = by_rows(ranking, store, read_questions(tmp_path / "q.jsonl"), qrels=qrels)
    # Gains 1, 0, 2 where 2, 1 were possible.
    expected = (1 + 2 / np.log2(4)) / (2 + 1 / np.log2(3))
    assert result.metrics["ndcg@10"] == pytest.approx(expected, abs=1e-12)
    assert result.metrics["mrr@10"] == 1.0 and result.notes == []


def test_answers_in_letters_that_the_passages_lack_are_said(store: PassageStore):
    rows = [[0], [1]]
    greek = [Question("a", "x", ("Παρίσι", "巴黎")), Question("b", "y", ("title",))]
    note, _ = by_rows(rows, store, greek, ks=[1]).notes  # the other: that nothing was found
    assert "the answers of 1 of 2 questions" in note and "(cjk, greek)" in note and "(a)" in note
    known = [Question("a", "x", ("Παρίσι", "Paris")), Question("b", "y", ("1969",))]
    assert len(by_rows(rows, store, known, ks=[1]).notes) == 1


def test_regular_expressions_match_when_asked(store: PassageStore):
    questions = [Question("a", "?", (r"number\d+ OF",))]
    assert by_rows([[3]], store, questions, ks=(1,)).metrics == {"top_1": 0.0}
    assert by_rows([[3]], store, questions, ks=(1,), regex_answers=True).metrics == {"top_1": 1.0}


def test_without_labels_the_teacher_judges_the_first_passage(store: PassageStore):
    questions = [Question("a", "one"), Question("b", "other")]
    rows = [[4, 9], [8, 2]]
    result = by_rows(rows, store, questions, teacher=PlainTeacher())
    expected = [-((4 * 7 + 3) % 5), -((8 * 7 + 5) % 5)]
    assert result.per_question["teacher_log_likelihood"].tolist() == expected
    assert result.metrics == {"teacher_log_likelihood": np.mean(expected)}
    assert primary_of(result) == "teacher_log_likelihood"
    assert result.hits is None and not result.labelled.any()
    assert type(result.metrics["teacher_log_likelihood"]) is float
    with pytest.raises(ArtError, match="no question has answers"):
        by_rows(rows, store, questions)


def test_judgements_add_their_metrics_and_choose_only_without_other_labels(store: PassageStore):
    qrels = {"a": {"p0": 1, "lost": 2}, "b": {"p3": 1}, "never": {"p0": 1}}
    questions = [Question("a", "?"), Question("b", "?"), Question("c", "?")]
    rows = [list(range(20))] * 3
    result = by_rows(rows, store, questions, qrels=qrels)
    assert list(result.metrics) == ["ndcg@10", "mrr@10"]  # 20 of 30: too few for Recall@100
    assert result.metrics["mrr@10"] == pytest.approx((1 + 1 / 4) / 2)
    assert primary_of(result) == "ndcg@10"
    assert [note.split(" (")[0] for note in result.notes] == [
        "1 of 3 judged questions are not asked",
        "1 of 3 questions have no label and are left out",
        "1 of 3 passages named by judgements are not in the store, "
        "so the metrics are lower than they should be",
    ]
    labelled = [Question("a", "?", ("number1",)), Question("b", "?")]
    both = by_rows(rows[:2], store, labelled, qrels=qrels, ks=(1, 2))
    assert primary_of(both) == "top_2" and both.metrics["top_2"] == 1.0
    assert both.labelled.tolist() == [True, False]
    assert np.isnan(both.per_question["top_1"]).tolist() == [False, True]
    assert [line["num_questions"] for line in both.table()] == [1, 1, 2, 2]


def test_judgements_of_other_questions_are_refused(store: PassageStore):
    with pytest.raises(ArtError, match="no question id occurs"):
        by_rows([[0]], store, [Question("a", "?", ("x",))], qrels={"z": {"p0": 1}})


def test_a_questions_own_passage_is_dropped_when_asked(store: PassageStore):
    questions = [Question("p3", "?"), Question("other", "?")]
    qrels = {"p3": {"p4": 1}, "other": {"p3": 1}}
    rows = [[3, 4, 5], [4, 3, 5]]
    judged = {"qrels": qrels, "judged": ("map@2",)}
    kept = by_rows(rows, store, questions, **judged)
    dropped = by_rows(rows, store, questions, drop_self_hits=True, **judged)
    assert kept.per_question["map@2"].tolist() == [0.5, 0.5]
    assert dropped.per_question["map@2"].tolist() == [1.0, 0.5]
    assert dropped.rows.tolist() == [[4, 5], [4, 3]]
    found = "1 questions found a passage with their own id, which"
    assert [one.notes for one in (kept, dropped)] == [
        [f"{found} counts here; BEIR's metrics leave it out (--drop-self-hits)"],
        [f"{found} is left out (BEIR)"],
    ]


def test_depths_beyond_the_ranking_are_left_out_unless_it_is_the_whole_store(store: PassageStore):
    questions = [Question("a", "?", ("number29",))]
    assert list(by_rows([list(range(6))], store, questions).metrics) == ["top_1", "top_5"]
    whole = by_rows([list(range(N))], store, questions)
    assert whole.metrics == {"top_1": 0, "top_5": 0, "top_20": 0, "top_50": 1, "top_100": 1}
    with pytest.raises(ArtError, match="3 passages a question"):
        by_rows([[0, 1, 2]], store, questions, ks=(5,))


def test_the_table_holds_wilson_intervals_of_shares_only(store: PassageStore):
    questions = [Question(f"q{i}", "?", (f"number{i}",)) for i in range(10)]
    qrels = {"q0": {"p0": 1}}
    rows = [[i if i < 3 else 20] for i in range(10)]
    first, *others = by_rows(
        rows, store, questions, ks=(1,), qrels=qrels, judged=("map@1",)
    ).table()
    assert (first["metric"], first["value"], first["num_questions"]) == ("top_1", 0.3, 10)
    assert (first["low"], first["high"]) == pytest.approx((0.1078, 0.6032), abs=1e-4)
    assert all(line["low"] is None for line in others)


def test_no_questions_are_refused(store: PassageStore):
    with pytest.raises(ArtError, match="no questions"):
        evaluate_rows(np.zeros((0, 1), int), np.zeros((0, 1)), store, [])


def questions_of_every_kind(count: int) -> list[Question]:
    return [
        Question(f"q{i}", f"{'why' * (i % 4 + 1)} {chr(97 + i % 26)}", *labels)
        for i in range(count)
        for labels in [[(), (("number5", f"number{i}"),), ((), frozenset({f"p{i % N}"}))][i % 3]]
    ]


def test_searching_and_judging_a_given_ranking_give_the_same(store: PassageStore):
    index, retriever = PlainIndex(), PlainRetriever()
    questions = questions_of_every_kind(20)
    searched = evaluate(retriever, index, store, questions, ks=(1, 5))
    vectors = retriever.embed_questions([question.text for question in questions])
    from_vectors = evaluate(vectors, index, store, questions, ks=(1, 5))
    scores, rows = index.search(vectors, 5)
    given = evaluate_rows(rows, scores, store, questions, ks=(1, 5))
    assert searched.rows.shape == (13, 5)
    for other in (from_vectors, given):
        assert (other.rows == searched.rows).all() and (other.scores == searched.scores).all()
        assert other.metrics == searched.metrics and other.notes == searched.notes


def test_the_search_is_as_deep_as_the_metrics_need(store: PassageStore):
    question = [Question("p3", "why", ("number1",))]
    arguments = (PlainRetriever(), PlainIndex(), store, question)
    assert evaluate(*arguments, ks=(2, 7)).rows.shape == (1, 7)
    assert evaluate(*arguments, ks=(2, 7), drop_self_hits=True).rows.shape == (1, 7)
    assert evaluate(*arguments, ks=(2, 7), qrels={"p3": {"p1": 1}}).rows.shape == (1, N)


@pytest.mark.parametrize("size", [2, 3, 7])
@pytest.mark.parametrize("labelled", [True, False])
def test_several_processes_give_what_one_gives(size, labelled, store, monkeypatch):
    monkeypatch.setattr(sharing, "_EMBED_BLOCK", 2)
    questions = (
        questions_of_every_kind(8) if labelled else [Question("a", "why"), Question("b", "")]
    )
    questions = [Question(q.question_id, q.text or "?", q.answers, q.positive_passage_ids)
                 for q in questions]  # fmt: skip

    def work():
        teacher = PlainTeacher()
        return evaluate(
            PlainRetriever(), PlainIndex(), store, questions, ks=(1, 5), teacher=teacher
        )

    alone = work()
    for result in in_world(size, work, monkeypatch):
        assert result.metrics == alone.metrics and result.notes == alone.notes
        assert (result.rows == alone.rows).all() and (result.scores == alone.scores).all()
        assert labelled == (result.hits is not None)
        assert (
            (result.hits == alone.hits)
            if result.hits is None
            else (result.hits == alone.hits).all()
        )


@pytest.mark.parametrize("size", [2, 7])
def test_several_processes_fuse_what_one_fuses(size, store, monkeypatch):
    questions = [Question(f"q{i}", f"title{i} text", ("number3", f"number{i}")) for i in range(5)]
    bm25 = BM25.build(store)

    def work():
        return compare_fused(
            PlainRetriever(), PlainIndex(), bm25, store, questions, fusion=Fusion()
        )

    alone = work()
    for results in in_world(size, work, monkeypatch):
        for name, result in results.items():
            assert result.table() == alone[name].table()
            assert (result.rows == alone[name].rows).all()
            assert (result.scores == alone[name].scores).all()


def test_reranking_puts_the_teachers_favourites_first_and_keeps_order_among_equals():
    rows = np.array([[4, 9, 1, 6, 2], [3, 8, 13, 0, 5]])
    ordered, scores = in_order(rows, score_rows(PlainTeacher(), ["one", "other"], rows))
    for line, (question, before) in enumerate(zip(["one", "other"], rows, strict=True)):
        liked = {row: -float((row * 7 + len(question)) % 5) for row in before.tolist()}
        assert ordered[line].tolist() == sorted(before.tolist(), key=lambda row: -liked[row])
        assert scores[line].tolist() == [liked[row] for row in ordered[line].tolist()]
