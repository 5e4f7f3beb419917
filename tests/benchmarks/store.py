"""Memory and seconds of opening, reading and searching large stores, which must not grow with them.

python tests/benchmarks/store.py                      # 10⁴, 10⁵ and 10⁶ passages, 2 GB of disk
python tests/benchmarks/store.py --sizes 10000 100000

A passage store of generated texts of twenty words, the token ids of a word each, and an index of
random vectors of 128 numbers are written; then a fresh process for each measurement
    open    opens the three
    read    and reads 1,000 passages at random, with their token ids
    search  or searches the index for 32 questions, 100 passages each, exactly
and says how long that took and what memory it has since the libraries were loaded:
    own     pages that it has written to (Private_Dirty of /proc/self/smaps_rollup), which nobody
            else can use
    mapped  pages of the files (Private_Clean and Shared_Clean): they belong to the page cache, are
            there once for all processes, and are given back when memory runs short

Prints a table, what 21,015,324 passages would need, computed from it, and one line of JSON.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from art.data.formats import Passage
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.retriever.index import Index
from art.retriever.index_manifest import IndexManifest
from art.retriever.nearest import load_faiss
from art.retriever.shards import write_shard

WIKIPEDIA = 21_015_324  # passages of psgs_w100
SIZE = 128
SHARD_ROWS = 65_536
NUM_READ, NUM_QUESTIONS, TOP_K = 1_000, 32, 100
STAGES = ("open", "read", "search")
WORDS = [f"word{number}" for number in range(5_000)]
_MOST_GROWTH = 16.0  # MB of own memory, from the smallest to the largest


class WordNumbers:
    """Token ids of a passage: the numbers of its words."""

    fingerprint = "word numbers"
    vocab_size = len(WORDS)

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        return [[int(word[4:]) for word in text.split()] for text in texts]


def main() -> None:
    words = arguments()
    if words.measure:
        print(json.dumps(measure(words.measure, words.folder)))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        for count in words.sizes:
            place = Path(folder) / str(count)
            results.append(write(place, count) | measured(place))
            print(f"{count:,} passages are done", file=sys.stderr)
    print(table(results))
    print(f"\n{outlook(results)}")
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(json.dumps(results))
    for stage in STAGES:
        grown = results[-1][f"{stage}_own_mb"] - results[0][f"{stage}_own_mb"]
        assert grown < _MOST_GROWTH, f"{stage}: own memory grows by {grown:.1f} MB"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path, help="where there is room; else the usual place")
    parser.add_argument("--measure", choices=STAGES, help=argparse.SUPPRESS)
    return parser.parse_args()


def passages(count: int) -> Iterator[Passage]:
    rng = np.random.default_rng(0)
    for row in range(count):
        chosen = rng.integers(len(WORDS), size=20).tolist()
        yield Passage(f"p{row}", "", " ".join(WORDS[one] for one in chosen))


def write(folder: Path, count: int) -> dict[str, Any]:
    """Write the three for so many passages; return their sizes on the disk."""
    store = PassageStore.build(
        passages(count), folder / "store", source="generated", progress=False
    )
    tokens = open_tokens(folder, store)
    write_index(folder / "index", store)
    parts = {"store": store.folder, "tokens": tokens.folder, "index": folder / "index"}
    return {"num_passages": count} | {
        f"{name}_bytes": sum(path.stat().st_size for path in part.iterdir())
        for name, part in parts.items()
    }


def open_tokens(folder: Path, store: PassageStore) -> TokenStore:
    return TokenStore.open_or_build(store, WordNumbers(), cache=folder, progress=False)


def write_index(folder: Path, store: PassageStore) -> None:
    rng = np.random.default_rng(1)
    records = []
    for shard, start in enumerate(range(0, len(store), SHARD_ROWS)):
        rows = min(SHARD_ROWS, len(store) - start)
        vectors = rng.standard_normal((rows, SIZE), dtype=np.float32)
        records.append(write_shard(folder, shard, vectors, "generated"))
    IndexManifest(
        num_passages=len(store),
        embedding_size=SIZE,
        dtype="float32",
        shard_rows=SHARD_ROWS,
        store_folder=str(store.folder),
        store_fingerprint=store.fingerprint,
        retriever_fingerprint="none",
        key="generated",
        max_norms=[record.max_norm for record in records],
        blocks=[record.blocks for record in records],
        provenance={},
    ).write(folder / "manifest.json")


def measured(folder: Path) -> dict[str, float]:
    """Measure each stage in a process of its own."""
    found: dict[str, float] = {}
    for stage in STAGES:
        command = [sys.executable, __file__, "--measure", stage, "--folder", str(folder)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found |= {f"{stage}_{name}": value for name, value in json.loads(done.stdout).items()}
    return found


def measure(stage: str, folder: Path) -> dict[str, float]:
    """Return the seconds of a stage, and the memory there is more than before, in MB."""
    load_faiss()
    rng = np.random.default_rng(2)
    questions = rng.standard_normal((NUM_QUESTIONS, SIZE), dtype=np.float32)
    ctypes.CDLL(None).malloc_trim(0)  # else what the libraries gave back would hide what we take
    own, mapped = memory()
    start = time.perf_counter()
    store = PassageStore.open(folder / "store")
    tokens = open_tokens(folder, store)
    index = Index.open(folder / "index")
    if stage != "open":
        start = time.perf_counter()
    if stage == "read":
        for row in rng.integers(len(store), size=NUM_READ).tolist():
            assert len(store[row].text.split()) == len(tokens[row])
    elif stage == "search":
        scores, _ = index.search(questions, TOP_K)
        assert scores.shape == (NUM_QUESTIONS, TOP_K)
    seconds = time.perf_counter() - start
    own_now, mapped_now = memory()
    return {"seconds": seconds, "own_mb": own_now - own, "mapped_mb": mapped_now - mapped}


def memory() -> tuple[float, float]:
    """Return the process's own memory and its clean pages of files, in MB."""
    found = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split()[:2]
        found[name.rstrip(":")] = int(value) / 1024
    return found["Private_Dirty"], found["Private_Clean"] + found["Shared_Clean"]


def table(results: list[dict[str, Any]]) -> str:
    """Return the metrics as a table for the README."""
    heads = ["passages", "on disk, MB"]
    heads += [f"{stage}: s / own MB / mapped MB" for stage in STAGES]
    lines = [heads, ["---"] * len(heads)]
    for one in results:
        size = sum(one[f"{part}_bytes"] for part in ("store", "tokens", "index")) / 2**20
        cells = [f"{one['num_passages']:,}", f"{size:,.0f}"]
        for stage in STAGES:
            seconds, own, mapped = (one[f"{stage}_{name}"] for name in MEASURED)
            cells.append(f"{seconds:.3f} / {own:.1f} / {mapped:,.0f}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


MEASURED = ("seconds", "own_mb", "mapped_mb")


def outlook(results: list[dict[str, Any]]) -> str:
    """Return what Wikipedia would need, as a straight line through the first and the last size."""
    few, many = results[0], results[-1]
    span = max(many["num_passages"] - few["num_passages"], 1)

    def there(name: str) -> float:
        slope = max((many[name] - few[name]) / span, 0.0)
        found: float = many[name] + slope * (WIKIPEDIA - many["num_passages"])
        return found

    own = ", ".join(f"{stage} {there(f'{stage}_own_mb'):.0f} MB" for stage in STAGES)
    index = WIKIPEDIA * SIZE * 4 / 2**30
    return (
        f"computed for {WIKIPEDIA:,} such passages, not measured: own memory to {own}; "
        f"{there('open_seconds'):.2f} s to open; an index of {index:.1f} GiB, which each search "
        "reads whole through the page cache; the first read of a block of 4 MiB reads and hashes it"
    )


if __name__ == "__main__":
    main()
