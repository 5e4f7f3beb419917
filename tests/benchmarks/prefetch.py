"""Pairs a second when the pairs of many steps are scored at once, beside a step at a time.

python tests/benchmarks/prefetch.py                                # 20 steps on the demo's corpus
python tests/benchmarks/prefetch.py --passages corpus.tsv --questions questions.txt --num-steps 8

SmolLM2-135M scores the passages that BM25 finds for each question: once as the steps would ask for
them, each reading its distinct passages once, and once passage by passage over all steps, as
training does before the steps until the next refresh. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time

import numpy as np
import torch
from scoring import CAUSAL, corpus_arguments, corpus_files, drawn

from art.data.tokens import TokenStore
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import grouped_scores
from art.teacher.registry import load_teacher


def main() -> None:
    words = arguments()
    words.num_questions = words.num_steps * words.questions_per_step
    store, questions, rows = drawn(*corpus_files(words), words)
    teacher = load_teacher(words.model, dtype=words.dtype, max_length=words.max_length)
    cache = words.folder / "cache"
    tokens = TokenStore.open_or_build(store, teacher.template, cache=cache, progress=False)
    CachedTeacher(teacher, None, tokens).score(questions[:4], rows[:4])  # reads the weights

    start = time.perf_counter()
    steps = CachedTeacher(teacher, None, tokens)
    size = words.questions_per_step
    by_step = np.concatenate(
        [
            steps.score(questions[i : i + size], rows[i : i + size]).scores
            for i in range(0, len(rows), size)
        ]
    )
    step_seconds = time.perf_counter() - start
    start = time.perf_counter()
    prefetched = grouped_scores(CachedTeacher(teacher, None, tokens), questions, rows)
    ahead_seconds = time.perf_counter() - start

    distinct = [
        np.mean(
            [len(np.unique(rows[i : i + n])) / rows[i : i + n].size for i in range(0, len(rows), n)]
        )
        for n in (size, len(rows))
    ]
    for name, seconds, share in zip(
        ("a step at a time", "all steps at once"),
        (step_seconds, ahead_seconds),
        distinct,
        strict=True,
    ):
        print(
            f"{name:18} {seconds:8.1f} s {rows.size / seconds:7.1f} pairs/s, "
            f"{100 * share:.0f} % of their passages distinct"
        )
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"machine: {machine}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    results = {
        "num_pairs": rows.size,
        "speedup": round(step_seconds / ahead_seconds, 3),
        "distinct_share_by_step": round(float(distinct[0]), 3),
        "distinct_share_prefetched": round(float(distinct[1]), 3),
        "max_abs_diff": float(np.abs(prefetched - by_step).max()),
    }
    print(json.dumps(results))


def arguments() -> argparse.Namespace:
    parser = corpus_arguments(__doc__)
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--questions-per-step", type=int, default=32)
    parser.add_argument("--top-k", type=int, default=4)
    parser.add_argument("--max-length", type=int, default=160, help="tokens of a context")
    parser.add_argument("--model", default=CAUSAL, help="name of the teacher")
    return parser.parse_args()


if __name__ == "__main__":
    main()
