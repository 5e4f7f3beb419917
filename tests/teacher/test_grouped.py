"""Many pairs in the order of their passages: the same scores, and each passage read once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from cached_teachers import MINE, TOKENS, FakeTeacher, Job
from hypothesis import given, settings
from hypothesis import strategies as st
from language_model_pairs import PASSAGES

from art.data.passages import Passage, PassageStore
from art.data.tokens import TokenStore
from art.teacher import grouped
from art.teacher.cached import CachedTeacher
from art.teacher.forward import ForwardPasses
from art.teacher.grouped import grouped_scores, score_grouped
from art.teacher.registry import load_teacher
from art.teacher.score_log import ScoreLog

QUIET = {"progress": False}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(st.lists(st.integers(-1, 5), min_size=3, max_size=3), min_size=0, max_size=40),
    at_once=st.integers(1, 5),
    by_question=st.booleans(),
)
def test_every_pair_is_in_one_block_with_the_score_it_has_alone(
    rows: list, at_once: int, by_question: bool
) -> None:
    asked = np.array(rows, dtype=np.int64).reshape(-1, 3)
    texts = [f"question {i % 7}" for i in range(len(asked))]
    cached = CachedTeacher(FakeTeacher(), None, TOKENS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grouped, "_BATCHES_AT_ONCE", at_once)
        patch.setattr(grouped, "_BATCHES_WHILE_WATCHED", at_once)
        blocks = list(score_grouped(cached, texts, asked, by_question=by_question, **QUIET))
    pairs = np.concatenate([asked.ravel()[:0], *(block.pairs for block in blocks)])
    assert sorted(pairs.tolist()) == np.flatnonzero(asked.ravel() >= 0).tolist()
    alone = CachedTeacher(FakeTeacher(), None, TOKENS)
    for block in blocks:
        # So many groups of one passage as fit, of eight questions each at most.
        assert len(block.pairs) <= 8 * at_once
    if by_question and len(pairs):  # whoever asks later waits for those before
        latest = [int(block.pairs.min()) for block in blocks]
        assert latest == sorted(latest)
    for block in blocks:
        for pair, score in zip(block.pairs.tolist(), block.scores, strict=True):
            expected = alone.score([texts[pair // 3]], asked.ravel()[pair][None, None])
            assert score == expected.scores[0, 0]
    assert cached.num_scored == alone.num_scored


def test_a_passage_is_read_once_however_many_questions_find_it(
    llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passages = [Passage(str(i), title, text) for i, (title, text) in enumerate(PASSAGES)]
    store = PassageStore.build(passages, tmp_path / "store", source="here", progress=False)
    teacher = load_teacher(str(llama), dtype="float32", device="cpu")
    tokens = TokenStore.open_or_build(store, teacher.template, cache=tmp_path, progress=False)
    assert teacher.reads_passages_apart
    num_read: list[int] = []
    read = ForwardPasses.read

    def counted(self: ForwardPasses, contexts: list) -> object:
        num_read.append(len(contexts))
        return read(self, contexts)

    monkeypatch.setattr(ForwardPasses, "read", counted)
    texts = [f"what is it, number {i} ?" for i in range(8)]
    rows = np.tile(np.arange(len(PASSAGES)), (8, 1))
    together = grouped_scores(CachedTeacher(teacher, None, tokens), texts, rows, **QUIET)
    assert sum(num_read) == len(PASSAGES)
    apart = np.concatenate(
        [
            CachedTeacher(teacher, None, tokens).score([text], line[None]).scores
            for text, line in zip(texts, rows, strict=True)
        ]
    )
    np.testing.assert_allclose(together, apart, rtol=0, atol=1e-5)


def test_processes_share_the_passages(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, rows = ["why", "who", "what"], np.array([[0, 2], [2, 4], [4, 5]])
    alone = CachedTeacher(FakeTeacher(), None, TOKENS).score(texts, rows).scores

    def work(_: int) -> tuple[FakeTeacher, np.ndarray]:
        teacher = FakeTeacher()
        cached = CachedTeacher(teacher, None, TOKENS)
        return teacher, grouped_scores(cached, texts, rows, **QUIET)

    (first, found), (second, other) = Job(monkeypatch, 2).run(work)
    np.testing.assert_array_equal(found, other)
    read = [{context for context, _ in teacher.asked} for teacher in (first, second)]
    assert [len(contexts) for contexts in read] == [2, 2] and not read[0] & read[1]
    np.testing.assert_array_equal(found, alone)


def test_a_job_begun_again_scores_the_batches_that_were_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grouped, "_BATCHES_AT_ONCE", 1)
    texts, rows = ["why", "who"], np.array([[0, 2, 4], [5, 2, 0]])
    whole, calls = FakeTeacher(), []

    def remembering(teacher: FakeTeacher) -> FakeTeacher:
        score = teacher.score_pairs
        teacher.score_pairs = lambda pairs: calls.append(pairs) or score(pairs)
        return teacher

    grouped_scores(CachedTeacher(remembering(whole), None, TOKENS), texts, rows, **QUIET)
    expected, calls[:] = [str(call) for call in calls], []
    for stop in (2, None):
        log = ScoreLog(tmp_path / "scores.log", fingerprint=MINE)
        blocks = score_grouped(
            CachedTeacher(remembering(FakeTeacher()), log, TOKENS), texts, rows, **QUIET
        )
        for number, _ in enumerate(blocks, start=1):
            if number == stop:
                break
        log.close()
    assert [str(call) for call in calls if call] == [call for call in expected if call != "[]"]


def test_scores_since_the_mark_are_not_called_known(tmp_path: Path) -> None:
    log = ScoreLog(tmp_path / "scores.log", fingerprint=MINE)
    cached = CachedTeacher(FakeTeacher(), log, TOKENS)
    cached.score(["why"], [[0]])
    log.set_mark()
    grouped_scores(cached, ["why"], np.array([[0, 2]]), **QUIET)
    assert cached.num_scored == 2
    log.sync()
    log.close()
    again = ScoreLog(tmp_path / "scores.log", fingerprint=MINE, length=2, mark=log.mark)
    for one in (cached, CachedTeacher(FakeTeacher(), again, TOKENS)):
        found = one.score(["why"], [[0, 2]])
        assert (found.num_known, found.num_scored) == (1, 0)
    again.set_mark()
    assert CachedTeacher(FakeTeacher(), again, TOKENS).score(["why"], [[0, 2]]).num_known == 2
