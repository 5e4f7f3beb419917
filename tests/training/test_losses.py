"""The formulae against plain NumPy and against PyTorch's own divergence."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax
from torch.nn import functional as F

from art.training.losses import (
    LOSSES,
    Temperatures,
    contrastive_loss,
    entropy,
    log_soft_labels,
    margin_error,
    similarity,
    similarity_to_all,
    soft_label_divergence,
)


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_divergence_equals_numpy_and_the_batch_mean_of_pytorch() -> None:
    likelihoods, products = random(5, 7), random(5, 7, seed=1) * 6
    log_labels, scores = log_soft_labels(likelihoods, temperature=0.3), products / 2
    ours = soft_label_divergence(products, likelihoods, Temperatures(2.0, 0.3))
    labels = softmax(likelihoods.numpy() / 0.3, axis=1)
    by_hand = (labels * (np.log(labels) - log_softmax(scores.numpy(), axis=1))).sum(axis=1)
    np.testing.assert_allclose(ours.numpy(), by_hand, rtol=1e-12)
    batch_mean = F.kl_div(
        F.log_softmax(scores, -1), log_labels, log_target=True, reduction="batchmean"
    )
    torch.testing.assert_close(ours.mean(), batch_mean)


def test_gradient_is_the_retrievers_distribution_minus_the_soft_labels() -> None:
    likelihoods, scores = random(4, 6), random(4, 6, seed=1).requires_grad_()
    log_labels = log_soft_labels(likelihoods)
    soft_label_divergence(scores, likelihoods, Temperatures(1.0)).sum().backward()
    torch.testing.assert_close(scores.grad, scores.detach().softmax(-1) - log_labels.exp())


def test_margin_error_equals_numpy_over_every_two_passages() -> None:
    products, scores = random(4, 6), random(4, 6, seed=1)
    ours = margin_error(products, scores, Temperatures(0.5, 0.2)).numpy()
    student, teacher = products.numpy() / 0.5, scores.numpy() / 0.2
    for row in range(4):
        errors = [
            ((student[row, i] - student[row, j]) - (teacher[row, i] - teacher[row, j])) ** 2
            for i in range(6)
            for j in range(i + 1, 6)
        ]
        assert len(errors) == 15
        np.testing.assert_allclose(ours[row], np.mean(errors), rtol=1e-12)


def test_the_table_of_losses_has_the_papers_and_the_margins() -> None:
    assert {"kl", "margin-mse"} <= set(LOSSES.names)
    assert LOSSES["kl"].function is soft_label_divergence


@pytest.mark.parametrize("loss", list(LOSSES), ids=lambda loss: loss.name)
def test_every_loss_is_zero_for_the_teachers_own_scores_and_moves_the_student_alone(loss) -> None:
    student, teacher = random(3, 5).requires_grad_(), random(3, 5, seed=1).requires_grad_()
    losses = loss.function(student, teacher, Temperatures(2.0, 0.5))
    assert losses.shape == (3,) and (losses > 0).all()
    losses.sum().backward()
    assert student.grad is not None and teacher.grad is None
    # Scores that differ from the teacher's by a constant say the same of the passages.
    same = (teacher.detach() / 0.5 + 3.0) * 2.0
    zeros = loss.function(same, teacher, Temperatures(2.0, 0.5))
    torch.testing.assert_close(zeros, torch.zeros_like(zeros), rtol=0, atol=1e-12)


def test_soft_labels_carry_no_gradient() -> None:
    likelihoods = random(2, 3).requires_grad_()
    assert not log_soft_labels(likelihoods).requires_grad


@given(
    st.integers(2, 9),
    st.floats(0.05, 5.0),
    st.integers(0, 10_000),
)
def test_divergence_is_never_negative_and_zero_only_for_the_teachers_own_scores(
    top_k: int, temperature: float, seed: int
) -> None:
    likelihoods = random(3, top_k, seed=seed)
    own, temperatures = likelihoods / temperature, Temperatures(1.0, temperature)
    torch.testing.assert_close(
        soft_label_divergence(own + 5.0, likelihoods, temperatures),
        torch.zeros(3, dtype=torch.float64),
    )
    others = own.flip(-1) + random(3, top_k, seed=seed + 1)
    others = soft_label_divergence(others, likelihoods, temperatures)
    assert (others > -1e-12).all()


def test_similarity_is_the_inner_product_with_each_questions_own_passages() -> None:
    questions, passages = random(3, 4), random(5, 4, seed=1)
    own = torch.tensor([[0, 4], [1, 4], [4, 2]])
    scores = similarity(questions, passages, own)
    for b, rows in enumerate(own.tolist()):
        for k, row in enumerate(rows):
            assert scores[b, k].item() == pytest.approx(float(questions[b] @ passages[row]))


def test_the_gradient_of_shared_passages_has_the_same_bits_each_time(two_threads) -> None:
    # As many as in a step of the demonstration: from 32,768 numbers on, threads share the work.
    questions, passages = random(32, 384).float(), random(40, 384, seed=1).float()
    own = torch.randint(40, (32, 6), generator=torch.Generator().manual_seed(2))

    def gradient() -> bytes:
        vectors = passages.clone().requires_grad_()
        similarity(questions, vectors, own).sum().backward()
        assert vectors.grad is not None
        return vectors.grad.numpy().tobytes()

    assert len({gradient() for _ in range(1_000)}) == 1


def test_entropy_of_flat_labels_is_log_k() -> None:
    flat = torch.full((2, 8), 1 / 8, dtype=torch.float64).log()
    np.testing.assert_allclose(entropy(flat).numpy(), np.log(8))


def test_contrastive_loss_equals_numpy_and_leaves_out_what_is_excluded() -> None:
    scores = (random(3, 5) * 2).requires_grad_()
    targets, excluded = torch.tensor([0, 2, 4]), torch.zeros(3, 5, dtype=torch.bool)
    excluded[0, 3] = excluded[1, :2] = True
    losses = contrastive_loss(scores, targets, excluded)
    for row, kept in enumerate([[0, 1, 2, 4], [2, 3, 4], [4, 0, 1, 2, 3]]):
        values = scores.detach().numpy()[row]
        expected = -log_softmax(values[kept])[kept.index(int(targets[row]))]
        np.testing.assert_allclose(losses[row].item(), expected, rtol=1e-12)
    losses.sum().backward()
    assert (scores.grad[excluded] == 0).all()
    assert (scores.grad[~excluded] != 0).all()


def test_similarity_to_all_scores_what_similarity_scores() -> None:
    questions, passages = random(3, 4), random(5, 4, seed=1)
    expected = similarity(questions, passages, torch.arange(5).expand(3, 5)) / 2
    torch.testing.assert_close(similarity_to_all(questions, passages, temperature=2.0), expected)
