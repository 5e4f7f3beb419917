"""A reader that learns to find the answers of labelled questions in their passages.

Source: Karpukhin et al. 2020, "Dense Passage Retrieval for Open-Domain Question Answering", section
6.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from art import distributed
from art.answering.reader import AnswerReader, Logits, check_reader_length, create_reader
from art.answering.template import ReaderTemplate
from art.data.batching import token_batches
from art.data.tokens import TokenStore, pad
from art.errors import DataError
from art.teacher.models import find_model
from art.training.losses import reader_loss
from art.training.methods.base import METHODS, Learner, LearnerParts, Method
from art.training.readings import LabelledReadings, ReaderJudge, ReadingItem, with_answers
from art.training.run_files import cache_folder
from art.training.schedule import seed_micro_batch
from art.training.selection import split_labelled
from art.training.sources import LABELLED, TrainingSet
from art.training.statistics import StepStatistics

if TYPE_CHECKING:
    from pathlib import Path

    from art.answering.template import Reading
    from art.config import Config
    from art.training.progress import PhaseTimer
    from art.training.run_files import RunFiles
    from art.training.schedule import MicroBatch


def reader_step(
    micro_batches: Sequence[MicroBatch],
    items: Callable[[Sequence[int]], list[ReadingItem]],
    *,
    model: nn.Module,
    reader: AnswerReader,
    seed: int,
    step: int,
    timer: PhaseTimer,
    chunk_tokens: int | None = None,
) -> StepStatistics:
    """Accumulate the gradient of the mean of `reader_loss` over the G questions of the step.

    Args:
        micro_batches: this rank's share of the step.
        items: what the micro-batches point to: each question with its passages.
        model: `reader`, wrapped for gradient averaging when there are several processes.
        reader: the student.
        seed: of the run.
        step: optimiser steps done before this one.
        timer: collects the seconds spent in each phase.
        chunk_tokens: padded tokens that are read with gradient at once; None for a micro-batch.

    Returns:
        Statistics of this rank's questions; the gradient is in the parameters.
    """
    with timer("read"), distributed.fail_together():
        batches = [items(micro.questions) for micro in micro_batches]
    statistics = StepStatistics(sum(map(len, batches)))
    # Every rank has as many questions, and the average over the ranks is over all G.
    scale = 1 / statistics.num_questions
    for micro, batch in zip(micro_batches, batches, strict=True):

        def loss(logits: Logits, batch: list[ReadingItem] = batch) -> Tensor:
            losses, first = [], 0
            for item in batch:
                own = slice(first, first + len(item.readings))
                length, first = len(item.readings[0].ids), own.stop
                relevance = logits.relevance[own]
                spans = torch.from_numpy(item.spans).to(relevance.device)
                start, end = logits.start[own.start, :length], logits.end[own.start, :length]
                losses.append(reader_loss(start, end, relevance, spans))
                statistics.add({"relevance_accuracy": float(relevance.argmax() == 0)})
            total = torch.stack(losses).sum()
            statistics.add({"loss": total.item()})
            return scale * total

        with timer("learn"):
            _back_propagate(
                loss,
                [reading for item in batch for reading in item.readings],
                model=model,
                reader=reader,
                seed=(seed, step, micro.number),
                average=micro is micro_batches[-1],
                chunk_tokens=chunk_tokens,
            )
    return statistics


def _back_propagate(
    loss: Callable[[Logits], Tensor],
    readings: Sequence[Reading],
    *,
    model: nn.Module,
    reader: AnswerReader,
    seed: tuple[int, int, int],
    average: bool,
    chunk_tokens: int | None,
) -> None:
    """Back-propagate a loss of what the reader says of n inputs, read in chunks of some tokens.

    Of several chunks, each is read without gradient first, then the loss gives the gradient of the
    logits, and at last each is read again, with the same dropout, and passes its part on.
    """
    lengths = [len(one.ids) for one in readings]
    chunks = token_batches(lengths, chunk_tokens or len(lengths) * max(lengths))

    def said(number: int) -> Logits:
        seed_micro_batch(*seed, number)
        ids, mask = pad([readings[i].ids for i in chunks[number]], pad_id=reader.template.pad_id)
        logits: Logits = model(ids.to(reader.device), mask.to(reader.device))
        return logits

    if len(chunks) == 1:
        with distributed.gradient_average(model, enabled=average):
            loss(_in_order([said(0)], chunks, max(lengths))).backward()  # type: ignore[no-untyped-call]
        return
    with torch.no_grad():
        parts = [said(number) for number in range(len(chunks))]
    whole = _in_order(parts, chunks, max(lengths))
    for logits in whole:
        logits.requires_grad_()
    loss(whole).backward()  # type: ignore[no-untyped-call]
    for number, rows in enumerate(chunks):
        is_last = number == len(chunks) - 1
        with distributed.gradient_average(model, enabled=average and is_last):
            again = said(number)
            pairs = zip(whole, again, strict=True)
            gradients = [_part(logits.grad, rows, like=one) for logits, one in pairs]
            torch.autograd.backward([*again], gradients)


def _in_order(parts: Sequence[Logits], chunks: Sequence[NDArray[np.int64]], width: int) -> Logits:
    """Return the logits of all chunks in the order of the inputs, as wide as the longest one."""
    order = torch.from_numpy(np.argsort(np.concatenate(chunks)))

    def widened(logits: Tensor) -> Tensor:
        return F.pad(logits, (0, width - logits.shape[1])) if logits.ndim > 1 else logits

    fields = zip(*parts, strict=True)
    return Logits(*(torch.cat([widened(one) for one in of_parts])[order] for of_parts in fields))


def _part(gradient: Tensor | None, rows: NDArray[np.int64], *, like: Tensor) -> Tensor:
    """Return the gradient of a chunk's logits, as wide as they are."""
    assert gradient is not None  # each of them has a part in the loss
    own = gradient[torch.from_numpy(rows)]
    return own[:, : like.shape[1]] if like.ndim > 1 else own


class ReaderLearner(Learner):
    """Takes the steps of a reader, see `reader_step`.

    Args:
        parts: what they use.
        method: with its settings.
        own: what trains and what is held out.
    """

    def __init__(self, parts: LearnerParts, method: ReaderMethod, own: TrainingSet) -> None:
        labelled, student = parts.files.labelled, parts.student
        assert labelled is not None and own.split is not None  # the method's needs
        assert isinstance(student, AnswerReader)
        self._parts, self._method, self._split, self._reader = parts, method, own.split, student
        tokens = parts.tokens_of(labelled.contexts, student.template)
        self._readings = LabelledReadings(labelled, tokens, student.template)
        if (given := parts.files.evaluated_pool) is not None:
            self.judge = ReaderJudge(student, given)
        else:
            self.judge = ReaderJudge(student, labelled, own.split.held_out.tolist())

    @property
    def shown(self) -> dict[str, str]:
        """What the progress line shows."""
        return {"loss": "loss", "relevance_accuracy": "relevance_accuracy"}

    def step(
        self, micro_batches: Sequence[MicroBatch], *, model: nn.Module, step: int, timer: PhaseTimer
    ) -> StepStatistics:
        """Take one step, see `reader_step`."""
        schedule, method = self._parts.schedule, self._method

        def items(places: Sequence[int]) -> list[ReadingItem]:
            return self._readings.items(
                self._split.training(places),
                seed=schedule.seed,
                epoch=schedule.epoch(step),
                passages_per_question=method.passages_per_question,
                positive=method.positive,
            )

        return reader_step(
            micro_batches,
            items,
            model=model,
            reader=self._reader,
            seed=schedule.seed,
            step=step,
            timer=timer,
            chunk_tokens=method.chunk_tokens,
        )


@METHODS.add
@dataclass(frozen=True)
class ReaderMethod(Method):
    """The training of a reader, with its settings.

    Attributes:
        model: what it starts from.
        max_length: tokens of a question and a passage together.
        passages_per_question: M, at most.
        positive: see `LabelledReadings.items`.
        chunk_tokens: see `reader_step`.
        cache: folder for things that can be built again; None for the user's.
    """

    name: ClassVar[str] = "reader"
    description: ClassVar[str] = (
        "a reader, from labelled questions with answers: which of a question's passages holds one, "
        "and where"
    )
    trains = "reader"
    needs: ClassVar[tuple[str, ...]] = ("data.supervised",)
    trains_on = LABELLED
    shares_passages = False
    items_name = "labelled questions"

    model: str
    max_length: int
    passages_per_question: int
    positive: Literal["first", "random"]
    chunk_tokens: int | None
    cache: Path | None

    @classmethod
    def from_config(cls, config: Config) -> ReaderMethod:
        """Return the method with its settings."""
        settings, training = config.reader, config.training
        assert settings is not None  # checked with the settings
        return cls(
            settings.model,
            settings.max_length,
            settings.passages_per_question,
            training.positive,
            training.chunk_tokens,
            cache_folder(config),
        )

    @classmethod
    def faults(cls, config: Config) -> Iterator[str]:
        """Yield what it cannot be judged on besides what all methods refuse."""
        yield from super().faults(config)
        if config.evaluation.questions:
            yield (
                "evaluation.questions: a reader is judged on labelled questions with passages of "
                "their own; give them as evaluation.supervised"
            )
        if config.evaluation.regex_answers:
            yield (
                "evaluation.regex_answers: a reader learns from answers as they stand, and is "
                "judged by such; `art read --regex-answers` judges the finished one"
            )

    def student(self, config: Config, weights: Path | None) -> AnswerReader:
        """Return the reader."""
        return create_reader(
            str(weights or self.model),
            max_length=self.max_length,
            seed=config.training.seed,
            cache=self.cache,
        )

    @property
    def passages_per_item(self) -> int:
        """A positive and the negatives."""
        return self.passages_per_question

    @property
    def each(self) -> str:
        """What each question comes with."""
        return f"{self.passages_per_question} passages each at most"

    @property
    def negatives(self) -> tuple[str, int]:
        """All passages but the one with the answer."""
        return "reader.passages_per_question", self.passages_per_question - 1

    def training_sets(self, files: RunFiles, *, seed: int, hold_out: bool) -> list[TrainingSet]:
        """Return the questions of which a passage holds an answer.

        Raises:
            DataError: there is none, or one alone that would have to be held out.
            ArtError: the start's tokenizer cannot be loaded.
        """
        store = files.labelled
        if store is None:
            return super().training_sets(files, seed=seed, hold_out=hold_out)
        found = find_model(self.model, cache=self.cache)
        check_reader_length(found, self.max_length)
        template = ReaderTemplate(found.tokenizer, max_length=self.max_length)
        tokens = TokenStore.open_or_build(
            store.contexts, template, cache=self.cache, progress=distributed.is_local_main()
        )
        usable = LabelledReadings(store, tokens, template).answerable()
        if not len(usable):
            raise DataError(
                "no answer stands in a positive passage of its question, as far as a reader reads "
                "it",
                where="data.supervised",
                hint="give the files `answers` that are parts of their positives' texts",
            )
        notes = []
        if num_skipped := len(store) - len(usable):
            notes.append(
                f"{num_skipped:,} of {len(store):,} labelled questions do not train: no answer "
                f"stands in the first {self.max_length} tokens of the question with a positive "
                "passage"
            )
        if (given := files.evaluated_pool) and (left_out := len(given) - len(with_answers(given))):
            notes.append(
                f"{left_out:,} of {len(given):,} questions of evaluation.supervised have no "
                "answers and do not judge"
            )
        split = split_labelled(store, seed=seed, hold_some_out=hold_out, usable=usable)
        return [TrainingSet(LABELLED.name, split.num_training, split, tuple(notes))]

    def learner(self, parts: LearnerParts, sets: Sequence[TrainingSet]) -> ReaderLearner:
        """Return what takes the steps."""
        return ReaderLearner(parts, self, sets[0])
