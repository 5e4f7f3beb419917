"""The log of a teacher's scores: what it gives back, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cached_teachers import MINE, Job
from hypothesis import given, settings
from hypothesis import strategies as st

from art.errors import ArtError, CorruptionError, MismatchError
from art.teacher import score_log
from art.teacher.log_file import read_known
from art.teacher.score_log import ScoreLog

OTHER = "b" * 32
HEADER, RECORD = 48, 12  # bytes; a seal is as long as a score


def hashes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_a_log_gives_back_what_was_appended_and_nothing_else(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.log", fingerprint=MINE)
    log.append(hashes(7, 2**64 - 1, 0), scores(-1.5, -0.1, -3))
    found, known = log.lookup(hashes(0, 5, 7, 2**64 - 1))
    assert known.tolist() == [True, False, True, True]
    assert found[known].tolist() == scores(-3, -1.5, -0.1).tolist() and np.isnan(found[1])
    assert 7 in log and 8 not in log and log.length == 3


def test_the_first_score_of_a_pair_stays(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.log", fingerprint=MINE)
    log.append(hashes(7, 9, 7), scores(-1, -2, -5))
    log.append(hashes(9, 3), scores(-6, -4))
    assert log.length == 3
    assert log.lookup(hashes(7, 9, 3))[0].tolist() == [-1, -2, -4]


def test_a_log_opened_again_holds_the_same_in_twelve_bytes_a_pair(tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    log = ScoreLog(path, fingerprint=MINE)
    log.append(hashes(7, 9), scores(-1, -2))
    log.sync()
    log.sync()  # there is nothing new to seal
    assert path.stat().st_size == HEADER + 3 * RECORD
    again = ScoreLog(path, fingerprint=MINE)
    again.append(hashes(1), scores(-8))
    again.close()
    last = ScoreLog(path, fingerprint=MINE, length=3)
    assert last.lookup(hashes(7, 9, 1))[0].tolist() == [-1, -2, -8]


@pytest.mark.parametrize("torn", [5, RECORD, RECORD + 5])
def test_what_is_behind_the_last_seal_is_cut_away(torn: int, tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    log = ScoreLog(path, fingerprint=MINE)
    log.append(hashes(7), scores(-1))
    log.sync()
    log.append(hashes(9), scores(-2))
    log.close()
    path.write_bytes(path.read_bytes()[:-torn])
    again = ScoreLog(path, fingerprint=MINE)
    assert again.length == 1 and path.stat().st_size == HEADER + 2 * RECORD
    again.append(hashes(4), scores(-4))
    again.close()
    assert ScoreLog(path, fingerprint=MINE).lookup(hashes(7, 4))[0].tolist() == [-1, -4]


def test_a_log_goes_back_with_its_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    log = ScoreLog(path, fingerprint=MINE)
    log.append(hashes(7, 9), scores(-1, -2))
    log.sync()
    log.append(hashes(4), scores(-3))
    log.close()
    with pytest.raises(CorruptionError, match=r"holds 3 sealed scores, but .* counts 4"):
        ScoreLog(path, fingerprint=MINE, length=4)
    cut = ScoreLog(path, fingerprint=MINE, length=2)
    assert cut.length == 2 and 4 not in cut and path.stat().st_size == HEADER + 3 * RECORD
    # Nothing of the old log counts, so it may have been another teacher's.
    empty = ScoreLog(path, fingerprint=OTHER, length=0)
    assert empty.length == 0 and path.stat().st_size == HEADER


def test_a_log_of_another_teacher_or_of_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    ScoreLog(path, fingerprint=MINE).close()
    with pytest.raises(MismatchError, match=f"{MINE}.*{OTHER}"):
        ScoreLog(path, fingerprint=OTHER)
    path.write_bytes(b"something else altogether, and longer than a header\n")
    with pytest.raises(CorruptionError, match="not a score log"):
        ScoreLog(path, fingerprint=MINE)
    with pytest.raises(ArtError, match="score log"):
        ScoreLog(tmp_path, fingerprint=MINE)


def two_checkpoints(path: Path) -> bytes:
    """Leave a log that was sealed after two and after five scores; return its bytes."""
    log = ScoreLog(path, fingerprint=MINE)
    log.append(hashes(7, 9), scores(-1, -2))
    log.sync()
    log.append(hashes(4, 1, 2**63), scores(-3, -4, -5))
    log.close()
    return path.read_bytes()


def test_a_flipped_bit_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    whole = two_checkpoints(path)
    first_seal = HEADER + 3 * RECORD
    assert len(whole) == HEADER + 7 * RECORD
    for bit in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(CorruptionError, match=r"scores\.log: "):
            ScoreLog(path, fingerprint=MINE, length=5)
        if bit // 8 >= first_seal:  # what the checkpoint before counts is as it was
            assert ScoreLog(path, fingerprint=MINE, length=2).length == 2
    path.write_bytes(whole[:first_seal] + bytes([255]) * 4 * RECORD)
    assert ScoreLog(path, fingerprint=MINE, length=2).length == 2


def test_a_damaged_log_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    damaged = bytearray(two_checkpoints(path))
    damaged[HEADER + 4 * RECORD] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(CorruptionError, match="damaged between its records 3 and 6"):
        ScoreLog(path, fingerprint=MINE)
    assert path.read_bytes() == damaged


# Scores of other runs


def test_scores_of_other_runs_are_taken_over_once(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    two_checkpoints(tmp_path / "run" / "scores.log")
    other = ScoreLog(tmp_path / "other.log", fingerprint=MINE)
    other.append(hashes(9, 5), scores(-8, -9))
    other.sync()
    other.append(hashes(6), scores(-7))  # of a run that still goes on: not sealed yet
    other._file._file.flush()
    log = ScoreLog(tmp_path / "mine.log", fingerprint=MINE)
    log.append(hashes(1), scores(-1))
    found = read_known([tmp_path / "run", tmp_path / "other.log"], MINE)
    assert len(found) == 7 and log.take_over(found) == 5
    log.close()
    again = ScoreLog(tmp_path / "mine.log", fingerprint=MINE, length=6)
    assert again.lookup(hashes(7, 9, 4, 1, 5))[0].tolist() == [-1, -2, -3, -1, -9]
    assert 6 not in again and again.take_over(read_known([], MINE)) == 0


def test_scores_that_cannot_be_taken_over_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    damaged = bytearray(two_checkpoints(path))
    with pytest.raises(MismatchError, match=rf"scores\.log.*{MINE}.*{OTHER}"):
        read_known([tmp_path], OTHER)
    damaged[HEADER + 2] ^= 64
    path.write_bytes(damaged)
    with pytest.raises(CorruptionError, match=r"scores\.log: the log is damaged"):
        read_known([tmp_path], MINE)
    with pytest.raises(ArtError, match=r"none.*No such file"):
        read_known([tmp_path / "none"], MINE)


def test_all_processes_know_what_the_main_one_took_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_checkpoints(tmp_path / "scores.log")

    def work(rank: int) -> tuple[int, list[float]]:
        log = ScoreLog(tmp_path / "mine.log", fingerprint=MINE)
        found = read_known([tmp_path], MINE) if rank == 0 else None
        return log.take_over(found), log.lookup(hashes(4, 7))[0].tolist()

    assert Job(monkeypatch, 2).run(work) == [(5, [-3, -1])] * 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_refused(bad: float) -> None:
    log = ScoreLog(None, fingerprint=MINE)
    with pytest.raises(ArtError, match="000000000000000b"):
        log.append(hashes(10, 11), scores(-1, bad))
    assert log.length == 0


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(st.integers(0, 60), max_size=12), max_size=12))
def test_a_log_agrees_with_a_dictionary(batches: list[list[int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(score_log, "_RECENT_PAIRS", 5)
        log = ScoreLog(None, fingerprint=MINE)
        expected: dict[int, float] = {}
        for number, keys in enumerate(batches):
            values = [float(100 * number + i) for i in range(len(keys))]
            log.append(hashes(*keys), scores(*values))
            for key, value in zip(keys, values, strict=True):
                expected.setdefault(key, value)
        found, known = log.lookup(np.arange(61, dtype=np.uint64))
    assert {i: found[i] for i in np.flatnonzero(known)} == expected
    assert log.length == len(expected)
