"""From settings to a job that can run: data → models → optimiser → resume."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator

from art import distributed
from art.config import Config
from art.data.formats import read_qrels
from art.data.passages import PassageStore
from art.data.tokens import TokenStore
from art.errors import ArtError
from art.retriever.bm25 import BM25
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.scorer.cache import CachedScorer, ScoreLog
from art.scorer.likelihood import load_scorer
from art.training import checkpoints
from art.training.checkpoints import CheckpointState, RunFolder
from art.training.job import Job
from art.training.plan import plan_run, read_run_questions
from art.training.progress import MetricsLog


def set_up(config: Config, run: RunFolder, device: torch.device) -> Job:
    """Open the data, load the models and go back to the last checkpoint, if there is one."""
    # Data
    with distributed.fail_together():
        cache = Path(config.data.cache_folder) if config.data.cache_folder else None
        questions = read_run_questions(config)
        store = PassageStore.open_or_build(config.data.passages, cache=cache)
        qrels = read_qrels(config.evaluation.qrels) if config.evaluation.qrels else None
        schedule = plan_run(
            config,
            num_questions=len(questions.training),
            num_passages=len(store),
            world_size=distributed.world_size(),
        )

    # Models
    with distributed.fail_together():
        steps = run.steps()
        state = checkpoints.load_state(run, steps[-1]) if steps else None
        weights = run.checkpoint_folder(steps[-1]) / "retriever" if steps else None
        retriever = _student(config, weights).to(device)
        scorer = _teacher(config, store, cache, run, state, device)
        tokens = TokenStore.open_or_build(
            store, retriever.passage_template, cache=cache, num_workers=config.data.num_workers
        )
        bm25 = BM25.build(store, cache=cache) if config.training.candidates != "retriever" else None

    # Optimiser
    accelerator = _accelerator(config, run)
    model = accelerator.prepare_model(retriever)
    optimizer = _optimizer(retriever, config)

    # Resume
    metrics = MetricsLog(run.metrics_file)
    if state:
        checkpoints.load_optimizer(run, state.step, optimizer)
        if distributed.is_main():
            metrics.cut_back(state.metrics_bytes)
    job = Job(
        config=config,
        run=run,
        schedule=schedule,
        questions=questions,
        qrels=qrels,
        store=store,
        tokens=tokens,
        retriever=retriever,
        model=model,
        optimizer=optimizer,
        scorer=scorer,
        bm25=bm25,
        accelerator=accelerator,
        metrics=metrics,
    )
    job.go_back_to(state)
    return job


def _student(config: Config, weights: Path | None) -> Retriever:
    settings = config.retriever.model_dump()
    if weights is not None:
        settings.update(model=str(weights), passage_model=None)
    return create_retriever(**settings, seed=config.training.seed)


def _teacher(
    config: Config,
    store: PassageStore,
    cache: Path | None,
    run: RunFolder,
    state: CheckpointState | None,
    device: torch.device,
) -> CachedScorer:
    settings = config.scorer.model_dump(exclude={"temperature"})
    scorer = load_scorer(**settings, device=device)
    tokens = TokenStore.open_or_build(
        store, scorer.template, cache=cache, num_workers=config.data.num_workers
    )
    log = ScoreLog(
        run.scores_file, fingerprint=scorer.fingerprint, length=state.num_scores if state else 0
    )
    return CachedScorer(scorer, log, tokens)


def _accelerator(config: Config, run: RunFolder) -> Accelerator:
    # Precision is the retriever's own affair: a launcher's mixed precision must not change results.
    accelerator = Accelerator(
        cpu=config.training.cpu or not torch.cuda.is_available(),
        mixed_precision="no",
        log_with=config.output.trackers or None,
        project_dir=str(run.path / "trackers"),
    )
    if accelerator.num_processes != distributed.world_size():
        raise ArtError(
            f"accelerate sees {accelerator.num_processes} processes, but there are "
            f"{distributed.world_size()}",
            hint="start with `accelerate launch --multi_gpu`, or plainly for one process",
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
