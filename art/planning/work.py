"""What a run consists of: how often it does what, and what that takes at given rates."""

from __future__ import annotations

import math
from dataclasses import dataclass

from art.config import Config
from art.planning.costs import TowerShape, search_flops
from art.retriever.backbones import TowerName
from art.training.agreement import NUM_SCORED
from art.training.methods import method_of
from art.training.refreshing import NUM_LOOKED_AT
from art.training.schedule import Action, Schedule

_CROWDING = 0.75


@dataclass(frozen=True)
class Work:
    """How often each piece of work is done in a run, over all processes.

    Attributes:
        num_steps: optimiser steps.
        questions_per_step: G.
        micro_batches_per_step: G / B.
        num_passages: N.
        shard_rows: passages that one process embeds at a time.
        dense_candidates: whether each step searches the index.
        num_refreshes: embeddings of the whole corpus, at most.
        num_evaluations: evaluations of the index.
        questions_per_evaluation: how many each of them asks.
        pairs_per_evaluation: how many the teacher judges in each of them.
        pairs_to_agree: how many it puts into order before the first of them, so that questions
            without labels can be judged.
        pairs_least: pairs to score in training if the candidates never changed: the first epoch's.
        pairs_most: pairs to score in training if no question met a passage twice.
        passages_least: passages that the teacher reads for `pairs_least`, if it reads one once for
            all questions whose pairs are scored together; an estimate.
        num_contrastive_steps: steps that neither search nor score, of `num_steps`.
        pooled_questions: how many questions an evaluation asks of a pool of passages.
        pooled_passages: how many passages that pool has.
        num_decided_refreshes: of `num_refreshes`, those made only where the index has changed.
        passages_per_decision: passages that are encoded to find that out.
        passages_reordered: that a step encodes to put them in order, at most.
    """

    num_steps: int
    questions_per_step: int
    micro_batches_per_step: int
    num_passages: int
    shard_rows: int
    dense_candidates: bool
    num_refreshes: int
    num_evaluations: int
    questions_per_evaluation: int
    pairs_per_evaluation: int
    pairs_to_agree: int
    pairs_least: int
    pairs_most: int
    passages_least: int
    num_contrastive_steps: int = 0
    pooled_questions: int = 0
    pooled_passages: int = 0
    num_decided_refreshes: int = 0
    passages_per_decision: int = 0
    passages_reordered: int = 0

    def rows_of_the_busiest(self, world_size: int) -> int:
        """Return how many passages the process with the most of them embeds and searches.

        Processes take whole shards, so on a small corpus some have none.
        """
        num_shards = -(-self.num_passages // self.shard_rows)
        return min(-(-num_shards // world_size) * self.shard_rows, self.num_passages)

    @property
    def num_asking_steps(self) -> int:
        """Steps that search and score."""
        return self.num_steps - self.num_contrastive_steps


@dataclass(frozen=True)
class UnitFlops:
    """Floating-point operations of one piece of work each.

    Attributes:
        question: embedding a question.
        passage: embedding a passage.
        pair: scoring a pair.
        pair_again: scoring a pair whose passage is read for another one.
        micro_batch: forward and backward pass of B questions and their passages.
        embedding_size: D; a search multiplies that many numbers per question and row.
        contrastive: as `micro_batch`, of a contrastive step.
    """

    question: float
    passage: float
    pair: float
    pair_again: float
    micro_batch: float
    embedding_size: int
    contrastive: float = 0.0


@dataclass(frozen=True)
class Rates:
    """Seconds of one piece of work each, on one process.

    Attributes:
        question: embedding a question.
        passage: embedding a passage.
        pair: scoring a pair.
        pair_again: scoring a pair whose passage is read for another one.
        micro_batch: forward and backward pass of B questions and their passages.
        update: one step of the optimiser.
        search_question: of a search, per question, whatever the index.
        search_row: of a search, per row of the index, whatever the questions.
        search_row_question: of a search, per row and question.
        contrastive: as `micro_batch`, of a contrastive step.
    """

    question: float
    passage: float
    pair: float
    pair_again: float
    micro_batch: float
    update: float
    search_question: float
    search_row: float
    search_row_question: float
    contrastive: float = 0.0

    def search(self, num_questions: float, num_passages: int) -> float:
        """Return the seconds in which one process searches so many passages of its own."""
        per_row = self.search_row + num_questions * self.search_row_question
        return num_questions * self.search_question + num_passages * per_row


def count_work(
    config: Config,
    schedule: Schedule,
    *,
    num_passages: int,
    num_evaluated: int,
    judged_by_teacher: bool,
    pooled: tuple[int, int] = (0, 0),
) -> Work:
    """Return how often a run does what.

    Args:
        config: its settings.
        schedule: its steps.
        num_passages: N.
        num_evaluated: questions that it asks the corpus to choose on.
        judged_by_teacher: whether those have no labels.
        pooled: questions and passages of the pool that it chooses on.
    """
    due = [schedule.due(step) for step in range(schedule.num_steps + 1)]
    num_refreshes = sum(Action.REFRESH in actions for actions in due)
    method = method_of(config)
    num_asking = method.num_scoring_steps(schedule)
    pairs_per_step = schedule.questions_per_step * method.pairs_per_question
    num_least = min(num_asking, schedule.steps_per_epoch)
    together = [len(schedule.prefetched(step)) for step in range(num_least)]
    # What is scored together before the steps is found, and put in order, once more.
    reordered = method.reordered_per_question * (1 + (schedule.prefetch_steps > 1))
    return Work(
        num_steps=schedule.num_steps,
        questions_per_step=schedule.questions_per_step,
        micro_batches_per_step=schedule.questions_per_step // schedule.questions_per_micro_batch,
        num_passages=num_passages,
        shard_rows=config.index.shard_rows,
        dense_candidates=method.searches_index,
        # A passage tower that does not learn keeps its first index.
        num_refreshes=min(num_refreshes, 1) if config.towers.freeze == "passage" else num_refreshes,
        num_evaluations=sum(Action.EVALUATE in actions for actions in due),
        questions_per_evaluation=num_evaluated,
        pairs_per_evaluation=num_evaluated if judged_by_teacher else 0,
        pairs_to_agree=num_evaluated * min(NUM_SCORED, num_passages) if judged_by_teacher else 0,
        pairs_least=num_least * pairs_per_step,
        pairs_most=num_asking * pairs_per_step,
        passages_least=round(
            sum(num_found(num * pairs_per_step, num_passages) for num in together)
        ),
        num_contrastive_steps=schedule.num_steps - num_asking,
        pooled_questions=pooled[0],
        pooled_passages=pooled[1],
        num_decided_refreshes=sum(map(schedule.may_keep_index, range(schedule.num_steps + 1))),
        passages_per_decision=pairs_per_step * NUM_LOOKED_AT,
        passages_reordered=schedule.questions_per_step * reordered,
    )


def num_found(num_pairs: int, num_passages: int) -> float:
    """Return about how many passages so many pairs have between them.

    So many as chance would give, less a quarter, because questions crowd on some passages: 5,600
    pairs that BM25 finds in the demonstration have 0.70 times as many as by chance, 2,560 of them
    0.72 times.
    """
    by_chance = num_passages * -math.expm1(-num_pairs / num_passages)
    return _CROWDING * by_chance


def encodes_twice(config: Config, num_processes: int) -> bool:
    """Return whether a step without a search and a teacher goes through a gradient cache."""
    training = config.training
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    shares = method_of(config).shares_passages and micro_batches > num_processes
    return training.chunk_tokens is not None or shares


def learning_share(config: Config, shape: TowerShape, tower: TowerName) -> float:
    """Return which share of a tower's layers learn; 0 for a frozen tower."""
    settings = config.towers
    return 0.0 if settings.freeze == tower else shape.learning_share(settings.train_layers)


def flops_by_phase(work: Work, unit: UnitFlops) -> dict[str, float]:
    """Return the operations of each phase, of scoring as if no pair came twice."""
    size = unit.embedding_size
    asked, evaluated = work.questions_per_step, work.questions_per_evaluation
    search = asked * unit.question + search_flops(asked, work.num_passages, size)
    retrieval = search + work.passages_reordered * unit.passage
    decision = search + work.passages_per_decision * unit.passage
    evaluation = evaluated * unit.question + search_flops(evaluated, work.num_passages, size)
    judgement = work.pairs_per_evaluation * unit.pair
    pooled = work.pooled_questions * unit.question + work.pooled_passages * unit.passage
    pooled += search_flops(work.pooled_questions, work.pooled_passages, size)
    return {
        "retrieve": work.num_asking_steps * work.dense_candidates * retrieval,
        "score": work.pairs_most * unit.pair,
        "learn": work.micro_batches_per_step
        * (
            work.num_asking_steps * unit.micro_batch + work.num_contrastive_steps * unit.contrastive
        ),
        "refresh": work.num_refreshes * work.num_passages * unit.passage
        + work.num_decided_refreshes * decision,
        "evaluate": work.num_evaluations * (evaluation + judgement + pooled)
        + work.pairs_to_agree * unit.pair,
    }


def seconds_by_phase(
    work: Work, rates: Rates, *, world_size: int = 1
) -> dict[str, tuple[float, float]]:
    """Return the least and the most seconds that each phase takes.

    Args:
        work: of the run.
        rates: of each process.
        world_size: W, processes that share the work.
    """
    asked = work.questions_per_step / world_size
    evaluated = work.questions_per_evaluation / world_size
    busiest = work.rows_of_the_busiest(world_size)
    # Each process asks its own passages the questions of all of them.
    search = rates.search(work.questions_per_step, busiest)
    asking = asked * rates.question + search
    retrieval = asking + work.passages_reordered / world_size * rates.passage
    decision = asking + work.passages_per_decision / world_size * rates.passage
    micro_batches = work.micro_batches_per_step / world_size
    learning = micro_batches * (
        work.num_asking_steps * rates.micro_batch + work.num_contrastive_steps * rates.contrastive
    )
    num_certain = work.num_refreshes - work.num_decided_refreshes
    refreshing = []
    for num_refreshes in (num_certain, work.num_refreshes):
        # Each but the first searches both indexes to see how much has changed.
        num_searches = 2 * max(num_refreshes - 1, 0) if work.num_asking_steps else 0
        embedding = num_refreshes * busiest * rates.passage
        deciding = work.num_decided_refreshes * decision
        refreshing.append(embedding + num_searches * search + deciding)
    evaluation = evaluated * rates.question
    if evaluated:
        evaluation += rates.search(work.questions_per_evaluation, busiest)
    evaluation += work.pairs_per_evaluation / world_size * rates.pair
    # The pool's inner products are few beside its embedding.
    pooled = work.pooled_questions * rates.question + work.pooled_passages * rates.passage
    evaluation += pooled / world_size
    exact = {
        "retrieve": work.num_asking_steps * work.dense_candidates * retrieval,
        "learn": learning + work.num_steps * rates.update,
        "evaluate": work.num_evaluations * evaluation
        + work.pairs_to_agree / world_size * rates.pair,
    }
    least = work.passages_least * rates.pair
    least += (work.pairs_least - work.passages_least) * rates.pair_again
    scoring = (least / world_size, work.pairs_most / world_size * rates.pair)
    between = {"score": scoring, "refresh": (refreshing[0], refreshing[1])}
    phases = ("retrieve", "score", "learn", "refresh", "evaluate")
    return {name: between.get(name) or (exact[name],) * 2 for name in phases}
