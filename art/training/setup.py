"""From settings to a job that can run: data → models → optimiser → resume."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType

from art import distributed
from art.config import Config
from art.data.supervised_store import SupervisedStore
from art.data.tokens import TokenStore
from art.distributed import is_main
from art.errors import ArtError
from art.evaluation.pooled import Pool
from art.retriever.bm25 import BM25
from art.retriever.encoders import Retriever
from art.retriever.index import Index
from art.retriever.loading import create_retriever
from art.teacher.base import Teacher
from art.teacher.cache import CachedTeacher, ScoreLog
from art.teacher.log_file import Records, read_known
from art.teacher.registry import load_teacher
from art.training import checkpoints, recovery
from art.training.checkpoints import CheckpointState
from art.training.items import EpochItems, cut_pairs, cut_pool, labelled_items, labelled_pool
from art.training.job import Job
from art.training.plan import Questions, needs_teacher
from art.training.progress import MetricsLog
from art.training.run_data import RunData, cache_folder, open_data
from art.training.run_folder import RunFolder

_KINDS = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


@dataclass(frozen=True)
class _Models:
    """What learns and what teaches, and what they read.

    Attributes:
        retriever: on its device.
        teacher: None where nothing has to be scored.
        tokens: of the passages, as the passage tower reads them; None where no index is needed.
        bm25: None where it proposes nothing.
        items: what the contrastive steps read; None where there are no such steps.
        pool: what the run is judged in; None where it is not judged in one.
    """

    retriever: Retriever
    teacher: Teacher | None
    tokens: TokenStore | None
    bm25: BM25 | None
    items: EpochItems | None
    pool: Pool | None


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


def set_up(config: Config, run: RunFolder, device: torch.device) -> Job:
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
        job = Job(
            config=config,
            run=run,
            schedule=data.schedule,
            questions=data.questions,
            qrels=data.qrels,
            store=data.store,
            tokens=models.tokens,
            retriever=models.retriever,
            model=models.retriever,
            optimizer=optimizer,
            teacher=past.teacher,
            bm25=models.bm25,
            epoch_items=models.items,
            pool=models.pool,
            accelerator=accelerator,
            metrics=past.metrics,
            fingerprints=past.fingerprints,
            notes=tuple(data.notes(config.training.hard_negatives)),
        )
        job.go_back_to(state)
    # What talks to the other processes
    if job.teacher is not None:
        job.num_taken_over = job.teacher.log.take_over(past.known)
    job.index = _last_index(job, state, device)
    with distributed.noticing_lost_processes():
        job.model = accelerator.prepare_model(models.retriever)
    return job


def _last_state(run: RunFolder) -> CheckpointState | None:
    steps = run.steps()
    return checkpoints.load_state(run, steps[-1]) if steps else None


def _load_models(
    config: Config,
    run: RunFolder,
    data: RunData,
    state: CheckpointState | None,
    device: torch.device,
) -> _Models:
    """Load the models at the step from which the run goes on, and encode what they read."""
    training = config.training
    retriever = _student(config, run, state.step if state else None).to(device)
    teacher = None
    if needs_teacher(config, data.questions):
        teacher = _teacher(config, data.questions, state, device)
    tokens = bm25 = None
    if data.store is not None:
        teaches = training.method == "art"
        if teaches or data.schedule.refresh_steps is not None:
            tokens = _tokens_of(config)(data.store, retriever.passage_template)
        if teaches and training.candidates != "retriever":
            bm25 = BM25.build(data.store, cache=cache_folder(config))
    items, pool = _contrast(config, retriever, data)
    return _Models(retriever, teacher, tokens, bm25, items, pool)


def _resume(
    config: Config,
    run: RunFolder,
    data: RunData,
    models: _Models,
    optimizer: torch.optim.Optimizer,
    state: CheckpointState | None,
) -> _Past:
    """Bring back what was written before a checkpoint; without one, begin with nothing.

    Raises:
        MismatchError: what the run reads has changed.
    """
    fingerprints = data.fingerprints(models.teacher)
    metrics = MetricsLog(run.metrics_file)
    if state:
        checkpoints.check_unchanged(run, state, fingerprints)
        checkpoints.load_optimizer(run, state.step, optimizer)
    if is_main():
        metrics.cut_back(state.metrics_bytes if state else 0)
    teacher = models.teacher
    if teacher is None:
        return _Past(fingerprints, metrics, None, None)
    # Whatever is scored, it is a passage of the corpus.
    assert config.teacher is not None and data.store is not None
    # Only at the beginning: from then on they are in the run's own log.
    others = [] if state else config.teacher.known_scores
    known = read_known(others, teacher.fingerprint) if is_main() else None
    log = ScoreLog(
        run.scores_file,
        fingerprint=teacher.fingerprint,
        length=state.num_scores if state else 0,
        mark=state.score_mark if state else None,
    )
    passage_tokens = _tokens_of(config)(data.store, teacher.template)
    return _Past(fingerprints, metrics, CachedTeacher(teacher, log, passage_tokens), known)


def _last_index(job: Job, state: CheckpointState | None, device: torch.device) -> Index | None:
    """Open the index that a checkpoint names, see `recovery.open_index`."""
    if state is None or job.store is None:
        return None
    return recovery.open_index(
        job.run,
        state,
        store_fingerprint=job.store.fingerprint,
        retriever=job.retriever,
        weights_at=lambda step: _student(job.config, job.run, step).to(device),
        embed=job.embed,
    )


def _tokens_of(config: Config) -> Callable[..., TokenStore]:
    """Return what opens the token ids of a store under a template."""
    return partial(TokenStore.open_or_build, cache=cache_folder(config), progress=is_main())


def _contrast(
    config: Config, retriever: Retriever, data: RunData
) -> tuple[EpochItems | None, Pool | None]:
    """Return what the contrastive steps read, and the pool that the run is judged in."""
    labelled, choosing, store, split = data.labelled, data.choosing, data.store, data.split
    tokens_of = _tokens_of(config)
    training, warmup = config.training, config.warmup

    def pool_of(some: SupervisedStore, positions: Sequence[int] | None) -> Pool:
        its_tokens = tokens_of(some.contexts, retriever.passage_template)
        return labelled_pool(some, its_tokens, retriever, positions)

    pool = None if choosing is None else pool_of(choosing, None)
    if split is None:
        return None, pool
    held_out = split.held_out.tolist()
    if labelled is not None:
        items = labelled_items(
            labelled,
            tokens_of(labelled.contexts, retriever.passage_template),
            split,
            retriever,
            num_hard_negatives=training.hard_negatives,
            positive=training.positive,
            seed=training.seed,
        )
        return items, pool_of(labelled, held_out) if held_out else pool
    assert store is not None
    pairs = cut_pairs(
        store, retriever, cut=warmup.pairs, keep=warmup.keep_share, seed=training.seed
    )
    return (
        lambda places, epoch: pairs(split.training(places), epoch),
        cut_pool(pairs, held_out) if held_out else pool,
    )


def _student(config: Config, run: RunFolder, step: int | None) -> Retriever:
    settings = config.retriever.model_dump()
    if step is not None:
        weights = run.checkpoint_folder(step) / "retriever"
        settings.update(model=str(weights), passage_model=None)
    return create_retriever(**settings, seed=config.training.seed, cache=cache_folder(config))


def _teacher(
    config: Config,
    questions: Questions,
    state: CheckpointState | None,
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
