"""A benchmark of its own, from one file: what `art evaluate --benchmark` shows beside ours."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from art.evaluation.benchmarks.against import against_published
from art.evaluation.benchmarks.registry import BENCHMARKS, DATA_SETS, Benchmark, add_stated
from art.report import against_published as shown

STATED = """
datasets:
  - name: riddles
    title: Riddles
    licence: null                 # unknown
    files:
      - path: riddles/test.jsonl
        address: https://example.org/test.jsonl
        bytes: 812
        sha256: null              # unknown
        rows: 4

benchmarks:
  - name: riddles
    title: Riddles, test
    needs: [riddles]
    questions: riddles/test.jsonl
    num_questions: 4
    metrics: [top_1, top_5]
    protocol: a passage answers if its text contains an answer
    published:
      - {system: an owl, values: [12.5, null], source: Owl 2020}
"""


@pytest.fixture
def riddles(tmp_path: Path) -> Iterator[Benchmark]:
    path = tmp_path / "riddles.yaml"
    path.write_text(STATED)
    add_stated(path)
    yield BENCHMARKS["riddles"]
    BENCHMARKS.remove("riddles")
    DATA_SETS.remove("riddles")


def test_ours_stands_beside_what_was_published(riddles: Benchmark) -> None:
    ours = {"top_1": np.array([1.0, 1.0, 1.0, 0.0]), "top_5": np.ones(4)}
    lines = shown(against_published(riddles, ours)).splitlines()
    assert lines[0].startswith("riddles: Riddles, test")
    assert lines[3].split() == ["an", "owl", "12.5", "above", "unknown", "Owl", "2020"]
