"""The space that a run takes, in memory and on disk, and whether there is as much."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from art.config import Config, IndexKind
from art.planning import costs
from art.planning.inventory import Inventory
from art.planning.lengths import Lengths
from art.planning.rates import REFERENCE
from art.planning.work import Work, learning_share
from art.retriever.searcher import RESIDENT_SHARE
from art.retriever.shards import VectorType
from art.training.schedule import Intervals

OWN_VECTORS = "index: a process's own vectors"
"""What is needed where a GPU keeps its share of the index in its memory."""

_ACTIVATIONS = "activations of a micro-batch, about"
_ASSUMED_TEXT_BYTES = 700  # of a passage, where none are here


@dataclass(frozen=True)
class Space:
    """Space that is needed, and what there is.

    Attributes:
        needed: bytes by what they are for.
        available: bytes that there are.
        shortage: a sentence on what will not fit and what to do; None where all does.
    """

    needed: dict[str, float]
    available: int
    shortage: str | None


def memory_of_a_process(
    parts: Inventory, work: Work, lengths: Lengths, *, elsewhere: bool, world_size: int
) -> Space:
    """Return the memory that each process needs on its training device.

    Args:
        parts: what of the run is here.
        work: of the run.
        lengths: of its texts.
        elsewhere: whether it goes to the reference machine.
        world_size: W, among which the index is divided.
    """
    config, teacher = parts.config, parts.teacher_shape
    on_gpu = elsewhere or _trains_on_gpu(config)
    student_dtype, teacher_dtype = parts.dtypes(on_gpu=on_gpu)
    needed = _memory_of_the_student(parts, work, lengths, student_dtype)
    if teacher is not None and config.teacher is not None:
        batch_tokens = config.teacher.batch_tokens or (16_384 if on_gpu else 4_096)
        needed["teacher: weights, logits of a batch"] = costs.teacher_memory(
            teacher,
            teacher_dtype,
            batch_tokens=batch_tokens,
            first=float(np.mean(lengths.firsts)),
            second=float(np.mean(lengths.seconds)),
            weight_bytes=_packed_bytes(parts),
        )
    available = REFERENCE.memory if elsewhere else _memory_here(on_gpu)
    on_device = on_gpu and IndexKind.named(config.index.kind) is None
    if on_device and work.num_refreshes and parts.tower is not None:
        own = costs.index_bytes(
            work.rows_of_the_busiest(world_size),
            parts.tower.embedding_size,
            parts.index_dtype(on_gpu=True),
        )
        held = sum(needed.values()) - needed.get(_ACTIVATIONS, 0)  # when it is decided
        if own <= RESIDENT_SHARE * (available - held):
            needed[OWN_VECTORS] = own
    total, shortage = sum(needed.values()), None
    if total > available:
        shortage = (
            f"memory: about {total / 1e9:.1f} GB a process, but the device has "
            f"{available / 1e9:.1f}; lower training.questions_per_micro_batch, set "
            "training.chunk_tokens"
            + (" or retriever.activation_checkpointing" if config.retriever else "")
            + (", or take a smaller teacher" if teacher is not None else "")
        )
    return Space(needed, available, shortage)


def _memory_of_the_student(
    parts: Inventory, work: Work, lengths: Lengths, dtype: str
) -> dict[str, float]:
    config, tower = parts.config, parts.tower
    if tower is None:
        return {}
    each = [parts.method.passages_per_item] * (work.num_contrastive_steps > 0)
    each += [config.training.top_k] * (work.num_asking_steps > 0)
    num_passages = config.training.questions_per_micro_batch * max(each)
    tokens = num_passages * costs.expected_longest(lengths.passages, num_passages)
    tokens = min(tokens, config.training.chunk_tokens or tokens)
    recomputed = config.towers.activation_checkpointing
    return {
        f"{config.student}: weights, gradients, Adam": costs.student_memory(*parts.num_parameters),
        _ACTIVATIONS: costs.activation_memory(
            tower,
            tokens,
            dtype,
            share=learning_share(config, tower, "passage"),
            recomputed=recomputed,
        ),
    }


def _packed_bytes(parts: Inventory) -> int | None:
    """Return the bytes of the teacher's weights where they are in few bits and loaded here."""
    if parts.teacher_settings is None or not parts.teacher_settings.quantization:
        return None
    if parts.teacher is None:
        parts.basis.append("the teacher's memory as if it were not quantised")
        return None
    return parts.teacher.weight_bytes()


def _trains_on_gpu(config: Config) -> bool:
    return torch.cuda.is_available() and not config.training.cpu


def _memory_here(on_gpu: bool) -> int:
    if on_gpu:
        total: int = torch.cuda.get_device_properties(0).total_memory
        return total
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def disk_of_a_run(parts: Inventory, work: Work, lengths: Lengths, *, elsewhere: bool) -> Space:
    """Return the disk that a run needs at the most.

    Args:
        parts: what of the run is here.
        work: of the run.
        lengths: of its texts.
        elsewhere: whether it goes to another machine, whose disk is not known.
    """
    config = parts.config
    dtype = parts.index_dtype(on_gpu=elsewhere or _trains_on_gpu(config))
    needed = _disk_of_the_data(parts, work, lengths) | _disk_of_the_student(parts, work, dtype)
    # Of step 0, of the best steps that the last two checkpoints name, and of a better one.
    num_kept = min(4, work.num_evaluations)
    needed["what the evaluated questions found"] = num_kept * costs.rankings_bytes(
        work.questions_per_evaluation
    )
    needed["scores"] = costs.score_log_bytes(work.pairs_most + work.pairs_to_agree)
    folder = Path(config.output.folder).absolute()
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    free, total, shortage = shutil.disk_usage(existing).free, sum(needed.values()), None
    if total > free and not elsewhere:
        halved = "; index.dtype: float16 halves the index"
        shortage = (
            f"disk: up to {total / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free in "
            f"{existing}{halved if dtype != 'float16' else ''}"
        )
    return Space(needed, free, shortage)


def _disk_of_the_data(parts: Inventory, work: Work, lengths: Lengths) -> dict[str, float]:
    text = _ASSUMED_TEXT_BYTES * work.num_passages
    if parts.files.store is not None:
        stored = (parts.files.store.folder / "text.bin").stat().st_size
        text = stored * work.num_passages // len(parts.files.store)
    read = (lengths.passages, lengths.teacher_passages)
    needed: dict[str, float] = {
        "passages": text + 24 * work.num_passages,
        "token ids": sum(
            costs.token_bytes(work.num_passages, float(np.mean(each)), size)
            for each, size in zip(read, parts.vocab_sizes, strict=True)
            if each
        ),
    }
    for labelled in parts.labelled_stores:
        held = sum(file.stat().st_size for file in labelled.folder.rglob("*.*"))
        mean = float(np.mean(lengths.passages))
        held += costs.token_bytes(len(labelled.contexts), mean, parts.vocab_sizes[0])
        name = "labelled questions and their passages"
        needed[name] = needed.get(name, 0) + held
    return needed


def _disk_of_the_student(parts: Inventory, work: Work, index_dtype: VectorType) -> dict[str, float]:
    tower, training = parts.tower, parts.config.training
    if tower is None:
        return {}
    # That of the checkpoint before the last one, while the next one is written: the last checkpoint
    # needs none where it is about to be replaced.
    num_indexes = min(2, work.num_refreshes)
    if "start" in parts.method.blended:
        num_indexes += 1  # its own, as long as the run lasts
    index = costs.index_bytes(work.num_passages, tower.embedding_size, index_dtype)
    if kind := IndexKind.named(parts.config.index.kind):
        index += work.num_passages * kind.bytes_of_a_passage(tower.embedding_size)
    parameters, learning = parts.num_parameters
    # Three checkpoints while the oldest is still there, and that of the step which built the
    # index if there are others since; the best weights, the result, the start if it may be kept.
    longest = Intervals.of(training.refresh_steps).longest
    num_checkpoints = 3 + (training.save_steps < longest or work.num_decided_refreshes > 0)
    return {
        f"index, {num_indexes} of them": num_indexes * index,
        "checkpoints and result": num_checkpoints * costs.checkpoint_bytes(parameters, learning)
        + (3 if work.pairs_to_agree else 2) * 4 * parameters,
    }
