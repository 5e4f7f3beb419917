"""Search by one process and by two, against FAISS's flat index; a minute or two, 1 GB of disk.

python tests/benchmarks/search.py
python tests/benchmarks/search.py --shapes 10000x128 20000x64

For each shape N × D an index of random vectors is written, in a number of shards that two processes
share evenly. 64 questions are asked for 32 passages each, by processes of one thread:
    faiss   `faiss.IndexFlatIP` with the thresholds that we set
    one     `IndexSearcher` in one process
    two     `IndexSearcher` in two processes, each of which asks half of the questions
Every one of them searches once, which reads the files and checks them, and then `--repeats` times
more; the median of those counts. All must find the same rows, ours with the same scores to the bit.
Then each process of ours searches again while it is watched:
    rows    of its blocks that a search compares, all passes together
    MB      of memory of its own (RssAnon) at the most, more than before the index was opened
At last all passages of an index are alike, and the passes over it are counted.

Prints a table and one line of JSON:
    overhead               seconds of one process over FAISS's, of the worst shape
    speedup_two            seconds of one process over those of two, of the worst shape
    rows_share_two         rows that the busier of two processes compares, as a share of its own
    passes_when_collapsed  rows compared where all passages are alike, as a share of all
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from art import distributed
from art.retriever.blocks import Blocks
from art.retriever.index import Index
from art.retriever.index_manifest import IndexManifest
from art.retriever.nearest import load_faiss
from art.retriever.searcher import IndexSearcher
from art.retriever.shards import write_shard

SHAPES = ("10000x128", "100000x128", "1000000x128", "100000x768")
NUM_QUESTIONS, TOP_K = 64, 32
MOST_SHARD_ROWS = 65_536
KINDS = {"faiss": 1, "one": 1, "two": 2}  # what is measured → in how many processes


def main() -> None:
    words = arguments()
    if words.measure:
        kind, folder = words.measure
        measure(kind, Path(folder), words.repeats)
        return
    results = []
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        for shape in words.shapes:
            place = Path(folder) / shape
            count, size = map(int, shape.split("x"))
            write_index(place, count, size)
            results.append({"shape": shape, "rows": count} | measured(place, words.repeats))
            print(f"{shape} is done", file=sys.stderr)
        alike = Path(folder) / "alike"
        write_index(alike, 20_000, 128, alike=True)
        collapsed = processes("one", alike, 1)[0]["rows"] / 20_000
    print(table(results))
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(
        json.dumps(
            {
                "overhead": max(one["one"] / one["faiss"] for one in results),
                "speedup_two": min(one["one"] / one["two"] for one in results),
                "rows_share_two": max(one["rows_share"] for one in results),
                "passes_when_collapsed": collapsed,
            }
        )
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", nargs="+", default=SHAPES, metavar="NxD")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where there is room; else the usual place")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_index(folder: Path, count: int, size: int, *, alike: bool = False) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    # A whole number of shards for each of two processes.
    num_shards = 2 * -(-count // (2 * MOST_SHARD_ROWS))
    shard_rows = -(-count // num_shards)
    records = []
    for shard, start in enumerate(range(0, count, shard_rows)):
        shape = (min(shard_rows, count - start), size)
        vectors = np.ones(shape, np.float32) if alike else rng.standard_normal(shape, np.float32)
        records.append(write_shard(folder, shard, vectors, "generated"))
    IndexManifest(
        num_passages=count,
        embedding_size=size,
        dtype="float32",
        shard_rows=shard_rows,
        store_folder="none",
        store_fingerprint="none",
        retriever_fingerprint="none",
        key="generated",
        max_norms=[record.max_norm for record in records],
        blocks=[record.blocks for record in records],
        provenance={},
    ).write(folder / "manifest.json")


def measured(folder: Path, repeats: int) -> dict[str, Any]:
    found = {kind: processes(kind, folder, repeats) for kind in KINDS}
    (faiss,), (one,), two = found["faiss"], found["one"], found["two"]
    # Among so many there are some that float32 does not tell apart.
    pairs = zip(one["found"], faiss["found"], strict=True)
    same = statistics.mean(len(set(ours) & set(theirs)) / TOP_K for ours, theirs in pairs)
    assert same > 0.999, f"only {same:.2%} of the rows that FAISS finds"
    assert all(each["found"] == one["found"] for each in two), "not the rows that one finds"
    assert all(each["scores"] == one["scores"] for each in two), "not the scores of one"
    return {
        "faiss": faiss["seconds"],
        "one": one["seconds"],
        "two": max(each["seconds"] for each in two),
        "rows_share": max(each["rows"] / each["own_rows"] for each in two),
        "mb_one": one["mb"],
        "mb_two": max(each["mb"] for each in two),
    }


def processes(kind: str, folder: Path, repeats: int) -> list[dict[str, Any]]:
    """Measure in processes of their own, as a launcher would start them; return what each found."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    size = KINDS[kind]
    launched = {"WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    one_thread = {"OMP_NUM_THREADS": 1, "OPENBLAS_NUM_THREADS": 1, "MKL_NUM_THREADS": 1}
    command = [sys.executable, __file__, "--measure", kind, folder, "--repeats", repeats]
    started = []
    for rank in range(size):
        told = launched | one_thread | {"RANK": rank, "LOCAL_RANK": rank}
        environment = os.environ | {name: str(value) for name, value in told.items()}
        started.append(
            subprocess.Popen(
                [str(word) for word in command],
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    said = [process.communicate()[0] for process in started]
    assert all(process.returncode == 0 for process in started), kind
    return [json.loads(text) for text in said]


def measure(kind: str, folder: Path, repeats: int) -> None:
    """Print as JSON what this process found, and how fast."""
    torch.set_num_threads(1)
    faiss = load_faiss()
    faiss.omp_set_num_threads(1)
    distributed.start(cpu=True)
    before = own_memory()
    index = Index.open(folder)
    rng = np.random.default_rng(1)
    questions = rng.standard_normal((NUM_QUESTIONS, index.embedding_size), np.float32)
    search = searched_by_faiss(index, questions) if kind == "faiss" else None
    if search is not None:
        (scores, rows), seconds = timed(search, repeats)
        found = {"seconds": seconds, "found": rows.tolist()}
    else:
        searcher = IndexSearcher(index, torch.device("cpu"))
        rank, size = distributed.rank(), distributed.world_size()
        own = questions[NUM_QUESTIONS * rank // size : NUM_QUESTIONS * (rank + 1) // size]
        _, seconds = timed(lambda: searcher.search(lambda: own, TOP_K), repeats)
        with counting_rows() as counted, watching_memory() as most:
            scores, rows = searcher.search_for_all(lambda: own, TOP_K)
        own_rows = searcher._stored.num_rows
        found = {"seconds": seconds, "found": rows.tolist(), "scores": scores.tolist()}
        found |= {"rows": counted[0], "own_rows": own_rows, "mb": (most[0] - before) / 2**20}
    print(json.dumps(found))
    distributed.stop()


def searched_by_faiss(index: Index, questions: np.ndarray) -> Callable[[], Any]:
    flat = load_faiss().IndexFlatIP(index.embedding_size)
    for vectors in index.shards():
        flat.add(np.ascontiguousarray(vectors))
    return lambda: flat.search(questions, TOP_K)


def timed(search: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Return what a search finds, and the median seconds after the first of them."""
    search()
    seconds = []
    for _ in range(repeats):
        distributed.together(lambda: None)  # so that nobody waits for one who is late
        start = time.perf_counter()
        found = search()
        seconds.append(time.perf_counter() - start)
    return found, statistics.median(seconds)


@contextmanager
def counting_rows() -> Iterator[list[int]]:
    """Count the rows that are widened, or taken as they are, to be compared."""
    counted, original = [0], Blocks.widened

    def counting(blocks: Blocks, *arguments: Any) -> Iterator[tuple[int, torch.Tensor]]:
        for first_row, part in original(blocks, *arguments):
            counted[0] += len(part)
            yield first_row, part

    Blocks.widened = counting  # type: ignore[method-assign]
    try:
        yield counted
    finally:
        Blocks.widened = original  # type: ignore[method-assign]


@contextmanager
def watching_memory() -> Iterator[list[int]]:
    """Tell the most memory of its own that the process has while the block lasts."""
    most, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.001):
            most[0] = max(most[0], own_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()
        most[0] = max(most[0], own_memory())


def own_memory() -> int:
    """Return the bytes of this process that are no page of a file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) << 10
    raise OSError("no RssAnon in /proc/self/status")


def table(results: list[dict[str, Any]]) -> str:
    heads = ["N × D", "FAISS, ms", "one, ms", "two, ms", "one / FAISS", "one / two"]
    heads += ["rows of two", "own MB of one", "of two"]
    lines = [heads, ["---"] * len(heads)]
    for found in results:
        seconds = [found[kind] for kind in KINDS]
        ratios = [found["one"] / found["faiss"], found["one"] / found["two"]]
        lines.append(
            [found["shape"].replace("x", " × ")]
            + [f"{1000 * one:.1f}" for one in seconds]
            + [f"{ratio:.2f}" for ratio in ratios]
            + [f"{found['rows_share']:.2f} of own", f"{found['mb_one']:.0f}"]
            + [f"{found['mb_two']:.0f}"]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
