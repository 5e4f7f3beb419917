"""What accelerate is told, and the optimiser."""

from __future__ import annotations

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType

from art import distributed
from art.config import Config
from art.errors import ArtError
from art.retriever.encoders import Retriever
from art.training.run_folder import RunFolder

_KINDS = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def start_accelerator(config: Config, run: RunFolder) -> Accelerator:
    """Return accelerate's view of the processes, which wraps the retriever and tells the trackers.

    Raises:
        ArtError: it sees other devices or processes than this run, or lacks a tracker.
    """
    on_cpu = config.training.cpu or not torch.cuda.is_available()
    kept = PartialState(cpu=on_cpu).device.type
    if (kept == "cpu") != on_cpu:
        raise ArtError(
            f"training.cpu: accelerate keeps to the {kept}, which this process began with",
            hint="start a new process; for a notebook, restart its kernel",
        )
    # Precision is the retriever's own affair: a launcher's mixed precision must not change results.
    try:
        accelerator = Accelerator(
            cpu=on_cpu,
            mixed_precision="no",
            log_with=config.output.trackers or None,
            project_dir=str(run.path / "trackers"),
        )
    except ValueError as error:
        raise ArtError(f"output.trackers: {error}") from error
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
            hint="set up plain multi-GPU training with `accelerate config`",
        )
    missing = set(config.output.trackers) - {"all"} - {str(one) for one in accelerator.log_with}
    if missing:
        raise ArtError(
            f"output.trackers: {', '.join(sorted(missing))} cannot be used",
            hint="install its package",
        )
    if config.output.trackers:
        accelerator.init_trackers("art", config={"config": config.to_yaml()})
    return accelerator


def new_optimizer(retriever: Retriever, config: Config) -> torch.optim.Optimizer:
    """Return AdamW over what learns of the retriever, without any moments yet."""
    learning = [(name, p) for name, p in retriever.named_parameters() if p.requires_grad]
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
