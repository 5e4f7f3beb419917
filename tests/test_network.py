"""Without a network: one request, one line, and what is in the cache."""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from art import network
from art.data.formats import read_passages
from art.errors import ArtError, DataError
from art.weights import load_tokenizer


@pytest.fixture
def nobody_there(monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the hub at a port where nobody listens, and forbid to wait."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(network, "_missed", {})
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail(f"waited {seconds} s"))
    return endpoint


def cached(model: Path, cache: Path, name: str) -> None:
    """Put a model's folder into a hub cache, as if it had been downloaded."""
    folder = cache / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    shutil.copytree(model, folder / "snapshots" / ("0" * 40))


def test_a_model_that_is_not_there_is_said_at_once(nobody_there, caplog) -> None:
    for _ in range(2):
        with pytest.raises(ArtError, match="cannot load the model 'nobody/nothing'"):
            load_tokenizer("nobody/nothing")
    notes = [one.getMessage() for one in caplog.records if one.name == "art"]
    assert [one.split(" (")[0] for one in notes] == [f"note: {nobody_there} cannot be reached"]
    assert not constants.HF_HUB_OFFLINE  # for what else the program does


def test_a_dataset_that_is_not_there_is_said_at_once(nobody_there) -> None:
    with pytest.raises(DataError, match="cannot load the dataset"):
        list(read_passages("hf:nobody/nothing/train"))


def test_a_model_in_the_cache_is_loaded(nobody_there, tiny_bert, tmp_path, monkeypatch) -> None:
    cached(tiny_bert, tmp_path, "somebody/something")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert load_tokenizer("somebody/something")("moon")["input_ids"]


def test_who_is_offline_on_purpose_is_not_asked(nobody_there, monkeypatch, caplog) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with network.cache_unless_reachable() as offline:
        assert offline
    assert "cannot be reached" not in caplog.text


def test_a_hub_that_answers_is_used(nobody_there, monkeypatch) -> None:
    class Session:
        def request(self, *words: object, **options: object) -> int:
            return 503

    monkeypatch.setattr("huggingface_hub.get_session", Session)
    monkeypatch.setattr(network, "_reached", set())
    with network.cache_unless_reachable() as offline:
        assert not offline
        assert not constants.is_offline_mode()


def test_the_network_is_asked_for_again_after_a_while(nobody_there, monkeypatch) -> None:
    with network.cache_unless_reachable() as offline:
        assert offline
    later = time.monotonic() + network._REMEMBERED_SECONDS
    monkeypatch.setattr(time, "monotonic", lambda: later)
    monkeypatch.setattr(network, "_reached", set())
    monkeypatch.setattr("huggingface_hub.get_session", lambda: pytest.fail("asked, as it should"))
    with pytest.raises(pytest.fail.Exception, match="asked"), network.cache_unless_reachable():
        pass
