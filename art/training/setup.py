"""From settings to a job that can run: data → models → optimiser → resume."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType

from art import distributed
from art.config import Config
from art.data.formats import read_qrels
from art.data.passages import PassageStore
from art.data.prompts import RetrieverTemplate
from art.data.supervised_store import SupervisedStore
from art.data.tokens import TokenStore
from art.distributed import is_main
from art.errors import ArtError
from art.evaluation.pooled import Pool
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
from art.training.items import (
    EpochItems,
    Split,
    cut_pairs,
    cut_pool,
    labelled_items,
    labelled_pool,
    split_labelled,
    split_passages,
)
from art.training.job import Job
from art.training.plan import (
    Questions,
    check_passages,
    evaluation_fingerprint,
    holds_out_items,
    learns_from_labels,
    needs_scorer,
    plan_run,
    read_run_questions,
    reads_passages,
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
        skip = config.data.skip_bad_rows
        judged = config.evaluation.qrels
        qrels = read_qrels(judged, questions.bad_rows if skip else None) if judged else None
        training_files = config.data.supervised if learns_from_labels(config) else []
        open_labelled = partial(
            SupervisedStore.open_or_build, skip_bad_rows=skip, cache=cache, progress=is_main()
        )
        labelled, choosing = (
            open_labelled(files) if files else None
            for files in (training_files, config.evaluation.supervised)
        )
        # What questions alone decide is complained of before a corpus is built, which takes long.
        cuts_passages = config.training.method == "warmup"
        store = _corpus(config, cache) if cuts_passages else None
        split = split_items(config, questions, labelled, store)
        schedule = plan_run(
            config,
            **training_sizes(config, questions, split),
            world_size=distributed.world_size(),
        )
        store = store if cuts_passages else _corpus(config, cache)

        # Models
        steps = run.steps()
        state = checkpoints.load_state(run, steps[-1]) if steps else None
        retriever = _student(config, run, steps[-1] if steps else None, cache).to(device)
        scorer = None
        if needs_scorer(config, questions):
            scorer = _teacher(config, questions, state, device, cache)
        tokens_of = partial(
            TokenStore.open_or_build,
            cache=cache,
            num_workers=config.data.num_workers,
            progress=is_main(),
        )
        teaches = config.training.method == "art"
        tokens = None
        if store is not None and (teaches or schedule.refresh_steps is not None):
            tokens = tokens_of(store, retriever.passage_template)
        bm25 = None
        if store is not None and teaches and config.training.candidates != "retriever":
            bm25 = BM25.build(store, cache=cache)
        items, pool = _contrast(config, retriever, labelled, choosing, store, split, tokens_of)

        # Optimiser
        accelerator = _accelerator(config, run)
        optimizer = _optimizer(retriever, config)

        # Resume
        fingerprints = {
            "training questions": fingerprint(
                *questions.training, *map(repr, questions.answers.items())
            ),
            "evaluation questions": evaluation_fingerprint(questions.evaluation, qrels),
        }
        read = {
            "passages": store,
            "scorer": scorer,
            "labelled training questions": labelled,
            "labelled evaluation questions": choosing,
        }
        fingerprints |= {name: one.fingerprint for name, one in read.items() if one is not None}
        metrics = MetricsLog(run.metrics_file)
        if state:
            checkpoints.check_unchanged(run, state, fingerprints)
            checkpoints.load_optimizer(run, state.step, optimizer)
        if is_main():
            metrics.cut_back(state.metrics_bytes if state else 0)
        cached_scorer = log = scores = None
        if scorer is not None:
            # Whatever is scored, it is a passage of the corpus.
            assert config.scorer is not None and store is not None
            # Only at the beginning: from then on they are in the run's own log.
            known = [] if state else config.scorer.known_scores
            scores = read_known(known, scorer.fingerprint) if is_main() else None
            num_scores = state.num_scores if state else 0
            log = ScoreLog(run.scores_file, fingerprint=scorer.fingerprint, length=num_scores)
            cached_scorer = CachedScorer(scorer, log, tokens_of(store, scorer.template))
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
            scorer=cached_scorer,
            bm25=bm25,
            epoch_items=items,
            pool=pool,
            accelerator=accelerator,
            metrics=metrics,
            fingerprints=fingerprints,
            notes=tuple(_notes(labelled, choosing, config.training.hard_negatives)),
        )
        job.go_back_to(state)
    # What talks to the other processes
    if log is not None:
        job.num_taken_over = log.take_over(scores)
    if state is not None and store is not None:
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


def _corpus(config: Config, cache: Path | None) -> PassageStore | None:
    """Open the corpus, where the run reads one."""
    if not reads_passages(config):
        return None
    assert config.data.passages is not None  # checked with the settings
    store = PassageStore.open_or_build(
        config.data.passages,
        skip_bad_rows=config.data.skip_bad_rows,
        cache=cache,
        progress=is_main(),
    )
    check_passages(config, len(store))
    return store


def split_items(
    config: Config,
    questions: Questions,
    labelled: SupervisedStore | None,
    store: PassageStore | None,
) -> Split | None:
    """Divide what the contrastive steps learn from, where it is here: what trains, what chooses.

    Raises:
        DataError: there is too little of it for both.
    """
    seed, hold_some_out = config.training.seed, holds_out_items(config)
    if labelled is not None:
        choosing = [one.text for one in questions.evaluation] if questions.held_out else []
        return split_labelled(labelled, seed=seed, hold_some_out=hold_some_out, choosing=choosing)
    if config.training.method == "warmup" and store is not None:
        return split_passages(store, seed=seed, hold_some_out=hold_some_out)
    return None


def training_sizes(config: Config, questions: Questions, split: Split | None) -> dict[str, int]:
    """Return the sizes of the training sets, by their names in `plan_run`."""
    num_items = split.num_training if split is not None else 0
    if config.training.method == "art":
        return {"num_questions": len(questions.training), "num_labelled": num_items}
    return {"num_questions": num_items}


def _contrast(
    config: Config,
    retriever: Retriever,
    labelled: SupervisedStore | None,
    choosing: SupervisedStore | None,
    store: PassageStore | None,
    split: Split | None,
    tokens_of: Callable[[PassageStore, RetrieverTemplate], TokenStore],
) -> tuple[EpochItems | None, Pool | None]:
    """Return what the contrastive steps read, and the pool that the run is judged in."""
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


def _notes(
    labelled: SupervisedStore | None, choosing: SupervisedStore | None, num_hard_negatives: int
) -> Iterator[str]:
    """Yield what a user should know of the labelled files."""
    for one in (labelled, choosing):
        if one is not None:
            yield from filter(None, (one.bad_rows.report(), one.left_out))
    if labelled is not None and (num_short := labelled.num_short(num_hard_negatives)):
        yield (
            f"{num_short:,} of {len(labelled):,} labelled questions have fewer negatives than "
            f"training.hard_negatives ({num_hard_negatives}) and use those they have"
        )


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
    assert config.scorer is not None  # checked with the settings
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
