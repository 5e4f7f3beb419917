"""A tiny run: its data, its settings, and the folder that it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_world import NUM_STEPS, configure

from art.training.loop import train


@pytest.fixture(scope="session")
def settings(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    with open(folder / "passages.jsonl", "w") as file:
        for passage_id, title, text in corpus:
            file.write(json.dumps({"id": passage_id, "title": title, "text": text}) + "\n")
    words = [text.split() for _, _, text in corpus]
    (folder / "questions.txt").write_text(
        "\n".join(f"what is {' '.join(text[3:7])} of {i} ?" for i, text in enumerate(words[:30]))
    )
    labelled = [
        {"question": f"where is {' '.join(words[i][:6])}", "positive_passage_ids": [corpus[i][0]]}
        for i in range(40, 52)
    ]
    (folder / "dev.jsonl").write_text("\n".join(map(json.dumps, labelled)))
    return {
        "data": {
            "passages": str(folder / "passages.jsonl"),
            "questions": str(folder / "questions.txt"),
            "cache_folder": str(folder / "cache"),
        },
        "retriever": {"model": str(tiny_bert), "passage_length": 64, "dropout": 0.1},
        "index": {"shard_rows": 25, "batch_tokens": 512},
        "scorer": {"model": str(tiny_t5), "dtype": "float32", "temperature": 0.05},
        "training": {
            "questions_per_step": 8,
            "questions_per_micro_batch": 4,
            "top_k": 4,
            "epochs": 3,
            "max_steps": NUM_STEPS,
            "learning_rate": 0.003,
            "refresh_steps": 2,
            "evaluate_steps": 4,
            "save_steps": 3,
            "cpu": True,
        },
        "evaluation": {"questions": str(folder / "dev.jsonl"), "top_k": [1, 5, 20]},
    }


@pytest.fixture(scope="session")
def finished(settings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(configure(settings, folder))
    return folder
