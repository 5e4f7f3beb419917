"""A loss of one's own: a function and its line in the table; `art/README.md` walks through it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tiny_run import tiny_run
from torch import Tensor

from art.config import Config
from art.errors import ConfigFaults
from art.training.loop import train
from art.training.losses import LOSSES, Loss, Temperatures
from art.training.settings import check_config


def total_variation(student: Tensor, teacher: Tensor, temperatures: Temperatures) -> Tensor:
    """Half the absolute difference of the retriever's distribution from the soft labels, [B]."""
    labels = (teacher.detach() / temperatures.teacher).softmax(-1)
    return (labels - (student / temperatures.student).softmax(-1)).abs().sum(-1) / 2


@pytest.fixture
def toy() -> Iterator[str]:
    entry = Loss("toy-variation", "Total variation from the soft labels.", total_variation)
    yield LOSSES.add(entry).name
    LOSSES.remove(entry.name)


def with_loss(config: Config, name: str, folder: Path) -> Config:
    document = config.model_dump(mode="json")
    document["training"]["loss"] = name
    document["output"]["folder"] = str(folder)
    return check_config(document, source="test")


def losses(config: Config) -> list[float]:
    lines = (Path(config.output.folder) / "metrics.jsonl").read_text().splitlines()
    return [one["loss"] for one in map(json.loads, lines) if one["kind"] == "train"]


def test_a_run_trains_with_a_loss_that_the_table_was_given(
    toy, tiny_bert, tiny_t5, corpus, tmp_path
) -> None:
    config = tiny_run(tmp_path / "kl", tiny_bert, tiny_t5, corpus, max_steps=2)
    found = {}
    for name in ("kl", "margin-mse", toy):
        run = with_loss(config, name, tmp_path / name)
        result = train(run)
        assert result.last_step == 2
        found[name] = losses(run)[0]
    # The first step sees the same scores: only the formula differs.
    assert len(set(found.values())) == 3


def test_a_loss_that_is_not_in_the_table_is_refused_with_those_that_are(
    tiny_bert, tiny_t5, corpus, tmp_path
) -> None:
    config = tiny_run(tmp_path / "run", tiny_bert, tiny_t5, corpus)
    with pytest.raises(
        ConfigFaults, match=r"training\.loss: did you mean kl\? it is one of .*kl.*, got 'k'"
    ):
        with_loss(config, "k", tmp_path / "other")
