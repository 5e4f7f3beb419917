"""Memory and seconds of reading labelled questions from one long JSON list, as DPR publishes them.

python tests/benchmarks/supervised.py                     # lists of 64 and 1,024 MB
python tests/benchmarks/supervised.py --sizes 8 64        # MB

Lists of the shape of `biencoder-nq-train.json` are generated: questions, each with a positive,
30 hard negatives and 50 other negatives of a hundred words. A fresh process for each measurement
    read    goes through all examples
    build   writes the store that training reads
and says how long that took, and by how much its peak memory (VmHWM) exceeds what it was before.

Prints a table and one line of JSON; fails if the longest list takes much more than the shortest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scoring import peak_memory

from art.data.formats import read_supervised
from art.data.supervised_store import SupervisedStore

STAGES = ("read", "build")
CONTEXTS = {"positive_ctxs": 1, "hard_negative_ctxs": 30, "negative_ctxs": 50}
NUM_TEXTS = 20_000  # passages to draw from; published lists repeat theirs too
_MOST_GROWTH = 32.0  # MB of peak memory, from the shortest to the longest


def main() -> None:
    words = arguments()
    if words.measure:
        print(json.dumps(measure(words.measure, words.folder)))
        return
    results = []
    with tempfile.TemporaryDirectory(dir=words.folder) as folder:
        for size in words.sizes:
            file = Path(folder) / "list.json"
            found: dict[str, Any] = {"mb": size, "num_questions": write(file, size * 1_000_000)}
            for stage in STAGES:
                command = [sys.executable, __file__, "--measure", stage, "--folder", str(file)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                found |= {f"{stage}_{name}": one for name, one in json.loads(done.stdout).items()}
            results.append(found)
    print(table(results))
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(json.dumps(results))
    for stage in STAGES:
        grown = results[-1][f"{stage}_peak_mb"] - results[0][f"{stage}_peak_mb"]
        assert grown < _MOST_GROWTH, f"{stage}: peak memory grows by {grown:.1f} MB"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 1_024], help="MB")
    parser.add_argument("--folder", type=Path, help="where there is room; else the usual place")
    parser.add_argument("--measure", choices=STAGES, help=argparse.SUPPRESS)
    return parser.parse_args()


def write(file: Path, num_bytes: int) -> int:
    """Write one list of at least so many bytes; return how many questions it holds."""
    rng = np.random.default_rng(0)
    texts = [
        {"title": f"t{number}", "text": " ".join(f"word{one}" for one in row), "passage_id": number}
        for number, row in enumerate(rng.integers(5_000, size=(NUM_TEXTS, 100)).tolist())
    ]
    count = 0
    with file.open("w") as stream:
        while stream.tell() < num_bytes:
            row: dict[str, Any] = {"question": f"question {count}", "answers": [f"word{count}"]}
            for name, number in CONTEXTS.items():
                row[name] = [texts[one] for one in rng.integers(NUM_TEXTS, size=number)]
            stream.write(f"{',' if count else '['}\n{json.dumps(row)}")
            count += 1
        stream.write("\n]\n")
    return count


def measure(stage: str, file: Path) -> dict[str, float]:
    """Return the seconds of a stage and the peak memory above what there was before, in MB."""
    before, start = peak_memory(), time.perf_counter()
    if stage == "read":
        for _ in read_supervised(file):
            pass
    else:
        with tempfile.TemporaryDirectory(dir=file.parent) as cache:
            SupervisedStore.open_or_build([str(file)], cache=Path(cache), progress=False)
    return {"seconds": time.perf_counter() - start, "peak_mb": peak_memory() - before}


def table(results: list[dict[str, Any]]) -> str:
    """Return the metrics as a table for the README."""
    lines = [["MB", "questions", *(f"{stage}: s / peak MB" for stage in STAGES)], ["---"] * 4]
    for one in results:
        cells = [
            f"{one[f'{stage}_seconds']:.1f} / {one[f'{stage}_peak_mb']:.0f}" for stage in STAGES
        ]
        lines.append([f"{one['mb']:,}", f"{one['num_questions']:,}", *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
