"""Scores already known: looked up, kept in a log, shared by the processes of a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cached_teachers import MINE, TOKENS, FakeTeacher, Job
from hypothesis import given, settings
from hypothesis import strategies as st
from language_model_pairs import PASSAGES, QUESTIONS, by_hugging_face, pairs

from art.data.pairs import Pair
from art.data.passages import Passage, PassageStore
from art.data.tokens import TokenStore
from art.errors import ArtError, CorruptionError, MismatchError
from art.teacher import cache
from art.teacher.cache import CachedTeacher, ScoreLog
from art.teacher.likelihood import LanguageModelTeacher, load_language_model
from art.teacher.log_file import read_known, read_log

OTHER = "b" * 32
HEADER, RECORD = 48, 12  # bytes; a seal is as long as a score


def hashes(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.uint64)


def scores(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


# The log


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
        patch.setattr(cache, "_RECENT_PAIRS", 5)
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


# The teacher


ASKED = ["why", "who"], [[0, 1, 2], [1, 2, 3]]


def test_a_second_call_scores_nothing_and_returns_the_same_bits() -> None:
    teacher = FakeTeacher()
    cached = CachedTeacher(teacher, None, TOKENS)
    first = cached.score(*ASKED)
    assert (first.num_requested, first.num_known, first.num_scored) == (6, 0, 5)
    assert len(teacher.asked) == len(set(teacher.asked)) == 5
    teacher.offset = 1.0
    second = cached.score(*ASKED)
    assert (second.num_requested, second.num_known, second.num_scored) == (6, 6, 0)
    assert second.scores.tobytes() == first.scores.tobytes()
    assert first.scores.shape == (2, 3) and first.scores.dtype == np.float32


def test_every_pair_gets_the_score_of_its_own_ids() -> None:
    teacher = FakeTeacher()
    expected = teacher.score_pairs(
        [
            Pair([1, *TOKENS[row], 2], [3, *text.encode()])
            for text, rows in zip(*ASKED, strict=True)
            for row in rows
        ]
    )
    found = CachedTeacher(teacher, None, TOKENS).score(*ASKED).scores
    np.testing.assert_array_equal(found.ravel(), expected)


def test_duplicates_within_a_call_are_scored_once() -> None:
    teacher = FakeTeacher()
    found = CachedTeacher(teacher, None, TOKENS).score(["why", "why"], [[1, 1], [3, 1]])
    assert (found.num_requested, found.num_known, found.num_scored) == (4, 0, 1)
    assert len(teacher.asked) == 1 and len(set(found.scores.ravel().tolist())) == 1


def test_slices_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = CachedTeacher(FakeTeacher(), None, TOKENS).score(*ASKED)
    monkeypatch.setattr(cache, "_SLICE_PAIRS", 2)
    sliced = CachedTeacher(FakeTeacher(), None, TOKENS).score(*ASKED)
    assert sliced.scores.tobytes() == whole.scores.tobytes()


def test_no_questions_give_no_scores() -> None:
    found = CachedTeacher(FakeTeacher(), None, TOKENS).score([], np.zeros((0, 3), dtype=np.int64))
    assert found.scores.shape == (0, 3) and found.num_requested == 0


def test_a_log_opened_again_needs_no_teacher(tmp_path: Path) -> None:
    path = tmp_path / "scores.log"
    log = ScoreLog(path, fingerprint=MINE)
    cached = CachedTeacher(FakeTeacher(), log, TOKENS)
    first = cached.score(*ASKED)
    assert cached.num_scores == 5
    cached.sync()
    teacher = FakeTeacher()
    again = CachedTeacher(teacher, ScoreLog(path, fingerprint=MINE), TOKENS).score(*ASKED)
    assert not teacher.asked and again.scores.tobytes() == first.scores.tobytes()


def test_a_log_of_another_teacher_is_refused() -> None:
    with pytest.raises(MismatchError, match=f"{OTHER}.*{MINE}"):
        CachedTeacher(FakeTeacher(), ScoreLog(None, fingerprint=OTHER), TOKENS)


@pytest.mark.parametrize("row", [-1, 6])
def test_a_row_outside_the_store_is_refused(row: int) -> None:
    with pytest.raises(ArtError, match="of 6 passages"):
        CachedTeacher(FakeTeacher(), None, TOKENS).score(["why"], [[0, row]])


def test_a_score_that_is_no_number_names_its_pair() -> None:
    teacher = FakeTeacher()
    teacher.offset = float("nan")
    cached = CachedTeacher(teacher, None, TOKENS)
    with pytest.raises(ArtError, match="'why' and the passage in row 4"):
        cached.score(["why"], [[4, 0]])
    assert cached.num_scores == 0


def test_what_one_rank_scored_all_know_and_the_main_one_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scores.log"

    def work(rank: int) -> tuple[CachedTeacher, list]:
        teacher = FakeTeacher()
        teacher.offset = float(rank)  # as if ranks differed in their last bits
        cached = CachedTeacher(teacher, ScoreLog(path, fingerprint=MINE), TOKENS)
        steps = [
            cached.score(["why"], [[0, 1]] if rank == 0 else [[1, 2]]),  # row 1 asked by both
            cached.score(["why"], [[2, 1]] if rank == 0 else [[0, 1]]),
        ]
        cached.sync()
        return cached, steps

    (main, by_main), (other, by_other) = Job(monkeypatch, 2).run(work)
    assert [len(one.teacher.asked) for one in (main, other)] == [2, 1]
    assert main.num_scored == other.num_scored == 3
    assert main.num_scores == other.num_scores == 3
    assert by_main[0].scores[0, 1] == by_other[0].scores[0, 0]  # the first rank's counts
    assert by_main[1].num_scored == by_other[1].num_scored == 0
    assert by_main[1].scores[0, 0] == by_other[0].scores[0, 1]
    stored = read_log(path, fingerprint=MINE).records
    expected = [*by_main[0].scores[0], by_other[0].scores[0, 1]]
    assert stored["score"].tolist() == [float(one) for one in expected]  # in the order of ranks


def test_a_fault_on_one_rank_is_a_fault_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(rank: int) -> object:
        return CachedTeacher(FakeTeacher(), None, TOKENS).score(["why"], [[-1 if rank else 0]])

    first, second = Job(monkeypatch, 2).run(work)
    assert isinstance(first, ArtError) and str(first) == str(second)


@pytest.mark.parametrize("model", ["tiny_t5", "tiny_llama"])
def test_scores_are_the_teachers_own(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    texts = ["the winter garden", "stone bridge " * 9, "doctor silver"]
    passages = [Passage(str(i), "moon" * (i == 1), text) for i, text in enumerate(texts)]
    store = PassageStore.build(passages, tmp_path / "store", source="here", progress=False)
    folder = str(request.getfixturevalue(model))
    teacher = load_language_model(folder, dtype="float32", device="cpu", max_length=60)
    tokens = TokenStore.open_or_build(store, teacher.template, cache=tmp_path, progress=False)
    questions, rows = ["who built the bridge ?", "why"], np.array([[0, 1, 2], [2, 1, 0]])
    template = teacher.template
    whole = template.passages([one.title for one in passages], texts)
    expected = teacher.log_likelihoods(
        [template.context(whole[row]) for row in rows.ravel()],
        [template.target(text) for text in questions for _ in range(3)],
    )
    found = CachedTeacher(teacher, None, tokens).score(questions, rows)
    np.testing.assert_allclose(found.scores.ravel(), expected, rtol=0, atol=1e-5)


@pytest.fixture(scope="module", params=["t5_untied", "llama"])
def judged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[LanguageModelTeacher, TokenStore, np.ndarray]:
    """A teacher, five passages, and what Hugging Face says of them: [5 questions, 5 passages]."""
    model = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("judged")
    passages = [Passage(str(i), title, text) for i, (title, text) in enumerate(PASSAGES)]
    store = PassageStore.build(passages, folder / "store", source="here", progress=False)
    teacher = load_language_model(str(model), dtype="float32", device="cpu")
    tokens = TokenStore.open_or_build(store, teacher.template, cache=folder, progress=False)
    expected = by_hugging_face(model, *pairs(teacher))
    return teacher, tokens, expected.reshape(len(PASSAGES), len(QUESTIONS)).T


@settings(max_examples=15, deadline=None)
@given(
    calls=st.lists(
        st.tuples(
            st.lists(st.integers(0, 4), min_size=1, max_size=3),
            st.lists(st.integers(0, 4), min_size=1, max_size=4),
        ),
        min_size=1,
        max_size=4,
    ),
    batch_tokens=st.integers(1, 2000),
    share=st.booleans(),
)
def test_neither_calls_nor_batches_nor_what_is_known_changes_a_score(
    judged: tuple, calls: list, batch_tokens: int, share: bool
) -> None:
    teacher, tokens, expected = judged
    remembering = CachedTeacher(teacher, None, tokens)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teacher, "batch_tokens", batch_tokens)
        patch.setattr(teacher, "share", share)
        for asked, passages in calls:
            texts = [QUESTIONS[i] for i in asked]
            rows = np.tile(passages, (len(asked), 1))
            for cached in (remembering, CachedTeacher(teacher, None, tokens)):
                found = cached.score(texts, rows).scores
                np.testing.assert_allclose(found, expected[np.ix_(asked, passages)], atol=1e-5)
    wanted = {(q, p) for asked, passages in calls for q in asked for p in passages}
    assert remembering.num_scored == remembering.num_scores == len(wanted)
