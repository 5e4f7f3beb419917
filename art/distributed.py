"""Processes of one job: rank, world size, gathering. Each helper is identity on one process.

The process group is started here, before accelerate, which joins it: `accelerate launch` on
machines without a GPU otherwise starts processes that each believe to be alone.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from art.errors import ArtError, first_line
from art.files import write_text

T = TypeVar("T")

# The main process may build the store, and every process embed its share of 21 million passages,
# while others wait: far beyond the ten minutes after which NCCL gives up by itself.
PHASE_TIMEOUT = timedelta(hours=12)

# No longer wait processes that meet, or average the gradient of a step that all have begun.
STEP_TIMEOUT = timedelta(minutes=10)

# What a launcher says besides WORLD_SIZE. Without LOCAL_RANK all would share the first GPU, and
# accelerate believe that each is alone.
_ANNOUNCED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")

_LETTING_GO_SECONDS = 0.1

# What torch says of a connection that ended, whatever the backend.
_LOSS = re.compile(r"gloo|nccl|connection (closed|reset)|broken pipe", re.IGNORECASE)


def start(*, cpu: bool) -> torch.device:
    """Join the processes that the launcher announced in the environment; return this one's device.

    Args:
        cpu: use gloo and the CPU even where there is a GPU.

    Raises:
        ArtError: the launcher announced several processes but not how they meet.
    """
    announced = int(os.environ.get("WORLD_SIZE", "1"))
    missing = [name for name in _ANNOUNCED if announced > 1 and name not in os.environ]
    if missing:
        raise ArtError(
            f"WORLD_SIZE is {announced}, but {', '.join(missing)} is not set",
            hint="start several processes with `accelerate launch`, `torchrun` or launch/slurm.sh",
        )
    use_cpu = cpu or not torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    if not use_cpu:
        if local_rank >= torch.cuda.device_count():
            raise ArtError(
                f"process {local_rank} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}",
                hint="start as many processes as there are GPUs; of SLURM ask --gpus-per-node, not "
                "--gpus-per-task",
            )
        torch.cuda.set_device(local_rank)
    if announced > 1 and not dist.is_initialized():
        backend = "gloo" if use_cpu else "cpu:gloo,cuda:nccl"
        with noticing_lost_processes():
            dist.init_process_group(backend, timeout=STEP_TIMEOUT)
    if announced != world_size():
        raise ArtError(
            f"the launcher announced {announced} processes, but {world_size()} found each other",
            hint="start with `accelerate launch --multi_gpu` or `torchrun`",
        )
    return torch.device("cpu") if use_cpu else torch.device("cuda", local_rank)


def stop() -> None:
    """Leave the group of processes, so that the interpreter can end without a warning."""
    global _gloo_group
    if dist.is_initialized():
        # A thread of gloo's lets go of Python objects some time after its work, for which it needs
        # the interpreter's lock. If it is late, torch waits for it for ever with that lock in hand
        # (when it takes a group apart), or Python aborts (at its end). So it is given the lock for
        # a moment, and the group is never taken apart.
        time.sleep(_LETTING_GO_SECONDS)
        for group in (dist.group.WORLD, _gloo_group):
            if group is not None:
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(group))
        dist.destroy_process_group()
    _gloo_group = None


def rank() -> int:
    """Return this process's number, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Return W, the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Return whether this is the process that writes files and prints."""
    return rank() == 0


def is_local_main() -> bool:
    """Return whether this is the first process of its machine, which builds what all of it read."""
    return world_size() == 1 or int(os.environ.get("LOCAL_RANK", "0")) == 0


def gather_objects(value: T) -> list[T]:
    """Return every process's value, by rank; small Python objects or NumPy arrays only."""
    if world_size() == 1:
        return [value]
    gathered: list[Any] = [None] * world_size()
    with noticing_lost_processes():
        dist.all_gather_object(gathered, value, group=_cpu_group())
    return gathered


def broadcast_object(value: T) -> T:
    """Return rank 0's value on every process."""
    if world_size() == 1:
        return value
    box = [value]
    with noticing_lost_processes():
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
    if not isinstance(model, DistributedDataParallel):
        yield
    elif enabled:
        with noticing_lost_processes():
            yield
    else:
        with model.no_sync():
            yield


@contextmanager
def noticing_lost_processes() -> Iterator[None]:
    """Say it in one line where another process of the job has ended while this one talks to it.

    Raises:
        ArtError: it has, with the first line of what the backend said; without a launcher, which
            ends all of them, each process raises it at its own next exchange with the others.
    """
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and not _LOSS.search(str(error)):
            raise
        raise ArtError(
            f"another process of this job has ended or cannot be reached: {first_line(error)}",
            hint="see what it said, or whether the system killed it; then the same command goes on "
            "from the last checkpoint",
        ) from error


@contextmanager
def fail_together() -> Iterator[None]:
    """Turn one rank's failure into a failure of every rank, so that none waits for it.

    Every rank must enter and leave the block at the same point of the program, and the block must
    hold no other collective.

    Raises:
        ArtError: the block raised on some rank; `reported_elsewhere` is set on all ranks but the
            first of those that failed, so that one of them says it.
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # noqa: BLE001 (whatever it is, the other ranks are waiting)
        failure = error
    _raise_first(failure, gather_objects(None if failure is None else str(failure)))


def together(compute: Callable[[], T]) -> list[T]:
    """Compute something on every process and return every process's value, by rank.

    One exchange, where `fail_together` and a gather behind it would be two. Every process must call
    it at the same point of the program.

    Args:
        compute: holds no collective; its value is a small Python object or NumPy arrays.

    Raises:
        ArtError: as `fail_together`.
    """
    value, failure = None, None
    try:
        value = compute()
    except Exception as error:  # noqa: BLE001 (whatever it is, the other ranks are waiting)
        failure = error
    gathered = gather_objects((value, None if failure is None else str(failure)))
    _raise_first(failure, [text for _, text in gathered])
    return [its_value for its_value, _ in gathered]  # type: ignore[misc]  # none has failed


def _raise_first(failure: Exception | None, failures: Sequence[str | None]) -> None:
    """Raise where a process failed: on it what it raised, on the others what the first said."""
    first = next((one for one, text in enumerate(failures) if text is not None), None)
    if first is None:
        return
    if failure is None:
        failure = ArtError(str(failures[first]))
    if isinstance(failure, ArtError):
        failure.reported_elsewhere = first != rank()
    raise failure


def first_on_each_machine(compute: Callable[[], T]) -> T:
    """Compute a value on the first process of every machine, then on its others.

    What it builds in a cache is then built once and found by the others, which wait in a gather and
    not on a lock. Every process calls it; `compute` must hold no collective.

    Raises:
        ArtError: it raised on some process, as for `fail_together`.
    """
    values: list[T] = []
    for turn in (True, False):
        with fail_together():
            if is_local_main() is turn:
                values.append(compute())
    return values[0]


def require_shared(folder: Path) -> None:
    """Check that what rank 0 writes into a folder is there for every process; each calls it.

    Raises:
        ArtError: some machine has a folder of its own by that name.
    """
    if world_size() == 1:
        return
    # A name that no machine has looked for: network file systems remember what was not there.
    name = broadcast_object(f".seen-by-all.{secrets.token_hex(8)}.tmp")
    try:
        with fail_together():
            if is_main():
                write_text(folder / name, "")
        with fail_together():
            if not (folder / name).exists():
                raise ArtError(
                    f"process {rank()}, on {platform.node()}, does not see what process 0 writes "
                    "there",
                    where=folder.resolve(),
                    hint="choose a folder on a disk that all nodes share",
                )
    finally:
        if is_main():
            (folder / name).unlink(missing_ok=True)


_gloo_group: Any = None


def _cpu_group() -> Any:
    # Objects travel over gloo (pickling through GPU memory costs a synchronisation and space), in a
    # group of their own, because long phases end with one.
    global _gloo_group
    if _gloo_group is None:
        _gloo_group = dist.new_group(backend="gloo", timeout=PHASE_TIMEOUT)
    return _gloo_group
