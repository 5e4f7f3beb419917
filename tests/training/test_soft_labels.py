"""Soft labels of several sources, and the temperature found from the first scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from killed_run import kill
from tiny_teachers import make_reranker
from whole_run import configure, left_behind, records, scores

from art.data.passages import PassageStore
from art.errors import ArtError, ConfigFaults, MismatchError
from art.retriever.bm25 import BM25
from art.retriever.index import Index
from art.retriever.loading import create_retriever
from art.retriever.searcher import IndexSearcher
from art.teacher.blending import blend
from art.training import loop, trainer
from art.training.checkpoints import load_state
from art.training.loop import train
from art.training.run_folder import RunFolder
from art.training.settings import read_config
from art.training.soft_labels import SoftLabels, StartScores, WordScores, entropy_shares
from art.training.state import Calibration

BLEND = {"teacher": {"blend": {"teacher": 1, "start": 0.5, "bm25": 0.5}, "temperature": "auto"}}


@pytest.fixture(scope="module")
def blended(settings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("blended")
    train(configure(settings, folder, **BLEND))
    return folder


@pytest.mark.parametrize(
    ("where", "moment"),
    [("take_step", 5), ("calibrate", 0)],
)
def test_a_killed_run_goes_on_with_the_labels_it_began_with(
    where, moment, blended, settings, tmp_path
) -> None:
    owner = {"take_step": loop, "publish": loop.checkpoints}.get(where, trainer.Trainer)
    config = configure(settings, tmp_path / "run", **BLEND)
    kill(config, moment, owner=owner, name=where)
    train(config)
    assert left_behind(tmp_path / "run") == left_behind(blended)
    states = [load_state(RunFolder(one), 7).calibration for one in (tmp_path / "run", blended)]
    assert states[0] == states[1] is not None


def test_the_first_lists_decide_the_temperature(settings, tmp_path) -> None:
    blend = {"teacher": {"blend": {"teacher": 1, "bm25": 1}, "temperature": "auto"}}
    training = {"candidates": "bm25", "max_steps": 3}
    train(configure(settings, tmp_path, training=training, **blend))
    steps = [one for one in records(tmp_path) if one["kind"] == "train"]
    # All three are prefetched, and BM25 finds the same then: so sharp are the labels together.
    entropy = np.mean([one["soft_label_entropy"] for one in steps])
    assert entropy / np.log(4) == pytest.approx(0.5, abs=1e-4)


def test_the_start_scores_as_it_did_before_training(blended, tiny_bert) -> None:
    """Scores from the index of step 0 equal the search of the untouched retriever."""
    start = create_retriever(str(tiny_bert), passage_length=64, pooling="cls", tied=False)
    index = Index.open(RunFolder(blended).start_index_folder)
    assert index.retriever_fingerprint == start.fingerprint()
    questions = ["the stone bridge of the island", "paper music moon", "where ?"]
    scores, rows = index.search(start.embed_questions(questions), 5)
    searcher = IndexSearcher(index, torch.device("cpu"))
    found = StartScores(start, lambda: searcher)([questions[:2], questions[2:]], rows)
    np.testing.assert_allclose(found, scores, rtol=1e-6)


def test_sources_are_blended_by_their_weights_and_scales(blended) -> None:
    found = load_state(RunFolder(blended), 7).calibration
    assert found is not None and set(found.scales) == {"teacher", "start", "bm25"}
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(size=(2, 4)).astype(np.float32) for name in found.scales}
    weights = {"teacher": 1.0, "start": 0.5, "bm25": 0.5}
    others = {name: source(scores[name]) for name in ("start", "bm25")}
    labels = SoftLabels(weights, "auto", sources=others, calibration=found)
    made = labels([["a", "b"]], np.zeros((2, 4), np.int64), scores["teacher"])
    np.testing.assert_array_equal(made, blend(scores, weights, found.scales).astype(np.float32))


def test_words_are_scored_wherever_the_passage_was_found(settings) -> None:
    store = PassageStore.open_or_build(
        settings["data"]["passages"], cache=Path(settings["data"]["cache_folder"])
    )
    bm25 = BM25.build(store)
    questions = ["the stone bridge of the island", "paper music moon"]
    scores, rows = bm25.search(questions, len(store))
    shuffled = rows[:, ::-7]
    found = WordScores(bm25)([questions[:1], questions[1:]], shuffled)
    np.testing.assert_array_equal(found, scores[:, ::-7])


VARIANTS: dict[str, dict[str, Any]] = {
    "the start, frozen passages": {
        "teacher": {"blend": {"teacher": 2, "start": 1}},
        "retriever": {"freeze": "passage"},
        "training": {"max_steps": 5},
    },
    "labelled steps between, candidates of a deeper list": {
        "teacher": {"blend": {"teacher": 1, "bm25": 1}, "temperature": "auto"},
        "training": {
            "labelled_share": 0.4,
            "max_steps": 6,
            "candidates": "both",
            "candidate_depth": 9,
        },
    },
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=list(VARIANTS))
def test_every_kind_of_labels_resumes_to_the_same_bits(variant, settings, tmp_path) -> None:
    train(configure(settings, tmp_path / "whole", **variant))
    config = configure(settings, tmp_path / "cut", **variant)
    kill(config, 3)
    train(config)
    assert left_behind(tmp_path / "cut") == left_behind(tmp_path / "whole")


def test_a_reranker_is_blended_in_and_its_scores_outlive_a_kill(
    settings, tmp_path, tiny_bert
) -> None:
    reranker = make_reranker(tiny_bert, tmp_path / "reranker", "bert", 1)
    weights = {"teacher": 1, "reranker": 1}
    sections = {
        "teacher": {"blend": weights, "reranker": str(reranker), "max_length": 64},
        "training": {"max_steps": 4},
    }
    train(configure(settings, tmp_path / "whole", **sections))
    config = configure(settings, tmp_path / "cut", **sections)
    kill(config, 3)
    kept = load_state(RunFolder(tmp_path / "cut"), 3).num_reranker_scores
    assert kept > 0
    train(config)
    assert left_behind(tmp_path / "cut") == left_behind(tmp_path / "whole")
    logs = [scores(tmp_path / one / "reranker-scores.log") for one in ("cut", "whole")]
    assert logs[0] == logs[1] and len(logs[0]) > kept


def test_a_teacher_that_is_not_prefetched_is_for_the_temperature_alone(
    settings, tmp_path, tiny_bert
) -> None:
    reranker = make_reranker(tiny_bert, tmp_path / "reranker", "bert", 1)
    sections = {
        "teacher": {
            "model": str(reranker),
            "kind": "cross-encoder",
            "max_length": 64,
            "temperature": "auto",
        },
        "training": {"candidates": "bm25", "max_steps": 4, "evaluate_steps": 2, "save_steps": 2},
    }
    train(configure(settings, tmp_path / "whole", **sections))
    config = configure(settings, tmp_path / "cut", **sections)
    kill(config, 3)
    train(config)
    assert left_behind(tmp_path / "cut") == left_behind(tmp_path / "whole")
    known = [one["known_share"] for one in records(tmp_path / "cut") if one["kind"] == "train"]
    assert known[0] == known[1] == 0  # scored for these very steps
    assert known[3] > 0.5  # of the second epoch, whose passages BM25 found before


def test_a_lost_index_of_the_start_is_embedded_again_to_the_same_bits(
    blended, settings, tmp_path
) -> None:
    config = configure(settings, tmp_path / "run", **BLEND)
    kill(config, 5)
    folder = RunFolder(tmp_path / "run").start_index_folder
    shard = next(folder.glob("*.bin"))
    shard.write_bytes(bytes(len(shard.read_bytes())))
    train(config)
    assert left_behind(tmp_path / "run") == left_behind(blended)


def test_a_start_that_changed_under_a_run_is_refused(settings, tmp_path, tiny_bert) -> None:
    start = create_retriever(str(tiny_bert), pooling="cls", passage_length=64, tied=False)
    start.save(tmp_path / "start")
    sections = {**BLEND, "retriever": {"model": str(tmp_path / "start"), "tied": None}}
    config = configure(settings, tmp_path / "run", **sections)
    kill(config, 3)
    next(start.question_tower.parameters()).data.add_(0.1)
    start.save(tmp_path / "start")
    with pytest.raises(MismatchError, match="what this run reads has changed: start"):
        train(config)


def test_a_plain_run_keeps_no_index_of_the_start_and_finds_nothing(finished) -> None:
    state = load_state(RunFolder(finished), 7)
    assert state.calibration is None
    assert not RunFolder(finished).start_index_folder.exists()


def source(scores: np.ndarray) -> Any:
    return lambda batch, rows: scores


def test_what_tells_no_passages_apart_is_refused_by_its_name() -> None:
    rng = np.random.default_rng(0)
    questions, rows = ["a", "b"], np.zeros((2, 4), dtype=np.int64)
    teacher = rng.normal(size=(2, 4)).astype(np.float32)
    flat = {"bm25": source(np.zeros((2, 4), np.float32))}
    labels = SoftLabels({"teacher": 1, "bm25": 1}, 1.0, sources=flat, calibration=None)
    with pytest.raises(ArtError, match="bm25 gives all passages of a question the same score"):
        labels.calibrate(questions, rows, teacher)
    alone = SoftLabels(None, "auto", sources={}, calibration=None)
    with pytest.raises(ArtError, match="give a number"):
        alone.calibrate(questions, rows, np.zeros((2, 4), np.float32))


def test_the_order_of_the_first_lists_has_no_influence() -> None:
    rng = np.random.default_rng(0)
    questions, teacher = [f"question {i}" for i in range(70)], rng.normal(size=(70, 4))
    rows = rng.integers(1000, size=(70, 4))
    found = []
    for order in (np.arange(70), rng.permutation(70)):
        words = {"bm25": lambda batch, rows: np.sqrt(rows)}
        labels = SoftLabels({"teacher": 1, "bm25": 1}, "auto", sources=words, calibration=None)
        mixed = [questions[i] for i in order]
        found.append(labels.calibrate(mixed, rows[order], teacher[order].astype(np.float32)))
    assert found[0] == found[1]


def test_labels_that_wait_for_nothing_are_the_teachers_scores_themselves() -> None:
    labels = SoftLabels(None, 0.3, sources={}, calibration=None)
    scores = np.random.default_rng(0).normal(size=(2, 4)).astype(np.float32)
    assert not labels.awaits_calibration and labels.temperature == 0.3
    assert labels([["a", "b"]], np.zeros((2, 4), np.int64), scores) is scores


def test_a_temperature_is_kept_once_it_was_found() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    labels = SoftLabels(None, "auto", sources={}, calibration=None)
    assert labels.awaits_calibration
    found = labels.calibrate(["q"] * 50, np.zeros((50, 8), np.int64), scores)
    assert entropy_shares(scores, labels.temperature).mean() == pytest.approx(0.5, abs=1e-6)
    read = Calibration.model_validate_json(found.model_dump_json())
    again = SoftLabels(None, "auto", sources={}, calibration=read)
    assert not again.awaits_calibration and again.temperature == labels.temperature


def test_a_blend_is_given_on_the_command_line_too() -> None:
    demo = Path(__file__).parents[2] / "configs" / "demo.yaml"
    teacher = read_config(demo, ["--teacher.blend", "{teacher: 1, bm25: 0.5}"]).teacher
    assert teacher is not None and teacher.blend == {"teacher": 1.0, "bm25": 0.5}
    with pytest.raises(ConfigFaults, match=r"teacher\.blend: input should be a valid dictionary"):
        read_config(demo, ["--teacher.blend", "{teacher: 1, teacher: 2}"])


@pytest.mark.parametrize(
    ("teacher", "what"),
    [
        ({"blend": {"start": 1}}, "lacks a weight of teacher"),
        ({"blend": {}}, "teacher.blend"),
        ({"blend": {"teacher": 1, "bm26": 1}}, "teacher.blend"),
        ({"blend": {"teacher": 0}}, "teacher.blend"),
        ({"blend": {"teacher": 1, "reranker": 1}}, "teacher.reranker: names no model"),
        ({"reranker": "some/model"}, "teacher.reranker: has no weight"),
        ({"temperature": "automatic"}, "teacher.temperature"),
        ({"temperature": 0}, "teacher.temperature"),
    ],
)
def test_blends_that_cannot_be_made_are_refused(teacher, what, settings, tmp_path) -> None:
    with pytest.raises(ConfigFaults, match=what):
        configure(settings, tmp_path, teacher=teacher)
