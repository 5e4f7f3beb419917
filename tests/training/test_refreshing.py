"""When the index is refreshed, how stale it is in between, and what fresh vectors make of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from killed_run import kill
from whole_run import configure, left_behind, records

from art.planning.work import count_work
from art.training import loop, trainer
from art.training.candidates import from_retriever, in_fresh_order
from art.training.checkpoints import load_state
from art.training.loop import train
from art.training.plan import describe, schedule_of
from art.training.refreshing import Refresher, share_changed
from art.training.run_folder import RunFolder

NUM_PASSAGES, TOP_K = 30, 4


def nearest(questions: np.ndarray, passages: np.ndarray, count: int) -> np.ndarray:
    """The reference: rows by (score descending, row ascending)."""
    scores = questions @ passages.T
    return np.argsort(-scores, axis=1, kind="stable")[:, :count]


class Moved:
    """A retriever of whole numbers, which tie, and the index of what it was before.

    Questions are the texts of their numbers, and the token ids of a passage its row.
    """

    def __init__(self, seed: int, moved: float) -> None:
        rng = np.random.default_rng(seed)
        numbers = [rng.integers(-2, 3, (n, 5)).astype(np.float32) for n in (6, NUM_PASSAGES)]
        self.questions, self.stale = numbers
        some = rng.random(NUM_PASSAGES) < moved
        self.fresh = self.stale + some[:, None] * rng.integers(-1, 2, self.stale.shape)
        self.fresh = self.fresh.astype(np.float32)
        self.tokens = range(NUM_PASSAGES)
        self.batch = [["0", "1"], ["2", "3"], ["4", "5"]]

    def embed_questions(self, texts: list[str]) -> np.ndarray:
        return self.questions[[int(text) for text in texts]]

    def embed_tokens(self, tower: str, sequences: list[int]) -> np.ndarray:
        assert tower == "passage"
        return self.fresh[sequences]

    def searched(self) -> Any:
        return SimpleNamespace(
            search=lambda ask, count: (None, nearest(ask(), self.stale, count)),
            index=SimpleNamespace(manifest=SimpleNamespace(dtype="float16")),
        )


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.2, 1.0]), st.integers(1, 8))
def test_over_retrieving_finds_what_a_fresh_index_finds_wherever_the_list_holds_it(
    seed: int, moved: float, times: int
) -> None:
    there = Moved(seed, moved)
    listed = from_retriever(there, there.searched(), times * TOP_K)
    found = in_fresh_order(listed, there, there, TOP_K)(there.batch)
    exact = nearest(there.questions, there.fresh, TOP_K)
    for own, expected, some in zip(found, exact, listed(there.batch), strict=True):
        assert set(own) <= set(some)
        if set(expected) <= set(some):
            assert own.tolist() == expected.tolist()
    if moved == 0.0 or times * TOP_K >= NUM_PASSAGES:
        assert (found == exact).all()


@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.1, 1.0]))
def test_the_share_that_decides_is_never_above_what_a_refresh_exchanges(
    seed: int, moved: float
) -> None:
    there = Moved(seed, moved)
    learner = SimpleNamespace(next_searched=lambda step: (there.batch, TOP_K))
    share = Refresher(None, there, there, learner).least_share_changed(3)
    before, after = (nearest(there.questions, some, TOP_K) for some in (there.stale, there.fresh))
    assert 0.0 <= share <= share_changed(before, after)
    assert moved > 0 or share == 0


def test_a_share_is_counted_over_all_questions() -> None:
    assert share_changed([[1, 2], [3, 4]], [[2, 1], [4, 5]]) == 0.25


BY_STEPS = {"refresh_steps": {0: 1, 4: 2}}
# Steps 1, 2, 3 and 6 decide. The first two change a half and a quarter of the top-K, the others
# nothing; there is a checkpoint at steps 3 and 6 all the same.
ADAPTIVE = BY_STEPS | {"refresh_when_changed": 0.1, "over_retrieve": 2, "learning_rate": 3e-4}


@pytest.fixture(scope="module")
def adaptive(settings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("adaptive")
    train(configure(settings, folder, training=ADAPTIVE))
    return folder


def steps_of(folder: Path, kind: str) -> list[int]:
    return [record["step"] for record in records(folder) if record["kind"] == kind]


def test_an_adaptive_run_refreshes_where_enough_has_changed_and_for_evaluations(adaptive) -> None:
    probes = {one["step"]: one for one in records(adaptive) if one["kind"] == "probe"}
    assert {step: one["refreshed"] for step, one in probes.items()} == {
        step: one["top_k_changed_at_least"] >= 0.1 for step, one in probes.items()
    }
    assert [step for step, one in probes.items() if one["refreshed"]] == [1, 2]
    assert [step for step, one in probes.items() if not one["refreshed"]] == [3, 6]
    refreshes = {one["step"]: one for one in records(adaptive) if one["kind"] == "refresh"}
    assert [*refreshes] == [0, 1, 2, 4, 7]
    for step in (1, 2):
        assert probes[step]["top_k_changed_at_least"] <= refreshes[step]["top_k_changed"]


@pytest.mark.parametrize(("where", "moment"), [("take_step", 3), ("refresh", 1)])
def test_a_killed_adaptive_run_decides_as_one_that_was_not(
    where, moment, adaptive, settings, tmp_path
) -> None:
    owner = loop if where == "take_step" else trainer.Trainer
    config = configure(settings, tmp_path, training=ADAPTIVE)
    kill(config, moment, owner=owner, name=where)
    folder = RunFolder(tmp_path)
    state = load_state(folder, folder.steps()[-1])
    # A refresh that was decided on is still due; an index that was kept is that of an earlier step.
    expected = (1, None, True) if where == "refresh" else (3, "step-00000002", False)
    assert (state.step, state.index, "refresh" in state.due) == expected
    train(config)
    assert left_behind(tmp_path) == left_behind(adaptive)


def test_a_plan_counts_refreshes_by_steps_exactly_and_adaptive_ones_at_the_most(
    settings, adaptive, tmp_path
) -> None:
    def planned(training: dict[str, Any]) -> tuple[Any, str]:
        config = configure(settings, tmp_path, training=training)
        schedule = schedule_of(config, 30)
        said = describe(config, schedule, num_passages=60, world_size=1)
        found = count_work(
            config, schedule, num_passages=60, num_evaluated=12, judged_by_teacher=False
        )
        return found, said

    found, said = planned(BY_STEPS)
    assert (found.num_refreshes, found.num_decided_refreshes, found.passages_reordered) == (7, 0, 0)
    assert "refreshed 6 times, every step, from step 4 every 2" in said
    found, said = planned(ADAPTIVE)
    assert (found.num_refreshes, found.num_decided_refreshes) == (7, 4)
    assert found.num_refreshes - 4 <= len(steps_of(adaptive, "refresh")) <= found.num_refreshes
    assert "6 times at most, every step, from step 4 every 2; of these 4 only where 10 %" in said
    assert "4 passages (the nearest of 8 by fresh vectors) each" in said
    # Eight questions, two passages by K of four to decide; in a step and before it, eight to order.
    assert (found.passages_per_decision, found.passages_reordered) == (64, 2 * 64)
