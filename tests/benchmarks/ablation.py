"""What each choice of the demonstration is worth, per pair that is scored and per minute.

python tests/benchmarks/ablation.py OUT [--only NAME …]

The first run is that of `strong_start.py` on the demonstration's corpus with seed 1. Each other
changes one thing of it; all are judged, after their last step, on the 421 choosing questions. A run
takes over what those before it scored, so its minutes are computed: what it learned and searched,
and its pairs times the seconds of a pair where pairs were scored. Killed, the same command goes on.
Prints a table and ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from strong_start import Corpus, corpora, settings

from art import distributed
from art.config import Config
from art.data.formats import read_questions
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.evaluation.comparison import reciprocal_ranks
from art.evaluation.evaluate import evaluate
from art.evaluation.statistics import paired_difference
from art.files import write_json
from art.retriever.embedding import embed_passages
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever, load_retriever
from art.retriever.searcher import IndexSearcher
from art.training.loop import train
from art.training.run_files import cache_folder

FIRST = "as the demonstration"
LESS = {"max_steps": 20, "refresh_steps": 10, "evaluate_steps": 20}

# What differs from the first: section → setting → value
RUNS: dict[str, dict[str, dict[str, Any]]] = {
    FIRST: {},
    "with dropout": {"retriever": {"dropout": None}},
    "upper 3 layers, 5e-5": {
        "retriever": {"train_layers": 3},
        "training": {"learning_rate": 5.0e-5},
    },
    "half the questions": {"training": LESS},
    "half the questions, K 12": {"training": LESS | {"top_k": 12}},
    "ranks 1 to 20 thinned to 6": {"training": {"candidate_depth": 20}},
    "half from BM25": {"training": {"candidates": "both"}},
    "temperature auto": {"teacher": {"temperature": "auto"}},
    "teacher 1 : start 0.5": {
        "teacher": {"temperature": "auto", "blend": {"teacher": 1.0, "start": 0.5}}
    },
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="+", default=list(RUNS), choices=list(RUNS), metavar="NAME")
    words = parser.parse_args()
    corpus = corpora(words.out)[0]
    found: dict[str, dict[str, Any]] = {}
    before: list[Path] = []
    for name in words.only:
        own = "seed-1" if name == FIRST else "".join(one if one.isalnum() else "-" for one in name)
        before.append(words.out / corpus.name / own)
        config = settings(corpus, before[-1], 1, before[:-1], RUNS[name])
        found[name] = measured(corpus, config)
    distributed.stop()
    print("\n".join(lines(found, of_start(corpus, config, words.out / "start.json"))))
    print(
        json.dumps({name: {"rr": one["last"]["rr"], **one["spent"]} for name, one in found.items()})
    )


def measured(corpus: Corpus, config: Config) -> dict[str, Any]:
    """Train where that is not done yet; return what the last step is worth, and the cost."""
    path = Path(config.output.folder) / "measured.json"
    if not path.exists():
        train(config)
        last = load_retriever(Path(config.output.folder) / "last" / "retriever")
        found = {"last": judged(last, corpus, config), "spent": spent(config)}
        found["half way"] = judged(half_way(start_of(config), last), corpus, config)
        write_json(path, found)
    found = json.loads(path.read_text(encoding="utf-8"))
    return found


def of_start(corpus: Corpus, config: Config, path: Path) -> dict[str, Any]:
    """Return what the start is worth, which is kept in a file."""
    if not path.exists():
        write_json(path, judged(start_of(config), corpus, config))
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def start_of(config: Config) -> Retriever:
    """Return what a run starts from."""
    return create_retriever(**config.towers.model_dump(), cache=cache_folder(config))


def half_way(start: Retriever, last: Retriever) -> Retriever:
    """Return the second with the mean of the weights of both."""
    before = start.state_dict()
    with torch.no_grad():
        for name, weight in last.state_dict().items():
            if weight.is_floating_point():
                weight.copy_((weight.float() + before[name].float()) / 2)
    return last


def judged(retriever: Retriever, corpus: Corpus, config: Config) -> dict[str, Any]:
    """Return the metrics of a retriever on the labelled questions, and each reciprocal rank."""
    cache = cache_folder(config)
    store = PassageStore.open_or_build(corpus.passages, cache=cache)
    tokens = TokenStore.open_or_build(store, retriever.passage_template, cache=cache)
    questions = read_questions(corpus.asked)
    with tempfile.TemporaryDirectory() as folder:
        index = embed_passages(retriever, tokens, Path(folder), store=store, progress=False)
        searcher = IndexSearcher(index, retriever.device)
        found = evaluate(retriever, searcher, store, questions, ks=(1, 5, 20))
    ranks = reciprocal_ranks(found, 20)
    return {**found.metrics, "rr": float(ranks.mean()), "ranks": ranks.tolist()}


def spent(config: Config) -> dict[str, float]:
    """Return the pairs of a run, those that it scored itself, and its seconds, apart and in all."""
    path = Path(config.output.folder) / "metrics.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    steps = [one for one in records if one["kind"] == "train"]
    pairs = config.training.questions_per_step * config.training.top_k
    names = ("retrieve_seconds", "learn_seconds", "update_seconds")
    return {
        "pairs": pairs * len(steps),
        "scored": sum(pairs * (1 - one["known_share"]) for one in steps),
        "score_seconds": sum(one["score_seconds"] for one in steps),
        "other_seconds": sum(one[name] for one in steps for name in names)
        + sum(one["seconds"] for one in records if one["kind"] == "refresh"),
    }


def lines(found: dict[str, dict[str, Any]], start: dict[str, Any]) -> list[str]:
    """Return the table, a line each."""
    of_all = [one["spent"] for one in found.values()]
    pair = sum(one["score_seconds"] for one in of_all) / sum(one["scored"] for one in of_all)
    shown = [f"{'':28}  top-1/5/20      rank   gain (95 % interval)        pairs  minutes"]
    shown.append(row("start", start, start))
    for name, one in found.items():
        minutes = (one["spent"]["pairs"] * pair + one["spent"]["other_seconds"]) / 60
        cost = f"  {one['spent']['pairs']:6,.0f}  {minutes:6.1f}"
        shown += [
            row(name, one["last"], start) + cost,
            row("– half way from the start", one["half way"], start),
        ]
    return shown


def row(name: str, one: dict[str, Any], start: dict[str, Any]) -> str:
    """Return a line of the table without its cost."""
    shares = "/".join(f"{100 * one[f'top_{k}']:.1f}" for k in (1, 5, 20))
    low, high = paired_difference(one["ranks"], start["ranks"])
    gain = one["rr"] - start["rr"]
    return f"{name:28}  {shares}  {one['rr']:.3f}  {gain:+.3f} ({low:+.3f} to {high:+.3f})"


if __name__ == "__main__":
    main()
