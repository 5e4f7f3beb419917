"""The demonstration: a retriever for Python's own documentation, trained from questions alone."""

from __future__ import annotations

import json
import time
from importlib.resources import files as package_files
from pathlib import Path

import torch
import yaml

from art import distributed, report
from art.config import Config
from art.data.formats import read_questions
from art.data.passages import PassageStore
from art.data.tokens import PassageEncoder, TokenStore
from art.demo.corpus import iter_passages
from art.evaluation.comparison import compare, paired_test, reciprocal_ranks
from art.evaluation.evaluate import Evaluation
from art.evaluation.metrics import metric
from art.evaluation.rankings import kept_rankings
from art.evaluation.statistics import paired_difference
from art.files import write_bytes
from art.planning.forecast import forecast
from art.report.changes import won_and_lost
from art.retriever.fusion import Fusion
from art.retriever.loading import create_retriever, load_retriever
from art.teacher.cached import CachedTeacher
from art.teacher.models import automatic_dtype
from art.teacher.registry import answers_for, load_teacher
from art.training.interruption import Interruption
from art.training.loop import train
from art.training.run_files import cache_folder
from art.training.run_folder import RunFolder
from art.training.selection import primary_metric
from art.training.settings import check_config

_TRAINING, _CHOOSING, _LOCKED = (
    "questions.train.txt",
    "questions.choose.jsonl",
    "questions.locked.jsonl",
)
_BEFORE, _AFTER = "before training", "after training"
_NUM_WON, _NUM_LOST = 3, 2  # questions shown at the end
_COMPARED_DEPTH = 20  # passages of the start, which the teacher re-orders
_ANSWERED_SHARE = 2 / 3  # of questions, about, that the start answers within them


def run_demo(folder: Path, *, interruption: Interruption | None = None) -> None:
    """Write the built-in corpus and questions, train on them, and print what it was worth.

    Args:
        folder: run folder; a demonstration that was killed goes on there.
        interruption: where the caller listens for signals.

    Raises:
        ArtError: a file cannot be written, or the packages with the weights are not installed.
        Interrupted: a signal came.
    """
    start = time.perf_counter()
    try:
        num_passages = write_data(folder / "data")
        config = demo_config(folder)
        print(
            f"Python's own documentation: {num_passages:,} passages, one per docstring.\n"
            "The training questions carry no labels; a frozen SmolLM2-135M judges what "
            "all-MiniLM-L6-v2 finds.\n"
            f"Everything goes to {folder}; stop and start again as you like.\n"
        )
        if not RunFolder(folder).steps():
            print(f"{estimate(config, folder / 'data' / _LOCKED)}\n", flush=True)
        result = train(config, interruption=interruption)
        print(
            "\nComparing on the locked questions; the teacher re-orders what the start finds …",
            flush=True,
        )
        results = compare_run(config, folder / "data" / _LOCKED)
        examples = most_changed(results, config)
    finally:
        distributed.stop()
    print(
        f"\nOn questions that neither training nor the choice of the checkpoint (step "
        f"{result.best_step}) has seen:\n{report.comparison(results)}\n"
        f"{verdict(results)}\n\n{examples}\n\n"
        f"The retriever is in {folder / 'retriever'} ({time.perf_counter() - start:.0f} s in all)."
    )


def estimate(config: Config, questions_file: Path) -> str:
    """Return how long the demonstration will take here, measured in a few seconds.

    Args:
        config: its settings.
        questions_file: what it compares on at the end.

    Raises:
        ArtError: the run would refuse to start.
    """
    plan = forecast(config)
    assert plan.seconds is not None  # its models and texts are here
    num_compared = len(read_questions(questions_file)) * _COMPARED_DEPTH * _ANSWERED_SHARE
    num_pairs = (plan.work.pairs_least, plan.work.pairs_most)
    low, high = (
        sum(phase[bound] for phase in plan.seconds.values()) / 60
        + num_compared * plan.seconds["score"][bound] / num_pairs[bound] / 60
        for bound in (0, 1)
    )
    return (
        f"On this machine that takes {low:.0f} to {high:.0f} minutes: the less, the more questions "
        "share a passage."
    )


def compare_run(config: Config, questions_file: Path) -> dict[str, Evaluation]:
    """Evaluate what a finished run started from and what came of it, beside BM25 and the teacher.

    Args:
        config: the run's settings.
        questions_file: labelled questions.

    Raises:
        ArtError: the run is not finished, or the questions cannot be read.
    """
    assert config.data.passages is not None and config.teacher is not None  # of demo.yaml
    cache = cache_folder(config)
    store = PassageStore.open_or_build(config.data.passages, cache=cache)
    settings = config.towers.model_dump()
    start = create_retriever(**settings, seed=config.training.seed, cache=cache)
    trained = load_retriever(Path(config.output.folder) / "retriever")
    questions = read_questions(questions_file)
    teacher = load_teacher(
        **config.teacher.model_dump(exclude={"temperature", "known_scores"}),
        answers=answers_for(config.teacher.kind, questions, where=questions_file),
        cache=cache,
    )

    def tokens(template: PassageEncoder) -> TokenStore:
        return TokenStore.open_or_build(store, template, cache=cache)

    return compare(
        {
            _BEFORE: (start, tokens(start.passage_template)),
            _AFTER: (trained, tokens(trained.passage_template)),
        },
        store,
        questions,
        teacher=CachedTeacher(teacher, None, tokens(teacher.template)),
        fusion=Fusion(),
        depth=_COMPARED_DEPTH,
        cache=cache,
    )


def most_changed(results: dict[str, Evaluation], config: Config) -> str:
    """Return some questions with what they found before and after training, side by side.

    Args:
        results: from `compare_run`.
        config: the run's settings.
    """
    assert config.data.passages is not None  # of demo.yaml
    cache = cache_folder(config)
    store = PassageStore.open_or_build(config.data.passages, cache=cache)
    before, after = (list(kept_rankings(results[name], store)) for name in (_BEFORE, _AFTER))
    won, lost = won_and_lost(before, after, primary_metric(list(results[_AFTER].metrics)))
    shown = [*won[:_NUM_WON], *lost[:_NUM_LOST]]
    if not shown:
        return "No question's first answer has moved."
    return (
        f"What training won most ({len(won[:_NUM_WON])}) and lost most ({len(lost[:_NUM_LOST])}); "
        f"* answers the question:\n\n{report.side_by_side(shown)}"
    )


def verdict(results: dict[str, Evaluation], name: str = "top_5") -> str:
    """Return what paired tests say of start and trained retriever, whichever way they fall."""
    before, after = (reciprocal_ranks(results[one], _COMPARED_DEPTH) for one in (_BEFORE, _AFTER))
    low, high = paired_difference(after, before)
    lines = [
        f"reciprocal rank within {_COMPARED_DEPTH}, {_AFTER} against {_BEFORE}: {after.mean():.3f} "
        f"against {before.mean():.3f}, {(after - before).mean():+.3f} "
        f"(95 % interval {low:+.3f} to {high:+.3f})"
    ]
    fused = f"{_AFTER}, fused"
    for one, other in ((_AFTER, _BEFORE), (fused, _AFTER), (fused, "BM25")):
        test = paired_test(results[one], results[other], name)
        lines.append(
            f"{metric(name).title}, {one} against {other}: "
            f"{test.only_first} questions won, {test.only_second} lost "
            f"(exact McNemar p = {test.p_value:.2g})"
        )
    return "\n".join(lines)


def demo_config(folder: Path) -> Config:
    """Return the demonstration's settings with every path moved under `folder`."""
    source = package_files("art.demo") / "demo.yaml"
    document = yaml.safe_load(source.read_text(encoding="utf-8"))
    data = folder / "data"
    document["data"]["passages"] = str(data / "passages.jsonl")
    document["data"]["questions"] = str(data / _TRAINING)
    document["evaluation"]["questions"] = str(data / _CHOOSING)
    document["output"]["folder"] = str(folder)
    if automatic_dtype(torch.device("cpu")) != document["retriever"]["dtype"]:
        document["retriever"]["dtype"] = "float32"  # bfloat16 is slow here
    return check_config(document, source="demo.yaml")


def write_data(folder: Path) -> int:
    """Write the corpus and the questions where they are not there yet; return N."""
    for name in (_TRAINING, _CHOOSING, _LOCKED):
        _write_if_new(folder / name, (package_files("art.demo") / name).read_bytes())
    lines = [
        json.dumps({"id": passage_id, "title": title, "text": text}, ensure_ascii=False)
        for passage_id, title, text in iter_passages()
    ]
    _write_if_new(folder / "passages.jsonl", ("\n".join(lines) + "\n").encode())
    return len(lines)


def _write_if_new(path: Path, contents: bytes) -> None:
    # A rewritten file would count as another corpus and be tokenised again.
    if not path.exists() or path.read_bytes() != contents:
        write_bytes(path, contents)
