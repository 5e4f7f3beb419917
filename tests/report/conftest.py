"""Whole runs on tiny models, over a corpus that would like to be markup."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_run import HOSTILE, tiny_run


@pytest.fixture(scope="session")
def labelled(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> Path:
    """A finished run with labels, whose name, titles, texts and questions hold markup."""
    from art.training.loop import train

    passages = [
        (name, f"{title} {HOSTILE}", f"{HOSTILE} {text} {HOSTILE}") for name, title, text in corpus
    ]
    # One that keeps what it learned, else there is nothing to compare with the start. Which seed
    # does depends on how the processor rounds.
    for seed in range(5, 25):
        folder = tmp_path_factory.mktemp("runs") / "a_b & <i>$x$"
        if train(tiny_run(folder, tiny_bert, tiny_t5, passages, seed=seed)).best_step:
            return folder
    raise AssertionError("no run was better than its start")


@pytest.fixture(scope="session")
def unlabelled(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> Path:
    """A finished run that the teacher judged."""
    from art.training.loop import train

    folder = tmp_path_factory.mktemp("runs") / "unlabelled"
    train(tiny_run(folder, tiny_bert, tiny_t5, corpus, labelled=False, max_steps=4))
    return folder


@pytest.fixture
def copy(labelled, tmp_path) -> Path:
    """A copy of the labelled run to be damaged."""
    folder = tmp_path / "copy"
    shutil.copytree(labelled, folder, symlinks=True)
    return folder
