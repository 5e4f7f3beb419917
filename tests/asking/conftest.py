"""The corpus that is asked about."""

from __future__ import annotations

import pytest
from tiny_askers import NUM_TOKENS

from art.data.formats import Passage
from art.data.passages import PassageStore


@pytest.fixture(scope="session")
def store(corpus, tmp_path_factory: pytest.TempPathFactory) -> PassageStore:
    passages = [Passage(*one) for one in corpus]
    passages[1] = Passage("p1", "", "moon")  # one much shorter than the others
    folder = tmp_path_factory.mktemp("asking") / "store"
    return PassageStore.build(passages, folder, source="test", progress=False)


@pytest.fixture(autouse=True)
def _short_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("art.asking.asker.NUM_TOKENS", NUM_TOKENS)
