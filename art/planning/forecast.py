"""A run before it is one: what is there is checked, what will happen is counted and timed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from art.config import Config, IndexKind
from art.planning import costs
from art.planning.costs import TowerShape
from art.planning.inventory import Inventory, WhatIf, find
from art.planning.lengths import Lengths, sample_texts
from art.planning.rates import REFERENCE, Sample, measure_rates, reference_rates
from art.planning.space import OWN_VECTORS, Space, disk_of_a_run, memory_of_a_process
from art.planning.work import (
    Rates,
    UnitFlops,
    Work,
    count_work,
    encodes_twice,
    flops_by_phase,
    learning_share,
    seconds_by_phase,
)
from art.retriever.backbones import TowerName
from art.teacher.costs import TeacherShape
from art.training.plan import check_corpus, check_index, plan_run
from art.training.run_folder import RunFolder
from art.training.schedule import Schedule


@dataclass(frozen=True)
class Forecast:
    """What a run will do, take and need, and what that rests on.

    Attributes:
        schedule: its steps.
        world_size: W.
        work: pieces of work.
        flops: operations by phase, None where a model's shape is not known.
        seconds: least and most by phase, None where nothing could be measured.
        memory: of each process, on its training device.
        disk: where the run goes, at the most.
        basis: what the estimates rest on, a sentence each.
        warnings: what will not fit, a sentence each.
    """

    schedule: Schedule
    world_size: int
    work: Work
    flops: dict[str, float] | None
    seconds: dict[str, tuple[float, float]] | None
    memory: Space
    disk: Space
    basis: list[str]
    warnings: list[str]


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
        num_generated=parts.num_generated,
        world_size=world_size,
    )
    check_corpus(config, parts.num_passages)
    size = parts.tower.embedding_size if parts.tower else None
    check_index(config, schedule, num_passages=parts.num_passages, embedding_size=size)
    work = count_work(
        config,
        schedule,
        num_passages=parts.num_passages,
        num_evaluated=parts.num_evaluated,
        judged_by_teacher=parts.judged_by_teacher,
        pooled=parts.pooled,
    )
    sample, lengths = sample_texts(parts)
    unit = _unit_flops(parts, lengths, num_processes=world_size)
    elsewhere = asked.num_gpus is not None and asked.num_gpus > torch.cuda.device_count()
    memory = memory_of_a_process(parts, work, lengths, elsewhere=elsewhere, world_size=world_size)
    resident = OWN_VECTORS in memory.needed
    if IndexKind.named(config.index.kind) is not None:
        parts.basis.append(
            f"searches as if index.kind were exact; {config.index.kind} compares fewer passages, "
            "and what its lists take at a refresh is not counted"
        )
    if elsewhere:
        rates = _assumed_rates(parts, unit, world_size, resident=resident)
    else:
        rates = _measured_rates(parts, sample, work, world_size, resident=resident)
    if rates and pairs_per_second:
        pair = world_size / pairs_per_second  # as passages were shared there
        rates = replace(rates, pair=pair, pair_again=pair)
    disk = disk_of_a_run(parts, work, lengths, elsewhere=elsewhere)
    return Forecast(
        schedule,
        world_size,
        work,
        flops=flops_by_phase(work, unit) if unit else None,
        seconds=seconds_by_phase(work, rates, world_size=world_size) if rates else None,
        memory=memory,
        disk=disk,
        basis=parts.basis,
        warnings=[one.shortage for one in (memory, disk) if one.shortage],
    )


def _unit_flops(parts: Inventory, lengths: Lengths, *, num_processes: int) -> UnitFlops | None:
    """Return the operations of each piece of work; None where a model's size is not known."""
    config, tower, teacher = parts.config, parts.tower, parts.teacher_shape
    models: dict[str, TowerShape | TeacherShape | None] = {config.towers.model: tower}
    if parts.teacher_settings is not None:
        models[parts.teacher_settings.model] = teacher
    for name, shape in models.items():
        if shape is None:
            parts.basis.append(f"nothing is known here of the size of {name}")
    if tower is None or (teacher is None and parts.teacher_settings is not None):
        return None
    if "reranker" in parts.method.blended:
        parts.basis.append("what the reranker of teacher.blend takes is not counted")
    num_questions = config.training.questions_per_micro_batch
    recomputed = config.towers.activation_checkpointing

    def learning(texts: list[int], count: int, name: TowerName) -> float:
        forward = count * tower.flops(costs.expected_longest(texts, count))
        share = learning_share(config, tower, name)
        return costs.training_flops(forward, share=share, recomputed=recomputed)

    def contrasting(texts: list[int], count: int, name: TowerName) -> float:
        forward = count * float(np.mean([tower.flops(length) for length in texts]))
        share = learning_share(config, tower, name)
        again = forward if encodes_twice(config, num_processes) else 0.0
        return again + costs.training_flops(forward, share=share, recomputed=recomputed)

    each = parts.method.passages_per_item
    pair, pair_again = _pair_flops(teacher, lengths)
    return UnitFlops(
        question=float(np.mean([tower.flops(length) for length in lengths.questions])),
        passage=float(np.mean([tower.flops(length) for length in lengths.passages])),
        pair=pair,
        pair_again=pair_again,
        micro_batch=learning(lengths.questions, num_questions, "question")
        + learning(lengths.passages, num_questions * config.training.top_k, "passage"),
        embedding_size=tower.embedding_size,
        contrastive=contrasting(lengths.questions, num_questions, "question")
        + contrasting(lengths.passages, num_questions * each, "passage"),
    )


def _pair_flops(teacher: TeacherShape | None, lengths: Lengths) -> tuple[float, float]:
    """Return the operations of a pair, and of one whose passage is read for another one."""
    if teacher is None:
        return 0.0, 0.0
    pairs = [*zip(lengths.firsts, lengths.seconds, strict=True)]
    pair, pair_again = (
        float(np.mean([flops(first, second) for first, second in pairs]))
        for flops in (teacher.flops, teacher.flops_again)
    )
    return pair, pair_again


def _assumed_rates(
    parts: Inventory, unit: UnitFlops | None, world_size: int, *, resident: bool
) -> Rates | None:
    """Return the rates of a machine that is not here; None where the work is not known."""
    index_dtype = parts.index_dtype(on_gpu=True)
    through = REFERENCE.search_bytes(index_dtype, resident=resident)
    where = "kept in its memory" if resident else "uploaded each time"
    student_dtype, teacher_dtype = parts.dtypes(on_gpu=True)
    parts.basis.append(
        f"rates assumed for {world_size} of {REFERENCE.name}, none measured: "
        f"{REFERENCE.flops[student_dtype] / 1e12:g} TFLOP/s sustained in {student_dtype} by the "
        f"{parts.config.student}, "
        f"{REFERENCE.flops[teacher_dtype] / 1e12:g} in {teacher_dtype} by a teacher; a search gets "
        f"through {through / 1e9:g} GB/s of float32 vectors (stored as {index_dtype}, {where})"
    )
    if unit is None:
        return None
    return reference_rates(
        REFERENCE,
        unit,
        retriever_dtype=student_dtype,
        teacher_dtype=teacher_dtype,
        index_dtype=index_dtype,
        resident=resident,
    )


def _measured_rates(
    parts: Inventory, sample: Sample | None, work: Work, world_size: int, *, resident: bool
) -> Rates | None:
    """Return the rates of this machine; None where models or texts are not here."""
    config = parts.config
    lacks_teacher = parts.teacher_settings is not None and parts.teacher is None
    if sample is None or parts.retriever is None or lacks_teacher:
        reason = "rates are measured where models and texts are here"
        if config.reader:
            reason = "no rate of a reader is measured"
        parts.basis.append(f"only counts: {reason}")
        return None
    device = parts.retriever.device
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    parts.basis.append(
        f"rates measured just now with these models and texts on this machine ({name}{threads}), a "
        "second or so for each kind of work; other work beside it shows in them"
    )
    contrasts = work.num_contrastive_steps > 0
    measured = measure_rates(
        parts.retriever,
        parts.teacher,
        sample,
        questions_per_micro_batch=config.training.questions_per_micro_batch,
        top_k=config.training.top_k if work.num_asking_steps else 0,
        passages_per_item=parts.method.passages_per_item if contrasts else 0,
        batch_tokens=config.index.batch_tokens,
        questions_per_search=max(1, work.questions_per_step // world_size),
        num_passages=max(work.num_passages, 1),
        index_dtype=parts.index_dtype(on_gpu=device.type != "cpu"),
        resident=resident,
    )
    if not encodes_twice(config, world_size):
        return measured
    # A forward pass is a third of forward and backward.
    return replace(measured, contrastive=measured.contrastive * 4 / 3)
