"""The contrastive step and its gradient cache against plain tensors, and against each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from contrastive_batches import (
    CASES,
    ITEMS,
    gradients,
    in_micro_batches,
    make_retriever,
    own_gradients,
    plain_loss,
    take_step,
)
from forked import call

from art.data.contrastive import ContrastiveItem
from art.errors import ArtError
from art.retriever.encoders import Retriever
from art.training.methods.dpr import dpr_step
from art.training.progress import PhaseTimer
from art.training.schedule import MicroBatch


class Recorder(torch.nn.Module):
    """The retriever, keeping what it was asked, and in which random state."""

    def __init__(self, retriever: Retriever) -> None:
        super().__init__()
        self.retriever = retriever
        self.calls = []

    def forward(self, *tensors, **options):
        self.calls.append((torch.is_grad_enabled(), torch.get_rng_state(), tensors, options))
        return self.retriever(*tensors, **options)


def replayed(recorder: Recorder) -> tuple[float, dict[str, torch.Tensor]]:
    """Loss and gradient of one plain computation that draws the recorded dropout."""
    retriever = recorder.retriever
    retriever.zero_grad(set_to_none=True)
    found: tuple[dict, dict] = ({}, {})
    for with_gradient, state, tensors, options in recorder.calls:
        if with_gradient:
            torch.set_rng_state(state)
            sides = retriever(*tensors, **options)
            for vectors, of_side, ids, mask in zip(
                sides, found, tensors[::2], tensors[1::2], strict=True
            ):
                for i in range(0 if ids is None else len(ids)):
                    of_side[tuple(ids[i][mask[i]].tolist())] = vectors[i]
    loss, _ = plain_loss(
        ITEMS,
        [found[0][tuple(item.question)] for item in ITEMS],
        [found[1][tuple(ids)] for item in ITEMS for ids in item.passages],
        retriever.temperature,
    )
    loss.backward()
    return loss.item(), gradients(retriever)


def assert_equal(found, expected, tolerance: float) -> None:
    """Gradients agree relative to the largest; some, such as a last bias's, are but rounding."""
    assert set(found) == set(expected)
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():
        torch.testing.assert_close(
            found[name], gradient, rtol=0, atol=tolerance * largest, msg=named(name)
        )


def named(name: str) -> Callable[[str], str]:
    return lambda message: f"{name}: {message}"


def test_loss_gradient_and_figures_equal_plain_tensors(tiny_bert) -> None:
    retriever = make_retriever(tiny_bert, dropout=0.0)
    metrics, found = take_step(retriever, in_micro_batches(8))

    def alone(tower, ids):
        return tower(torch.from_numpy(ids)[None], torch.ones(1, len(ids), dtype=torch.bool))[0]

    retriever.zero_grad(set_to_none=True)
    loss, ranks = plain_loss(
        ITEMS,
        [alone(retriever.question_tower, item.question) for item in ITEMS],
        [alone(retriever.passage_tower, ids) for item in ITEMS for ids in item.passages],
        32**0.5,
    )
    loss.backward()
    assert_equal(found, gradients(retriever), 1e-10)
    assert metrics.num_questions == 8
    assert metrics.sums["loss"] / 8 == pytest.approx(loss.item(), rel=1e-12)
    assert metrics.sums["average_rank"] == sum(ranks) > 0
    assert metrics.sums["in_batch_accuracy"] == ranks.count(0)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-5)])
@pytest.mark.parametrize(
    ("size", "chunk_tokens", "num_chunks"), [(2, None, 4), (8, 100, None), (4, 50, None)]
)
def test_cached_gradient_equals_the_plain_one_with_the_same_dropout(
    tiny_bert, dtype: str, tolerance: float, size: int, chunk_tokens: int, num_chunks: int
) -> None:
    retriever = make_retriever(tiny_bert).to(getattr(torch, dtype))
    recorder = Recorder(retriever)
    metrics, found = take_step(
        retriever, in_micro_batches(size), recorder, chunk_tokens=chunk_tokens
    )
    passes = [[call for call in recorder.calls if call[0] is which] for which in (False, True)]
    assert len(passes[0]) == len(passes[1]) == (num_chunks or len(passes[0])) > 2
    for first, again in zip(*passes, strict=True):
        assert torch.equal(first[1], again[1])  # the dropout of the first pass
    states = {bytes(state.numpy()) for _, state, *_ in recorder.calls}
    assert len(states) == len(passes[0])  # each chunk has its own
    loss, expected = replayed(recorder)
    assert metrics.sums["loss"] / 8 == pytest.approx(loss, rel=tolerance)
    assert_equal(found, expected, tolerance)


def test_chunks_stay_within_their_tokens(tiny_bert) -> None:
    recorder = Recorder(make_retriever(tiny_bert))
    take_step(recorder.retriever, in_micro_batches(8), recorder, chunk_tokens=100)
    sizes = [
        ids.numel()
        for _, _, tensors, _ in recorder.calls
        for ids in tensors[::2]
        if ids is not None
    ]
    assert max(sizes) <= 100


def test_a_single_chunk_is_encoded_once_and_as_without_chunks(tiny_bert) -> None:
    recorder = Recorder(make_retriever(tiny_bert))
    _, plain = take_step(recorder.retriever, in_micro_batches(8), recorder)
    _, one_chunk = take_step(recorder.retriever, in_micro_batches(8), recorder, chunk_tokens=10_000)
    assert [with_gradient for with_gradient, *_ in recorder.calls] == [True, True]
    for name, gradient in plain.items():
        assert torch.equal(one_chunk[name], gradient), name


@pytest.mark.parametrize("frozen", ["question", "passage"])
def test_a_frozen_tower_gets_no_gradient_and_is_read_once(tiny_bert, frozen: str) -> None:
    recorder = Recorder(make_retriever(tiny_bert, dropout=0.0, freeze=frozen))
    _, plain = take_step(recorder.retriever, in_micro_batches(8))
    _, cached = take_step(recorder.retriever, in_micro_batches(2), recorder)
    assert cached
    assert not any(name.startswith(f"{frozen}_tower") for name in cached)
    assert_equal(cached, plain, 1e-11)
    side = 0 if frozen == "question" else 2
    again = [tensors for with_gradient, _, tensors, _ in recorder.calls if with_gradient]
    assert [tensors[side] for tensors in again] == [None] * 4


def test_two_processes_give_the_gradient_of_one_with_dropout_on(tiny_bert) -> None:
    one = own_gradients(tiny_bert)
    found_by_rank = call(own_gradients, tiny_bert, world_size=2)
    assert one.pop("gathered").tolist() == [[0, 0]]
    assert one.pop("own gradient").tolist() == [[1, 1]]
    for rank, found in enumerate(found_by_rank):
        assert found.pop("gathered").tolist() == [[0, 0], [1, 1], [1, 1]]
        assert found.pop("own gradient").tolist() == [[1, 1]] * (rank + 1)
        assert {name.split()[0] for name in found} == set(CASES)
        largest = max(np.abs(gradient).max() for gradient in one.values())
        for name, gradient in found.items():
            np.testing.assert_allclose(
                gradient, one[name], rtol=0, atol=1e-10 * largest, err_msg=name
            )


def item(question: list[int], passages: list[list[int]], keys: list[int]) -> ContrastiveItem:
    named_keys = np.array(keys, dtype=np.uint64)
    return ContrastiveItem(question, passages, named_keys, named_keys[:1])


def loss_of(retriever: Retriever, items: list[ContrastiveItem]) -> float:
    metrics = dpr_step(
        [MicroBatch(0, tuple(range(len(items))))],
        lambda positions: [items[i] for i in positions],
        model=retriever,
        retriever=retriever,
        seed=1,
        step=0,
        timer=PhaseTimer(),
    )
    return metrics.sums["loss"]


def test_questions_with_the_same_positive_are_not_told_apart(tiny_bert) -> None:
    retriever = make_retriever(tiny_bert, dropout=0.0)
    same = [item([7, 8], [[9, 10]], [1]), item([11, 12], [[9, 10]], [1])]
    other = [same[0], item([11, 12], [[9, 10]], [2])]
    assert loss_of(retriever, same) == 0.0
    assert loss_of(retriever, other) > 0.0


def test_hard_negatives_are_shared_by_all_questions(tiny_bert) -> None:
    retriever = make_retriever(tiny_bert, dropout=0.0)
    first = item([7, 8], [[9, 10]], [1])
    without = loss_of(retriever, [first, item([11], [[13, 14]], [2])])
    shared = loss_of(retriever, [first, item([11], [[13, 14], [15, 16]], [2, 3])])
    own = loss_of(
        retriever, [item([7, 8], [[9, 10], [15, 16]], [1, 3]), item([11], [[13, 14]], [2])]
    )
    assert shared > without
    assert shared == pytest.approx(own, rel=1e-12)


def test_one_question_needs_a_negative(tiny_bert) -> None:
    retriever = make_retriever(tiny_bert, dropout=0.0)
    assert loss_of(retriever, [item([7, 8], [[9, 10], [11, 12]], [1, 2])]) > 0.0
    with pytest.raises(ArtError, match="one question without hard negatives"):
        loss_of(retriever, [item([7, 8], [[9, 10]], [1])])
