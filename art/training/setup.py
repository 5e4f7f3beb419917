"""From settings to a trainer that can run: data → models → optimiser → resume."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType

from art import distributed
from art.config import Config
from art.data.tokens import TokenStore
from art.distributed import is_main
from art.errors import ArtError
from art.evaluation.pooled import Pool
from art.files import fingerprint
from art.retriever.bm25 import BM25
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.teacher.base import Teacher
from art.teacher.cached import CachedTeacher
from art.teacher.log_file import Records, read_known
from art.teacher.registry import load_teacher
from art.teacher.score_log import ScoreLog
from art.training import checkpoints, recovery
from art.training.contrastive import labelled_pool
from art.training.corpus import RunCorpus
from art.training.methods import Learner, LearnerParts
from art.training.plan import needs_teacher
from art.training.progress import MetricsLog
from art.training.run_data import RunData, open_data
from art.training.run_files import RunQuestions, cache_folder
from art.training.run_folder import RunFolder
from art.training.selection import Evaluator
from art.training.soft_labels import StartScores
from art.training.state import TrainState
from art.training.trainer import Limits, Trainer
from art.weights import fingerprint_tensors

_KINDS = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


@dataclass(frozen=True)
class _Models:
    """What learns and what teaches.

    Attributes:
        retriever: on its device.
        teacher: None where nothing has to be scored.
        corpus: with the token ids that the passage tower reads; None where the run reads none.
        bm25: None where the method has no use for it.
        start: the retriever before training; None where its scores are not blended in.
    """

    retriever: Retriever
    teacher: Teacher | None
    corpus: RunCorpus | None
    bm25: BM25 | None
    start: Retriever | None


@dataclass(frozen=True)
class _Past:
    """What was written before, brought back to the step from which the run goes on.

    Attributes:
        fingerprints: of what the run reads, the same as then.
        metrics: cut back.
        teacher: with the scores given so far; None where nothing has to be scored.
        known: scores to take over from other runs; None where there are none, and on other
            processes than the main one.
    """

    fingerprints: dict[str, str]
    metrics: MetricsLog
    teacher: CachedTeacher | None
    known: Records | None


def set_up(config: Config, run: RunFolder, device: torch.device) -> Trainer:
    """Open the data, load the models and go back to the last checkpoint, if there is one.

    Raises:
        ArtError: the settings, data, models and processes do not fit together, or what the run
            reads is no longer what it was; every process raises it.
    """
    with distributed.fail_together():
        data = open_data(config)
        state = _last_state(run)
        models = _load_models(config, run, data, state, device)
        accelerator = _accelerator(config, run)
        optimizer = _optimizer(models.retriever, config)
        past = _resume(config, run, data, models, optimizer, state)
        learner = _learner(config, run, data, models, past.teacher, state)
        pool = _pool(config, data, models.retriever, learner)
        notes = [*_notes(config, data, pool)]
    # What talks to the other processes
    if past.teacher is not None and (num_taken_over := past.teacher.log.take_over(past.known)):
        notes.append(f"{num_taken_over:,} scores taken over from other runs (teacher.known_scores)")
    if models.corpus is not None and state is not None:
        models.corpus.index = recovery.open_index(
            run,
            state,
            corpus=models.corpus,
            retriever=models.retriever,
            weights_at=lambda step: _student(config, run, step).to(device),
        )
    with distributed.noticing_lost_processes():
        model = accelerator.prepare_model(models.retriever)
    return Trainer(
        run=run,
        data=data,
        retriever=models.retriever,
        model=model,
        optimizer=optimizer,
        learner=learner,
        corpus=models.corpus,
        evaluator=_evaluator(config, data, pool, past.teacher),
        teacher=past.teacher,
        metrics=past.metrics,
        accelerator=accelerator,
        limits=Limits(
            max_grad_norm=config.training.max_grad_norm,
            max_skipped_steps=config.training.max_skipped_steps,
            patience=config.evaluation.patience,
        ),
        log_steps=config.training.log_steps,
        notes=tuple(notes),
        state=state or _first_state(config, data, past),
    )


def _last_state(run: RunFolder) -> TrainState | None:
    steps = run.steps()
    return checkpoints.load_state(run, steps[-1]) if steps else None


def _first_state(config: Config, data: RunData, past: _Past) -> TrainState:
    return TrainState(
        due=data.schedule.due(0),
        teacher_prompt=past.teacher.teacher.template.prompt if past.teacher else "",
        passage_tower_is_frozen=config.retriever.freeze == "passage",
        keeps_start_index="start" in data.method.blended,
        fingerprints=past.fingerprints,
        versions=checkpoints.versions(),
        config=config.model_dump(mode="json"),
    )


def _load_models(
    config: Config,
    run: RunFolder,
    data: RunData,
    state: TrainState | None,
    device: torch.device,
) -> _Models:
    """Load the models at the step from which the run goes on, and encode what they read."""
    method, files = data.method, data.files
    retriever = _student(config, run, state.step if state else None).to(device)
    teacher = None
    if needs_teacher(config, method, files.questions):
        teacher = _teacher(config, files.questions, state, device)
    if files.store is None:
        return _Models(retriever, teacher, None, None, None)
    tokens = bm25 = None
    if method.encodes_corpus or data.schedule.refresh_steps is not None:
        tokens = _tokens_of(config)(files.store, retriever.passage_template)
    if method.searches_words or "bm25" in method.blended:
        bm25 = BM25.build(files.store, cache=cache_folder(config))
    settings = config.index
    corpus = RunCorpus(
        files.store,
        tokens,
        shard_rows=settings.shard_rows,
        batch_tokens=settings.batch_tokens,
        dtype=settings.dtype,
    )
    start = None
    if "start" in method.blended:
        # What was just created is the start; a checkpoint's weights are not.
        start = copy.deepcopy(retriever) if state is None else _student(config, run, None)
        start = start.to(device).requires_grad_(False).eval()
    return _Models(retriever, teacher, corpus, bm25, start)


def _resume(
    config: Config,
    run: RunFolder,
    data: RunData,
    models: _Models,
    optimizer: torch.optim.Optimizer,
    state: TrainState | None,
) -> _Past:
    """Bring back what was written before a checkpoint; without one, begin with nothing.

    Raises:
        MismatchError: what the run reads has changed.
    """
    fingerprints = data.files.fingerprints(models.teacher)
    if models.start is not None:
        questions = fingerprint_tensors(models.start.question_tower.named_parameters())
        fingerprints["start"] = fingerprint(models.start.fingerprint(), questions)
    metrics = MetricsLog(run.metrics_file)
    if state:
        checkpoints.check_unchanged(run, state, fingerprints)
        checkpoints.load_optimizer(run, state.step, optimizer)
    if is_main():
        metrics.cut_back(state.metrics_bytes if state else 0)
    teacher, store = models.teacher, data.files.store
    if teacher is None:
        return _Past(fingerprints, metrics, None, None)
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
    cached = CachedTeacher(teacher, log, _tokens_of(config)(store, teacher.template))
    cached.num_scored = state.num_scored if state else 0
    return _Past(fingerprints, metrics, cached, known)


def _tokens_of(config: Config) -> Callable[..., TokenStore]:
    """Return what opens the token ids of a store under a template."""
    return partial(TokenStore.open_or_build, cache=cache_folder(config), progress=is_main())


def _learner(
    config: Config,
    run: RunFolder,
    data: RunData,
    models: _Models,
    teacher: CachedTeacher | None,
    state: TrainState | None,
) -> Learner:
    start = None
    if models.start is not None:
        assert models.corpus is not None  # passages were scored
        open_index = partial(
            recovery.open_start_index, run, corpus=models.corpus, start=models.start
        )
        start = StartScores(models.start, open_index)
    parts = LearnerParts(
        files=data.files,
        schedule=data.schedule,
        retriever=models.retriever,
        tokens_of=_tokens_of(config),
        corpus=models.corpus,
        teacher=teacher,
        bm25=models.bm25,
        start=start,
        calibration=state.calibration if state else None,
    )
    return data.method.learner(parts, data.sets)


def _pool(config: Config, data: RunData, retriever: Retriever, learner: Learner) -> Pool | None:
    """Return the pool that checkpoints are judged in: held out, or given."""
    labelled = data.files.evaluated_pool
    if learner.held_out_pool is not None or labelled is None:
        return learner.held_out_pool
    tokens = _tokens_of(config)(labelled.contexts, retriever.passage_template)
    return labelled_pool(labelled, tokens, retriever)


def _evaluator(
    config: Config, data: RunData, pool: Pool | None, teacher: CachedTeacher | None
) -> Evaluator:
    settings, files = config.evaluation, data.files
    return Evaluator(
        questions=files.questions.evaluation,
        qrels=files.qrels,
        store=files.store,
        pool=pool,
        teacher=teacher,
        ks=settings.top_k,
        regex_answers=settings.regex_answers,
        drop_self_hits=settings.drop_self_hits,
    )


def _notes(config: Config, data: RunData, pool: Pool | None) -> Iterator[str]:
    """Yield what a user should know before the first step."""
    files = data.files
    for read in (files.store, files.questions):
        if read is not None and read.bad_rows.count:
            yield read.bad_rows.report()
    for note in files.notes(config.training.hard_negatives):
        yield f"note: {note}"
    if files.questions.held_out:
        yield (
            f"choosing on {len(files.questions.evaluation)} training questions held out "
            "(evaluation.questions is empty)"
        )
    elif pool is not None and not config.evaluation.supervised:
        yield (
            f"choosing on {pool.num_questions} questions held out, each asked of the "
            f"passages of all of them ({pool.num_passages:,}): evaluation is given none"
        )


def _student(config: Config, run: RunFolder, step: int | None) -> Retriever:
    settings = config.retriever.model_dump()
    if step is not None:
        weights = run.checkpoint_folder(step) / "retriever"
        settings.update(model=str(weights), passage_model=None)
    return create_retriever(**settings, seed=config.training.seed, cache=cache_folder(config))


def _teacher(
    config: Config,
    questions: RunQuestions,
    state: TrainState | None,
    device: torch.device,
) -> Teacher:
    assert config.teacher is not None  # checked with the settings
    settings = config.teacher.model_dump(exclude={"temperature", "known_scores"})
    if state is not None and config.teacher.chat_template:
        # As it was rendered when the run began, whatever date the template would insert today.
        settings.update(
            passage_prompt=state.teacher_prompt, question_prefix="", chat_template=False
        )
    return load_teacher(
        **settings, answers=questions.answers, device=device, cache=cache_folder(config)
    )


def _accelerator(config: Config, run: RunFolder) -> Accelerator:
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


def _optimizer(retriever: Retriever, config: Config) -> torch.optim.Optimizer:
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
