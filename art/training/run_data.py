"""The data of a run: its files opened, its training sets divided, its steps laid out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from art import distributed
from art.config import Config
from art.data.passages import PassageStore
from art.evaluation.labels import check_labels
from art.training.methods import Method, method_of
from art.training.plan import (
    check_corpus,
    judged_on,
    plan_run,
    read_run_questions,
    reads_corpus,
)
from art.training.run_files import (
    RunFiles,
    open_corpus,
    open_labelled,
    read_judgements,
)
from art.training.schedule import Schedule
from art.training.sources import LABELLED, PASSAGES, TrainingSet


@dataclass(frozen=True)
class RunData:
    """What a run learns from, and when.

    Attributes:
        method: of the run.
        files: what it reads.
        sets: what its kinds of steps learn from, see `Method.training_sets`.
        schedule: its steps.
    """

    method: Method
    files: RunFiles
    sets: list[TrainingSet]
    schedule: Schedule


def open_data(config: Config) -> RunData:
    """Open what a run reads, and lay out the steps.

    Raises:
        ArtError: something cannot be read, or the settings do not fit it.
    """
    method, progress = method_of(config), distributed.is_local_main()
    questions = read_run_questions(config)
    labelled = config.data.supervised if LABELLED in method.reads else []
    files = RunFiles(
        questions,
        read_judgements(config, questions),
        labelled=open_labelled(config, labelled, progress=progress),
        evaluated_pool=open_labelled(config, config.evaluation.supervised, progress=progress),
    )
    # What questions alone decide is complained of before a corpus is built, which takes long.
    trains_on_passages = PASSAGES in method.reads
    if trains_on_passages:
        files = _with_corpus(config, method, files)
    sets = divide(config, method, files)
    schedule = plan_run(config, **sizes(sets), world_size=distributed.world_size())
    if not trains_on_passages:
        files = _with_corpus(config, method, files)
    return RunData(method, files, sets, schedule)


def _with_corpus(config: Config, method: Method, files: RunFiles) -> RunFiles:
    if not reads_corpus(config, method):
        return files
    store = open_corpus(config, progress=distributed.is_local_main())
    check_corpus(config, len(store))
    check_run_labels(config, files, store)
    return replace(files, store=store)


def check_run_labels(config: Config, files: RunFiles, store: PassageStore) -> None:
    """Check the labels of the questions that a run is evaluated on, see `check_labels`."""
    regex = config.evaluation.regex_answers
    check_labels(files.questions.evaluation, store, files.qrels, regex_answers=regex)


def divide(config: Config, method: Method, files: RunFiles) -> list[TrainingSet]:
    """Divide what the steps learn from, as far as it is here: what trains, what is held out.

    Raises:
        DataError: there is too little of it for both.
    """
    held_out = judged_on(config, method).holds_out_items
    return method.training_sets(files, seed=config.training.seed, hold_out=held_out)


def sizes(sets: list[TrainingSet]) -> dict[str, int]:
    """Return the sizes of the training sets by their names in `plan_run`, the main one first."""
    names = ("num_questions", "num_labelled")
    found = {name: one.num_items for name, one in zip(names[: len(sets)], sets, strict=True)}
    return found | {"num_generated": sets[0].num_generated}
