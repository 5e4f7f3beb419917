"""From settings to a trainer that can run: data → models → optimiser → resume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from accelerate import Accelerator

from art import distributed
from art.config import Config
from art.distributed import is_main
from art.evaluation.pooled import Pool
from art.retriever.encoders import Retriever
from art.retriever.searcher import IndexSearcher
from art.teacher.cached import CachedTeacher
from art.teacher.log_file import Records, read_known
from art.teacher.score_log import ScoreLog
from art.training import checkpoints, recovery
from art.training.acceleration import new_optimizer, start_accelerator, wrap
from art.training.blend_sources import open_sources
from art.training.contrastive import labelled_pool
from art.training.evaluator import Evaluator
from art.training.methods import Learner, LearnerParts
from art.training.models import RunModels, load_models, student_at, tokens_of
from art.training.progress import MetricsLog
from art.training.run_data import RunData, open_data
from art.training.run_folder import RunFolder
from art.training.selection import needs_judge
from art.training.state import TrainState
from art.training.students import as_retriever
from art.training.trainer import Limits, Trainer


@dataclass(frozen=True)
class _Past:
    """What was written before, brought back to the step from which the run goes on.

    Attributes:
        fingerprints: of what the run reads, the same as then.
        metrics: cut back.
        teacher: with the scores given so far; None where nothing has to be scored.
        reranker: likewise, of one that is blended in.
        known: scores to take over from other runs; None where there are none, and on other
            processes than the main one.
    """

    fingerprints: dict[str, str]
    metrics: MetricsLog
    teacher: CachedTeacher | None
    reranker: CachedTeacher | None
    known: Records | None


class _Opened(NamedTuple):
    """The parts of a run that each process opens or loads for itself."""

    data: RunData
    models: RunModels
    accelerator: Accelerator
    optimizer: torch.optim.Optimizer
    past: _Past
    learner: Learner
    pool: Pool | None
    notes: list[str]


def set_up(config: Config, run: RunFolder, device: torch.device) -> Trainer:
    """Open the data, load the models and go back to the last checkpoint, if there is one.

    Raises:
        ArtError: the settings, data, models and processes do not fit together, or what the run
            reads is no longer what it was; every process raises it.
    """
    state = _last_state(run)
    opened = distributed.first_on_each_machine(partial(_open, config, run, state, device))
    data, models, past = opened.data, opened.models, opened.past
    notes = [*opened.notes]
    # What talks to the other processes
    if past.teacher is not None and (num_taken_over := past.teacher.log.take_over(past.known)):
        notes.append(f"{num_taken_over:,} scores taken over from other runs (teacher.known_scores)")
    if models.corpus is not None and state is not None:
        index = recovery.open_index(
            run,
            state,
            corpus=models.corpus,
            retriever=models.retriever,
            weights_at=lambda step: as_retriever(student_at(config, run, step)).to(device),
        )
        models.corpus.searcher = None if index is None else IndexSearcher(index, device)
    model = wrap(models.student, opened.accelerator)
    return Trainer(
        run=run,
        data=data,
        student=models.student,
        model=model,
        optimizer=opened.optimizer,
        learner=opened.learner,
        corpus=models.corpus,
        evaluator=opened.learner.judge
        or _evaluator(config, data, models, opened.pool, past.teacher),
        teacher=past.teacher,
        reranker=past.reranker,
        metrics=past.metrics,
        accelerator=opened.accelerator,
        limits=Limits(
            max_grad_norm=config.training.max_grad_norm,
            max_skipped_steps=config.training.max_skipped_steps,
            patience=config.evaluation.patience,
        ),
        log_steps=config.training.log_steps,
        notes=tuple(notes),
        state=state or _first_state(config, data, past),
    )


def _open(
    config: Config, run: RunFolder, state: TrainState | None, device: torch.device
) -> _Opened:
    """Open and load all that does not talk to the other processes."""
    data = open_data(config)
    models = load_models(config, run, data, state, device)
    accelerator = start_accelerator(config, run)
    optimizer = new_optimizer(models.student, config)
    past = _resume(config, run, data, models, optimizer, state)
    learner = _learner(config, run, data, models, past, state)
    pool = None if learner.judge else _pool(config, data, models.retriever, learner)
    notes = [*_notes(config, data, pool)]
    if is_main():
        embeds = data.method.encodes_corpus or data.schedule.refresh_steps is not None
        if isinstance(models.student, Retriever):
            cut = data.files.cut(models.student, tokens_of(config), embeds=embeds)
            notes += [f"note: {note}" for note in cut]
    return _Opened(data, models, accelerator, optimizer, past, learner, pool, notes)


def _last_state(run: RunFolder) -> TrainState | None:
    # By rank 0's view: on a network file system, other machines may not list a new folder yet.
    steps = distributed.broadcast_object(run.steps())
    with distributed.fail_together():
        return checkpoints.load_state(run, steps[-1]) if steps else None


def _first_state(config: Config, data: RunData, past: _Past) -> TrainState:
    return TrainState(
        due=data.schedule.due(0),
        teacher_prompt=past.teacher.teacher.template.prompt if past.teacher else "",
        passage_tower_is_frozen=config.towers.freeze == "passage",
        keeps_start_index="start" in data.method.blended,
        fingerprints=past.fingerprints,
        versions=checkpoints.versions(),
        config=config.model_dump(mode="json"),
    )


def _resume(
    config: Config,
    run: RunFolder,
    data: RunData,
    models: RunModels,
    optimizer: torch.optim.Optimizer,
    state: TrainState | None,
) -> _Past:
    """Bring back what was written before a checkpoint; without one, begin with nothing.

    Raises:
        MismatchError: what the run reads has changed.
    """
    fingerprints = data.files.fingerprints(models.teacher) | models.blended.fingerprints()
    metrics = MetricsLog(run.metrics_file)
    if state:
        checkpoints.check_unchanged(run, state, fingerprints)
        checkpoints.load_optimizer(run, state.step, optimizer)
    if is_main():
        metrics.cut_back(state.metrics_bytes if state else 0)
    teacher, store = models.teacher, data.files.store
    if teacher is None:
        return _Past(fingerprints, metrics, None, None, None)
    # Whatever is scored, it is a passage of the corpus.
    assert config.teacher is not None and store is not None
    # Only at the beginning: from then on they are in the run's own log.
    others = [] if state else config.teacher.known_scores
    known = read_known(others, teacher.fingerprint) if is_main() else None
    log = ScoreLog(
        run.scores_file,
        fingerprint=teacher.fingerprint,
        length=state.num_scores if state else 0,
        mark=state.score_mark if state else None,
    )
    tokens = tokens_of(config)
    cached = CachedTeacher(teacher, log, tokens(store, teacher.template))
    cached.num_scored = state.num_scored if state else 0
    reranker = None
    if (model := models.blended.reranker) is not None:
        log = ScoreLog(
            run.reranker_scores_file,
            fingerprint=model.fingerprint,
            length=state.num_reranker_scores if state else 0,
        )
        reranker = CachedTeacher(model, log, tokens(store, model.template))
    return _Past(fingerprints, metrics, cached, reranker, known)


def _learner(
    config: Config,
    run: RunFolder,
    data: RunData,
    models: RunModels,
    past: _Past,
    state: TrainState | None,
) -> Learner:
    sources = {}
    if data.method.blended:
        assert models.corpus is not None  # what is blended is of passages
        sources = open_sources(
            run,
            models.blended,
            corpus=models.corpus,
            bm25=models.bm25 if "bm25" in data.method.blended else None,
            reranker=past.reranker,
        )
    parts = LearnerParts(
        files=data.files,
        schedule=data.schedule,
        student=models.student,
        tokens_of=tokens_of(config),
        corpus=models.corpus,
        teacher=past.teacher,
        bm25=models.bm25,
        sources=sources,
        calibration=state.calibration if state else None,
    )
    return data.method.learner(parts, data.sets)


def _pool(config: Config, data: RunData, retriever: Retriever, learner: Learner) -> Pool | None:
    """Return the pool that checkpoints are judged in: held out, or given."""
    labelled = data.files.evaluated_pool
    if learner.held_out_pool is not None or labelled is None:
        return learner.held_out_pool
    tokens = tokens_of(config)(labelled.contexts, retriever.passage_template)
    return labelled_pool(labelled, tokens, retriever)


def _evaluator(
    config: Config,
    data: RunData,
    models: RunModels,
    pool: Pool | None,
    teacher: CachedTeacher | None,
) -> Evaluator:
    settings, files = config.evaluation, data.files
    return Evaluator(
        retriever=models.retriever,
        questions=files.questions.evaluation,
        qrels=files.qrels,
        store=files.store,
        pool=pool,
        teacher=teacher,
        labelled=not needs_judge(config, files.questions.evaluation),
        bm25=models.judging_bm25,
        ks=settings.top_k,
        regex_answers=settings.regex_answers,
        drop_self_hits=settings.drop_self_hits,
        fused=settings.fused,
    )


def _notes(config: Config, data: RunData, pool: Pool | None) -> Iterator[str]:
    """Yield what a user should know before the first step."""
    files = data.files
    for read in (files.store, files.questions):
        if read is not None and read.bad_rows.count:
            yield read.bad_rows.report()
    of_sets = [note for one in data.sets for note in one.notes]
    for note in [*files.notes(*data.method.negatives), *of_sets]:
        yield f"note: {note}"
    if files.questions.held_out:
        what = "training" if files.questions.real else "generated"
        yield (
            f"{len(files.questions.evaluation)} {what} questions held out: half of them choose, "
            "half say whether the choice is better than the start (evaluation.questions is empty)"
        )
        if not files.questions.real:
            yield (
                "note: so generated questions choose, which are unlike those that people ask: some "
                "of those as evaluation.questions, labelled or not, tell more"
            )
    elif pool is not None and not config.evaluation.supervised:
        yield (
            f"choosing on {pool.num_questions} questions held out, each asked of the "
            f"passages of all of them ({pool.num_passages:,}): evaluation is given none"
        )
