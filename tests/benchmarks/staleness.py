"""How much of the top-K changes while the towers learn, and how much of that fresh vectors of a few
of the stale index's passages show.

python tests/benchmarks/staleness.py                          # at two learning rates, two minutes
python tests/benchmarks/staleness.py --learning-rates 0.01

A table of word vectors learns on the demonstration's corpus, without a teacher: each question of a
step is told apart, among all passages of the step, from the one it found at the start. Between some
steps the whole corpus is embedded: which share of the K nearest a refresh exchanges, which share
`refresh_when_changed` sees by the nearest c K alone, and how many of the K nearest by fresh vectors
are among those c K, as `over_retrieve` needs. Prints a table and one line of JSON.
"""

from __future__ import annotations

import argparse
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

import art.demo
from art.data.tokens import pad
from art.demo.corpus import iter_passages
from art.retriever.loading import create_retriever
from art.training.refreshing import share_changed

Vectors = NDArray[np.float32]

TOP_K, TIMES = 32, (2, 4, 8)
NUM_QUESTIONS, QUESTIONS_PER_STEP = 2_000, 64
MARKS = (0, 3, 10, 30, 100)
QUESTIONS = Path(art.demo.__file__).parent / "questions.train.txt"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[0.01, 0.1])
    lines = [line for rate in parser.parse_args().learning_rates for line in measure(rate)]
    names = list(lines[0])
    print("  ".join(names))
    for line in lines:
        print("  ".join(str(line[name]).rjust(len(name)) for name in names))
    unseen = {c: max(one["changed"] - one[f"seen_{c}"] for one in lines) for c in TIMES}
    worst = {f"unseen_{c}": round(most, 3) for c, most in unseen.items()}
    print(json.dumps(worst))


def measure(learning_rate: float) -> list[dict[str, float]]:
    """Return a line for every two of the marked steps."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    retriever = create_retriever(
        "pip:wordllama", pooling="mean", normalize=True, tied=False, passage_length=128
    )
    titles, texts = zip(*((title, text) for _, title, text in iter_passages()), strict=True)
    passages = retriever.passage_template(list(titles), list(texts))
    asked = QUESTIONS.read_text(encoding="utf-8").splitlines()[:NUM_QUESTIONS]
    questions = retriever.question_template.questions(asked)

    def embed() -> tuple[Vectors, Vectors]:
        some = retriever.embed_questions(asked[:QUESTIONS_PER_STEP])
        return some, retriever.embed_tokens("passage", passages)

    marked = {0: embed()}
    first = (retriever.embed_questions(asked) @ marked[0][1].T).argmax(axis=1)
    optimizer = torch.optim.AdamW(retriever.parameters(), lr=learning_rate)
    for step in range(1, MARKS[-1] + 1):
        batch = rng.choice(len(questions), QUESTIONS_PER_STEP, replace=False)
        sides = ([questions[i] for i in batch], [passages[first[i]] for i in batch])
        padded = [tensor for ids in sides for tensor in pad(ids, pad_id=retriever.pad_id)]
        found, told_apart = retriever(*padded)
        scores = found @ told_apart.T / retriever.temperature
        F.cross_entropy(scores, torch.arange(len(batch))).backward()
        optimizer.step()
        optimizer.zero_grad()
        if step in MARKS:
            marked[step] = embed()
    return [compare(learning_rate, a, b, marked) for a, b in combinations(MARKS, 2)]


def compare(
    learning_rate: float, before: int, now: int, marked: dict[int, tuple[Vectors, Vectors]]
) -> dict[str, float]:
    """Return what an index of one step finds at another one."""
    questions, fresh = marked[now]
    listed = nearest(questions @ marked[before][1].T, TOP_K * max(TIMES))
    scores = questions @ fresh.T
    stale, exact = listed[:, :TOP_K], nearest(scores, TOP_K)
    line = {"rate": learning_rate, "index": before, "step": now}
    line["changed"] = round(share_changed(stale.tolist(), exact.tolist()), 3)
    for c in TIMES:
        some = listed[:, : c * TOP_K]
        places = nearest(np.take_along_axis(scores, some, axis=1), TOP_K)
        reordered = np.take_along_axis(some, places, axis=1)
        line[f"seen_{c}"] = round(share_changed(stale.tolist(), reordered.tolist()), 3)
        line[f"held_{c}"] = round(1 - share_changed(some.tolist(), exact.tolist()), 3)
    return line


def nearest(scores: Vectors, count: int) -> NDArray[np.int64]:
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


if __name__ == "__main__":
    main()
