"""Two commands on the same cores: what their waiting threads cost each other.

python tests/benchmarks/threads.py                # the demonstration's settings, two steps
python tests/benchmarks/threads.py --steps 8 --repeats 3

A command trains the demonstration for some steps on a thousand of its passages, start to end, in a
process of its own. It is measured alone and with a second one beside it, under two policies of
waiting, in turn:
    runtime  as the OpenMP runtime has it: threads spin while they wait for each other
    ours     as art sets it where the user has not: they spin shortly, then sleep

Seconds are medians. `shared` is the seconds of two side by side per second of one alone: 2 is fair,
for each then has half of the cores. `alone` is ours per second of the runtime's: 1 costs nothing.
Ends with one line of JSON. The models, the corpus and its tokens are cached before it begins.
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
from pathlib import Path

import yaml

from art.demo.run import demo_config, write_data

# GNU's, LLVM's and Intel's own defaults, named because art leaves alone what is named.
POLICIES = {"runtime": {"GOMP_SPINCOUNT": "300000", "KMP_BLOCKTIME": "200"}, "ours": {}}
NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def main() -> None:
    words = arguments()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder / "data")
        shorten(folder / "data" / "passages.jsonl")
        run(1, folder, words, "ours")  # fills the cache
        found: dict[tuple[str, int], list[float]] = {}
        for _ in range(words.repeats):
            for count in (1, 2):
                for policy in POLICIES:
                    seconds = run(count, folder, words, policy)
                    print(f"{policy}, {count} at once: {seconds:.1f} s", flush=True)
                    found.setdefault((policy, count), []).append(seconds)
    seconds = {key: statistics.median(values) for key, values in found.items()}
    result = {
        "steps": words.steps,
        "threads": words.threads,
        "alone": seconds["ours", 1] / seconds["runtime", 1],
        "shared": {policy: seconds[policy, 2] / seconds[policy, 1] for policy in POLICIES},
        "seconds": {f"{policy}_{count}": value for (policy, count), value in seconds.items()},
    }
    print(f"alone, ours to the runtime's own: {result['alone']:.2f}")
    for policy in POLICIES:
        ratio = seconds[policy, 2] / seconds[policy, 1]
        print(f"two side by side to one alone, {policy}: {ratio:.2f}")
    print(f"machine: {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    print(json.dumps(result))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2, help="of training, of 32 questions each")
    parser.add_argument("--threads", type=int, default=2, help="of each command")
    parser.add_argument("--repeats", type=int, default=1)
    return parser.parse_args()


def shorten(passages: Path) -> None:
    """Keep the first thousand passages: embedding them all would take most of the time."""
    lines = passages.read_text(encoding="utf-8").splitlines(keepends=True)
    passages.write_text("".join(lines[:1000]), encoding="utf-8")


def run(count: int, folder: Path, words: argparse.Namespace, policy: str) -> float:
    """Return the seconds until so many commands that start together have ended."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    environment |= POLICIES[policy] | {
        "OMP_NUM_THREADS": str(words.threads),
        "ART_CACHE": str(folder / "cache"),
    }
    commands = [command(folder, words.steps, number) for number in range(count)]
    start = time.perf_counter()
    running = [
        subprocess.Popen(one, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for one in commands
    ]
    try:
        for process in running:
            _, said = process.communicate()
            assert process.returncode == 0, said.decode()
    finally:
        for process in running:
            process.kill()
    return time.perf_counter() - start


def command(folder: Path, steps: int, number: int) -> list[str]:
    """Return the words of a training run in a new folder."""
    own = Path(tempfile.mkdtemp(dir=folder))
    document = demo_config(own / "run").model_dump(mode="json")
    for section, setting in (("data", "passages"), ("data", "questions")):
        document[section][setting] = moved(document[section][setting], folder)
    document["evaluation"]["questions"] = moved(document["evaluation"]["questions"], folder)
    document["data"]["cache_folder"] = str(folder / "cache")
    document["training"] |= {
        "max_steps": steps,
        "refresh_steps": steps,
        "evaluate_steps": steps,
        "save_steps": steps,
    }
    (own / "run.yaml").write_text(yaml.safe_dump(document))
    return [sys.executable, "-m", "art", "train", "--config", str(own / "run.yaml")]


def moved(files: str | list[str], folder: Path) -> str | list[str]:
    if isinstance(files, str):
        return str(folder / "data" / Path(files).name)
    return [str(folder / "data" / Path(one).name) for one in files]


if __name__ == "__main__":
    main()
