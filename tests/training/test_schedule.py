"""What happens at which step, as pure functions."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from art.data.batching import epoch_order
from art.training.mixture import Mixture
from art.training.schedule import Intervals, Schedule, seed_micro_batch

SCHEDULE = Schedule(
    num_questions=103,
    questions_per_step=12,
    questions_per_micro_batch=2,
    epochs=5,
    max_steps=None,
    peak_learning_rate=1.0,
    warmup_share=0.1,
    refresh_steps=Intervals.of(3),
    evaluate_steps=6,
    save_steps=2,
    seed=1,
)


def of_step(schedule: Schedule, step: int, world_size: int) -> list[tuple[int, ...]]:
    return [
        micro.questions
        for rank in range(world_size)
        for micro in schedule.micro_batches(step, rank=rank, world_size=world_size)
    ]


def test_an_epoch_asks_every_question_once_but_for_the_last_partial_step() -> None:
    asked = [
        question
        for step in range(SCHEDULE.steps_per_epoch)
        for micro in of_step(SCHEDULE, step, 1)
        for question in micro
    ]
    assert len(asked) == len(set(asked)) == 96
    assert SCHEDULE.num_dropped == 7
    second = [q for m in of_step(SCHEDULE, SCHEDULE.steps_per_epoch, 1) for q in m]
    assert second != asked[:12]


@given(st.integers(0, 39), st.sampled_from([1, 2, 3, 6]))
def test_the_number_of_processes_changes_who_asks_but_not_what_is_asked(
    step: int, world_size: int
) -> None:
    assert of_step(SCHEDULE, step, world_size) == of_step(SCHEDULE, step, 1)
    numbers = [
        micro.number
        for rank in range(world_size)
        for micro in SCHEDULE.micro_batches(step, rank=rank, world_size=world_size)
    ]
    assert numbers == list(range(6))


def test_learning_rate_rises_to_the_peak_and_falls_linearly_towards_zero() -> None:
    rates = [SCHEDULE.learning_rate(step) for step in range(SCHEDULE.num_steps)]
    assert SCHEDULE.num_steps == 40
    assert SCHEDULE.warmup_steps == 4
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    falls = [a - b for a, b in pairwise(rates[4:])]
    assert falls == pytest.approx([1 / 36] * 35)
    assert rates[-1] == pytest.approx(1 / 36)
    assert SCHEDULE.learning_rate(SCHEDULE.num_steps) == 0.0


def test_refreshes_and_evaluations_force_the_save_and_come_after_it() -> None:
    assert SCHEDULE.due(0) == SCHEDULE.due(40) == SCHEDULE.due(6) == ("save", "refresh", "evaluate")
    assert SCHEDULE.due(3) == ("save", "refresh")
    assert SCHEDULE.due(2) == ("save",)
    assert SCHEDULE.due(1) == ()


@st.composite
def intervals(draw: st.DrawFn) -> dict[int, int]:
    given = {0: draw(st.integers(1, 9))}
    for begin in draw(st.lists(st.integers(1, 40), max_size=3)):
        given[begin] = draw(st.sampled_from([n for n in range(1, 41) if begin % n == 0]))
    return given


@given(intervals())
def test_each_interval_counts_from_the_step_where_it_begins(given: dict[int, int]) -> None:
    due, begins = [], [*sorted(given), 60]
    for begin, end in pairwise(begins):
        due += range(begin, end, given[begin])
    found = Intervals.of(given)
    assert [step for step in range(60) if found.last(step) == step] == due
    for step in range(min(50, due[-1])):
        assert found.last(step) == max(one for one in due if one <= step)
        assert found.next(step) == min(one for one in due if one > step)
    assert found.longest == max(given.values())


@given(intervals(), st.integers(2, 9))
def test_steps_scored_together_never_reach_over_a_refresh(
    given: dict[int, int], together: int
) -> None:
    schedule = replace(SCHEDULE, refresh_steps=Intervals.of(given), prefetch_steps=together)
    stretches = [schedule.prefetched(step) for step in range(schedule.num_steps)]
    assert [step for one in stretches for step in one] == [*range(schedule.num_steps)]
    for one in filter(len, stretches):
        assert len(one) <= together
        assert not any("refresh" in schedule.due(step) for step in one[1:])


def test_an_index_is_kept_neither_for_an_evaluation_of_it_nor_at_the_ends() -> None:
    schedule = replace(SCHEDULE, refresh_when_changed=0.1, evaluate_steps=12)
    refreshed = {step for step in range(41) if "refresh" in schedule.due(step)}
    kept = {step for step in range(41) if schedule.may_keep_index(step)}
    assert kept == refreshed - {0, 12, 24, 36, 40}
    pooled = replace(schedule, evaluates_index=False)
    assert {step for step in range(41) if pooled.may_keep_index(step)} == refreshed - {0, 40}
    assert not any(SCHEDULE.may_keep_index(step) for step in range(41))
    # Then the refresh forces no save either.
    assert schedule.due(6, keeps_index=True) == ("save",)
    assert schedule.due(9, keeps_index=True) == ()


def test_max_steps_ends_early_and_only_early() -> None:
    assert replace(SCHEDULE, max_steps=7).num_steps == 7
    assert replace(SCHEDULE, max_steps=7000).num_steps == 40


def test_dropout_seeds_depend_on_seed_step_and_micro_batch_alone() -> None:
    def draw(*key: int) -> list[float]:
        seed_micro_batch(*key)
        return torch.rand(4).tolist()

    torch.manual_seed(99)
    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({tuple(draw(*key)) for key in [(1, 2, 3), (1, 3, 2), (2, 2, 3), (1, 2, 4)]}) == 4


def orders(mixture: Mixture, num_epochs: int, seed: int = 1) -> list[np.ndarray]:
    return [mixture.order(seed=seed, epoch=epoch) for epoch in range(num_epochs)]


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.floats(0, 0.95),
    st.integers(0, 3),
    st.integers(1, 12),
)
def test_any_questions_in_a_row_are_generated_in_their_share_and_all_real_ones_come_in_their_order(
    num_real: int, num_generated: int, share: float, epoch: int, length: int
) -> None:
    mixture = Mixture(num_real, num_generated, share)
    order = mixture.order(seed=3, epoch=epoch)
    of_epoch = mixture.of_epoch
    assert of_epoch[1] == pytest.approx(share * sum(of_epoch), abs=1)
    is_generated = order >= num_real
    assert (int((~is_generated).sum()), int(is_generated.sum())) == of_epoch
    for start in range(0, len(order) - length + 1, length):
        count = int(is_generated[start : start + length].sum())
        assert abs(count - length * of_epoch[1] / len(order)) < 1
    # A run without generated questions asks the real ones in the same order.
    assert order[~is_generated].tolist() == epoch_order(num_real, seed=3, epoch=epoch).tolist()


def test_every_generated_question_is_asked_before_any_is_asked_again() -> None:
    mixture = Mixture(8, 5, 0.5)  # eight in each epoch
    asked = [place - 8 for order in orders(mixture, 5) for place in order.tolist() if place >= 8]
    passes = [asked[start : start + 5] for start in range(0, 40, 5)]
    assert all(sorted(one) == [*range(5)] for one in passes)
    assert len({tuple(one) for one in passes}) > 1
    assert orders(mixture, 5, seed=2)[0].tolist() != orders(mixture, 1)[0].tolist()


def test_none_or_all_are_generated() -> None:
    for order in orders(Mixture(8, 5, 0.0), 2):
        assert sorted(order.tolist()) == [*range(8)]
    for order in orders(Mixture(8, 5, 1.0), 2):
        assert sorted(order.tolist()) == [*range(8, 13)]


MIXED = replace(
    SCHEDULE,
    num_questions=40,
    mixture=Mixture(30, 70, 0.25),
    labelled_share=0.25,
    num_labelled=30,
)


@pytest.mark.parametrize("world_size", [2, 3])
def test_a_run_asks_the_share_of_every_step_whatever_its_processes(world_size: int) -> None:
    assert (MIXED.steps_per_epoch, MIXED.num_dropped, MIXED.num_steps) == (3, 4, 20)
    counts = Counter[int]()
    for step in range(MIXED.num_steps):
        asked = of_step(MIXED, step, world_size)
        assert asked == of_step(MIXED, step, 1)
        if MIXED.is_labelled(step):
            assert max(max(one) for one in asked) < 30  # of the labelled questions
            continue
        counts.update(sum(place >= 30 for place in one) for one in asked)
        assert sum(place >= 30 for one in asked for place in one) == 3
    assert counts.keys() <= {0, 1}  # of the two of a micro-batch
