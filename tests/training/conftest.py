"""A tiny run: its data, its settings, and the folder that it leaves behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from whole_run import configure, tiny_settings

from art.training.loop import train


@pytest.fixture(scope="session")
def settings(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    return tiny_settings(folder, bert=tiny_bert, t5=tiny_t5, corpus=corpus)


@pytest.fixture(scope="session")
def finished(settings, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    train(configure(settings, folder))
    return folder
