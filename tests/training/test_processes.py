"""Several processes of one run: what one process computes, and what the death of one does."""

from __future__ import annotations

import re
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from float64_run import in_float64
from forked import Strike, finish
from two_machines import building_nothing, in_a_folder_of_its_own, listing_no_checkpoint
from whole_run import configure, left_behind, weights

from art.training.run_folder import RunFolder

# Six micro-batches a step, for one, two and three processes; two steps an epoch. At steps 5 and 10
# the processes decide together whether the index is refreshed.
TWENTY_STEPS = {
    "questions_per_step": 12,
    "questions_per_micro_batch": 2,
    "epochs": 10,
    "max_steps": None,
    "over_retrieve": 2,
    "refresh_steps": {0: 5, 10: 10},
    "refresh_when_changed": 0.1,
    "evaluate_steps": 20,
    "save_steps": 5,
}


def command(settings, folder: Path, *, cache: Path | None = None, **training: Any) -> list[object]:
    data = {"cache_folder": str(cache)} if cache else {}
    training = {**TWENTY_STEPS, **training}
    config = configure(settings, folder / "run", training=training, data=data)
    (folder / "config.yaml").write_text(config.to_yaml())
    return ["train", "--config", folder / "config.yaml"]


def run_whole(settings, folder: Path, world_size: int) -> Path:
    ended = finish(command(settings, folder), folder, world_size=world_size, before=[in_float64])
    assert [status for status, _ in ended] == [0] * world_size, ended
    return folder / "run"


@pytest.fixture(scope="module")
def by_one(settings, tmp_path_factory) -> Path:
    return run_whole(settings, tmp_path_factory.mktemp("one"), 1)


@pytest.fixture(scope="module")
def by_two(settings, tmp_path_factory) -> Path:
    return run_whole(settings, tmp_path_factory.mktemp("two"), 2)


def assert_same_weights(ours: Path, theirs: Path, *, atol: float) -> None:
    mine, others = weights(ours, "last/retriever"), weights(theirs, "last/retriever")
    assert mine.keys() == others.keys()
    for name, array in mine.items():
        np.testing.assert_allclose(array, others[name], rtol=0, atol=atol, err_msg=name)


def test_two_processes_end_with_the_weights_of_one(by_one, by_two) -> None:
    dtypes = {array.dtype for array in weights(by_one, "last/retriever").values()}
    assert dtypes == {np.dtype(np.float64)}
    assert_same_weights(by_two, by_one, atol=1e-10)


def test_three_processes_end_with_the_weights_of_one(settings, by_one, tmp_path) -> None:
    assert_same_weights(run_whole(settings, tmp_path, 3), by_one, atol=1e-10)


def test_in_float32_the_gradient_of_three_processes_is_that_of_one(settings, tmp_path) -> None:
    averages = []
    for world_size in (1, 3):
        folder = tmp_path / str(world_size)
        folder.mkdir()
        words = command(settings, folder, max_steps=1, cache=folder / "cache")
        before = [building_nothing] * (world_size > 1)  # but on the first process
        ended = finish(words, folder, world_size=world_size, before=before)
        assert [status for status, _ in ended] == [0] * world_size, ended
        state = torch.load(folder / "run" / "last" / "optimizer.pt")["state"]
        averages.append([one["exp_avg"] for one in state.values()])
    # After one step a tenth of the clipped gradient. The weights would say less: where the gradient
    # is nothing but rounding (a bias that all passages share), Adam makes a whole step of it.
    for one, three in zip(*averages, strict=True):
        # Three processes share the passages that the teacher reads, so it has other batches.
        torch.testing.assert_close(three, one, rtol=0, atol=1e-6)
    assert max(average.abs().max() for average in averages[0]) > 1e-3


# Three micro-batches a step on each of two processes; the main one saves every fifth step.
@pytest.mark.parametrize(
    ("strike", "relaunched"),
    [
        (Strike("art.training.methods.art_step", "similarity", 3 * 7 + 2, rank=1), 1),
        (Strike("torch", "save", 3, rank=0), 3),
        (Strike("art.retriever.embedding", "write_shard", 2, rank=1), 2),
    ],
    ids=["in a step", "in a save", "in a refresh"],
)
def test_the_death_of_one_process_ends_all_and_any_number_goes_on(
    strike, relaunched, settings, by_one, by_two, tmp_path
) -> None:
    words = command(settings, tmp_path)
    ended = finish(words, tmp_path, world_size=2, before=[in_float64, strike])
    status, said = ended.pop(1 - strike.rank)
    assert ended[0][0] == -signal.SIGKILL
    assert status == 1
    last = said.splitlines()[-1]
    assert last.startswith("error: another process of this job has ended or cannot be reached: ")
    assert re.search("gloo|connection", last, re.IGNORECASE), last  # in the backend's words
    assert "Traceback" not in said
    ended = finish(words, tmp_path, world_size=relaunched, before=[in_float64])
    assert [status for status, _ in ended] == [0] * relaunched, ended
    if relaunched == 2:
        assert left_behind(tmp_path / "run") == left_behind(by_two)
    else:
        assert_same_weights(tmp_path / "run", by_one, atol=1e-10)


def test_a_signal_to_one_process_ends_all_after_the_same_step(settings, by_two, tmp_path) -> None:
    words = command(settings, tmp_path)
    strike = Strike("art.training.methods.art_step", "similarity", 3 * 7 + 2, signal.SIGTERM, 1)
    ended = finish(words, tmp_path, world_size=2, before=[in_float64, strike])
    assert [status for status, _ in ended] == [75, 75], ended
    told = ["ended by SIGTERM: step 8 is finished and saved" in said for _, said in ended]
    assert told == [True, False]
    assert RunFolder(tmp_path / "run").steps()[-1] == 8
    ended = finish(words, tmp_path, world_size=2, before=[in_float64, listing_no_checkpoint])
    assert [status for status, _ in ended] == [0, 0], ended
    assert left_behind(tmp_path / "run") == left_behind(by_two)


def test_a_run_folder_that_a_machine_does_not_share_is_refused_at_once(
    settings, tmp_path, monkeypatch
) -> None:
    config = configure(settings, Path("run"))
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    words = ["train", "--config", tmp_path / "config.yaml"]
    monkeypatch.chdir(tmp_path)
    ended = finish(words, tmp_path, world_size=2, before=[in_a_folder_of_its_own])
    assert [status for status, _ in ended] == [1, 1], ended
    assert re.fullmatch(
        r"error: .*/elsewhere/run: process 1, on .*, does not see what process 0 writes there "
        r"\(choose a folder on a disk that all nodes share\)\n",
        ended[1][1],
    )
    assert ended[0][1] == "" and not (tmp_path / "elsewhere" / "run").exists()
    assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
