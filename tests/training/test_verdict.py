"""Runs without labels: what judges them, and that the start is kept unless it was surpassed."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted_training import train_and_count
from killed_run import KilledError, kill
from tiny_run import moved, tiny_run
from whole_run import weights

from art.evaluation.rankings import KeptRanking, read_rankings
from art.retriever.loading import load_retriever
from art.teacher import grouped
from art.training import evaluator, trainer
from art.training.agreement import first_of_all
from art.training.checkpoints import TrainingResult, load_state
from art.training.loop import train
from art.training.run_folder import RunFolder
from art.training.schedule import Action
from art.training.selection import hold_out_questions, num_held_out_questions
from art.training.verdict import verdict_of


@pytest.fixture(scope="module")
def config(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> Any:
    folder = tmp_path_factory.mktemp("run") / "whole"
    return tiny_run(folder, tiny_bert, tiny_t5, corpus, labelled=False)


@pytest.fixture(scope="module")
def finished(config) -> tuple[RunFolder, TrainingResult]:
    result = train(config)
    return RunFolder(Path(config.output.folder)), result


def rankings(name: str, values: list[float | None]) -> list[KeptRanking]:
    return [
        KeptRanking(
            id=str(i), question="?", metrics={name: one}, depth=1, first_hit=None, passages=()
        )
        for i, one in enumerate(values)
    ]


def test_a_quarter_of_the_questions_is_held_out_within_bounds() -> None:
    assert [num_held_out_questions(n) for n in (2, 30, 100, 400, 10**6)] == [1, 15, 25, 100, 200]
    some = hold_out_questions(400, seed=1)
    assert len(set(some.tolist())) == 100 and all(a < b for a, b in pairwise(some))


def test_rankings_agree_on_what_stands_in_front_of_most() -> None:
    first = [[5, 1, 2], [8, 9, -1], [4, 3, 2]]
    second = [[1, 5, 3], [9, 7, 8], [2, 3, 4]]
    third = [[1, 2, 3], [7, 9, 8], [3, 4, 2]]
    # 1 stands at ranks 2, 1, 1; 9 at 2, 1, 2; 3 at 2, 2, 1.
    assert first_of_all([np.array(one) for one in (first, second, third)]).tolist() == [1, 9, 3]


def test_half_of_the_held_out_questions_choose_and_all_are_judged(finished) -> None:
    run, result = finished
    assert result.metric == "agreed_reciprocal_rank"
    assert result.before["teacher_log_likelihood"] < 0
    state = load_state(run, run.steps()[-1])
    asked = read_rankings(run.rankings_file(0))
    assert state.agreed is not None and len(state.agreed) == len(asked) == 15
    chose = [one.metrics[result.metric] for one in asked[::2]]
    assert result.num_questions == len(chose)
    assert result.before[result.metric] == pytest.approx(np.mean(chose))


@pytest.mark.parametrize("step", [0, 2, 6])
def test_a_run_killed_before_it_evaluates_agrees_on_the_same_passages(
    step, config, finished, tmp_path, monkeypatch
) -> None:
    cut, original = moved(config, tmp_path / "cut"), trainer.Trainer.evaluate

    def killing(self: trainer.Trainer, due: Any) -> None:
        if self.state.step == step:
            raise KilledError
        original(self, due)

    with monkeypatch.context() as patched:
        patched.setattr(trainer.Trainer, "evaluate", killing)
        with pytest.raises(KilledError):
            train(cut)
    result = train(cut)
    run = RunFolder(tmp_path / "cut")
    assert result.model_dump() == finished[1].model_dump() | {"versions": result.versions}
    last = load_state(run, run.steps()[-1])
    assert last.agreed == load_state(finished[0], run.steps()[-1]).agreed
    for name, values in weights(run.path).items():
        np.testing.assert_array_equal(values, weights(finished[0].path)[name])


def test_a_kill_while_questions_are_ordered_costs_the_scores_since_the_last_save(
    config, finished, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(grouped, "_groups_at_once", lambda *_: 16)  # so that there are some blocks
    whole = train_and_count(moved(config, tmp_path / "whole"))
    cut, run = moved(config, tmp_path / "cut"), RunFolder(tmp_path / "cut")
    with monkeypatch.context() as patched:
        patched.setattr(trainer, "_SECONDS_BETWEEN_SAVES", 0.0)
        kill(cut, 3, owner=grouped, name="_share")
    state = load_state(run, 0)
    assert state.due[0] == Action.EVALUATE and state.agreed is None and state.num_scored > 0
    rest = train_and_count(cut)
    assert len(rest.scored) == len(whole.scored) - state.num_scored
    assert load_state(run, 6).agreed == load_state(finished[0], 6).agreed


@pytest.mark.parametrize(("gain", "kept"), [(0.4, 6), (-0.4, 0), (0.0, 0)])
def test_the_start_is_kept_unless_questions_that_did_not_choose_see_a_gain(
    gain, kept, config, tmp_path, monkeypatch
) -> None:
    """Choosing questions see a gain at each evaluation; the others what the parameter says."""
    original, calls = evaluator.evaluate, iter(range(10))

    def judged(*args: Any, **kwargs: Any) -> Any:
        found, number = original(*args, **kwargs), next(calls)
        values = found.per_question["agreed_reciprocal_rank"]
        values[::2] = 0.1 * number
        values[1::2] = 0.5 + gain * (number > 0)
        return found

    monkeypatch.setattr(evaluator, "evaluate", judged)
    result = train(moved(config, tmp_path / "run"))
    assert result.verdict is not None and result.verdict.step == 6
    assert result.best_step == kept and not result.verdict.chose_too
    start = load_retriever(RunFolder(tmp_path / "run").best_folder(0)).fingerprint()
    published = load_retriever(tmp_path / "run" / "retriever").fingerprint()
    assert (published == start) == (kept == 0)
    assert result.after == (result.before if kept == 0 else result.after)


def test_a_passage_that_is_the_question_itself_judges_nothing_where_it_is_not_to_be_found(
    config, corpus, tmp_path
) -> None:
    """Each question is a passage of the corpus under the passage's own id, as in ArguAna."""
    rows = [{"id": name, "question": text} for name, _, text in corpus[:30]]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    document = moved(config, tmp_path / "run").model_dump(mode="json")
    document["data"]["questions"] = str(tmp_path / "questions.jsonl")
    document["evaluation"]["drop_self_hits"] = True
    document["training"]["max_steps"] = 1
    train(type(config).model_validate(document))
    run = RunFolder(tmp_path / "run")
    agreed = load_state(run, run.steps()[-1]).agreed
    names = [name for name, _, _ in corpus]
    asked = [one.id for one in read_rankings(run.rankings_file(0))]
    assert agreed is not None and len(agreed) == len(asked)
    assert not [name for row, name in zip(agreed, asked, strict=True) if names[row] == name]


def test_a_verdict_has_the_interval_of_the_paired_differences() -> None:
    before = rankings("agreed_reciprocal_rank", [0.5, 1.0, 0.2, None, 0.25, 0.0])
    after = rankings("agreed_reciprocal_rank", [1.0, 1.0, 0.5, 0.3, 0.5, 0.2])
    found = verdict_of("agreed_reciprocal_rank", 8, before, after, chose_too=False)
    assert found is not None and found.num_questions == 5
    gains = np.array([0.5, 0.0, 0.3, 0.25, 0.2])
    half = 2.7764451 * gains.std(ddof=1) / np.sqrt(5)  # Student's t with 4 degrees of freedom
    assert found.low == pytest.approx(gains.mean() - half, abs=1e-6)
    assert found.high == pytest.approx(gains.mean() + half, abs=1e-6)
    assert found.finding == "better"
    assert str(found) == (
        "step 8 is better than the start: reciprocal rank of the agreed passage 39.0 → 64.0 %, "
        "+25.0 (95 % interval +2.6 to +47.4) on 5 questions put aside for it"
    )


def test_where_lower_is_better_a_fall_is_a_gain() -> None:
    before, after = (
        rankings("pooled_average_rank", values) for values in ([4.0, 6.0, 5.0], [1.0, 2.5, 2.2])
    )
    found = verdict_of("pooled_average_rank", 2, before, after, chose_too=True)
    assert found is not None and found.finding == "better" and not found.keeps_start
    assert "is better than the start" in str(found) and "which chose it too" in str(found)
