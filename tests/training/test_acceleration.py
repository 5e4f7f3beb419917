"""What `accelerate config` and its launcher may say, and what training takes of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState
from accelerate.utils import DynamoBackend
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from whole_run import configure

from art.errors import ArtError
from art.training.acceleration import start_accelerator, wrap
from art.training.run_folder import RunFolder


@pytest.fixture
def start(settings, tmp_path):
    """Start accelerate as a new process would, whatever ran in this one before."""

    def start(**output):
        config = configure(settings, tmp_path)
        output = config.output.model_copy(update=output)
        config = config.model_copy(update={"output": output})
        return start_accelerator(config, RunFolder(tmp_path))

    AcceleratorState._reset_state()
    yield start
    AcceleratorState._reset_state()


def test_a_model_is_never_compiled(start, monkeypatch) -> None:
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    assert start().state.dynamo_plugin.backend == DynamoBackend.NO


def test_nothing_is_exchanged_in_a_forward_pass(monkeypatch) -> None:
    model = nn.BatchNorm1d(2)  # with buffers
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        wrapped = wrap(model, SimpleNamespace(prepare_model=DistributedDataParallel))
        assert wrapped is not model
        monkeypatch.setattr(wrapped, "_sync_buffers", lambda: pytest.fail("exchanged"))
        wrapped(torch.ones(3, 2))
    finally:
        dist.destroy_process_group()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ACCELERATE_USE_DEEPSPEED", "true", "DeepSpeed is not installed"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "two", "invalid literal for int"),
    ],
)
def test_what_accelerate_cannot_do_is_not_blamed_on_trackers(
    name, value, said, start, monkeypatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ArtError, match=f"accelerate cannot do what its launcher was told: {said}"):
        start()


@pytest.mark.parametrize(
    ("tracker", "said"), [("none-such", "Unsupported"), ("aim", "aim cannot be used")]
)
def test_a_tracker_that_is_not_there_is_named(tracker, said, start) -> None:
    with pytest.raises(ArtError, match=f"output.trackers: {said}"):
        start(trackers=[tracker])
