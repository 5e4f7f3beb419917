"""One step of the method against a reference written with plain Hugging Face calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from forked import call
from tiny_step import QUESTIONS, K, TinyStep, build_step, gradients, own_gradients
from transformers import AutoTokenizer, BertModel, T5ForConditionalGeneration

from art.retriever.loading import create_retriever
from art.training.candidates import half_and_half
from art.training.losses import Temperatures
from art.training.run_log import _summary
from art.training.schedule import MicroBatch
from art.training.statistics import StepStatistics


@pytest.fixture(scope="module")
def tiny(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> TinyStep:
    return build_step(tiny_bert, tiny_t5, corpus, tmp_path_factory.mktemp("tiny"))


def reference(tiny: TinyStep, tiny_bert: Path, tiny_t5: Path, corpus) -> tuple[float, dict]:
    """The paper's equations, one pair at a time, with nothing of ours but the candidate rows."""
    rows = tiny.candidates([QUESTIONS])
    teacher = T5ForConditionalGeneration.from_pretrained(tiny_t5).eval()
    teacher_tokenizer = AutoTokenizer.from_pretrained(tiny_t5)
    student_tokenizer = AutoTokenizer.from_pretrained(tiny_bert)
    towers = [BertModel.from_pretrained(tiny_bert).double().eval() for _ in range(2)]
    losses = []
    for question, its_rows in zip(QUESTIONS, rows, strict=True):
        likelihoods, scores = [], []
        asked = student_tokenizer(question, return_tensors="pt")
        question_vector = towers[0](**asked).last_hidden_state[0, 0]
        for row in its_rows.tolist():
            _, title, text = corpus[row]
            passage = f"{title} {text}" if title else text
            prompt = f"Passage: {passage} . Please write a question based on this passage."
            target = teacher_tokenizer(f"Question: {question}", return_tensors="pt").input_ids
            with torch.no_grad():
                output = teacher(**teacher_tokenizer(prompt, return_tensors="pt"), labels=target)
            likelihoods.append(-output.loss.double())
            pair = (title, text) if title else (text,)
            shown = student_tokenizer(*pair, return_tensors="pt")
            shown["token_type_ids"] = torch.zeros_like(shown["input_ids"])
            vector = towers[1](**shown).last_hidden_state[0, 0]
            scores.append(question_vector @ vector / 32**0.5)
        labels = (torch.stack(likelihoods) / tiny.temperature).softmax(0)
        log_retriever = torch.stack(scores).log_softmax(0)
        losses.append((labels * (labels.log() - log_retriever)).sum())
    loss = torch.stack(losses).mean()
    loss.backward()
    names = {"question_tower": towers[0], "passage_tower": towers[1]}
    grads = {
        f"{name}.backbone.{parameter}": p.grad
        for name, tower in names.items()
        for parameter, p in tower.named_parameters()
        if p.grad is not None
    }
    return loss.item(), grads


def named(name: str) -> Callable[[str], str]:
    return lambda message: f"{name}: {message}"


def test_loss_and_gradient_equal_the_papers_equations(tiny, tiny_bert, tiny_t5, corpus) -> None:
    expected_loss, expected = reference(tiny, tiny_bert, tiny_t5, corpus)
    loss, grads = gradients(tiny, [MicroBatch(0, (0, 1)), MicroBatch(1, (2, 3))])
    assert loss == pytest.approx(expected_loss, rel=1e-5)  # the teacher computes in float32
    assert set(grads) == set(expected)
    # The teacher computes in float32, and its rounding is divided by the temperature.
    largest = max(grad.abs().max().item() for grad in expected.values())
    for name, grad in grads.items():
        torch.testing.assert_close(
            grad,
            expected[name],
            rtol=1e-4,
            atol=5e-5 * largest,
            msg=named(name),
        )


def test_micro_batches_of_any_size_give_the_same_gradient(tiny) -> None:
    whole = gradients(tiny, [MicroBatch(0, (0, 1, 2, 3))])
    parts = gradients(tiny, [MicroBatch(i, (i,)) for i in range(4)])
    assert parts[0] == pytest.approx(whole[0], rel=1e-10)
    for name, grad in whole[1].items():
        torch.testing.assert_close(parts[1][name], grad, rtol=1e-8, atol=1e-12, msg=named(name))


def test_chunks_of_any_size_give_the_same_gradient(tiny) -> None:
    micro_batches = [MicroBatch(0, (0, 1)), MicroBatch(1, (2, 3))]
    whole = gradients(tiny, micro_batches)
    parts = gradients(tiny, micro_batches, chunk_tokens=70)
    assert parts[0] == pytest.approx(whole[0], rel=1e-10)
    for name, grad in whole[1].items():
        torch.testing.assert_close(parts[1][name], grad, rtol=1e-8, atol=1e-12, msg=named(name))


def test_the_teacher_is_asked_once_per_pair(tiny) -> None:
    gradients(tiny, [MicroBatch(0, (0, 1, 2, 3))])
    scored = tiny.teacher.score(QUESTIONS, tiny.candidates([QUESTIONS]))
    assert (scored.num_requested, scored.num_known) == (4 * K, 4 * K)


def test_two_processes_give_the_gradient_of_one_with_dropout_on(
    tiny_bert, tiny_t5, corpus, tmp_path
) -> None:
    arguments = tiny_bert, tiny_t5, corpus, tmp_path
    one = own_gradients(*arguments)
    for found in call(own_gradients, *arguments, world_size=2):
        assert set(one) == set(found)
        for name in one:
            np.testing.assert_allclose(found[name], one[name], rtol=1e-8, atol=1e-10, err_msg=name)


@pytest.mark.parametrize("generated", [[[0, 1], [0, 0]], [[1, 1], [1, 1]]])
def test_either_kind_has_the_mean_of_its_own_questions_over_all_processes(generated) -> None:
    losses = [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 7.0])]
    scores = torch.tensor([[0.0, 0.0], [0.0, 1000.0]])  # entropies log 2 and 0
    by_rank = []
    for its_losses, its_generated in zip(losses, generated, strict=True):
        one = StepStatistics(num_questions=2)
        flags = [bool(flag) for flag in its_generated]
        one.add_by_origin(its_losses, scores, Temperatures(1.0, 1.0), flags)
        by_rank.append(one)
    found = _summary(by_rank, {"learn": 1.0})
    if generated == [[1, 1], [1, 1]]:
        assert found["generated_share"] == 1 and found["generated_loss"] == 13 / 4
        assert not [name for name in found if name.startswith("real")]
        return
    assert found["generated_share"] == 1 / 4
    assert (found["generated_loss"], found["real_loss"]) == (2, pytest.approx(11 / 3))
    entropies = found["generated_soft_label_entropy"], found["real_soft_label_entropy"]
    assert entropies == pytest.approx((0, 2 * np.log(2) / 3))


def test_a_frozen_tower_keeps_its_vectors_in_training_mode(tiny_bert) -> None:
    retriever = create_retriever(str(tiny_bert), passage_length=128, dropout=0.5, freeze="passage")
    retriever.train()
    ids = torch.arange(5, 15)[None]
    mask = torch.ones_like(ids, dtype=torch.bool)
    torch.testing.assert_close(
        retriever.passage_tower(ids, mask), retriever.passage_tower(ids, mask), rtol=0, atol=0
    )
    assert not torch.equal(retriever.question_tower(ids, mask), retriever.question_tower(ids, mask))


@pytest.mark.parametrize("top_k", [2, 5, 8])
def test_both_gives_k_distinct_candidates_and_the_better_half_of_each(top_k: int) -> None:
    first, second = np.arange(top_k), np.arange(top_k)[::-1] + 1
    rows = half_and_half(first, second)
    assert len(set(rows.tolist())) == len(rows) == top_k
    half = (top_k + 1) // 2
    assert rows[:half].tolist() == first[:half].tolist()
    assert set(rows[half:].tolist()) <= set(second.tolist())


def test_where_bm25_finds_too_little_the_retriever_fills_up() -> None:
    first = np.array([4, 9, 7, 1, 3, 8])
    for second, expected in [
        ([9, 5, 1, -1, -1, -1], [4, 9, 7, 5, 1, 3]),
        ([-1] * 6, [4, 9, 7, 1, 3, 8]),
        ([0, 1, 2, 3, 4, 5], [4, 9, 7, 0, 1, 2]),
        ([7, 9, 4, -1, -1, -1], [4, 9, 7, 1, 3, 8]),
    ]:
        assert half_and_half(first, np.array(second)).tolist() == expected
