"""Results re-ordered by a teacher: as Hugging Face's losses order them, killed and resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

from art.data.formats import Passage, Question, read_run
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import ArtError, MismatchError
from art.evaluation import rescoring
from art.evaluation.rescoring import rescore_run
from art.files import lock
from art.teacher import grouped
from art.teacher.cached import CachedTeacher
from art.teacher.grouped import grouped_scores
from art.teacher.kinds.question_likelihood import QuestionLikelihood
from art.teacher.registry import load_teacher
from art.teacher.score_log import ScoreLog

QUESTIONS = [
    Question("a", "who built the stone bridge ?", answers=("river",)),
    Question("b", "where is the moon"),
    Question("none", "nothing was found"),
    Question("c", "why does the doctor keeps the silver mirror"),
]
ROWS = np.array([[5, 0, 17, 3], [2, 17, -1, -1], [-1, -1, -1, -1], [30, 59, 5, -1]])


@pytest.fixture(scope="module")
def store(corpus, tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    folder = tmp_path_factory.mktemp("rescoring") / "store"
    return PassageStore.build(
        [Passage(*one) for one in corpus], folder, source="test", progress=False
    )


def teacher_of(folder: Path) -> QuestionLikelihood:
    # So few tokens at once that there are several blocks.
    return load_teacher(str(folder), dtype="float32", device="cpu", batch_tokens=64)


def rescore(
    folder: Path, store: PassageStore, output: Path, teacher: QuestionLikelihood | None = None
) -> None:
    teacher = teacher or teacher_of(folder)
    tokens = TokenStore.open_or_build(store, teacher.template, progress=False)
    rescore_run(teacher, tokens, QUESTIONS, ROWS, store, output, progress=False)


def by_hugging_face(
    folder: Path, teacher: QuestionLikelihood, passage: Passage, question: str
) -> float:
    """Minus the loss that transformers computes for one pair."""
    (ids,) = teacher.template.passages([passage.title], [passage.text])
    context, target = teacher.template.context(ids), teacher.template.target(question)
    causal = teacher.family == "causal"
    kind = AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM
    model = kind.from_pretrained(folder, dtype=torch.float32).eval()
    inputs = torch.tensor([context + target if causal else context])
    labels = torch.tensor([[-100] * len(context) + target if causal else target])
    with torch.no_grad():
        return -model(input_ids=inputs, labels=labels).loss.item()


@pytest.mark.parametrize("model", ["tiny_t5", "tiny_llama"])
@pytest.mark.parametrize("ending", ["json", "trec"])
def test_the_order_and_the_scores_are_those_of_hugging_faces_losses(
    model: str, ending: str, store, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(model)
    output = tmp_path / f"out.{ending}"
    rescore(folder, store, output)
    found = read_run(output)
    teacher = teacher_of(folder)
    positions = {"a": 0, "b": 1, "none": 2, "c": 3}
    assert found.question_ids == [n for n in positions if ending == "json" or n != "none"]
    for name, passages, scores in zip(
        found.question_ids, found.passage_ids, found.scores, strict=True
    ):
        rows = [row for row in ROWS[positions[name]].tolist() if row >= 0]
        text = QUESTIONS[positions[name]].text
        expected = {
            store[row].passage_id: by_hugging_face(folder, teacher, store[row], text)
            for row in rows
        }
        assert passages == sorted(expected, key=lambda passage: -expected[passage])
        np.testing.assert_allclose(
            scores[: len(rows)], [expected[passage] for passage in passages], rtol=0, atol=1e-5
        )


def test_a_killed_job_goes_on_and_writes_the_same_file(
    tiny_llama: Path, store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, cut = tmp_path / "whole.json", tmp_path / "cut.json"
    rescore(tiny_llama, store, whole)
    assert [path.name for path in tmp_path.iterdir()] == ["whole.json"]

    class Killed(BaseException):
        pass

    teacher, asked = teacher_of(tiny_llama), []
    original = teacher.score_pairs

    def dies_at_the_second_block(pairs):
        asked.append(len(pairs))
        if len(asked) == 2:
            raise Killed
        return original(pairs)

    monkeypatch.setattr(teacher, "score_pairs", dies_at_the_second_block)
    with pytest.raises(Killed):
        rescore(tiny_llama, store, cut, teacher)
    assert asked == [1, 1] and not cut.exists()
    kept = tmp_path / "cut.json.scores"
    # A kill in the middle of writing leaves more than the last whole block.
    with open(kept / "scores.log", "ab") as file:
        file.write(b"half of the next block")
    rescore(tiny_llama, store, cut, teacher)
    assert asked == [1, 1, 1, 1, 2, 2, 1, 1]  # nothing of the first block again
    assert cut.read_bytes() == whole.read_bytes()
    assert not kept.exists()


def test_scores_of_another_teacher_beside_the_output_are_refused(
    tiny_llama: Path, tiny_t5: Path, store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.json"
    refuse = pytest.raises(ArtError, match="full")
    with monkeypatch.context() as patch, refuse:
        patch.setattr(rescoring, "write_run", lambda *_: (_ for _ in ()).throw(ArtError("full")))
        rescore(tiny_llama, store, output)
    with pytest.raises(MismatchError, match=r"out\.json\.scores.*of the teacher"):
        rescore(tiny_t5, store, output)
    rescore(tiny_llama, store, output)
    assert len(json.loads(output.read_text())) == 4


def test_scores_known_elsewhere_are_not_made_again(
    tiny_llama: Path, store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = teacher_of(tiny_llama)
    tokens = TokenStore.open_or_build(store, teacher.template, progress=False)
    elsewhere = ScoreLog(tmp_path / "scores.log", fingerprint=teacher.fingerprint)
    texts = [question.text for question in QUESTIONS]
    # All but one, so that the job still has something to do.
    kept = ROWS.copy()
    kept[3, 1] = -1
    kept = np.where(kept < 0, 5, kept)
    expected = CachedTeacher(teacher, elsewhere, tokens).score(texts, kept).scores
    elsewhere.close()
    asked: list[int] = []
    original = teacher.score_pairs

    def counted(pairs):
        asked.append(len(pairs))
        return original(pairs)

    monkeypatch.setattr(teacher, "score_pairs", counted)
    output = tmp_path / "out.json"
    rescore_run(
        teacher, tokens, QUESTIONS, ROWS, store, output, known_scores=[tmp_path], progress=False
    )
    assert sum(asked) == 1
    found = read_run(output)
    assert found.scores[0].tolist() == sorted(expected[0].tolist(), reverse=True)
    with pytest.raises(MismatchError, match=r"scores\.log: .* of the teacher"):
        rescore_run(
            load_teacher(str(tiny_llama), dtype="float32", device="cpu", reduction="sum"),
            tokens,
            QUESTIONS,
            ROWS,
            store,
            output,
            known_scores=[tmp_path],
            progress=False,
        )


def test_two_jobs_never_write_the_same_output(tiny_llama: Path, store, tmp_path: Path) -> None:
    with (
        lock(tmp_path / "out.json.scores" / ".lock"),
        pytest.raises(ArtError, match="another job that writes this output"),
    ):
        rescore(tiny_llama, store, tmp_path / "out.json")


def test_blocks_do_not_show(tiny_t5: Path, store, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = teacher_of(tiny_t5)
    tokens = TokenStore.open_or_build(store, teacher.template, progress=False)
    texts = [question.text for question in QUESTIONS]

    def scores() -> np.ndarray:
        return grouped_scores(CachedTeacher(teacher, None, tokens), texts, ROWS, progress=False)

    in_blocks = scores()
    monkeypatch.setattr(grouped, "_BATCHES_AT_ONCE", 1000)
    np.testing.assert_allclose(scores(), in_blocks, rtol=0, atol=1e-5)
    assert (np.isfinite(in_blocks) == (ROWS >= 0)).all()
