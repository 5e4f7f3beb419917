"""Questions asked of the passages of all of them, however files number these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art.data.supervised_store import SupervisedStore
from art.evaluation.pooled import evaluate_pool
from art.training.contrastive import labelled_pool


class Letters:
    """Reads a text as the letters in it; a question finds the passage that shares most of them."""

    embedding_size = 26

    def embed_tokens(self, tower: str, texts: list[list[str]]) -> np.ndarray:
        rows = [[float(chr(97 + i) in text[0]) for i in range(26)] for text in texts]
        return np.array(rows, np.float32) / np.linalg.norm(rows, axis=1, keepdims=True)


class AsTheyAre:
    question_template: Any = None

    @staticmethod
    def questions(texts: list[str]) -> list[list[str]]:
        return [[text] for text in texts]


def metrics(*files: Path) -> dict[str, float]:
    cache = files[0].parent / "cache"
    store = SupervisedStore.open_or_build(files, cache=cache, progress=False)
    tokens = [[passage.text] for passage in store.contexts]
    retriever = Letters()
    retriever.question_template = AsTheyAre()
    return evaluate_pool(retriever, labelled_pool(store, tokens, retriever))


def row(question: str, positives: list[Any], negatives: list[Any] = ()) -> str:
    texts = [
        [{"passage_id": i, "text": text} for i, text in some] for some in (positives, negatives)
    ]
    kinds = zip(("positive_ctxs", "hard_negative_ctxs"), texts, strict=True)
    return json.dumps({"question": question, **dict(kinds)})


@pytest.mark.parametrize("name", [lambda place: 0, lambda place: place % 2, lambda place: place])
def test_ranks_do_not_depend_on_how_files_number_their_passages(name, tmp_path) -> None:
    """Two files, each numbered from 0, and one whose passages are all called 0."""
    words = ["abc", "def", "ghi", "jkl", "mno", "pqr"]
    for number in range(2):
        rows = [
            row(f"{word}x", [(name(place), word)], [(name(place + 1), f"{word[0]}yz")])
            for place, word in enumerate(words[3 * number : 3 * number + 3])
        ]
        (tmp_path / f"{number}.jsonl").write_text("\n".join(rows))
    found = metrics(tmp_path / "0.jsonl", tmp_path / "1.jsonl")
    assert found == {"pooled_mrr": 1.0, "pooled_top_1": 1.0, "pooled_average_rank": 0.0}


def test_a_question_in_two_rows_is_judged_as_one_with_both_positives(tmp_path) -> None:
    table = "query_text\tgold_passage\nabcd\tabc\nabcd\tabd\nxyz\txyz\n"
    (tmp_path / "s.tsv").write_text(table)
    assert metrics(tmp_path / "s.tsv")["pooled_mrr"] == 1.0
    (tmp_path / "s.jsonl").write_text(
        "\n".join([row("abcd", [(1, "abc"), (2, "abd")]), row("xyz", [(3, "xyz")])])
    )
    assert metrics(tmp_path / "s.tsv") == metrics(tmp_path / "s.jsonl")


def test_a_positive_is_read_as_it_stands_and_its_other_titles_do_not_compete(tmp_path) -> None:
    def context(text: str, title: str) -> dict[str, Any]:
        return {"passage_id": 1, "title": title, "text": text}

    rows = [
        {"question": "abc", "positive_ctxs": [context("abc", "")]},
        {"question": "abx", "positive_ctxs": [context("abc", "t")]},
        {"question": "xyz", "positive_ctxs": [context("xyz", "")]},
    ]
    (tmp_path / "s.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert metrics(tmp_path / "s.jsonl")["pooled_mrr"] == 1.0
