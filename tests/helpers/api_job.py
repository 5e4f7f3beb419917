"""What a script of a user's does from Python, for processes of `forked`."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import art


@dataclass(frozen=True)
class TrainTwice:
    """Train, train on from there, and search; leaves `metrics-RANK.json`.

    Attributes:
        given: arguments of `art.train`.
        folder: of the runs and the index.
        environment: set first.
    """

    given: dict[str, Any]
    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __call__(self) -> None:
        os.environ.update(self.environment)
        start = self.given["retriever"]
        for name in ("first", "second"):
            start = art.train(**self.given | {"retriever": start}, output=self.folder / name)
        index = art.index(start, self.given["passages"], self.folder / "index")
        metrics = index.evaluate(self.given["evaluation_questions"])
        name = f"metrics-{os.environ.get('RANK', '0')}.json"
        (self.folder / name).write_text(json.dumps(metrics))
