"""How fast things go: measured in a few seconds here, or assumed for a machine that is not here."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from art.data.pairs import Asked, Ids
from art.data.tokens import pad
from art.planning.work import Rates, UnitFlops
from art.retriever.blocks import Blocks
from art.retriever.encoders import Retriever
from art.retriever.search import search
from art.retriever.shards import Shards, VectorType, stored_type, write_shard
from art.teacher.base import Teacher

_ENOUGH_SECONDS = 1.0
_MOST_ITEMS = 4096
_SEARCHED_ROWS = 32_768

T = TypeVar("T")
Many = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Sample:
    """Token ids of some of the run's own texts.

    Attributes:
        questions: as the question tower reads them.
        passages: as the passage tower reads them.
        asked: what the teacher reads of questions.
        teacher_passages: what it reads of passages, uncut.
    """

    questions: Many
    passages: Many
    asked: Sequence[Asked]
    teacher_passages: Sequence[Ids]


@dataclass(frozen=True)
class Machine:
    """An accelerator as it is assumed to be, a process for each.

    Attributes:
        name: what it is called.
        flops: operations a second that training sustains, by precision.
        memory: in bytes.
        resident_bytes: bytes of float32 vectors that a search gets through in a second, by the type
            they are stored in, where they are in its memory.
        uploaded_bytes: likewise, where they are uploaded for each search.
    """

    name: str
    flops: dict[str, float]
    memory: int
    resident_bytes: dict[str, float]
    uploaded_bytes: dict[str, float]

    def search_bytes(self, index_dtype: str, *, resident: bool) -> float:
        """Return the bytes of float32 vectors that a search gets through in a second."""
        return (self.resident_bytes if resident else self.uploaded_bytes)[index_dtype]


# 40 % of the 312 TFLOP/s that its maker names for bfloat16, half of the 19.5 for float32. Of the
# 1.5 TB/s of its memory, 1.2: float32 vectors are read once; of 16 bits, two bytes are read, four
# written and four read. Vectors from the host's memory come at 20 of the 32 GB/s of PCIe 4.0.
REFERENCE = Machine(
    name="A100-40GB",
    flops={"bfloat16": 125e12, "float16": 125e12, "float32": 10e12},
    memory=40 << 30,
    resident_bytes={"float32": 1200e9, "float16": 480e9},
    uploaded_bytes={"float32": 20e9, "float16": 40e9},
)


def reference_rates(
    machine: Machine,
    unit: UnitFlops,
    *,
    retriever_dtype: str,
    teacher_dtype: str,
    index_dtype: str,
    resident: bool,
) -> Rates:
    """Return what each piece of work would take on a machine.

    Args:
        machine: as it is assumed to be.
        unit: operations of each piece.
        retriever_dtype: what the retriever computes in.
        teacher_dtype: what the teacher computes in.
        index_dtype: of the stored vectors.
        resident: whether they are kept in its memory.
    """
    student, teacher = machine.flops[retriever_dtype], machine.flops[teacher_dtype]
    return Rates(
        question=unit.question / student,
        passage=unit.passage / student,
        pair=unit.pair / teacher,
        pair_again=unit.pair_again / teacher,
        micro_batch=unit.micro_batch / student,
        contrastive=unit.contrastive / student,
        update=0.0,
        search_question=0.0,
        search_row=4 * unit.embedding_size / machine.search_bytes(index_dtype, resident=resident),
        search_row_question=2 * unit.embedding_size / machine.flops["float32"],
    )


def measure_rates(
    retriever: Retriever,
    teacher: Teacher | None,
    sample: Sample,
    *,
    questions_per_micro_batch: int,
    top_k: int,
    passages_per_item: int,
    batch_tokens: int | None,
    questions_per_search: int,
    num_passages: int,
    index_dtype: VectorType,
    resident: bool,
) -> Rates:
    """Measure each piece of work with these models on texts of the run, about a second for each.

    The retriever's weights change.

    Args:
        retriever: on its device.
        teacher: on its device; None where the run needs none.
        sample: texts to work on.
        questions_per_micro_batch: B.
        top_k: K; 0 where no step asks the index.
        passages_per_item: of each question of a contrastive step; 0 where there is no such step.
        batch_tokens: padded tokens that a refresh embeds at once; None for the device's own.
        questions_per_search: of one process, G / W.
        num_passages: N.
        index_dtype: of the stored vectors.
        resident: whether they are kept in the memory of a GPU.
    """
    device = retriever.device

    def embed_questions(count: int) -> None:
        retriever.embed_tokens("question", _some(sample.questions, count))

    def embed_passages(count: int) -> None:
        chosen = _some(sample.passages, count)
        retriever.embed_tokens("passage", chosen, batch_tokens=batch_tokens)

    def score(count: int) -> None:
        passages, asked = sample.teacher_passages, sample.asked
        # Every passage meets another question in each round of the sample.
        others = (asked[(i + i // len(passages)) % len(asked)] for i in range(count))
        pairs = zip(others, _some(passages, count), strict=True)
        assert teacher is not None
        teacher.score_pairs([teacher.template.pair(*one) for one in pairs])

    def score_again(count: int) -> None:
        assert teacher is not None
        passage = sample.teacher_passages[0]
        asked = _some(sample.asked, count)
        teacher.score_pairs([teacher.template.pair(one, passage) for one in asked])

    question = _seconds_each(embed_questions, questions_per_search, device)
    passage = _seconds_each(embed_passages, min(num_passages, _MOST_ITEMS), device)
    pair = _seconds_each(score, _MOST_ITEMS, device) if teacher is not None else 0.0
    pair_again = pair
    if teacher is not None and teacher.reads_passages_apart:
        pair_again = min(pair, _seconds_each(score_again, _MOST_ITEMS, device))
    micro_batch, contrastive = (
        _micro_batch_seconds(
            retriever, sample, num_questions=questions_per_micro_batch, num_passages=each
        )
        if each
        else 0.0
        for each in (top_k, passages_per_item)
    )
    update = _update_seconds(retriever)
    search_question, search_row, search_row_question = _search_seconds(
        retriever.embedding_size,
        index_dtype,
        device,
        resident=resident,
        num_rows=min(num_passages, _SEARCHED_ROWS),
        num_questions=questions_per_search,
        top_k=max(top_k, 1),
    )
    return Rates(
        question=question,
        passage=passage,
        pair=pair,
        pair_again=pair_again,
        micro_batch=micro_batch,
        contrastive=contrastive,
        update=update,
        search_question=search_question,
        search_row=search_row,
        search_row_question=search_row_question,
    )


def _some(items: Sequence[T], count: int) -> list[T]:
    return [items[i % len(items)] for i in range(count)]


def _seconds_each(run: Callable[[int], None], most: int, device: torch.device) -> float:
    """Return the seconds per item: of twice as many items each time, until that is long enough."""
    _timed(run, 1, device)  # whatever is set up at the first call
    count = 1
    while (elapsed := _timed(run, count, device)) < _ENOUGH_SECONDS and count < most:
        # Straight on to what should be enough, if little work was done so far.
        count = min(most, max(2 * count, int(count * _ENOUGH_SECONDS / 2 / elapsed)))
    return elapsed / count


def _timed(run: Callable[[int], None], count: int, device: torch.device) -> float:
    start = time.perf_counter()
    run(count)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _micro_batch_seconds(
    retriever: Retriever, sample: Sample, *, num_questions: int, num_passages: int
) -> float:
    """Return the seconds of B questions with so many passages each, from fewer if it is slow."""
    limits = retriever.training_limits

    def learn(count: int) -> None:
        questions = pad(_some(sample.questions, count), pad_id=retriever.pad_id)
        passages = pad(_some(sample.passages, count * num_passages), pad_id=retriever.pad_id)
        inputs = (tensor.to(retriever.device) for tensor in (*questions, *passages))
        question_vectors, passage_vectors = retriever(*inputs, limits=limits)
        total = question_vectors.sum() + passage_vectors.sum()
        if total.requires_grad:
            total.backward()

    retriever.train()
    each = _seconds_each(learn, num_questions, retriever.device)
    return each * num_questions


def _update_seconds(retriever: Retriever) -> float:
    learning = [p for p in retriever.parameters() if p.grad is not None]
    if not learning:
        return 0.0
    optimizer = torch.optim.AdamW(learning)

    def update(count: int) -> None:
        for _ in range(count):
            nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()

    return _seconds_each(update, 8, retriever.device)


def _search_seconds(
    embedding_size: int,
    dtype: VectorType,
    device: torch.device,
    *,
    resident: bool,
    num_rows: int,
    num_questions: int,
    top_k: int,
) -> tuple[float, float, float]:
    """Return the seconds of a search per question, per row, and per row and question."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((num_rows, embedding_size), dtype=np.float32)
    questions = rng.standard_normal((4 * num_questions, embedding_size), dtype=np.float32)
    few, less = num_questions, max(num_rows // 4, 1)
    with tempfile.TemporaryDirectory() as folder:

        def seconds(asked: int, rows: int) -> float:
            place = Path(folder) / str(rows)
            place.mkdir(exist_ok=True)
            record = write_shard(place, 0, vectors[:rows].astype(stored_type(dtype)), "measured")
            shards = Shards(
                place,
                num_rows=rows,
                embedding_size=embedding_size,
                dtype=dtype,
                shard_rows=rows,
                blocks=[record.blocks],
            )

            blocks = Blocks.of(
                shards, [0], max_norm=record.max_norm, device=device, resident=resident
            )

            def run(_: int) -> None:
                search(blocks, questions[:asked], min(top_k, rows))

            run(1)
            return min(_timed(run, 1, device) for _ in range(3))

        small, large, many = seconds(few, less), seconds(few, num_rows), seconds(4 * few, num_rows)
    return fit_search(small, large, many, num_rows=num_rows, less=less, num_questions=few)


def fit_search(
    small: float, large: float, many: float, *, num_rows: int, less: int, num_questions: int
) -> tuple[float, float, float]:
    """Return f, a, b of seconds = questions × f + rows × (a + questions × b), none below zero.

    Args:
        small: seconds of a search of `less` rows with `num_questions` questions.
        large: of `num_rows` rows with as many questions.
        many: of `num_rows` rows with four times as many.
        num_rows: see there.
        less: see there.
        num_questions: see there.
    """
    if less == num_rows:
        return large / num_questions, 0.0, 0.0
    slope = max(large - small, 0.0) / (num_rows - less)  # a + questions × b
    fixed = max(large - num_rows * slope, 0.0) / num_questions
    slope_of_many = max(many - 4 * num_questions * fixed, 0.0) / num_rows
    per_question = max(slope_of_many - slope, 0.0) / (3 * num_questions)
    per_question = min(per_question, slope / num_questions)
    return fixed, slope - num_questions * per_question, per_question
