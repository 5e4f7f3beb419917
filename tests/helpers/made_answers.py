"""Questions whose answers a tiny reader can learn to find, and runs that train one on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from art.config import Config
from art.training.settings import check_config

ANSWERS = "stone bridge music paper north winter garden engine".split()
_OTHERS = "the of a in moon river letter island market doctor silver orange mountain ocean".split()


def made_rows(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Questions as DPR's results: of each one passage in five holds the answer, once or twice."""
    rng = np.random.default_rng(seed)

    def words(least: int) -> list[str]:
        return rng.choice(_OTHERS, size=rng.integers(least, 20)).tolist()

    rows = []
    for number in range(count):
        answer, texts = str(rng.choice(ANSWERS)), [words(4) for _ in range(5)]
        own = int(rng.integers(5))
        for _ in range(1 + number % 2):
            texts[own].insert(int(rng.integers(len(texts[own]))), answer)
        contexts = [
            {
                "id": f"{number}-{place}",
                "title": f"title {place}" if place % 2 else "",
                "text": " ".join(text),
                "has_answer": place == own,
            }
            for place, text in enumerate(texts)
        ]
        asked = f"what is in the {' '.join(words(2)[:3])} {number} ?"
        rows.append({"question": asked, "answers": [answer.upper()], "ctxs": contexts})
    return rows


def reader_run(folder: Path, bert: Path, rows: list[dict[str, Any]], **training: Any) -> Config:
    """Write rows beside `folder`; return the settings of a run there that trains a reader."""
    data = folder.with_name(f"{folder.name}.json")
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text(json.dumps(rows))
    document = {
        "data": {"supervised": str(data)},
        "reader": {"model": str(bert), "max_length": 64, "passages_per_question": 4},
        "training": {
            "method": "reader",
            "positive": "random",
            "questions_per_step": 8,
            "questions_per_micro_batch": 4,
            "epochs": 20,
            "learning_rate": 0.003,
            "weight_decay": 0.0,
            "cpu": True,
        }
        | training,
        "output": {"folder": str(folder)},
    }
    return check_config(document, source="test")
