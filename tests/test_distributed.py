"""What a launcher must say, and what is said of processes that are lost."""

from __future__ import annotations

import pytest
from torch.distributed import DistBackendError

from art import distributed
from art.errors import ArtError


@pytest.mark.parametrize("missing", ["RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"])
def test_a_launcher_that_says_too_little_is_refused(missing, monkeypatch) -> None:
    said = {"RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv(missing)
    with pytest.raises(ArtError, match=f"WORLD_SIZE is 2, but {missing} is not set"):
        distributed.start(cpu=True)


def test_the_first_line_of_what_the_backend_said_stays() -> None:
    said = "NCCL error in: ProcessGroupNCCL.cpp:3356, remote process exited.\nLast error:\nsocket"
    with pytest.raises(ArtError) as caught, distributed.noticing_lost_processes():
        raise DistBackendError(said)
    assert caught.value.what == (
        "another process of this job has ended or cannot be reached: NCCL error in: "
        "ProcessGroupNCCL.cpp:3356, remote process exited"
    )


def test_other_errors_are_not_taken_for_lost_processes() -> None:
    with pytest.raises(RuntimeError, match="shape"), distributed.noticing_lost_processes():
        raise RuntimeError("shape mismatch")
