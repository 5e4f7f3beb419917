"""Evaluation through a real retriever and index agrees with plain NumPy over all passages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation.evaluate import evaluate, evaluate_rows
from art.evaluation.rerank import in_order, score_rows
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever
from art.retriever.searcher import IndexSearcher
from art.teacher.cached import CachedTeacher
from art.teacher.registry import load_teacher
from art.training.selection import primary_metric


def test_metrics_of_a_real_index_are_those_of_brute_force(
    tiny_bert: Path, corpus: list[tuple[str, str, str]], tmp_path: Path
):
    store = PassageStore.build(
        [Passage(*one) for one in corpus], tmp_path / "store", source="test", progress=False
    )
    retriever = create_retriever(str(tiny_bert), passage_length=64)
    tokens = TokenStore.open_or_build(
        store, retriever.passage_template, cache=tmp_path, progress=False
    )
    index = embed_passages(retriever, tokens, tmp_path / "index", store=store, progress=False)
    questions = [
        Question(f"q{i}", f"where is the {text.split()[3]} {i} ?", (), frozenset({passage_id}))
        for i, (passage_id, _, text) in enumerate(corpus[:20])
    ]
    searcher = IndexSearcher(index, retriever.device)
    result = evaluate(retriever, searcher, store, questions, ks=(1, 5, 20))

    vectors = retriever.embed_questions([question.text for question in questions])
    scores = vectors.astype(float) @ index.vectors(range(len(store))).astype(float).T
    gold = scores[np.arange(20), np.arange(20)][:, None]
    above = (scores > gold + 1e-9) | (
        (np.abs(scores - gold) <= 1e-9) & (np.arange(60) < np.arange(20)[:, None])
    )
    ranks = 1 + above.sum(axis=1)
    for k in (1, 5, 20):
        assert result.metrics[f"top_{k}"] == (ranks <= k).mean()
    assert primary_metric(list(result.metrics)) == "top_20" and result.rows.shape == (20, 20)


def test_a_real_teacher_judges_and_reorders(
    tiny_llama: Path, corpus: list[tuple[str, str, str]], tmp_path: Path
):
    store = PassageStore.build(
        [Passage(*one) for one in corpus], tmp_path / "store", source="test", progress=False
    )
    model = load_teacher(str(tiny_llama), dtype="float32")
    tokens = TokenStore.open_or_build(store, model.template, cache=tmp_path, progress=False)
    teacher = CachedTeacher(model, None, tokens)
    questions = ["who built the moon ?", "where is the river"]
    rows = np.array([[5, 0, 17, 3], [2, 17, 30, 59]])
    plain = np.array(
        [
            model.log_likelihoods(
                [model.template.context(tokens[row]) for row in line],
                [model.template.target(question)] * len(line),
            )
            for question, line in zip(questions, rows.tolist(), strict=True)
        ]
    )
    ordered, scores = in_order(rows, score_rows(teacher, questions, rows))
    assert (np.sort(ordered, axis=1) == np.sort(rows, axis=1)).all()
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_allclose(scores, -np.sort(-plain, axis=1), atol=1e-5)
    asked = [Question(str(i), text) for i, text in enumerate(questions)]
    result = evaluate_rows(ordered, scores, store, asked, teacher=teacher)
    expected = float(scores[:, 0].astype(float).mean())
    assert result.metrics == {"teacher_log_likelihood": expected}
    assert score_rows(teacher, [], rows[:0]).shape == (0, 4)  # a process may have no share
