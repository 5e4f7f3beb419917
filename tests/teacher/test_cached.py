"""Scores already known: looked up, and shared by the processes of a job."""

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
from art.errors import ArtError, MismatchError
from art.teacher import cached as cached_module
from art.teacher.cached import CachedTeacher
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.log_file import read_log
from art.teacher.registry import load_teacher
from art.teacher.score_log import ScoreLog

OTHER = "b" * 32
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
    monkeypatch.setattr(cached_module, "_SLICE_PAIRS", 2)
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
    teacher = load_teacher(folder, dtype="float32", device="cpu", max_length=60)
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
) -> tuple[QuestionLikelihood, TokenStore, np.ndarray]:
    """A teacher, five passages, and what Hugging Face says of them: [5 questions, 5 passages]."""
    model = request.getfixturevalue(request.param)
    folder = tmp_path_factory.mktemp("judged")
    passages = [Passage(str(i), title, text) for i, (title, text) in enumerate(PASSAGES)]
    store = PassageStore.build(passages, folder / "store", source="here", progress=False)
    teacher = load_teacher(str(model), dtype="float32", device="cpu")
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
