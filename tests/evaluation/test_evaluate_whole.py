"""Evaluation through a real retriever and index agrees with plain NumPy over all passages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation.evaluate import evaluate
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever


def test_figures_of_a_real_index_are_those_of_brute_force(
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
    result = evaluate(retriever, index, store, questions, ks=(1, 5, 20))

    vectors = retriever.embed_questions([question.text for question in questions])
    scores = vectors.astype(float) @ index.vectors(range(len(store))).astype(float).T
    gold = scores[np.arange(20), np.arange(20)][:, None]
    above = (scores > gold + 1e-9) | (
        (np.abs(scores - gold) <= 1e-9) & (np.arange(60) < np.arange(20)[:, None])
    )
    ranks = 1 + above.sum(axis=1)
    for k in (1, 5, 20):
        assert result.figures[f"top_{k}"] == (ranks <= k).mean()
    assert result.primary[0] == "top_20" and result.rows.shape == (20, 20)
