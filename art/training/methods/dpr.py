"""Labelled questions, each told apart from the positives and hard negatives of the whole step.

Source: Karpukhin et al. 2020, "Dense Passage Retrieval for Open-Domain Question Answering".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from art import distributed
from art.data.contrastive import ContrastiveItem, Items
from art.errors import ArtError
from art.training.contrastive import EpochItems, labelled_items, labelled_pool
from art.training.gradient_cache import TowerInputs, grad_cached
from art.training.losses import contrastive_loss, similarity_to_all
from art.training.methods.base import METHODS, Learner, LearnerParts, Method
from art.training.sources import LABELLED, TrainingSet
from art.training.statistics import StepStatistics, describe_contrast

if TYPE_CHECKING:
    from art.config import Config
    from art.evaluation.pooled import Pool
    from art.retriever.encoders import Retriever
    from art.training.progress import PhaseTimer
    from art.training.schedule import MicroBatch


def dpr_step(
    micro_batches: Sequence[MicroBatch],
    items: Items,
    *,
    model: nn.Module,
    retriever: Retriever,
    seed: int,
    step: int,
    timer: PhaseTimer,
    chunk_tokens: int | None = None,
) -> StepStatistics:
    """Accumulate the gradient of loss = −(1/G) Σ_q log softmax(s(q, ·))[the positive of q].

    Every question is told apart from the positives and hard negatives of all G questions, whatever
    micro-batch or process they belong to, except from passages that are its positives too.

    Args:
        micro_batches: this rank's share of the step, n questions in all.
        items: what the micro-batches point to: each question with its positive and negatives.
        model: `retriever`, wrapped for gradient averaging when there are several processes.
        retriever: both towers and τ.
        seed: of the run.
        step: optimiser steps done before this one.
        timer: collects the seconds spent in each phase.
        chunk_tokens: see `grad_cached`; several micro-batches are chunks in any case.

    Returns:
        Statistics of this rank's questions; the gradient is in the parameters.

    Raises:
        ArtError: the step has one question without a negative, and so nothing to learn from.

    Source: Karpukhin et al. 2020 (DPR), section 3.2.
    """
    # 1. Read the questions with their passages. Those of all processes are columns of the scores.
    with timer("read"), distributed.fail_together():
        batch = [items(micro.questions) for micro in micro_batches]
    own = [item for some in batch for item in some]
    columns = _columns(own)
    inputs = [
        TowerInputs(
            micro.number,
            [item.question for item in some],
            [ids for item in some for ids in item.passages],
        )
        for micro, some in zip(micro_batches, batch, strict=True)
    ]

    # 2. Encode this rank's questions and passages. Those of the other ranks are constants here.
    model.train()
    vectors = grad_cached(
        model, retriever, inputs, seed=seed, step=step, average=True, chunk_tokens=chunk_tokens
    )
    with timer("learn"), vectors as (question_vectors, passage_vectors):
        scores = similarity_to_all(
            distributed.gather_rows(question_vectors),
            distributed.gather_rows(passage_vectors),
            temperature=retriever.temperature,
        )  # [G, P]
        # 3. Learn: the positive should stand out among all passages. On every rank the loss of all
        # questions, through its own vectors; × W because the gradients of W ranks are averaged.
        targets, excluded = columns.targets.to(scores.device), columns.excluded.to(scores.device)
        losses = contrastive_loss(scores, targets, excluded)  # [G]
        (losses.mean() * distributed.world_size()).backward()  # type: ignore[no-untyped-call]
    statistics = StepStatistics(len(own))
    some = columns.own
    statistics.add(
        describe_contrast(losses[some], scores[some], columns.targets[some], columns.excluded[some])
    )
    return statistics


@dataclass(frozen=True, slots=True, eq=False)
class _Columns:
    """Which of the step's P passages is what to each of its G questions.

    Attributes:
        targets: the positive of each question, [G] int64.
        excluded: what leaves the question's softmax: its positives, but for the target, [G, P].
        own: which of the G questions are this rank's.
    """

    targets: Tensor
    excluded: Tensor
    own: slice


def _columns(items: Sequence[ContrastiveItem]) -> _Columns:
    by_rank = distributed.gather_objects([(item.keys, item.positive_keys) for item in items])
    start = sum(len(of_rank) for of_rank in by_rank[: distributed.rank()])
    everyones = [one for of_rank in by_rank for one in of_rank]
    keys = np.concatenate([one for one, _ in everyones])  # [P]
    if len(keys) == 1:
        raise ArtError(
            "a step of one question without hard negatives has nothing to tell its passage from",
            hint="raise training.questions_per_step",
        )
    firsts = np.cumsum([0, *(len(one) for one, _ in everyones[:-1])])  # [G]
    excluded = np.stack([np.isin(keys, positives) for _, positives in everyones])  # [G, P]
    np.put_along_axis(excluded, firsts[:, None], False, axis=1)
    own = slice(start, start + len(items))
    return _Columns(torch.from_numpy(firsts), torch.from_numpy(excluded), own)


class ContrastiveLearner(Learner):
    """Takes contrastive steps, see `dpr_step`.

    Args:
        parts: what they use.
        items: of the training set.
        chunk_tokens: see `dpr_step`.
        pool: held-out items; None where there are none.
    """

    def __init__(
        self,
        parts: LearnerParts,
        items: EpochItems,
        *,
        chunk_tokens: int | None,
        pool: Pool | None,
    ) -> None:
        self._parts = parts
        self._items = items
        self._chunk_tokens = chunk_tokens
        self.held_out_pool = pool

    @property
    def shown(self) -> dict[str, str]:
        """What the progress line shows."""
        return {"loss": "loss", "in_batch_accuracy": "in_batch_accuracy"}

    def step(
        self, micro_batches: Sequence[MicroBatch], *, model: nn.Module, step: int, timer: PhaseTimer
    ) -> StepStatistics:
        """Take one step, see `dpr_step`."""
        schedule = self._parts.schedule
        epoch = schedule.epoch(step)
        return dpr_step(
            micro_batches,
            lambda places: self._items(places, epoch),
            model=model,
            retriever=self._parts.retriever,
            seed=schedule.seed,
            step=step,
            timer=timer,
            chunk_tokens=self._chunk_tokens,
        )


@METHODS.add
@dataclass(frozen=True)
class Dpr(Method):
    """The supervised method, with the settings of its steps.

    Attributes:
        hard_negatives: of each question, where it has so many.
        positive: see `SupervisedStore.select`.
        chunk_tokens: see `grad_cached`.
    """

    name: ClassVar[str] = "dpr"
    description: ClassVar[str] = (
        "labelled questions, each told apart from the passages of the whole step"
    )
    needs: ClassVar[tuple[str, ...]] = ("data.supervised",)
    trains_on = LABELLED
    items_name = "labelled questions"

    hard_negatives: int
    positive: Literal["first", "random"]
    chunk_tokens: int | None

    @classmethod
    def from_config(cls, config: Config) -> Dpr:
        """Return the method with its settings."""
        training = config.training
        return cls(training.hard_negatives, training.positive, training.chunk_tokens)

    @property
    def passages_per_item(self) -> int:
        """A positive and the hard negatives."""
        return 1 + self.hard_negatives

    @property
    def negatives(self) -> tuple[str, int]:
        """The hard negatives."""
        return "training.hard_negatives", self.hard_negatives

    @property
    def each(self) -> str:
        """What each question comes with."""
        plural = "" if self.hard_negatives == 1 else "s"
        return f"a positive and {self.hard_negatives} hard negative{plural} each"

    def learner(self, parts: LearnerParts, sets: Sequence[TrainingSet]) -> ContrastiveLearner:
        """Return what takes the steps."""
        labelled, (own, *_) = parts.files.labelled, sets
        assert labelled is not None and own.split is not None  # the method's needs
        retriever = parts.retriever
        tokens = parts.tokens_of(labelled.contexts, retriever.passage_template)
        items = labelled_items(
            labelled,
            tokens,
            own.split,
            retriever,
            num_hard_negatives=self.hard_negatives,
            positive=self.positive,
            seed=parts.schedule.seed,
        )
        held_out = own.split.held_out.tolist()
        pool = labelled_pool(labelled, tokens, retriever, held_out) if held_out else None
        return ContrastiveLearner(parts, items, chunk_tokens=self.chunk_tokens, pool=pool)
