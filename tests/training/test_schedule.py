"""What happens at which step, as pure functions."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

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
