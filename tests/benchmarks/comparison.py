"""What a finished run was worth: BM25, before, after, and the teacher re-ordering BM25's top 20.

python tests/benchmarks/comparison.py --config runs/x/config.yaml --questions labelled.jsonl

Prints a table with 95 % intervals, exact paired tests, the seconds by phase of the training, and
one line of JSON with every metric.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections import Counter
from pathlib import Path

import torch

from art import report
from art.demo.run import compare_run, verdict
from art.training.settings import read_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--questions", required=True, type=Path)
    words = parser.parse_args()
    config = read_config(words.config)
    results = compare_run(config, words.questions)
    seconds = seconds_by_phase(Path(config.output.folder) / "metrics.jsonl")
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(report.comparison(results))
    print("\n".join(verdict(results, metric) for metric in ("top_1", "top_5", "top_20")))
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in seconds.items()))
    print(f"machine: {machine}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    tables = {name: result.table() for name, result in results.items()}
    print(json.dumps({"results": tables, "seconds": seconds, "machine": machine}))


def seconds_by_phase(metrics: Path) -> dict[str, float]:
    """Return the seconds of a run by phase, from its metrics."""
    total: Counter[str] = Counter()
    for line in metrics.read_text().splitlines():
        record = json.loads(line)
        for name, value in record.items():
            if name.endswith("_seconds"):
                total[name.removesuffix("_seconds")] += value
        if record["kind"] != "train":
            total[record["kind"]] += record["seconds"]
    return {name: round(value, 1) for name, value in total.items()}


if __name__ == "__main__":
    main()
