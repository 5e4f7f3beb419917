"""The demonstration from end to end, with tiny models in place of the packaged ones."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from art.config import Config
from art.demo import run
from art.demo.corpus import iter_passages
from art.training.settings import check_config


@pytest.fixture
def tiny_demo(tiny_bert, tiny_llama, monkeypatch) -> None:
    """Every fifth passage and all that evaluation asks for; one step; tiny models."""
    asked = Path(run.__file__).parent.glob("questions.*.jsonl")
    golds = {
        name
        for path in asked
        for line in path.read_text().splitlines()
        for name in json.loads(line)["positive_passage_ids"]
    }
    passages = [
        passage for i, passage in enumerate(iter_passages()) if i % 5 == 0 or passage[0] in golds
    ]
    monkeypatch.setattr(run, "iter_passages", lambda: iter(passages))
    original = run.demo_config

    def tiny(folder: Path) -> Config:
        document = original(folder).model_dump(mode="json")
        document["retriever"] |= {"model": str(tiny_bert), "passage_length": 32}
        document["retriever"] |= {"train_layers": 1, "dtype": "float32"}
        document["teacher"] |= {"model": str(tiny_llama), "dtype": "float32", "max_length": 96}
        document["training"] |= {"max_steps": 1, "questions_per_step": 4, "top_k": 4}
        document["training"] |= {"questions_per_micro_batch": 4}
        return check_config(document, source="test")

    monkeypatch.setattr(run, "demo_config", tiny)


def test_the_demonstration_prints_an_honest_table_and_goes_on(tiny_demo, tmp_path, capsys) -> None:
    run.run_demo(tmp_path / "demo")
    printed = capsys.readouterr().out
    for start in ("before training", "after training"):
        for line in ("BM25", start, f"{start}, fused", "teacher re-ordering 20 of before training"):
            assert f"\n{line} " in printed
    assert re.search(r"On this machine that takes \d+ to \d+ minutes", printed)
    assert "400 questions: % answered within the first k (95 % interval)" in printed
    assert "reciprocal rank within 20, after training against before training: " in printed
    assert "top-5, after training against before training: " in printed
    assert "What training won most (" in printed or "No question's first answer has" in printed
    assert (tmp_path / "demo" / "retriever" / "retriever.json").exists()

    made = (tmp_path / "demo" / "data" / "passages.jsonl").stat().st_mtime_ns
    run.run_demo(tmp_path / "demo")
    again = capsys.readouterr().out
    assert "On this machine" not in again  # nothing is left to train
    assert (
        again.partition("\nBM25 ")[2].partition("The retriever")[0]
        == (printed.partition("\nBM25 ")[2].partition("The retriever")[0])
    )
    assert (tmp_path / "demo" / "data" / "passages.jsonl").stat().st_mtime_ns == made


def test_the_shipped_settings_are_those_of_the_command(tmp_path, monkeypatch) -> None:
    from art.config import differences
    from art.training.settings import read_config

    monkeypatch.chdir(tmp_path)
    shipped = read_config(Path(run.__file__).parent / "demo.yaml")
    monkeypatch.setattr(run, "automatic_dtype", lambda device: "bfloat16")
    assert differences(shipped, run.demo_config(Path("runs/demo"))) == []


def test_where_bfloat16_is_slow_the_demonstration_computes_in_float32(monkeypatch) -> None:
    monkeypatch.setattr(run, "automatic_dtype", lambda device: "float32")
    assert run.demo_config(Path("runs/demo")).retriever.dtype == "float32"


def test_questions_that_changed_are_shown_side_by_side() -> None:
    from art.evaluation.rankings import KeptPassage, KeptRanking
    from art.report import side_by_side
    from art.report.changes import won_and_lost

    def ranking(*hits: bool) -> KeptRanking:
        passages = tuple(
            KeptPassage(id=f"p{i}", title=f"title {i}", text="", score=0.0, hit=hit)
            for i, hit in enumerate(hits)
        )
        first = hits.index(True) + 1 if True in hits else None
        return KeptRanking(
            id="q", question="why ?", metrics={}, depth=3, first_hit=first, passages=passages
        )

    before, after = [ranking(False, False, True)], [ranking(True, False, False)]
    won, lost = won_and_lost(before, after, "top_5")
    assert side_by_side(won) == (
        "why ? (first hit: rank 3 → rank 1)\n"
        "  before     after\n"
        "  title 0    title 0 *\n"
        "  title 1    title 1\n"
        "  title 2 *  title 2"
    )
    assert lost == []
