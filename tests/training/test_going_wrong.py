"""Numbers that go wrong: gradients that are not finite, and retrievers that collapse."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed_run import KilledError
from safetensors.torch import load_file, save_file
from whole_run import NUM_STEPS, configure, records, weights

from art.errors import ArtError, DataError
from art.training import collapse
from art.training.checkpoints import load_state
from art.training.loop import train
from art.training.methods import art as method
from art.training.run_folder import RunFolder


def poison(monkeypatch, *steps: int, killed_at: int | None = None) -> None:
    """Make a gradient of the passage tower infinite in these steps, from 1."""
    original = method.art_step

    def poisoned(*args: Any, **kwargs: Any) -> Any:
        if kwargs["step"] + 1 == killed_at:
            raise KilledError
        statistics = original(*args, **kwargs)
        if kwargs["step"] + 1 in steps:
            gradient = next(kwargs["retriever"].passage_tower.parameters()).grad
            gradient[0] = torch.inf
        return statistics

    monkeypatch.setattr(method, "art_step", poisoned)


def test_a_step_without_a_finite_gradient_is_skipped_and_the_schedule_goes_on(
    settings, tmp_path, monkeypatch
) -> None:
    poison(monkeypatch, 3)
    config = configure(settings, tmp_path, training={"save_steps": 1, "max_steps": 3})
    train(config)
    before, after = (weights(tmp_path, f"checkpoints/step-0000000{n}/retriever") for n in (2, 3))
    assert all(np.array_equal(before[name], after[name]) for name in before)
    optimizers = [
        torch.load(tmp_path / f"checkpoints/step-0000000{n}" / "optimizer.pt") for n in (2, 3)
    ]
    assert optimizers[0]["state"][0]["step"] == optimizers[1]["state"][0]["step"]
    steps = [record for record in records(tmp_path) if record["kind"] == "train"]
    assert [record["skipped_steps"] for record in steps] == [0, 0, 1]
    assert steps[2]["grad_norm"] is None
    assert steps[2]["learning_rate"] < steps[1]["learning_rate"]


def test_skipped_steps_are_counted_on_after_a_kill(settings, tmp_path, monkeypatch) -> None:
    config = configure(settings, tmp_path, training={"max_skipped_steps": 2})
    with monkeypatch.context() as patch:
        poison(patch, 2, 3, 4, killed_at=4)
        with pytest.raises(KilledError):
            train(config)
    state = load_state(RunFolder(tmp_path), 3)
    assert (state.skipped_steps, state.skipped_in_a_row) == (2, 2)
    poison(monkeypatch, 2, 3, 4)
    with pytest.raises(ArtError, match="3 steps in a row, up to step 4, are not finite") as caught:
        train(config)
    assert "passage tower; computed in float32, learning rate 0.00" in str(caught.value)
    assert "question tower" not in str(caught.value)
    # Once the cause is gone the run goes on; how many it may skip does not change its results.
    monkeypatch.undo()
    train(configure(settings, tmp_path, training={"max_skipped_steps": 0}))
    assert load_state(RunFolder(tmp_path), NUM_STEPS).skipped_in_a_row == 0


def test_the_first_gradient_that_is_not_finite_ends_a_run_that_may_skip_none(
    settings, tmp_path, monkeypatch
) -> None:
    poison(monkeypatch, 2)
    config = configure(settings, tmp_path, training={"max_skipped_steps": 0})
    with pytest.raises(ArtError, match="1 steps in a row, up to step 2"):
        train(config)


def changed(model: Path, folder: Path, change: Callable[[str, torch.Tensor], None]) -> Path:
    """Copy a model folder and change its tensors in place."""
    shutil.copytree(model, folder)
    tensors = load_file(model / "model.safetensors")
    for name, tensor in tensors.items():
        change(name, tensor)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def first_cosine(lines: list[dict[str, Any]]) -> float:
    return next(line["passage_cosine"] for line in lines if line["kind"] == "refresh")


def test_a_retriever_that_finds_the_same_for_every_question_is_named_once(
    settings, tiny_bert, tmp_path, capsys
) -> None:
    def flatten(name: str, tensor: torch.Tensor) -> None:
        if "LayerNorm" not in name:  # whatever is read, only the last bias is left
            tensor.zero_()
        elif name.endswith("bias"):
            tensor.uniform_(-1, 1, generator=torch.Generator().manual_seed(0))

    config = configure(
        settings,
        tmp_path / "run",
        retriever={
            "model": str(changed(tiny_bert, tmp_path / "start", flatten)),
            "pooling": "mean",  # the first position of this one is refused
        },
        training={"max_steps": 2, "learning_rate": 1e-9},
    )
    train(config)
    assert capsys.readouterr().err.count("the retriever has collapsed") == 1
    lines = records(tmp_path / "run")
    assert first_cosine(lines) == pytest.approx(1.0)
    shares = [line["distinct_share"] for line in lines if line["kind"] == "train"]
    assert shares == [1 / 8] * 2


def test_a_retriever_that_tells_passages_apart_is_not_called_collapsed(
    settings, tiny_bert, tmp_path, capsys
) -> None:
    def listen_to_words(name: str, tensor: torch.Tensor) -> None:
        if "word_embeddings" in name:
            tensor.mul_(50)

    model = changed(tiny_bert, tmp_path / "start", listen_to_words)
    config = configure(
        settings,
        tmp_path / "run",
        retriever={"model": str(model), "pooling": "mean"},
        training={"max_steps": 2, "learning_rate": 1e-5},
    )
    train(config)
    assert "collapsed" not in capsys.readouterr().err
    lines = records(tmp_path / "run")
    assert first_cosine(lines) < 0.99
    assert all(line["distinct_share"] > 0.25 for line in lines if line["kind"] == "train")


@pytest.mark.parametrize("candidates", ["bm25", "both"])
def test_what_bm25_proposes_says_nothing_of_the_retriever(candidates, settings, tmp_path) -> None:
    training = {"max_steps": 1, "candidates": candidates}
    train(configure(settings, tmp_path, training=training))
    [line] = [line for line in records(tmp_path) if line["kind"] == "train"]
    if candidates == "bm25":
        assert "distinct_share" not in line
    else:  # two of the four are the retriever's own, for eight questions
        assert line["distinct_share"] * 16 == pytest.approx(round(line["distinct_share"] * 16))


@pytest.fixture
def chinese(tmp_path) -> Path:
    path = tmp_path / "chinese.txt"
    path.write_text(
        "".join(f"第{chr(0x4E00 + number)}个问题是什么\n" for number in range(40)), encoding="utf-8"
    )
    return path


def test_words_that_match_nothing_leave_the_candidates_to_the_retriever(
    chinese, settings, tmp_path, capsys
) -> None:
    other = {"data": {"questions": [str(chinese)]}, "evaluation": {"questions": []}}
    training = {"max_steps": 1, "candidates": "both"}
    train(configure(settings, tmp_path / "both", **other, training=training))
    assert (
        "BM25 finds nothing for" in (said := capsys.readouterr().err) and "it is of no use" in said
    )
    train(configure(settings, tmp_path / "retriever", **other, training={"max_steps": 1}))
    both, alone = (
        [line["loss"] for line in records(tmp_path / name) if line["kind"] == "train"]
        for name in ("both", "retriever")
    )
    assert both == alone
    training["candidates"] = "bm25"
    with pytest.raises(DataError, match="search with a retriever"):
        train(configure(settings, tmp_path / "bm25", **other, training=training))


def test_no_collapse_is_seen_where_a_small_corpus_leaves_no_choice() -> None:
    same = np.tile(np.arange(4), (8, 1))
    assert collapse.warn_of_candidates(same, num_passages=15) is None
    assert collapse.warn_of_candidates(same[:3], num_passages=60) is None
    assert "same 4 passages for all 8" in (collapse.warn_of_candidates(same, 60) or "")
    same[0, 0] = 9
    assert collapse.warn_of_candidates(same, num_passages=60) is None


def test_vectors_are_alike_only_if_far_closer_than_at_the_start() -> None:
    assert collapse.warn_of_vectors(0.995, at_start=0.99) is None  # an encoder with a narrow cone
    assert collapse.warn_of_vectors(0.985, at_start=0.2) is None
    assert "0.99500" in (collapse.warn_of_vectors(0.995, at_start=0.2) or "")
    assert collapse.warn_of_vectors(1.0, at_start=None) is not None


def test_the_mean_cosine_runs_over_all_pairs() -> None:
    vectors = np.random.default_rng(0).normal(size=(40, 8)).astype(np.float32) + 0.5
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = (units @ units.T)[~np.eye(40, dtype=bool)].mean()
    assert collapse.mean_cosine(vectors) == pytest.approx(expected, rel=1e-5)
