"""Every kind of write on a disk that is full: one clear line, and what was there stays."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_disk import told_when_full
from transformers import AutoModel, AutoTokenizer
from whole_run import configure, records, tiny_settings, weights

from art import files
from art.data.formats import Passage, Question
from art.data.passages import PassageStore
from art.data.splitting import split_documents
from art.data.tokens import TokenStore
from art.errors import ArtError
from art.evaluation.runs import write_run
from art.integrity import Checksums
from art.retriever.bm25 import BM25
from art.retriever.loading import create_retriever
from art.retriever.shards import write_shard
from art.teacher.score_log import ScoreLog
from art.training.checkpoints import keep_best, publish
from art.training.loop import train
from art.training.progress import MetricsLog
from art.training.run_folder import RunFolder
from art.weights import converted_once, save_model, save_tensors

LIMIT = 2000  # bytes; every file below is to be larger


class Codes:
    fingerprint = "codes"
    vocab_size = 1 << 16

    def __call__(self, titles: list[str], texts: list[str]) -> list[list[int]]:
        return [[ord(letter) for letter in text] for text in texts]


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory) -> PassageStore:
    folder = tmp_path_factory.mktemp("stores") / "store"
    return build_store(corpus, folder)


def build_store(corpus, folder: Path) -> PassageStore:
    passages = [Passage(*one) for one in corpus]
    return PassageStore.build(passages, folder, source="test", progress=False)


@pytest.fixture(scope="module")
def bert(tiny_bert) -> tuple[Any, Any]:
    return AutoModel.from_pretrained(tiny_bert), AutoTokenizer.from_pretrained(tiny_bert)


@pytest.fixture
def run_folder(tmp_path, tiny_bert) -> RunFolder:
    """A checkpoint of step 0 that is kept as the best, too."""
    run = RunFolder(tmp_path / "run")
    checkpoint = run.checkpoint_folder(0)
    create_retriever(str(tiny_bert), passage_length=64).save(checkpoint / "retriever")
    Checksums.of_folder(checkpoint).write(checkpoint / "checksums.json")
    return run


def log_scores(path: Path) -> None:
    log = ScoreLog(path, fingerprint="teacher")
    log.append(np.arange(1000, dtype=np.uint64), np.zeros(1000, np.float32))
    log.sync()


def log_metrics(path: Path) -> None:
    MetricsLog(path).write("train", 1, {"note": "x" * LIMIT})


def save_run(path: Path, store: PassageStore) -> None:
    rows = np.arange(60)[None]
    write_run(path, [Question("q", "what")], rows, -rows.astype(np.float32), store)


def split(folder: Path, output: Path) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "one.txt").write_text("The moon. " * 150)  # below the limit; the ids make it longer
    split_documents(folder, output, words=5, progress=False)


Write = Callable[[Path], Any]


@pytest.fixture
def writes(corpus, store, bert, tiny_bert, run_folder, tmp_path) -> dict[str, Write]:
    """Name of a kind of write → what writes to a path."""
    state = {"moments": torch.zeros(1000)}
    vectors = np.ones((100, 16), np.float32)
    student = create_retriever(str(tiny_bert), passage_length=64)
    keep_best(run_folder, 0)
    return {
        "text file": lambda path: files.write_text(path, "x" * 2 * LIMIT),
        "store": lambda path: build_store(corpus, path),
        "token store": lambda path: TokenStore.open_or_build(
            store, Codes(), cache=path, progress=False
        ),
        "bm25": lambda path: BM25.build(store, cache=path),
        "shard": lambda path: write_shard(path, 0, vectors, "key"),
        "retriever": lambda path: student.save(path),
        "optimiser": lambda path: save_in_folder(path, lambda at: save_tensors(state, at / "o.pt")),
        "converted model": lambda path: converted_once(
            "key", lambda beside: save_model(*bert, beside), cache=path
        ),
        "converted tokenizer": lambda path: converted_once(
            "key",
            lambda beside: save_model(bert[1], bert[1], beside),  # written by another library
            cache=path,
        ),
        "publish": lambda path: publish(RunFolder(copied(run_folder.path, path)), 0),
        "metrics": log_metrics,
        "score log": log_scores,
        "run file": lambda path: save_run(path.with_suffix(".json"), store),
        "split": lambda path: split(tmp_path / "documents", path.with_suffix(".jsonl")),
    }


def save_in_folder(folder: Path, save: Callable[[Path], None]) -> None:
    with files.atomic_folder(folder) as beside:
        save(beside)


def copied(source: Path, target: Path) -> Path:
    # By links: the copy itself must not meet the limit.
    subprocess.run(["cp", "-al", str(source), str(target)], check=True)
    return target


KINDS = (
    "text file, store, token store, bm25, shard, retriever, optimiser, converted model, "
    "converted tokenizer, publish, metrics, score log, run file, split"
).split(", ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(kind, writes, tmp_path) -> None:
    place = tmp_path / "full"
    place.mkdir()
    said = told_when_full(lambda: writes[kind](place / "it"), LIMIT)
    assert "\n" not in said and str(place) in said and ".tmp" not in said, said
    assert "File too large" in said or "No space left on device" in said, said
    assert "free space" in said, said
    left = {path.name for path in place.rglob("*") if path.is_file()}
    if kind == "publish":
        assert not RunFolder(place / "it").result_folder.exists()
        assert not [path for path in (place / "it").iterdir() if path.name.endswith(".tmp")]
    elif kind not in ("metrics", "score log"):  # they grow, and are cut back to their checkpoint
        assert all(name.endswith(".lock") for name in left), left
    writes[kind](place / "again")  # with space, the same thing works


def test_a_refused_write_leaves_what_was_there(tmp_path, corpus, tiny_bert) -> None:
    files.write_text(tmp_path / "text", "before")
    student = create_retriever(str(tiny_bert), passage_length=64)
    student.save(tmp_path / "student")
    weights = (tmp_path / "student/question_tower/model.safetensors").read_bytes()
    told_when_full(lambda: files.write_text(tmp_path / "text", "x" * 2 * LIMIT), LIMIT)
    told_when_full(lambda: student.save(tmp_path / "student"), LIMIT)
    assert (tmp_path / "text").read_text() == "before"
    assert (tmp_path / "student/question_tower/model.safetensors").read_bytes() == weights
    assert sorted(path.name for path in tmp_path.iterdir()) == ["student", "text"]


def test_a_link_that_cannot_be_made_is_one_line(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtError, match="cannot write"):
        files.link(tmp_path / "file" / "last", tmp_path)


@pytest.fixture(scope="module")
def settings(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    return tiny_settings(folder, bert=tiny_bert, t5=tiny_t5, corpus=corpus)


def test_a_run_stops_with_one_line_wherever_the_disk_is_full_and_then_goes_on(
    settings, tmp_path
) -> None:
    short = {"max_steps": 2, "evaluate_steps": 2, "save_steps": 1}
    train(configure(settings, tmp_path / "whole", training=short))
    fresh = {"cache_folder": str(tmp_path / "cache")}
    config = configure(settings, tmp_path / "run", training=short, data=fresh)
    stopped_at = []
    for limit in (100, 3_000, 60_000, 300_000):
        said = told_when_full(lambda: train(config), limit)
        assert "\n" not in said and "File too large" in said and "free space" in said, said
        stopped_at.append(said.partition(": ")[0].removeprefix(f"{tmp_path}/"))
    assert stopped_at[0] == "run/config.yaml" and stopped_at[1].startswith("cache/stores/")
    assert stopped_at[2].startswith("run/checkpoints/step-00000000")
    assert stopped_at[3].startswith("run/checkpoints/step-00000001")  # the optimiser has state now
    train(config)
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    ours, theirs = weights(tmp_path / "run"), weights(tmp_path / "whole")
    assert all((ours[name] == theirs[name]).all() for name in theirs)


def test_a_small_disk_that_is_full_is_one_line(tmp_path, corpus) -> None:
    """The real thing, where this user may mount: ENOSPC, and not a limit on each file."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user cannot mount a file system")
    try:
        files.write_text(place / "ballast", "x" * 52_000)
        with pytest.raises(ArtError, match=r"store: cannot write: No space left.*free space"):
            build_store(corpus * 3, place / "store")
        with pytest.raises(ArtError, match="No space left on device"):
            BM25.build(build_store(corpus, tmp_path / "store"), cache=place)
        with pytest.raises(ArtError, match="No space left on device"):
            save_in_folder(place / "o", lambda at: save_tensors(torch.zeros(9999), at / "o.pt"))
        assert [path.name for path in place.iterdir() if path.is_file()] == ["ballast"]
        (place / "ballast").unlink()
        assert len(build_store(corpus, place / "store")) == 60
    finally:
        subprocess.run(["umount", str(place)], check=True)
