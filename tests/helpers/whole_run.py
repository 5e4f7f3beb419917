"""A whole run on tiny models: its files, its settings, and what it leaves to compare."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tiny_run import write_labelled

from art.config import Config
from art.teacher.log_file import HEADER_BYTES, RECORD
from art.training.settings import check_config

NUM_STEPS = 7


def tiny_settings(folder: Path, *, bert: Path, t5: Path, corpus) -> dict[str, Any]:
    """Write sixty passages, thirty questions and twelve labelled ones; return a run's settings."""
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
    write_labelled(folder / "supervised.jsonl", corpus)
    return {
        "data": {
            "passages": str(folder / "passages.jsonl"),
            "questions": str(folder / "questions.txt"),
            "supervised": str(folder / "supervised.jsonl"),
            "cache_folder": str(folder / "cache"),
        },
        "retriever": {
            "model": str(bert),
            "passage_length": 64,
            "dropout": 0.1,
            "tied": False,
            "pooling": "cls",
        },
        "index": {"shard_rows": 25, "batch_tokens": 512},
        "teacher": {"model": str(t5), "dtype": "float32", "temperature": 0.05},
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


def configure(settings: dict[str, Any], folder: Path, **sections: dict[str, Any]) -> Config:
    document = {name: {**values, **sections.get(name, {})} for name, values in settings.items()}
    document["output"] = {"folder": str(folder)}
    return check_config(document, source="test")


def records(folder: Path) -> list[dict[str, Any]]:
    """Every line of the metrics, without what a timer wrote."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    timed = ("seconds", "per_second")
    return [
        {name: value for name, value in json.loads(line).items() if not name.endswith(timed)}
        for line in lines
    ]


def weights(folder: Path, name: str = "retriever") -> dict[str, np.ndarray]:
    """Every tensor of a retriever in a run folder."""
    return {
        f"{path.parent.name}.{tensor}": array
        for path in sorted((folder / name).glob("*/model.safetensors"))
        for tensor, array in load_file(path).items()
    }


def left_behind(folder: Path) -> tuple[Any, ...]:
    """All that two runs of the same settings must share: metrics, weights (two sets), scores."""
    tensors = [weights(folder), weights(folder / "last")]
    return (
        records(folder),
        [{name: array.tobytes() for name, array in some.items()} for some in tensors],
        scores(folder / "scores.log"),
    )


def scores(log: Path) -> bytes:
    """The scores of a log without its seals, which stand wherever it was saved."""
    found = np.frombuffer(log.read_bytes()[HEADER_BYTES:], dtype=RECORD)
    return found[~np.isnan(found["score"])].tobytes()
