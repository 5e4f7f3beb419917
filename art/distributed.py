"""Processes of one job: rank, world size, gathering. Each helper is identity on one process.

The process group is started here, before accelerate, which joins it: `accelerate launch` on
machines without a GPU otherwise starts processes that each believe to be alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from art.errors import ArtError

T = TypeVar("T")

# A refresh of 21 million passages may keep the other ranks waiting far beyond NCCL's half hour.
COLLECTIVE_TIMEOUT = timedelta(hours=12)


def start(*, cpu: bool) -> torch.device:
    """Join the processes that the launcher announced in the environment; return this one's device.

    Args:
        cpu: use gloo and the CPU even where there is a GPU.

    Raises:
        ArtError: the launcher announced several processes but not how they meet.
    """
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    use_cpu = cpu or not torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if not use_cpu:
        if local_rank >= torch.cuda.device_count():
            raise ArtError(
                f"process {local_rank} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}",
                hint="start as many processes as there are GPUs",
            )
        torch.cuda.set_device(local_rank)
    if announced > 1 and not dist.is_initialized():
        if not {"RANK", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys():
            raise ArtError(
                f"WORLD_SIZE is {announced}, but RANK, MASTER_ADDR or MASTER_PORT is not set",
                hint="start several processes with `accelerate launch` or `torchrun`",
            )
        backend = "gloo" if use_cpu else "cpu:gloo,cuda:nccl"
        dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    if announced != world_size():
        raise ArtError(
            f"the launcher announced {announced} processes, but {world_size()} found each other",
            hint="start with `accelerate launch --multi_gpu` or `torchrun`",
        )
    return torch.device("cpu") if use_cpu else torch.device("cuda", local_rank)


def stop() -> None:
    """Leave the group of processes, so that the interpreter can end without a warning."""
    if dist.is_initialized():
        dist.destroy_process_group()


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return W, the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Return whether this is the process that writes files and prints."""
    return rank() == 0


def gather_objects(value: T) -> list[T]:
    """Return every process's value, by rank; small Python objects or NumPy arrays only."""
    if world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * world_size()
    dist.all_gather_object(gathered, value, group=_cpu_group())
    return gathered


def broadcast_object(value: T) -> T:
    """Return rank 0's value on every process."""
    if world_size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_cpu_group())
    return box[0]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Return every process's rows, by rank; gradient flows to this process's own alone.

    Args:
        rows: [n, ...], n a number of its own on each process, the other sizes the same.

    Returns:
        [Σn, ...].
    """
    if world_size() == 1:
        return rows
    counts = gather_objects(len(rows))
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    gathered = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(gathered, padded)
    parts = [one[:count] for one, count in zip(gathered, counts, strict=True)]
    parts[rank()] = rows
    return torch.cat(parts)


@contextmanager
def gradient_average(model: torch.nn.Module, *, enabled: bool) -> Iterator[None]:
    """Average gradients over processes in this block's backward pass, or only accumulate them."""
    if enabled or not isinstance(model, DistributedDataParallel):
        yield
    else:
        with model.no_sync():
            yield


@contextmanager
def fail_together() -> Iterator[None]:
    """Turn one rank's failure into a failure of every rank, so that none waits for it.

    Every rank must enter and leave the block at the same point of the program, and the block must
    hold no other collective.

    Raises:
        ArtError: the block raised on some rank; `told_elsewhere` is set on all ranks but the first
            of those that failed, so that one of them says it.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is, the other ranks are waiting)
        failure = error
    failures = gather_objects(None if failure is None else str(failure))
    first = next((one for one, text in enumerate(failures) if text is not None), None)
    if first is None:
        return
    if failure is None:
        failure = ArtError(str(failures[first]))
    if isinstance(failure, ArtError):
        failure.told_elsewhere = first != rank()
    raise failure


_gloo_group: Any = None


def _cpu_group() -> Any:
    # Objects travel over gloo: pickling through GPU memory costs a synchronisation and space.
    global _gloo_group
    if dist.get_backend() == "gloo":
        return None
    if _gloo_group is None:
        _gloo_group = dist.new_group(backend="gloo", timeout=COLLECTIVE_TIMEOUT)
    return _gloo_group
