"""What ART adds to all-MiniLM-L6-v2, from questions alone, on three corpora.

python tests/benchmarks/strong_start.py OUT                      # the demonstration's corpus alone
python tests/benchmarks/strong_start.py OUT --covidqa FOLDER --scifact FOLDER --seeds 1 2 3

A run of each seed holds out a quarter of its questions, which have no label, and keeps the start
unless it was surpassed. Then labelled questions that no run has seen are asked of BM25, the start,
each run's last step, what it kept where that is another, each fused with BM25, and the teacher
re-ordering what the start finds. Killed, the same command goes on; what is finished in OUT is not
done again.

Settings were chosen on the demonstration's choosing questions; what differs between the corpora
follows from the lengths of their texts. What a run scored the runs after it take over. Prints a
table with 95 % intervals and paired tests against the start for each corpus, and ends with one line
of JSON.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from art import distributed, report
from art.config import Config
from art.data.formats import read_qrels, read_questions
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.demo.run import demo_config, write_data
from art.evaluation.comparison import compare
from art.evaluation.evaluate import Evaluation
from art.evaluation.statistics import paired_difference
from art.files import write_json
from art.retriever.fusion import Fusion
from art.retriever.loading import create_retriever, load_retriever
from art.teacher.cached import CachedTeacher
from art.teacher.models import automatic_dtype
from art.teacher.registry import load_teacher
from art.teacher.score_log import ScoreLog
from art.training.checkpoints import TrainingResult
from art.training.loop import train
from art.training.run_files import cache_folder
from art.training.settings import check_config

START = "MiniLM"


@dataclass(frozen=True)
class Corpus:
    """Passages, training questions without labels, and labelled questions opened at the end.

    Attributes:
        name: of it.
        passages: file.
        questions: file, for training.
        asked: file of the labelled questions.
        qrels: file of judgements; None where the questions have labels of their own.
        changes: to the demonstration's settings, section → setting → value.
    """

    name: str
    passages: Path
    questions: Path
    asked: Path
    qrels: Path | None
    changes: dict[str, dict[str, Any]]


# Long passages: the lengths that hold most of them, two more passages a question, half from BM25;
# a step in chunks, or it takes 15 GB.
LONG: dict[str, dict[str, Any]] = {
    "retriever": {"passage_length": 256},
    "teacher": {"max_length": 256},
    "training": {"top_k": 8, "candidates": "both", "max_steps": None, "chunk_tokens": 16_384},
}
# SciFact asks claims, which are no questions.
CLAIMS = {
    "passage_prompt": "Passage: {passage} . Please write a claim that this passage is about.",
    "question_prefix": "Claim: ",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--covidqa", type=Path, help="its folder of files")
    parser.add_argument("--scifact", type=Path, help="its folder, as BEIR has it")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--only", help="one corpus by name")
    words = parser.parse_args()
    found = {}
    for corpus in corpora(words.out, covidqa=words.covidqa, scifact=words.scifact):
        if words.only in (None, corpus.name):
            found[corpus.name] = measure(corpus, words.out / corpus.name, words.seeds)
    distributed.stop()
    print(json.dumps(found))


def corpora(out: Path, *, covidqa: Path | None = None, scifact: Path | None = None) -> list[Corpus]:
    """Return the demonstration's corpus, which it writes, and those whose folders are given."""
    data = out / "demo-data"
    write_data(data)
    names = ("passages.jsonl", "questions.train.txt", "questions.choose.jsonl")
    found = [Corpus("demo", *(data / name for name in names), None, {})]
    if covidqa is not None:
        names = ("passages.tsv", "questions.train.txt", "questions.dev.jsonl")
        found.append(Corpus("covidqa", *(covidqa / name for name in names), None, LONG))
    if scifact is not None:
        passages = out / "scifact.jsonl"
        if not passages.exists():
            with gzip.open(scifact / "corpus.jsonl.gz") as packed, passages.open("wb") as plain:
                shutil.copyfileobj(packed, plain)
        asked, qrels = scifact / "queries.jsonl", scifact / "qrels" / "test.tsv"
        changes = LONG | {"teacher": LONG["teacher"] | CLAIMS}
        found.append(
            Corpus("scifact", passages, scifact / "questions.train.txt", asked, qrels, changes)
        )
    return found


def settings(
    corpus: Corpus,
    folder: Path,
    seed: int,
    before: Sequence[Path] = (),
    changes: Mapping[str, Mapping[str, Any]] | None = None,
) -> Config:
    """Return the demonstration's settings with a corpus's own in their place, and no labels.

    Args:
        corpus: whose.
        folder: of the run.
        seed: of the run.
        before: runs of the same corpus that are finished by then, whose scores are taken over.
        changes: to the corpus's settings, as those are changes.
    """
    document = yaml.safe_load(demo_config(folder).to_yaml())
    document["data"] |= {"passages": str(corpus.passages), "questions": str(corpus.questions)}
    document["evaluation"] |= {"questions": []}
    document["training"] |= {"seed": seed}
    document["teacher"] |= {"known_scores": [str(one) for one in before]}
    for values in (corpus.changes, changes or {}):
        for section, one in values.items():
            document[section] |= one
    return check_config(document, source="strong_start.py")


def measure(corpus: Corpus, out: Path, seeds: list[int]) -> dict[str, Any]:
    """Train with each seed and compare on the labelled questions; return what the table shows."""
    path = out / f"compared-{'-'.join(map(str, seeds))}.json"
    if not path.exists():
        folders = [out / f"seed-{seed}" for seed in seeds]
        runs = {
            f"seed {seed}": settings(corpus, folders[position], seed, folders[:position])
            for position, seed in enumerate(seeds)
        }
        results = {name: train(config) for name, config in runs.items()}
        write_json(path, compared(corpus, runs, results))
    return show(corpus, path)


def show(corpus: Corpus, path: Path) -> dict[str, Any]:
    """Print what was compared and return its part of the line of JSON."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    print(f"\n{corpus.name}\n{kept['table']}\n" + "\n".join(kept["lines"]), flush=True)
    return {"rows": kept["rows"], "runs": kept["runs"]}


def compared(
    corpus: Corpus, runs: dict[str, Config], results: dict[str, TrainingResult]
) -> dict[str, Any]:
    """Evaluate start, last and kept weights, each fused, and the teacher's re-ordering.

    What a run kept has no row of its own where it is the start or the last step.
    """
    config = next(iter(runs.values()))
    cache = cache_folder(config)
    store = PassageStore.open_or_build(corpus.passages, cache=cache)
    retrievers = {START: create_retriever(**config.retriever.model_dump(), cache=cache)}
    for name, one in runs.items():
        folder = Path(one.output.folder)
        retrievers[f"ART, {name}"] = load_retriever(folder / "last" / "retriever")
        if results[name].best_step not in (0, results[name].last_step):
            retrievers[f"ART, {name}, kept"] = load_retriever(folder / "retriever")
    assert config.teacher is not None
    teacher = load_teacher(
        **config.teacher.model_dump(exclude={"temperature", "known_scores"}), cache=cache
    )

    # The start finds the same whatever it is compared with: a pair is scored once for a corpus.
    log = ScoreLog(
        Path(config.output.folder).parent / "compared.scores", fingerprint=teacher.fingerprint
    )

    def tokens(template: Any) -> TokenStore:
        return TokenStore.open_or_build(store, template, cache=cache)

    found = compare(
        {name: (one, tokens(one.passage_template)) for name, one in retrievers.items()},
        store,
        read_questions(corpus.asked),
        teacher=CachedTeacher(teacher, log, tokens(teacher.template)),
        fusion=Fusion(),
        qrels=read_qrels(corpus.qrels) if corpus.qrels else None,
        cache=cache,
    )
    log.close()
    lines = [
        f"{name}: step {one.best_step} of {one.last_step} is kept; "
        f"{one.verdict or 'the start was best'}"
        for name, one in results.items()
    ]
    others = [name for name in found if name != START]
    lines += [against_start(name, found[name], found[START]) for name in others]
    return {
        "table": report.comparison(found),
        "lines": lines,
        "rows": {name: one.metrics for name, one in found.items()},
        "runs": {
            name: {"kept": one.best_step, "last": one.last_step} for name, one in results.items()
        },
    }


def against_start(name: str, one: Evaluation, start: Evaluation) -> str:
    """Return the paired differences of a row from the start, for the metrics that tell most."""
    shown = []
    for metric in ("top_1", "top_5", "top_20", "ndcg@10", "recall@100"):
        if metric in start.per_question:
            values = (one.per_question[metric], start.per_question[metric])
            there = ~np.isnan(values[1])
            low, high = paired_difference(*(each[there] for each in values))
            shown.append(
                f"{metric} {100 * (one.metrics[metric] - start.metrics[metric]):+.1f} "
                f"({100 * low:+.1f} to {100 * high:+.1f})"
            )
    return f"{name} against {START}: {', '.join(shown)}"


if __name__ == "__main__":
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{automatic_dtype(torch.device('cpu'))}"
    )
    main()
