"""The data of a run in memory, and the same in files with the settings of the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from whole_run import tiny_settings


@pytest.fixture(scope="session")
def settings(tiny_bert, tiny_t5, corpus, tmp_path_factory) -> dict[str, Any]:
    """Sections of settings of a run whose data are files."""
    folder = tmp_path_factory.mktemp("notebook-data")
    return tiny_settings(folder, bert=tiny_bert, t5=tiny_t5, corpus=corpus)


@pytest.fixture(scope="session")
def rows(settings) -> dict[str, list[Any]]:
    """What these files hold, by argument of `art.train`."""

    def lines(file: str) -> list[str]:
        return Path(file).read_text().splitlines()

    return {
        "passages": [json.loads(line) for line in lines(settings["data"]["passages"])],
        "questions": lines(settings["data"]["questions"]),
        "supervised": [json.loads(line) for line in lines(settings["data"]["supervised"])],
        "evaluation_questions": [
            json.loads(line) for line in lines(settings["evaluation"]["questions"])
        ],
    }


@pytest.fixture(scope="session")
def sections(settings) -> dict[str, Any]:
    """The same settings without data."""
    return {
        **{name: settings[name] for name in ("retriever", "index", "teacher", "training")},
        "data": {"cache_folder": settings["data"]["cache_folder"]},
        "evaluation": {"top_k": settings["evaluation"]["top_k"]},
    }
