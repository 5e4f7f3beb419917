"""A run before it is one: what is there is checked, what will happen is counted and timed."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from art.config import Config
from art.planning import costs
from art.planning.at_hand import AtHand, WhatIf, find
from art.planning.costs import TeacherShape, TowerShape
from art.planning.lengths import Lengths, sample_texts
from art.planning.rates import REFERENCE, Sample, measure_rates, reference_rates
from art.planning.work import (
    Rates,
    UnitFlops,
    Work,
    count_work,
    flops_by_phase,
    seconds_by_phase,
)
from art.scorer.models import automatic_dtype
from art.training.plan import check_passages, plan_run
from art.training.run_folder import RunFolder
from art.training.schedule import Schedule

_ASSUMED_TEXT_BYTES = 700  # of a passage, where none are here


@dataclass
class Forecast:
    """What a run will do, take and need, and what that rests on.

    Attributes:
        schedule: its steps.
        world_size: W.
        work: pieces of work.
        flops: operations by phase, None where a model's shape is not known.
        seconds: least and most by phase, None where nothing could be measured.
        memory: bytes of a process by what they are for.
        memory_limit: of the device that learns, in bytes.
        disk: bytes on disk at the most, by what they are for.
        free_disk: bytes free where the run goes.
        basis: what the figures rest on, a sentence each.
        warnings: what will not fit, a sentence each.
    """

    schedule: Schedule
    world_size: int
    work: Work
    flops: dict[str, float] | None = None
    seconds: dict[str, tuple[float, float]] | None = None
    memory: dict[str, float] = field(default_factory=dict)
    memory_limit: int = 0
    disk: dict[str, float] = field(default_factory=dict)
    free_disk: int = 0
    basis: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def forecast(config: Config, what_if: WhatIf | None = None, *, world_size: int = 1) -> Forecast:
    """Check everything that a run would read, count what it would do, and say how long it takes.

    Nothing is trained and nothing downloaded; the passage store is built where it is new, as the
    run would.

    Args:
        config: the run's settings.
        what_if: what to plan with in place of what is here.
        world_size: W, processes started; GPUs planned with come first.

    Raises:
        ArtError: the run would refuse to start.
    """
    asked = what_if or WhatIf()
    RunFolder(Path(config.output.folder)).refuse_other_settings(config)
    return forecast_beside(config, asked, world_size=asked.num_gpus or world_size)


def forecast_beside(
    config: Config,
    asked: WhatIf,
    *,
    world_size: int,
    pairs_per_second: float | None = None,
) -> Forecast:
    """Return `forecast` whatever run the output folder may hold.

    Args:
        config: the run's settings.
        asked: what to plan with in place of what is here.
        world_size: W.
        pairs_per_second: that all processes together score, where that was measured at length.

    Raises:
        ArtError: the run would refuse to start.
    """
    parts = find(config, asked)
    schedule = plan_run(
        config,
        num_questions=parts.num_questions,
        num_labelled=parts.num_labelled,
        world_size=world_size,
    )
    check_passages(config, parts.num_passages)
    work = count_work(
        config,
        schedule,
        num_passages=parts.num_passages,
        num_evaluated=parts.num_evaluated,
        judged_by_scorer=parts.judged_by_scorer,
        pooled=parts.pooled,
    )
    result = Forecast(schedule, world_size, work, basis=parts.basis)
    _add_costs(result, parts, asked, pairs_per_second)
    return result


def _add_costs(
    result: Forecast, parts: AtHand, asked: WhatIf, pairs_per_second: float | None
) -> None:
    config, tower, scorer = parts.config, parts.tower, parts.scorer_shape
    sample, lengths = sample_texts(parts)
    models: dict[str, TowerShape | TeacherShape | None] = {config.retriever.model: tower}
    if parts.teacher is not None:
        models[parts.teacher.model] = scorer
    for name, shape in models.items():
        if shape is None:
            result.basis.append(f"nothing is known here of the size of {name}")
    reference = asked.num_gpus is not None and asked.num_gpus > torch.cuda.device_count()
    unit = None
    if tower and (scorer or parts.teacher is None):
        unit = _unit_flops(config, tower, scorer, lengths, num_processes=result.world_size)
    rates = _rates(parts, sample, unit, result, reference=reference)
    result.flops = flops_by_phase(result.work, unit) if unit else None
    if rates and pairs_per_second:
        rates = replace(rates, pair=result.world_size / pairs_per_second)
    if rates:
        result.seconds = seconds_by_phase(result.work, rates, world_size=result.world_size)
    _add_memory(result, parts, lengths, reference=reference)
    _add_disk(result, parts, lengths, elsewhere=reference)


def _unit_flops(
    config: Config,
    tower: TowerShape,
    scorer: TeacherShape | None,
    lengths: Lengths,
    *,
    num_processes: int,
) -> UnitFlops:
    num_questions = config.training.questions_per_micro_batch
    recomputed = config.retriever.activation_checkpointing

    def learning(texts: list[int], count: int, name: str) -> float:
        forward = count * tower.flops(costs.expected_longest(texts, count))
        learns = config.retriever.freeze != name
        return costs.training_flops(forward, learns=learns, recomputed=recomputed)

    def contrasting(texts: list[int], count: int, name: str) -> float:
        forward = count * float(np.mean([tower.flops(length) for length in texts]))
        learns = config.retriever.freeze != name
        again = forward if encodes_twice(config, num_processes) else 0.0
        return again + costs.training_flops(forward, learns=learns, recomputed=recomputed)

    pairs = zip(lengths.firsts, lengths.seconds, strict=True)
    each = passages_per_item(config)
    return UnitFlops(
        question=float(np.mean([tower.flops(length) for length in lengths.questions])),
        passage=float(np.mean([tower.flops(length) for length in lengths.passages])),
        pair=float(np.mean([scorer.flops(first, second) for first, second in pairs]))
        if scorer
        else 0.0,
        micro_batch=learning(lengths.questions, num_questions, "question")
        + learning(lengths.passages, num_questions * config.training.top_k, "passage"),
        embedding_size=tower.embedding_size,
        contrastive=contrasting(lengths.questions, num_questions, "question")
        + contrasting(lengths.passages, num_questions * each, "passage"),
    )


def passages_per_item(config: Config) -> int:
    """Return the passages that each question brings into a contrastive step."""
    return 1 if config.training.method == "warmup" else 1 + config.training.hard_negatives


def encodes_twice(config: Config, num_processes: int) -> bool:
    """Return whether a contrastive step goes through its gradient cache."""
    training = config.training
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    return training.chunk_tokens is not None or micro_batches > num_processes


def _rates(
    parts: AtHand,
    sample: Sample | None,
    unit: UnitFlops | None,
    result: Forecast,
    *,
    reference: bool,
) -> Rates | None:
    config = parts.config
    if reference:
        student, teacher = _dtypes(config, on_gpu=True)
        result.basis.append(
            f"rates assumed for {result.world_size} of {REFERENCE.name}, none measured: "
            f"{REFERENCE.flops[student] / 1e12:g} TFLOP/s sustained in {student} by the retriever, "
            f"{REFERENCE.flops[teacher] / 1e12:g} in {teacher} by a scorer; a search gets "
            f"through {REFERENCE.search_bytes[config.index.dtype] / 1e9:g} GB/s of float32 vectors "
            f"(stored as {config.index.dtype})"
        )
        if unit is None:
            return None
        return reference_rates(
            REFERENCE,
            unit,
            retriever_dtype=student,
            scorer_dtype=teacher,
            index_dtype=config.index.dtype,
        )
    lacks_teacher = parts.teacher is not None and parts.scorer is None
    if sample is None or parts.retriever is None or lacks_teacher:
        result.basis.append("only counts: rates are measured where models and texts are here")
        return None
    device = parts.retriever.device
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    result.basis.append(
        f"rates measured just now with these models and texts on this machine ({name}{threads}), a "
        "second or so for each kind of work; other work beside it shows in them"
    )
    contrasts = result.work.num_contrastive_steps > 0
    measured = measure_rates(
        parts.retriever,
        parts.scorer,
        sample,
        questions_per_micro_batch=config.training.questions_per_micro_batch,
        top_k=config.training.top_k if result.work.num_asking_steps else 0,
        passages_per_item=passages_per_item(config) if contrasts else 0,
        batch_tokens=config.index.batch_tokens,
        questions_per_search=max(1, result.work.questions_per_step // result.world_size),
        num_passages=max(result.work.num_passages, 1),
        index_dtype=config.index.dtype,
    )
    if not encodes_twice(config, result.world_size):
        return measured
    # A forward pass is a third of forward and backward.
    return replace(measured, contrastive=measured.contrastive * 4 / 3)


def _dtypes(config: Config, *, on_gpu: bool) -> tuple[str, str]:
    """Return what the retriever and the scorer compute in."""
    automatic = "bfloat16" if on_gpu else automatic_dtype(torch.device("cpu"))
    wanted = config.scorer.dtype if config.scorer else "auto"
    teacher = automatic if wanted == "auto" else wanted
    return config.retriever.dtype or "float32", teacher


def _add_memory(result: Forecast, parts: AtHand, lengths: Lengths, *, reference: bool) -> None:
    config, tower, scorer = parts.config, parts.tower, parts.scorer_shape
    on_gpu = reference or (torch.cuda.is_available() and not config.training.cpu)
    student, teacher = _dtypes(config, on_gpu=on_gpu)
    if tower is not None:
        result.memory["retriever: weights, gradients, Adam"] = costs.student_memory(
            *parts.num_parameters
        )
        each = [passages_per_item(config)] * (result.work.num_contrastive_steps > 0)
        each += [config.training.top_k] * (result.work.num_asking_steps > 0)
        num_passages = config.training.questions_per_micro_batch * max(each)
        tokens = num_passages * costs.expected_longest(lengths.passages, num_passages)
        tokens = min(tokens, config.training.chunk_tokens or tokens)
        recomputed = config.retriever.activation_checkpointing
        result.memory["activations of a micro-batch, about"] = costs.activation_memory(
            tower, tokens, student, recomputed=recomputed
        )
    if scorer is not None and config.scorer is not None:
        batch_tokens = config.scorer.batch_tokens or (16_384 if on_gpu else 4_096)
        result.memory["scorer: weights, logits of a batch"] = costs.scorer_memory(
            scorer,
            teacher,
            batch_tokens=batch_tokens,
            first=float(np.mean(lengths.firsts)),
            second=float(np.mean(lengths.seconds)),
            weight_bytes=_packed_bytes(result, parts),
        )
    result.memory_limit = REFERENCE.memory if reference else _memory(on_gpu)
    needed = sum(result.memory.values())
    if needed > result.memory_limit:
        result.warnings.append(
            f"memory: about {needed / 1e9:.1f} GB a process, but the device has "
            f"{result.memory_limit / 1e9:.1f}; lower training.questions_per_micro_batch, set "
            "training.chunk_tokens or retriever.activation_checkpointing"
            + (", or take a smaller scorer" if scorer is not None else "")
        )


def _packed_bytes(result: Forecast, parts: AtHand) -> int | None:
    """Return the bytes of the scorer's weights where they are in few bits and loaded here."""
    if parts.teacher is None or not parts.teacher.quantization:
        return None
    if parts.scorer is None:
        result.basis.append("the scorer's memory as if it were not quantised")
        return None
    return int(parts.scorer.model.get_memory_footprint())


def _memory(on_gpu: bool) -> int:
    if on_gpu:
        total: int = torch.cuda.get_device_properties(0).total_memory
        return total
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _add_disk(result: Forecast, parts: AtHand, lengths: Lengths, *, elsewhere: bool) -> None:
    config, tower, work = parts.config, parts.tower, result.work
    num_passages = work.num_passages
    text = _ASSUMED_TEXT_BYTES * num_passages
    if parts.store is not None:
        stored = (parts.store.folder / "text.bin").stat().st_size
        text = stored * num_passages // len(parts.store)
    result.disk["passages"] = text + 24 * num_passages
    read = [each for each in (lengths.passages, lengths.scorer_passages) if each]
    result.disk["token ids"] = sum(
        costs.token_bytes(num_passages, float(np.mean(each)), size)
        for each, size in zip(read, parts.vocab_sizes, strict=False)
    )
    for labelled in parts.labelled_stores:
        held = sum(file.stat().st_size for file in labelled.folder.rglob("*.*"))
        mean = float(np.mean(lengths.passages))
        held += costs.token_bytes(len(labelled.contexts), mean, parts.vocab_sizes[0])
        name = "labelled questions and their passages"
        result.disk[name] = result.disk.get(name, 0) + held
    if tower is not None:
        # The last two checkpoints each name an index, and a third is written beside them.
        num_indexes = min(3, work.num_refreshes)
        one = costs.index_bytes(num_passages, tower.embedding_size, config.index.dtype)
        result.disk[f"index, {num_indexes} of them"] = num_indexes * one
        parameters, learning = parts.num_parameters
        # Three checkpoints while the oldest is still there, and that of the step which built the
        # index if there are others since; the best weights, the result.
        training = config.training
        num_checkpoints = 3 + (training.save_steps < training.refresh_steps)
        result.disk["checkpoints and result"] = (
            num_checkpoints * costs.checkpoint_bytes(parameters, learning) + 2 * 4 * parameters
        )
    # Of step 0, of the best steps that the last two checkpoints name, and of a better one.
    num_kept = min(4, work.num_evaluations)
    result.disk["what the evaluated questions found"] = num_kept * costs.rankings_bytes(
        work.questions_per_evaluation
    )
    result.disk["scores"] = costs.score_log_bytes(work.pairs_most)
    folder = Path(config.output.folder).absolute()
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    result.free_disk = shutil.disk_usage(existing).free
    needed = sum(result.disk.values())
    if needed > result.free_disk and not elsewhere:
        advice = (
            "; index.dtype: float16 halves the index" if config.index.dtype != "float16" else ""
        )
        result.warnings.append(
            f"disk: up to {needed / 1e9:.1f} GB, but {result.free_disk / 1e9:.1f} GB are free in "
            f"{existing}{advice}"
        )
