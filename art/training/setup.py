"""From settings to a job that can run: data → models → optimiser → resume."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from art import distributed
from art.config import Config
from art.data.formats import read_qrels
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.distributed import is_main
from art.errors import ArtError
from art.files import fingerprint
from art.retriever.bm25 import BM25
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.scorer.cache import CachedScorer, ScoreLog
from art.scorer.records import read_known
from art.scorer.teacher import Teacher
from art.scorer.teachers import load_teacher
from art.training import checkpoints, recovery
from art.training.checkpoints import CheckpointState, RunFolder
from art.training.job import Job
from art.training.plan import (
    Questions,
    check_passages,
    evaluation_fingerprint,
    plan_run,
    read_run_questions,
)
from art.training.progress import MetricsLog

_KINDS = (DistributedType.NO, DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


def set_up(config: Config, run: RunFolder, device: torch.device) -> Job:
    """Open the data, load the models and go back to the last checkpoint, if there is one.

    Raises:
        ArtError: the settings, data, models and processes do not fit together, or what the run
            reads is no longer what it was; every process raises it.
    """
    with distributed.fail_together():
        # Data
        cache = Path(config.data.cache_folder) if config.data.cache_folder else None
        questions = read_run_questions(config)
        schedule = plan_run(
            config,
            num_questions=len(questions.training),
            world_size=distributed.world_size(),
        )
        skip = config.data.skip_bad_rows
        collector = questions.bad_rows if skip else None
        judged = config.evaluation.qrels
        qrels = read_qrels(judged, collector) if judged else None
        store = PassageStore.open_or_build(
            config.data.passages, skip_bad_rows=skip, cache=cache, progress=is_main()
        )
        check_passages(config, len(store))

        # Models
        steps = run.steps()
        state = checkpoints.load_state(run, steps[-1]) if steps else None
        retriever = _student(config, run, steps[-1] if steps else None, cache).to(device)
        scorer = _teacher(config, questions, state, device, cache)
        # Only at the beginning: from then on they are in the run's own log.
        known = [] if state else config.scorer.known_scores
        scores = read_known(known, scorer.fingerprint) if is_main() else None
        workers = config.data.num_workers
        tokens, scorer_tokens = (
            TokenStore.open_or_build(
                store, template, cache=cache, num_workers=workers, progress=is_main()
            )
            for template in (retriever.passage_template, scorer.template)
        )
        bm25 = BM25.build(store, cache=cache) if config.training.candidates != "retriever" else None

        # Optimiser
        accelerator = _accelerator(config, run)
        optimizer = _optimizer(retriever, config)

        # Resume
        fingerprints = {
            "passages": store.fingerprint,
            "scorer": scorer.fingerprint,
            "training questions": fingerprint(
                *questions.training, *map(repr, questions.answers.items())
            ),
            "evaluation questions": evaluation_fingerprint(questions.evaluation, qrels),
        }
        metrics = MetricsLog(run.metrics_file)
        if state:
            checkpoints.check_unchanged(run, state, fingerprints)
            checkpoints.load_optimizer(run, state.step, optimizer)
        if is_main():
            metrics.cut_back(state.metrics_bytes if state else 0)
        num_scores = state.num_scores if state else 0
        log = ScoreLog(run.scores_file, fingerprint=scorer.fingerprint, length=num_scores)
        job = Job(
            config=config,
            run=run,
            schedule=schedule,
            questions=questions,
            qrels=qrels,
            store=store,
            tokens=tokens,
            retriever=retriever,
            model=retriever,
            optimizer=optimizer,
            scorer=CachedScorer(scorer, log, scorer_tokens),
            bm25=bm25,
            accelerator=accelerator,
            metrics=metrics,
            fingerprints=fingerprints,
        )
        job.go_back_to(state)
    # What talks to the other processes
    job.num_taken_over = log.take_over(scores)
    if state is not None:
        job.index = recovery.open_index(
            run,
            state,
            store_fingerprint=store.fingerprint,
            retriever=retriever,
            weights_at=lambda step: _student(config, run, step, cache).to(device),
            embed=job.embed,
        )
    with distributed.noticing_lost_processes():
        job.model = accelerator.prepare_model(retriever)
    return job


def _student(config: Config, run: RunFolder, step: int | None, cache: Path | None) -> Retriever:
    settings = config.retriever.model_dump()
    if step is not None:
        weights = run.checkpoint_folder(step) / "retriever"
        settings.update(model=str(weights), passage_model=None)
    return create_retriever(**settings, seed=config.training.seed, cache=cache)


def _teacher(
    config: Config,
    questions: Questions,
    state: CheckpointState | None,
    device: torch.device,
    cache: Path | None,
) -> Teacher:
    settings = config.scorer.model_dump(exclude={"temperature", "known_scores"})
    if state is not None and config.scorer.chat_template:
        # As it was rendered when the run began, whatever date the template would insert today.
        settings.update(passage_prompt=state.scorer_prompt, question_prefix="", chat_template=False)
    return load_teacher(**settings, answers=questions.answers, device=device, cache=cache)


def _accelerator(config: Config, run: RunFolder) -> Accelerator:
    # Precision is the retriever's own affair: a launcher's mixed precision must not change results.
    try:
        accelerator = Accelerator(
            cpu=config.training.cpu or not torch.cuda.is_available(),
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
