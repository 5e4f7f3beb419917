"""Runs that a signal ends: what each says, its status, and that it goes on to the same bits."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from forked import Strike, finish
from whole_run import configure, left_behind

from art.training.checkpoints import load_state
from art.training.interruption import Interrupted, Interruption
from art.training.run_folder import RunFolder
from art.training.schedule import Action


def command(settings, folder: Path) -> list[object]:
    # Few tokens at once, so that prefetching scores takes several blocks.
    config = configure(settings, folder / "run", teacher={"batch_tokens": 128})
    (folder / "config.yaml").write_text(config.to_yaml())
    return ["train", "--config", folder / "config.yaml"]


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory) -> tuple[Any, ...]:
    folder = tmp_path_factory.mktemp("whole")
    [(status, said)] = finish(command(settings, folder), folder)
    assert status == 0, said
    return left_behind(folder / "run")


# Two micro-batches a step: call 9 is in step 5, at which nothing is due; 7 in step 4, at which
# everything is; 13 in the last step.
@pytest.mark.parametrize(
    ("signum", "call", "step", "expected"),
    [(signal.SIGTERM, 9, 5, 75), (signal.SIGINT, 7, 4, 130), (signal.SIGUSR1, 13, 7, 75)],
)
def test_a_signal_in_a_step_saves_it_and_the_run_goes_on_to_the_same_bits(
    signum, call, step, expected, settings, whole, tmp_path
) -> None:
    strike = Strike("art.training.methods.art_step", "similarity", call, signum)
    [(status, said)] = finish(command(settings, tmp_path), tmp_path, before=[strike])
    assert status == expected, said
    assert said.splitlines()[-1] == (
        f"ended by {signum.name}: step {step} is finished and saved; the same command goes on from "
        "there"
    )
    assert "Traceback" not in said
    assert RunFolder(tmp_path / "run").steps()[-1] == step
    [(status, said)] = finish(command(settings, tmp_path), tmp_path)
    assert status == 0, said
    assert left_behind(tmp_path / "run") == whole


@pytest.mark.parametrize("call", [2, 9])
def test_a_signal_keeps_the_scores_made_ahead_and_the_run_goes_on_to_the_same_bits(
    call, settings, whole, tmp_path
) -> None:
    strike = Strike("art.teacher.grouped", "_share", call, signal.SIGTERM)
    [(status, said)] = finish(command(settings, tmp_path), tmp_path, before=[strike])
    assert status == 75, said
    run = RunFolder(tmp_path / "run")
    state = load_state(run, run.steps()[-1])
    assert f"step {state.step} is finished and saved" in said and "Traceback" not in said
    assert state.due == (Action.PREFETCH,) and state.is_prefetching
    assert state.score_mark is not None and state.num_scores > state.score_mark
    [(status, said)] = finish(command(settings, tmp_path), tmp_path)
    assert status == 0, said
    assert left_behind(tmp_path / "run") == whole


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        ("art.training.students", "create_retriever", 1),
        ("art.retriever.embedding", "write_shard", 5),
        ("art.training.evaluator", "evaluate", 2),
    ],
    ids=["setting up", "refreshing", "evaluating"],
)
def test_a_signal_between_steps_ends_at_once_and_the_run_goes_on_to_the_same_bits(
    owner, name, call, settings, whole, tmp_path
) -> None:
    strike = Strike(owner, name, call, signal.SIGTERM)
    [(status, said)] = finish(command(settings, tmp_path), tmp_path, before=[strike])
    assert status == 75, said
    assert said.splitlines()[-1].startswith("ended by SIGTERM: what was finished is kept; ")
    assert "Traceback" not in said
    [(status, said)] = finish(command(settings, tmp_path), tmp_path)
    assert status == 0, said
    assert left_behind(tmp_path / "run") == whole


@pytest.mark.parametrize(
    ("owner", "name", "call"),
    [
        ("art.training.methods.art_step", "similarity", 10),
        ("torch", "save", 4),
        ("art.retriever.embedding", "write_shard", 5),
        ("art.teacher.grouped", "_share", 9),
    ],
    ids=["in a step", "in a save", "in a refresh", "prefetching scores"],
)
def test_a_killed_process_goes_on_to_the_same_bits(
    owner, name, call, settings, whole, tmp_path
) -> None:
    strike = Strike(owner, name, call)
    [(status, said)] = finish(command(settings, tmp_path), tmp_path, before=[strike])
    assert status == -signal.SIGKILL, said
    [(status, said)] = finish(command(settings, tmp_path), tmp_path)
    assert status == 0, said
    assert left_behind(tmp_path / "run") == whole


@pytest.fixture
def own_handlers():
    """Put back what a process on its way out would leave in place."""
    signums = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
    before = {signum: signal.getsignal(signum) for signum in signums}
    yield before
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_a_signal_waits_for_the_step_and_ends_the_next_phase_at_once(own_handlers) -> None:
    interruption = Interruption()
    with interruption.listening(), interruption.after_the_step():
        os.kill(os.getpid(), signal.SIGTERM)
        assert interruption.signum == signal.SIGTERM
        os.kill(os.getpid(), signal.SIGTERM)  # a launcher's echo
        with pytest.raises(Interrupted), interruption.at_once():
            pytest.fail("the phase began")


def test_handlers_are_there_only_while_listening(own_handlers) -> None:
    with Interruption().listening():
        assert signal.getsignal(signal.SIGTERM) != own_handlers[signal.SIGTERM]
    assert {signum: signal.getsignal(signum) for signum in own_handlers} == own_handlers


def test_a_second_ctrl_c_ends_the_step_but_not_a_process_that_outlives_the_run(
    own_handlers,
) -> None:
    interruption = Interruption(outlived=True)
    with pytest.raises(Interrupted), interruption.listening(), interruption.after_the_step():
        assert signal.getsignal(signal.SIGTERM) == own_handlers[signal.SIGTERM]
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)  # an echo
        assert interruption.signum == signal.SIGINT
        time.sleep(1.1)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the step went on")
    assert {signum: signal.getsignal(signum) for signum in own_handlers} == own_handlers


def test_an_echo_does_not_cut_short_what_the_signal_began(own_handlers) -> None:
    with pytest.raises(Interrupted) as caught, Interruption().listening():
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.status == 130


def test_a_second_signal_ends_a_step_too() -> None:
    step = (
        "import os, signal, time\n"
        "from art.training.interruption import Interruption\n"
        "interruption = Interruption()\n"
        "with interruption.listening(), interruption.after_the_step():\n"
        "    for _ in range(2):\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "        time.sleep(1.1)\n"
        "print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", step], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (75, "", "")
