"""What a run keeps of its evaluations, and that a killed one keeps the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from killed_run import KilledError
from tiny_run import moved, tiny_run

from art.evaluation.rankings import read_rankings
from art.training import evaluator, trainer
from art.training.loop import train
from art.training.run_folder import RunFolder
from art.training.selection import primary_metric


@pytest.fixture(scope="module")
def config(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> Any:
    return tiny_run(tmp_path_factory.mktemp("run") / "whole", tiny_bert, tiny_t5, corpus)


@pytest.fixture
def always_better(monkeypatch) -> None:
    """Let each evaluation be the best so far, so that there is something to prune."""
    original, values = evaluator.evaluate, iter(range(10**6))

    def rising(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        name = primary_metric(list(result.metrics))
        return replace(result, metrics={**result.metrics, name: float(next(values))})

    monkeypatch.setattr(evaluator, "evaluate", rising)


def kept(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "evaluations").iterdir()}


def test_a_run_keeps_the_rankings_of_the_start_and_of_the_chosen_step(config, tmp_path) -> None:
    result = train(moved(config, tmp_path / "run"))
    run = RunFolder(tmp_path / "run")
    for step, metrics in ((0, result.before), (result.best_step, result.after)):
        rankings = read_rankings(run.rankings_file(step))
        assert len(rankings) == result.num_questions
        for name, value in metrics.items():
            mean = sum(one.metrics[name] for one in rankings) / len(rankings)
            assert mean == pytest.approx(value, rel=1e-6)


def test_rankings_that_no_checkpoint_needs_are_deleted(always_better, config, tmp_path) -> None:
    train(moved(config, tmp_path / "run"))
    # The last checkpoints are of steps 4 and 6: each names the best step before it.
    steps = (0, 2, 4, 6)
    assert sorted(kept(tmp_path / "run")) == [f"step-{step:08d}.jsonl" for step in steps]
    document = config.model_dump(mode="json")
    longer = type(config).model_validate(
        document
        | {"training": document["training"] | {"max_steps": 8}}
        | {"output": document["output"] | {"folder": str(tmp_path / "longer")}}
    )
    train(longer)
    steps = (0, 4, 6, 8)
    assert sorted(kept(tmp_path / "longer")) == [f"step-{step:08d}.jsonl" for step in steps]


@pytest.mark.parametrize("kind", ["start", "evaluation"])
def test_a_run_killed_before_it_writes_a_line_ends_with_the_same_rankings(
    kind, always_better, config, tmp_path, monkeypatch
) -> None:
    train(moved(config, tmp_path / "whole"))
    cut = moved(config, tmp_path / "cut")
    original, written = trainer.MetricsLog.write, []

    def killing(log: Any, name: str, step: int, values: Any) -> None:
        written.append(name)
        if name == kind and written.count(kind) == 2 - (kind == "start"):
            raise KilledError
        original(log, name, step, values)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.MetricsLog, "write", killing)
        with pytest.raises(KilledError):
            train(cut)
    (tmp_path / "cut" / "evaluations").mkdir(exist_ok=True)
    (tmp_path / "cut" / "evaluations" / ".step-00000002.jsonl.1.tmp").write_text("half a li")
    train(cut)
    assert kept(tmp_path / "cut") == kept(tmp_path / "whole")
    lines = (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()
    assert ['"start"' in line for line in lines] == [True] + [False] * (len(lines) - 1)
