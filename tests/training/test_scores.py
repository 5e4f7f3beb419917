"""Scores in whole runs: no pair is scored twice, and keeping them changes nothing but the time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from counted_training import Account, train_and_count
from forked import call
from killed_run import kill
from whole_run import NUM_STEPS, configure, records

from art.errors import CorruptionError, MismatchError
from art.teacher import grouped
from art.teacher.cached import CachedTeacher, ScoredPairs
from art.teacher.log_file import RECORD, read_log
from art.teacher.score_log import ScoreLog
from art.teacher.transformer import TransformerTeacher
from art.training.checkpoints import load_state
from art.training.loop import train
from art.training.run_folder import RunFolder


def of_kind(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [record for record in records(folder) if record["kind"] == kind]


def num_in_log(folder: Path) -> int:
    run = RunFolder(folder)
    state = load_state(run, run.steps()[-1])
    log = read_log(run.scores_file, fingerprint=state.fingerprints["teacher"])
    assert len(log.records) == state.num_scores
    return len(set(log.records["hash"].tolist()))


@pytest.fixture
def ten_epochs(settings, tmp_path) -> dict[str, dict[str, Any]]:
    """Ten epochs over questions that each stand in their file twice."""
    questions = Path(settings["data"]["questions"]).read_text().splitlines()[:8]
    (tmp_path / "twice.txt").write_text("\n".join(questions * 2))
    return {
        "data": {"questions": str(tmp_path / "twice.txt")},
        "training": {
            "epochs": 10,
            "max_steps": None,
            "refresh_steps": 5,
            "evaluate_steps": 20,
            "save_steps": 20,
        },
    }


@pytest.mark.parametrize("candidates", ["bm25", "retriever"])
def test_in_ten_epochs_a_pair_goes_through_the_model_once(
    settings, ten_epochs, tmp_path, candidates
) -> None:
    ten_epochs["training"]["candidates"] = candidates
    account = train_and_count(configure(settings, tmp_path / "run", **ten_epochs))
    check_account(account, tmp_path / "run")
    if candidates == "bm25":  # what it proposes is known for certain
        assert len(account.scored) == len(set(account.asked))


def test_two_processes_share_the_pairs_that_both_ask_for(settings, ten_epochs, tmp_path) -> None:
    config = configure(settings, tmp_path / "run", **ten_epochs)
    one, two = call(train_and_count, config, world_size=2)
    assert set(one.asked) & set(two.asked)
    check_account(Account(one.asked + two.asked, one.scored + two.scored), tmp_path / "run")


def check_account(account: Account, folder: Path) -> None:
    assert len(account.scored) == len(set(account.scored)) == num_in_log(folder)
    # Scored ahead for a step that then asked for another passage: few.
    assert len(set(account.asked)) <= len(account.scored) <= 1.1 * len(set(account.asked))
    assert len(account.scored) < len(account.asked) / 2
    epochs = of_kind(folder, "epoch")
    assert [epoch["epoch"] for epoch in epochs] == list(range(1, 11))
    assert sum(epoch["num_pairs"] for epoch in epochs) == len(account.asked) == 10 * 2 * 8 * 4
    assert epochs[-1]["num_scored"] == epochs[-1]["num_distinct"] == len(account.scored)
    assert epochs[0]["known_share"] < epochs[-1]["known_share"]


class Forgetful(CachedTeacher):
    """A teacher that remembers nothing from one call to the next."""

    def score(self, questions: Any, rows: Any) -> ScoredPairs:
        self.log = ScoreLog(None, fingerprint=self.fingerprint)
        return super().score(questions, rows)


def test_kept_scores_leave_the_losses_of_a_run_as_they_are(
    finished, settings, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("art.training.setup.CachedTeacher", Forgetful)
    train(configure(settings, tmp_path))
    with_log, without = of_kind(finished, "train"), of_kind(tmp_path, "train")
    assert max(step["known_share"] for step in without) == 0 < with_log[-1]["known_share"]
    expected = [step["loss"] for step in without]
    assert len(set(expected)) == NUM_STEPS
    assert [step["loss"] for step in with_log] == pytest.approx(expected, rel=0, abs=1e-4)


def test_epochs_are_counted_whatever_is_logged(finished, settings, tmp_path) -> None:
    epochs, steps = of_kind(finished, "epoch"), of_kind(finished, "train")
    assert [(epoch["epoch"], epoch["step"]) for epoch in epochs] == [(1, 3), (2, 6), (3, NUM_STEPS)]
    for epoch, its_steps in zip(epochs, (steps[:3], steps[3:6], steps[6:]), strict=True):
        assert epoch["num_pairs"] == len(its_steps) * 8 * 4
        share = np.mean([step["known_share"] for step in its_steps])
        assert epoch["known_share"] == pytest.approx(share, abs=1e-6)
    train(configure(settings, tmp_path, training={"log_steps": 5}))
    assert of_kind(tmp_path, "epoch") == epochs and len(of_kind(tmp_path, "train")) == 1


def test_a_run_that_begins_with_anothers_scores_needs_no_teacher(
    finished, settings, tmp_path, monkeypatch, capfd
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(finished / "scores.log", other)
    config = configure(settings, tmp_path / "run", teacher={"known_scores": str(other)})
    monkeypatch.setattr(TransformerTeacher, "read_one_length", lambda self: self)
    monkeypatch.setattr(
        TransformerTeacher, "score_pairs", lambda *_: pytest.fail("it scored again")
    )
    kill(config, 4)
    assert f"{num_in_log(finished)} scores taken over" in capfd.readouterr().err
    shutil.rmtree(other)  # by now they are the run's own
    train(config)
    steps, expected = of_kind(tmp_path / "run", "train"), of_kind(finished, "train")
    assert [step["loss"] for step in steps] == [step["loss"] for step in expected]
    assert {step["known_share"] for step in steps} == {1.0}
    assert of_kind(tmp_path / "run", "epoch")[-1]["num_scored"] == 0
    assert num_in_log(tmp_path / "run") == num_in_log(finished)


def test_scores_of_another_teacher_are_refused_before_anything_is_done(
    finished, settings, tmp_path
) -> None:
    sections = {"teacher": {"known_scores": [str(finished)], "reduction": "sum"}}
    with pytest.raises(MismatchError, match=r"scores\.log: the log holds scores of the teacher "):
        train(configure(settings, tmp_path, **sections))
    assert not RunFolder(tmp_path).steps()


def test_behind_a_damaged_stretch_of_the_log_the_checkpoint_before_goes_on(
    finished, settings, tmp_path
) -> None:
    config = configure(settings, tmp_path)
    kill(config, 6)
    run = RunFolder(tmp_path)
    before, newest = (load_state(run, step) for step in run.steps()[-2:])
    assert before.num_scores < newest.num_scores
    teacher = newest.fingerprints["teacher"]
    counted = read_log(run.scores_file, fingerprint=teacher, length=newest.num_scores)
    damaged = bytearray(run.scores_file.read_bytes())
    damaged[counted.num_bytes - 2 * RECORD.itemsize] ^= 16  # in the newest checkpoint's last score
    run.scores_file.write_bytes(damaged)
    with pytest.raises(CorruptionError, match=r"scores\.log: the log is damaged"):
        ScoreLog(run.scores_file, fingerprint=teacher, length=newest.num_scores)
    train(config)
    assert records(tmp_path) == records(finished)


def test_a_kill_costs_the_scores_made_ahead_since_the_last_save(
    settings, tmp_path, monkeypatch
) -> None:
    teacher = {"batch_tokens": 128}  # so that there are several blocks
    train(configure(settings, tmp_path / "whole", teacher=teacher))
    config = configure(settings, tmp_path / "run", teacher=teacher)
    monkeypatch.setattr("art.training.trainer._SECONDS_BETWEEN_SAVES", 0.0)
    kill(config, 4, owner=grouped, name="_share")
    run = RunFolder(tmp_path / "run")
    state = load_state(run, run.steps()[-1])
    assert (state.step, state.is_prefetching, state.due) == (0, True, ("prefetch",))
    assert state.num_scores == num_in_log(tmp_path / "run") > 0
    train(config)
    assert records(tmp_path / "run") == records(tmp_path / "whole")
    logs = [
        (tmp_path / name / "scores.log").read_bytes()[: state.num_scores]
        for name in ("run", "whole")
    ]
    assert logs[0] == logs[1]
