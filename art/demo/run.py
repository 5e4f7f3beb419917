"""The demonstration: a retriever for Python's own documentation, trained from questions alone."""

from __future__ import annotations

import json
import time
from importlib.resources import files as package_files
from pathlib import Path

import yaml

from art import distributed, report
from art.config import Config, check_config
from art.data.formats import read_questions
from art.data.passages import PassageStore
from art.demo.corpus import iter_passages
from art.evaluation.evaluate import evaluate_rows
from art.files import atomic_write, write_bytes
from art.retriever.bm25 import BM25
from art.training.loop import train

_QUESTION_FILES = ("questions.train.txt", "questions.choose.jsonl")
_DEPTHS = (1, 5, 20)


def run_demo(folder: Path) -> None:
    """Write the built-in corpus and questions, train on them, and print what it was worth.

    Args:
        folder: run folder; a demonstration that was killed goes on there.

    Raises:
        ArtError: the disk refuses, or the packages that carry the weights are not installed.
    """
    start = time.perf_counter()
    config = demo_config(folder)
    try:
        num_passages = _write_data(folder / "data")
        print(
            f"Python's own documentation: {num_passages:,} passages, one per docstring.\n"
            "The questions carry no labels; a frozen SmolLM2-135M judges what was found.\n"
            f"Everything goes to {folder}; stop and start again as you like.\n"
        )
        result = train(config)
        store = PassageStore.open_or_build(config.data.passages)
        questions = read_questions(config.evaluation.questions[0])
        scores, rows = BM25.build(store).search([q.text for q in questions], max(_DEPTHS))
        bm25 = evaluate_rows(rows, scores, store, questions, ks=_DEPTHS)
    finally:
        distributed.stop()
    table = report.comparison(
        {
            "BM25": bm25.figures,
            "before training": result.before,
            f"after training (step {result.best_step})": result.after,
        },
        [f"top_{k}" for k in _DEPTHS],
    )
    print(
        f"\n{len(questions)} evaluation questions: % answered within the first k passages\n"
        f"{table}\n\n"
        f"The retriever is in {folder / 'retriever'} ({time.perf_counter() - start:.0f} s in all)."
    )


def demo_config(folder: Path) -> Config:
    """Return the demonstration's settings with every path moved under `folder`."""
    source = package_files("art.demo") / "demo.yaml"
    document = yaml.safe_load(source.read_text(encoding="utf-8"))
    data = folder / "data"
    document["data"]["passages"] = str(data / "passages.jsonl")
    document["data"]["questions"] = str(data / _QUESTION_FILES[0])
    document["evaluation"]["questions"] = str(data / _QUESTION_FILES[1])
    document["output"]["folder"] = str(folder)
    return check_config(document, source="demo.yaml")


def _write_data(folder: Path) -> int:
    for name in _QUESTION_FILES:
        write_bytes(folder / name, (package_files("art.demo") / name).read_bytes())
    passages = [
        {"id": passage_id, "title": title, "text": text}
        for passage_id, title, text in iter_passages()
    ]
    with atomic_write(folder / "passages.jsonl") as file:
        for passage in passages:
            file.write(json.dumps(passage, ensure_ascii=False).encode() + b"\n")
    return len(passages)
