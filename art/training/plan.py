"""The steps that the settings make of a run: checked against files and processes, described."""

from __future__ import annotations

from collections.abc import Iterator

from art.config import Config, IndexKind
from art.errors import ConfigFaults
from art.training.methods import Method, method_of
from art.training.mixture import Mixture
from art.training.run_files import RunQuestions, read_questions_of
from art.training.schedule import Action, Intervals, Schedule
from art.training.selection import JudgedOn, are_labelled, needs_judge
from art.training.sources import QUESTIONS

# Pairs that are scored together, before the steps that ask for them: the more, the more questions
# share a passage, and the more is lost when the run is killed.
_PREFETCHED_PAIRS = 1 << 14


def judged_on(config: Config, method: Method | None = None) -> JudgedOn:
    """Return what a run's checkpoints are judged on."""
    return JudgedOn.from_config(config, by_default=(method or method_of(config)).holds_out)


def reads_corpus(config: Config, method: Method) -> bool:
    """Return whether a run reads passages at all; a supervised one may do without."""
    return method.needs_corpus or judged_on(config, method).corpus


def read_run_questions(config: Config) -> RunQuestions:
    """Read the questions of a run and hold some out if nothing is given to judge on.

    Raises:
        ConfigFaults: BM25 and the retriever fused are to be judged, and no question has a label.
        DataError: see `read_questions_of`.
    """
    method = method_of(config)
    train = method.trains_on is QUESTIONS
    questions = read_questions_of(config, judged_on(config, method), train=train)
    if config.evaluation.fused and not are_labelled(config, questions.evaluation):
        raise ConfigFaults(["evaluation.fused: evaluation.questions have no labels to judge by"])
    return questions


def needs_teacher(config: Config, method: Method, questions: RunQuestions | None) -> bool:
    """Return whether a teacher scores pairs in the steps, or has to judge evaluations.

    Args:
        config: the settings.
        method: of the run.
        questions: of the run; None where they are not here and are taken to have labels.

    Raises:
        ConfigFaults: one has to judge, and there is none.
    """
    evaluated = questions.evaluation if questions else None
    return method.uses_teacher or needs_judge(config, evaluated)


def schedule_of(
    config: Config, num_items: int, *, num_labelled: int = 0, num_generated: int = 0
) -> Schedule:
    """Return the steps that these settings make of a training set.

    Args:
        config: the settings.
        num_items: that train: questions, labelled ones, or passages.
        num_labelled: labelled questions beside them, see `training.labelled_share`.
        num_generated: how many of the items are generated questions.
    """
    training, method = config.training, method_of(config)
    evaluates_index = judged_on(config, method).corpus
    refresh_steps = None
    if method.searches_index:
        refresh_steps = Intervals.of(training.refresh_steps)
    elif evaluates_index:
        refresh_steps = Intervals.of(training.evaluate_steps)
    pairs_per_step = training.questions_per_step * method.pairs_per_question
    # What soft labels wait for is found in the first prefetch: then there has to be one.
    least = 2 if method.calibrates else 1
    mixture = None
    if num_generated and training.generated_share is not None:
        mixture = Mixture(num_items - num_generated, num_generated, training.generated_share)
    return Schedule(
        num_questions=sum(mixture.of_epoch) if mixture else num_items,
        questions_per_step=training.questions_per_step,
        questions_per_micro_batch=training.questions_per_micro_batch,
        epochs=training.epochs,
        max_steps=training.max_steps,
        peak_learning_rate=training.learning_rate,
        warmup_share=training.warmup_share,
        refresh_steps=refresh_steps,
        evaluate_steps=training.evaluate_steps,
        save_steps=training.save_steps,
        evaluates_index=evaluates_index,
        refresh_when_changed=training.refresh_when_changed,
        prefetch_steps=max(least, _PREFETCHED_PAIRS // pairs_per_step) if pairs_per_step else 1,
        seed=training.seed,
        labelled_share=training.labelled_share,
        num_labelled=num_labelled,
        mixture=mixture,
    )


def check_corpus(config: Config, num_passages: int) -> None:
    """Check the settings against the corpus.

    Raises:
        ConfigFaults: the method cannot be trained on a corpus of this size.
    """
    if faults := list(method_of(config).check_corpus(num_passages)):
        raise ConfigFaults(faults)


def check_index(
    config: Config, schedule: Schedule, *, num_passages: int, embedding_size: int | None
) -> None:
    """Check that an index of the wanted kind can be built, where the run builds any.

    Args:
        config: the settings.
        schedule: the steps.
        num_passages: N.
        embedding_size: D; None where nobody knows it yet.

    Raises:
        ConfigFaults: it cannot.
    """
    kind = IndexKind.named(config.index.kind)
    if kind is None or schedule.refresh_steps is None:
        return
    if faults := list(kind.faults(num_passages, embedding_size)):
        raise ConfigFaults([f"index.kind: {kind.name}: {what}; {hint}" for what, hint in faults])


def plan_run(
    config: Config,
    *,
    num_questions: int,
    world_size: int,
    num_labelled: int = 0,
    num_generated: int = 0,
) -> Schedule:
    """Check the settings against the training set and the processes, and lay out the steps.

    Args:
        config: the settings.
        num_questions: items that train, see `schedule_of`.
        world_size: W.
        num_labelled: see `schedule_of`.
        num_generated: see `schedule_of`.

    Raises:
        ConfigFaults: they do not fit together; every misfit is listed.
    """
    training = config.training
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    schedule = schedule_of(
        config, num_questions, num_labelled=num_labelled, num_generated=num_generated
    )
    sets = {method_of(config).trains_on.name: schedule.num_questions}
    if training.labelled_share:
        sets["labelled questions"] = num_labelled
    faults = [
        f"training.questions_per_step: {training.questions_per_step}, but there are only "
        f"{size} {name}; lower it"
        for name, size in sets.items()
        if size < training.questions_per_step
    ]
    if micro_batches % world_size:
        faults.append(
            f"training.questions_per_micro_batch: a step has {micro_batches} micro-batches, which "
            f"{world_size} processes cannot share evenly; choose a size that gives a multiple"
        )
    if faults:
        raise ConfigFaults(faults)
    return schedule


def describe(config: Config, schedule: Schedule, *, num_passages: int, world_size: int) -> str:
    """Return the plan as a few lines for a person.

    Args:
        config: the settings.
        schedule: the steps.
        num_passages: of the corpus; 0 where the run reads none.
        world_size: W.
    """
    training, method = config.training, method_of(config)
    micro_batches = training.questions_per_step // training.questions_per_micro_batch
    dropped = f", {schedule.num_dropped} left over in each" if schedule.num_dropped else ""
    sizes = [f"{schedule.num_questions:,} {method.items_name}{_generated(config, schedule)}"]
    sizes += [f"{num_passages:,} passages"] if num_passages else []
    return (
        f"{', '.join(sizes)}, {world_size} process{'es' if world_size > 1 else ''}\n"
        f"{schedule.num_steps:,} steps of {training.questions_per_step} questions "
        f"({micro_batches} × {training.questions_per_micro_batch}), "
        f"{method.each}; {schedule.steps_per_epoch:,} step"
        f"{'s' if schedule.steps_per_epoch > 1 else ''} an epoch{dropped}\n"
        + "; ".join([*_refreshes(schedule), *method.describe(schedule)])
    )


def _refreshes(schedule: Schedule) -> Iterator[str]:
    steps = range(1, schedule.num_steps + 1)
    num_refreshes = sum(Action.REFRESH in schedule.due(step) for step in steps)
    if not num_refreshes:
        yield "no index"
        return
    times = "once" if num_refreshes == 1 else f"{num_refreshes} times"
    line = f"index refreshed {times}, {schedule.refresh_steps}"
    if num_decided := sum(map(schedule.may_keep_index, steps)):
        share = 100 * (schedule.refresh_when_changed or 0)
        line = (
            f"index refreshed {times} at most, {schedule.refresh_steps}; of these {num_decided:,} "
            f"only where {share:.3g} % of the top-K or more have changed"
        )
    yield line


def _generated(config: Config, schedule: Schedule) -> str:
    """Return how many of an epoch's questions are generated, where some are."""
    if schedule.mixture is not None:
        (_, num_generated), there = schedule.mixture.of_epoch, schedule.mixture.num_generated
        times = f", each {num_generated / there:.2g} times" if num_generated > there else ""
        return f" an epoch ({min(num_generated, there):,} of {there:,} generated ones{times})"
    alone = method_of(config).trains_on is QUESTIONS and config.data.generated
    return " (all generated)" if alone else ""
