"""Whole runs with every kind of teacher, and the answers that one of them needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from killed_run import kill
from tiny_teachers import make_reranker

from art.errors import DataError, MismatchError
from art.retriever.loading import load_retriever
from art.training.loop import train
from art.training.plan import read_run_questions
from art.training.settings import check_config


@pytest.fixture(scope="module")
def files(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    (folder / "passages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [
        {"question": f"what is {text.split()[3]} of {i} ?", "answers": [text.split()[5], "x"]}
        for i, (_, _, text) in enumerate(corpus[:30])
    ]
    (folder / "answered.jsonl").write_text("\n".join(map(json.dumps, asked)))
    (folder / "plain.txt").write_text("\n".join(one["question"] for one in asked))
    return folder


def document(files: Path, bert: Path, output: Path, questions: str, **teacher: Any) -> dict:
    return {
        "data": {
            "passages": str(files / "passages.jsonl"),
            "questions": str(files / questions),
            "cache_folder": str(files / "cache"),
        },
        "retriever": {"model": str(bert), "passage_length": 64},
        "teacher": {"dtype": "float32", "temperature": 0.05, **teacher},
        "training": {
            "questions_per_step": 4,
            "questions_per_micro_batch": 4,
            "top_k": 4,
            "max_steps": 3,
            "refresh_steps": 2,
            "evaluate_steps": 2,
            "learning_rate": 0.003,
            "cpu": True,
        },
        "evaluation": {"top_k": [1, 5]},
        "output": {"folder": str(output)},
    }


@pytest.fixture(scope="module")
def teachers(tiny_bert, tiny_t5, tiny_llama, tmp_path_factory) -> dict[str, dict[str, Any]]:
    reranker = make_reranker(tiny_bert, tmp_path_factory.mktemp("r") / "bert", "bert", 2)
    return {
        "t5 answers": {"model": str(tiny_t5), "kind": "answer-likelihood"},
        "llama answers": {
            "model": str(tiny_llama),
            "kind": "answer-likelihood",
            "chat_template": True,
        },
        "reranker": {"model": str(reranker), "kind": "cross-encoder", "max_length": 64},
    }


@pytest.mark.parametrize("name", ["t5 answers", "llama answers", "reranker"])
def test_a_killed_run_with_every_kind_of_teacher_goes_on_to_its_end(
    name: str, files, tiny_bert, teachers, tmp_path
) -> None:
    questions = "plain.txt" if name == "reranker" else "answered.jsonl"
    settings = document(files, tiny_bert, tmp_path / "run", questions, **teachers[name])
    kill(check_config(settings, source="test"), 2)
    result = train(check_config(settings, source="test"))
    assert result.metric == "agreed_reciprocal_rank"  # what else judges questions without labels
    assert load_retriever(tmp_path / "run" / "retriever").settings.passage_length == 64
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    trained = [one for line in lines if (one := json.loads(line))["kind"] == "train"]
    assert len(trained) == 3 and all(one["loss"] > 0 for one in trained)


def test_other_answers_are_another_run(files, tiny_bert, teachers, tmp_path) -> None:
    own = tmp_path / "questions.jsonl"
    text = (files / "answered.jsonl").read_text()
    own.write_text(text)
    settings = document(files, tiny_bert, tmp_path / "run", "", **teachers["t5 answers"])
    settings["data"]["questions"] = str(own)
    kill(check_config(settings, source="test"), 2)
    own.write_text(text.replace('"answers": ["', '"answers": ["orange ', 1))
    with pytest.raises(MismatchError, match="training questions"):
        train(check_config(settings, source="test"))


def test_answers_are_asked_of_whatever_the_teacher_will_see(
    files, tiny_bert, teachers, tmp_path
) -> None:
    def questions(training: str, chosen_on: str | None = None) -> Any:
        settings = document(files, tiny_bert, tmp_path, training, **teachers["t5 answers"])
        if chosen_on:
            settings["evaluation"]["questions"] = str(files / chosen_on)
        return read_run_questions(check_config(settings, source="test"))

    found = questions("answered.jsonl")
    assert len(found.answers) == 30 == len(found.training) + len(found.evaluation)
    assert found.answers.keys() >= {one.text for one in found.evaluation}
    (files / "gold.jsonl").write_text('{"question": "who", "positive_passage_ids": ["p1"]}')
    assert "who" not in questions("answered.jsonl", "gold.jsonl").answers
    with pytest.raises(DataError, match=r"plain\.txt: 30 of 30 questions have no answer"):
        questions("plain.txt")
    (files / "unlabelled.txt").write_text("who is the doctor ?")
    with pytest.raises(DataError, match=r"unlabelled\.txt: 1 of 1 questions have no answer"):
        questions("answered.jsonl", "unlabelled.txt")
