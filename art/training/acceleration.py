"""What accelerate is told, and the optimiser."""

from __future__ import annotations

import torch
from accelerate import Accelerator, PartialState
from accelerate.tracking import filter_trackers
from accelerate.utils import DistributedType
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from art import distributed
from art.config import Config
from art.errors import ArtError, first_line
from art.training.run_folder import RunFolder
from art.training.students import Student

_PLAIN = "choose plain multi-GPU training in `accelerate config`, or take a file from launch/"
_KINDS = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def start_accelerator(config: Config, run: RunFolder) -> Accelerator:
    """Return accelerate's view of the processes, which wraps the student and tells the trackers.

    Raises:
        ArtError: it sees other devices or processes than this run, cannot do what its launcher was
            told, or lacks a tracker.
    """
    on_cpu = config.training.cpu or not torch.cuda.is_available()
    kept = PartialState(cpu=on_cpu).device.type
    if (kept == "cpu") != on_cpu:
        raise ArtError(
            f"training.cpu: accelerate keeps to the {kept}, which this process began with",
            hint="start a new process; for a notebook, restart its kernel",
        )
    folder = str(run.path / "trackers")
    try:
        trackers = filter_trackers(config.output.trackers, folder)
    except ValueError as error:
        raise ArtError(f"output.trackers: {error}") from error
    missing = set(config.output.trackers) - {"all"} - {str(one) for one in trackers}
    if missing:
        raise ArtError(
            f"output.trackers: {', '.join(sorted(missing))} cannot be used",
            hint="install its package",
        )
    # Precision and compilation are the retriever's own affair: a launcher must not change results,
    # and a compiled model would hide the wrapper that averages gradients.
    try:
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="no",
            dynamo_backend="no",
            log_with=config.output.trackers or None,
            project_dir=folder,
        )
    except (ImportError, ValueError) as error:
        raise ArtError(
            f"accelerate cannot do what its launcher was told: {first_line(error)}", hint=_PLAIN
        ) from error
    if accelerator.num_processes != distributed.world_size():
        raise ArtError(
            f"accelerate sees {accelerator.num_processes} processes, but there are "
            f"{distributed.world_size()}",
            hint="start with `accelerate launch --multi_gpu`, or plainly for one process",
        )
    if accelerator.distributed_type not in _KINDS:
        raise ArtError(
            f"accelerate is set up for {accelerator.distributed_type.value}, which this training "
            "does not know",
            hint=_PLAIN,
        )
    if config.output.trackers:
        accelerator.init_trackers("art", config={"config": config.to_yaml()})
    return accelerator


def wrap(student: Student, accelerator: Accelerator) -> nn.Module:
    """Return the student as it is trained: wrapped where several processes average gradients.

    Raises:
        ArtError: another process has ended.
    """
    with distributed.noticing_lost_processes():
        model: nn.Module = accelerator.prepare_model(student)
    if isinstance(model, DistributedDataParallel):
        # No buffer learns, and their broadcast at a step's first forward would end in a traceback
        # where another process is gone.
        model.broadcast_buffers = False
    return model


def new_optimizer(student: Student, config: Config) -> torch.optim.Optimizer:
    """Return AdamW over what learns of the student, without any moments yet."""
    learning = [(name, p) for name, p in student.named_parameters() if p.requires_grad]
    # Biases and normalisation weights are the vectors among the parameters; they do not decay.
    decaying = [p for _, p in learning if p.ndim > 1]
    others = [p for _, p in learning if p.ndim <= 1]
    groups = [
        {"params": decaying, "weight_decay": config.training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=config.training.learning_rate,
        betas=(0.9, 0.999),
        eps=1e-8,
    )
