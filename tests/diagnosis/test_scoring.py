"""Pairs scored question after question, at a rate that is known, and kept for the next time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cached_teachers import MINE, TOKENS, FakeTeacher

from art.diagnosis import scoring
from art.diagnosis.scoring import Pace, kept_scores, num_unknown, score_by_question
from art.teacher import grouped
from art.teacher.cached import CachedTeacher
from art.teacher.log_file import LOG_NAME, read_known

TEXTS, ROWS = ["why", "who"], np.array([[4, 2, 0], [5, 2, -1]])


def scored(cached: CachedTeacher, stop_at: int | None = None) -> tuple[np.ndarray, list]:
    done: list[list[int]] = []

    def after_block(scores: np.ndarray, of_questions: np.ndarray) -> None:
        done.append(of_questions.tolist())
        if len(done) == stop_at:
            raise KeyboardInterrupt

    pace = Pace(sampled=1.0)
    return (
        score_by_question(cached, TEXTS, ROWS, pace, after_block=after_block, bar=False),
        done,
    )


def test_the_first_question_is_known_before_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grouped, "_BATCHES_WHILE_WATCHED", 1)
    scores, done = scored(CachedTeacher(FakeTeacher(), None, TOKENS))
    assert done == [[], [], [0], [0, 1]]  # rows 0, 2 (of both), 4; then 5
    alone = CachedTeacher(FakeTeacher(), None, TOKENS).score(TEXTS, np.maximum(ROWS, 0)).scores
    np.testing.assert_array_equal(scores, np.where(ROWS < 0, -np.inf, alone))


def test_a_killed_diagnosis_goes_on_from_its_scores(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(grouped, "_BATCHES_WHILE_WATCHED", 1)
    whole, _ = scored(CachedTeacher(FakeTeacher(), None, TOKENS))
    with kept_scores(tmp_path) as open_log, pytest.raises(KeyboardInterrupt):
        scored(CachedTeacher(FakeTeacher(), open_log(MINE), TOKENS), stop_at=2)
    teacher = FakeTeacher()
    with kept_scores(tmp_path) as open_log:
        cached = CachedTeacher(teacher, open_log(MINE), TOKENS)
        assert num_unknown(cached, TEXTS, ROWS) == (2, 3)
        again, _ = scored(cached)
    assert len(teacher.asked) == 2
    np.testing.assert_array_equal(again, whole)


def test_passages_of_one_text_are_one_pair_to_score() -> None:
    cached = CachedTeacher(FakeTeacher(), None, TOKENS)
    rows = np.array([[1, 3, 2], [1, -1, -1]])  # rows 1 and 3 have the same tokens
    assert num_unknown(cached, TEXTS, rows) == (3, 0)
    cached.score(TEXTS[:1], [[3]])
    assert num_unknown(cached, TEXTS, rows) == (2, 2)


def test_a_log_in_use_is_read_and_not_waited_for(tmp_path: Path, caplog) -> None:
    with kept_scores(tmp_path) as open_log:
        cached = CachedTeacher(FakeTeacher(), open_log(MINE), TOKENS)
        scored(cached)
        with kept_scores(tmp_path) as open_other:
            other = CachedTeacher(FakeTeacher(), open_other(MINE), TOKENS)
            assert num_unknown(other, TEXTS, ROWS) == (0, 5)
            other.score(["what"], [[1]])
        assert "in use by another diagnosis by this teacher" in caplog.text
    with kept_scores(tmp_path) as open_log:
        assert open_log(MINE).length == 5 and open_log(MINE) is open_log(MINE)
    assert len(read_known([tmp_path / MINE], MINE)) == 5  # as a run takes them over


def test_a_damaged_log_is_begun_again(tmp_path: Path, caplog) -> None:
    path = tmp_path / MINE / LOG_NAME
    path.parent.mkdir()
    path.write_bytes(b"something else")
    for length in (0, 5):
        with kept_scores(tmp_path) as open_log:
            cached = CachedTeacher(FakeTeacher(), open_log(MINE), TOKENS)
            assert cached.num_scores == length
            scored(cached)
    assert caplog.text.count("not a score log") == 1


def test_a_sample_tells_the_rate_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0.0, 100.0, 0.25))
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: next(clock))
    cached = CachedTeacher(FakeTeacher(), None, TOKENS)
    pace = Pace.of_sample(cached, TEXTS, np.maximum(ROWS, 0))
    assert pace.sampled == 6 / 0.25  # all six pairs, in one tick of this clock
    assert cached.num_scores == 0
    pace.add(0, 50.0)
    assert pace.pairs_per_second == pace.sampled
    pace.add(30, 3.0)
    assert pace.pairs_per_second == 10


def test_who_reads_passages_apart_is_timed_by_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0.0, 100.0, 0.25))
    monkeypatch.setattr(scoring.time, "perf_counter", lambda: next(clock))
    teacher = FakeTeacher()
    teacher.reads_passages_apart = True
    cached = CachedTeacher(teacher, None, TOKENS)
    pace = Pace.of_sample(cached, TEXTS, np.maximum(ROWS, 0))
    assert pace.sampled == 4 / 0.25  # passages 0, 2, 4 and 5
    assert pace.pairs_per_second == 6 / 0.25
    pace.expect(cached, ROWS)
    assert pace.pairs_per_second == 5 / 0.25
    pace.expect(cached, np.zeros((20, 1), np.int64))  # one passage: eight questions a time
    assert pace.pairs_per_second == pytest.approx(20 / 3 * 4 / 0.25)
