"""Settings of tiny runs, and what such a run wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from art.config import Config, check_config

NUM_STEPS = 7


def configure(settings: dict[str, Any], folder: Path, **sections: dict[str, Any]) -> Config:
    document = {name: {**values, **sections.get(name, {})} for name, values in settings.items()}
    document["output"] = {"folder": str(folder)}
    return check_config(document, source="test")


def records(folder: Path) -> list[dict[str, Any]]:
    """Every line of the metrics, without what a clock wrote."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    timed = ("seconds", "per_second")
    return [
        {name: value for name, value in json.loads(line).items() if not name.endswith(timed)}
        for line in lines
    ]
