"""What a run reads: opened, checked, and divided into what trains and what chooses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from art import distributed
from art.config import Config
from art.data.formats import read_qrels
from art.data.passages import PassageStore
from art.data.supervised_store import SupervisedStore
from art.distributed import is_main
from art.files import fingerprint
from art.teacher.base import Teacher
from art.training.items import Split, split_labelled, split_passages
from art.training.plan import (
    Questions,
    check_passages,
    evaluation_fingerprint,
    holds_out_items,
    learns_from_labels,
    plan_run,
    read_run_questions,
    reads_passages,
)
from art.training.schedule import Schedule


@dataclass(frozen=True)
class RunData:
    """What a run reads, and the steps that its settings make of it.

    Attributes:
        questions: who trains and who chooses without labelled files.
        qrels: judgements of the questions that choose; None without.
        labelled: the labelled questions that train; None where there are none.
        choosing: the labelled questions that choose in a pool; None where there are none.
        store: the passages; None where the run needs no corpus.
        split: who trains and who chooses among what the contrastive steps learn from; None where
            there are no such steps.
        schedule: the steps.
    """

    questions: Questions
    qrels: dict[str, dict[str, int]] | None
    labelled: SupervisedStore | None
    choosing: SupervisedStore | None
    store: PassageStore | None
    split: Split | None
    schedule: Schedule

    def fingerprints(self, teacher: Teacher | None) -> dict[str, str]:
        """Return a fingerprint of each thing that must not change under the run, by its name.

        Args:
            teacher: of the run; None where it needs none.
        """
        questions = self.questions
        found = {
            "training questions": fingerprint(
                *questions.training, *map(repr, questions.answers.items())
            ),
            "evaluation questions": evaluation_fingerprint(questions.evaluation, self.qrels),
        }
        read = {
            "passages": self.store,
            "teacher": teacher,
            "labelled training questions": self.labelled,
            "labelled evaluation questions": self.choosing,
        }
        return found | {name: one.fingerprint for name, one in read.items() if one is not None}

    def notes(self, num_hard_negatives: int) -> Iterator[str]:
        """Yield what a user should know of the labelled files.

        Args:
            num_hard_negatives: that each labelled question asks for.
        """
        for one in (self.labelled, self.choosing):
            if one is not None:
                yield from filter(None, (one.bad_rows.report(), one.left_out))
        if self.labelled is not None and (num_short := self.labelled.num_short(num_hard_negatives)):
            yield (
                f"{num_short:,} of {len(self.labelled):,} labelled questions have fewer negatives "
                f"than training.hard_negatives ({num_hard_negatives}) and use those they have"
            )


def open_data(config: Config) -> RunData:
    """Open what a run reads, and lay out the steps.

    Raises:
        ArtError: something cannot be read, or the settings do not fit it.
    """
    cache = cache_folder(config)
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
    store = _corpus(config) if cuts_passages else None
    split = split_items(config, questions, labelled, store)
    schedule = plan_run(
        config,
        **training_sizes(config, questions, split),
        world_size=distributed.world_size(),
    )
    if not cuts_passages:
        store = _corpus(config)
    return RunData(questions, qrels, labelled, choosing, store, split, schedule)


def _corpus(config: Config) -> PassageStore | None:
    """Open the corpus, where the run reads one."""
    if not reads_passages(config):
        return None
    assert config.data.passages is not None  # checked with the settings
    store = PassageStore.open_or_build(
        config.data.passages,
        skip_bad_rows=config.data.skip_bad_rows,
        cache=cache_folder(config),
        progress=is_main(),
    )
    check_passages(config, len(store))
    return store


def cache_folder(config: Config) -> Path | None:
    """Return where stores and token ids are kept; None is the user's cache folder."""
    return Path(config.data.cache_folder) if config.data.cache_folder else None


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
