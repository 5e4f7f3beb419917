"""BM25, and BM25 fused with the retriever, told beside a run's evaluations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from forked import finish
from whole_run import NUM_STEPS, configure, records, weights

from art.data.formats import read_questions
from art.data.passages import PassageStore
from art.errors import ConfigFaults
from art.evaluation.comparison import compare_fused
from art.report.history import read_history
from art.report.page import render_page
from art.retriever.bm25 import BM25
from art.retriever.fusion import Fusion
from art.retriever.index import Index
from art.retriever.loading import load_retriever
from art.retriever.searcher import IndexSearcher
from art.training.checkpoints import TrainingResult
from art.training.loop import train

FUSED = {"fused": True}


@pytest.fixture(scope="module")
def told(settings, tmp_path_factory) -> Path:
    """The run of `finished`, told beside BM25."""
    folder = tmp_path_factory.mktemp("fused")
    train(configure(settings, folder, evaluation=FUSED))
    return folder


def test_it_changes_nothing_of_the_run_but_what_it_tells(told, finished) -> None:
    ours, theirs = weights(told), weights(finished)
    for name in theirs:
        np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    lines = records(told)
    assert [one for one in lines if one["kind"] not in ("BM25", "fused")] == records(finished)
    assert [one["step"] for one in lines if one["kind"] == "fused"] == [0, 4, NUM_STEPS]


def test_it_tells_what_the_finished_weights_find_with_bm25(told, settings, tmp_path) -> None:
    result = TrainingResult.read(told / "result.json")
    last = {one["kind"]: one for one in records(told) if one["step"] == NUM_STEPS}
    retriever = load_retriever(told / "last" / "retriever")
    store = PassageStore.open_or_build(settings["data"]["passages"], cache=tmp_path)
    index = Index.open(told / "index" / f"step-{NUM_STEPS:08d}")
    found = compare_fused(
        retriever,
        IndexSearcher(index, retriever.device),
        BM25.build(store, cache=tmp_path),
        store,
        read_questions(settings["evaluation"]["questions"]),
        fusion=Fusion(),
        ks=settings["evaluation"]["top_k"],
    )
    assert result.beside is not None
    assert result.beside["BM25"] == pytest.approx(found["BM25"].metrics, rel=1e-6)
    for name, value in found["fused"].metrics.items():
        assert last["fused"][name] == pytest.approx(value, rel=1e-6)


def test_a_finished_run_and_its_page_have_its_rows(told, settings, tmp_path) -> None:
    config = configure(settings, told, evaluation=FUSED)
    (tmp_path / "c.yaml").write_text(config.to_yaml())
    [(status, said)] = finish(["train", "--config", tmp_path / "c.yaml"], tmp_path)
    assert status == 0
    result = TrainingResult.read(told / "result.json")
    after = f"after training (step {result.best_step})"
    heads = ["BM25", "before training", "before training, fused", after, f"{after}, fused"]
    rows = [line for line in said.splitlines() if line.startswith(tuple(heads))]
    assert [row.split("  ")[0] for row in rows] == heads
    shown = f"{100 * result.beside['BM25']['top_20']:.1f}"
    assert rows[0].endswith(shown)
    page = render_page([read_history(told, "told")])
    assert ">BM25<" in page
    assert "before training (step 0), fused" in page


def test_without_labels_it_is_refused_in_a_line(settings, tmp_path) -> None:
    lines = Path(settings["evaluation"]["questions"]).read_text().splitlines()
    (tmp_path / "asked.txt").write_text("\n".join(json.loads(one)["question"] for one in lines))
    evaluation = FUSED | {"questions": str(tmp_path / "asked.txt")}
    with pytest.raises(ConfigFaults, match=r"evaluation\.fused: .* no labels"):
        train(configure(settings, tmp_path / "run", evaluation=evaluation))
    with pytest.raises(ConfigFaults, match=r"evaluation\.fused: needs evaluation\.questions"):
        configure(settings, tmp_path / "run", evaluation=FUSED | {"questions": []})
