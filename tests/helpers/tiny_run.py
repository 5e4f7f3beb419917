"""Settings of whole runs that take a second or two."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from art.config import Config
from art.training.settings import check_config

HOSTILE = "<script>alert('1')</script> & \"<img src=http://x.org/x onerror=y>\""

Corpus = Sequence[tuple[str, str, str]]


def tiny_run(
    folder: Path, bert: Path, t5: Path, corpus: Corpus, *, labelled: bool = True, **training: Any
) -> Config:
    """Write a corpus and questions beside `folder`; return the settings of a run there."""
    data = folder.parent / f"{folder.name} data"
    data.mkdir(parents=True)
    rows = [{"id": name, "title": title, "text": text} for name, title, text in corpus]
    (data / "passages.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = [text.split() for _, _, text in corpus]
    asked = [f"what is {' '.join(text[3:7])} of {i} ?" for i, text in enumerate(words[:30])]
    (data / "questions.txt").write_text("\n".join(asked))
    dev = [
        {"question": f"where is {' '.join(words[i][:6])}", "positive_passage_ids": [corpus[i][0]]}
        for i in range(40, 52)
    ]
    (data / "dev.jsonl").write_text("\n".join(map(json.dumps, dev)))
    write_labelled(data / "labelled.jsonl", corpus)
    document = {
        "data": {
            "passages": str(data / "passages.jsonl"),
            "questions": str(data / "questions.txt"),
            "supervised": str(data / "labelled.jsonl"),
        },
        "retriever": {"model": str(bert), "passage_length": 64, "tied": False},
        "teacher": {"model": str(t5), "dtype": "float32", "temperature": 0.05},
        "training": {
            "questions_per_step": 4,
            "questions_per_micro_batch": 2,
            "top_k": 3,
            "max_steps": 6,
            "learning_rate": 0.01,
            "refresh_steps": 2,
            "evaluate_steps": 2,
            "save_steps": 2,
            "cpu": True,
        }
        | training,
        "evaluation": {"top_k": [1, 5, 20]},
        "output": {"folder": str(folder)},
    }
    if labelled:
        document["evaluation"]["questions"] = str(data / "dev.jsonl")
    return check_config(document, source="test")


def write_labelled(path: Path, corpus: Corpus, count: int = 40) -> None:
    """Write questions with a positive, a hard negative and another negative of the corpus."""

    def context(row: int) -> dict[str, str]:
        name, title, text = corpus[row % len(corpus)]
        return {"passage_id": name, "title": title, "text": text}

    rows = [
        {
            "question": f"where is {' '.join(corpus[i][2].split()[2:8])} ?",
            "positive_ctxs": [context(i)],
            "hard_negative_ctxs": [context(i + 1)],
            "negative_ctxs": [context(i + 7)],
        }
        for i in range(count)
    ]
    path.write_text("\n".join(map(json.dumps, rows)))


def moved(config: Config, folder: Path) -> Config:
    """Return the settings of the same run in another folder."""
    document = copy.deepcopy(config.model_dump(mode="json"))
    document["output"]["folder"] = str(folder)
    return check_config(document, source="test")
