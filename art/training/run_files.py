"""What a run reads, opened: questions, judgements, labelled questions, the corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from art.config import Config
from art.data.cutting import cut_passages, cut_questions
from art.data.formats import Question, read_many_questions, read_qrels
from art.data.passages import PassageStore
from art.data.records import comparable
from art.data.rows import BadRows
from art.data.supervised_store import SupervisedStore
from art.errors import DataError, shown
from art.evaluation.labels import is_labelled
from art.files import fingerprint
from art.teacher.registry import answers_for
from art.training.selection import (
    JudgedOn,
    Qrels,
    evaluation_fingerprint,
    hold_out_questions,
)

if TYPE_CHECKING:
    from art.data.tokens import TokenStore
    from art.retriever.encoders import Retriever
    from art.teacher.base import Teacher


@dataclass(frozen=True)
class RunQuestions:
    """Questions that train, and questions that a run is evaluated on.

    Attributes:
        training: texts to train on, the generated ones last; labels are left behind here. Empty
            where only labelled questions or passages train.
        evaluation: questions to ask of the corpus, with whatever labels they have; none where
            something else judges.
        held_out: whether `evaluation` was taken out of the training questions: the real ones, where
            there are some.
        bad_rows: skipped, where the settings say so.
        answers: of whatever the teacher will be asked, where it scores answers; else empty.
        num_generated: how many of `training` a language model wrote.
    """

    training: list[str]
    evaluation: list[Question]
    held_out: bool
    bad_rows: BadRows = field(default_factory=BadRows)
    answers: dict[str, str] = field(default_factory=dict)
    num_generated: int = 0

    @property
    def real(self) -> list[str]:
        """Those that train and that nobody generated."""
        return self.training[: len(self.training) - self.num_generated]

    @property
    def generated(self) -> list[str]:
        """Those that train and that a language model wrote."""
        return self.training[len(self.training) - self.num_generated :]

    @classmethod
    def none(cls) -> RunQuestions:
        """Return no questions at all."""
        return cls([], [], held_out=False)


@dataclass(frozen=True)
class RunFiles:
    """What a run reads; a part that it does not need, or that is not here, is None.

    Attributes:
        questions: that train and that a run is evaluated on.
        qrels: judgements of the evaluated ones.
        labelled: the labelled questions that train.
        evaluated_pool: the labelled questions that checkpoints are judged on in a pool.
        store: the passages.
    """

    questions: RunQuestions
    qrels: Qrels | None = None
    labelled: SupervisedStore | None = None
    evaluated_pool: SupervisedStore | None = None
    store: PassageStore | None = None

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
        if questions.num_generated:
            found["generated questions"] = fingerprint(*questions.generated)
        read = {
            "passages": self.store,
            "teacher": teacher,
            "labelled training questions": self.labelled,
            "labelled evaluation questions": self.evaluated_pool,
        }
        return found | {name: one.fingerprint for name, one in read.items() if one is not None}

    def notes(self, setting: str, num_negatives: int) -> Iterator[str]:
        """Yield what a user should know of the questions and the labelled files.

        Args:
            setting: that asks for negatives of each labelled question.
            num_negatives: how many it asks for.
        """
        yield from _repeated(self.questions.real, "training questions", "an epoch")
        yield from _repeated(self.questions.generated, "generated questions", "in a pass over them")
        yield from _asked_and_generated(self.questions)
        yield from self._trained_and_judged()
        for one in (self.labelled, self.evaluated_pool):
            if one is not None:
                yield from filter(None, (one.bad_rows.report(), *one.notes))
        if self.labelled is not None and (num_short := self.labelled.num_short(num_negatives)):
            yield (
                f"{num_short:,} of {len(self.labelled):,} labelled questions have fewer negatives "
                f"than {setting} asks for ({num_negatives}) and use those they have"
            )

    def cut(
        self, retriever: Retriever, tokens_of: Callable[..., TokenStore], *, embeds: bool
    ) -> Iterator[str]:
        """Yield how many questions and passages are longer than what the retriever reads of them.

        Args:
            retriever: of the run.
            tokens_of: opens the token ids of a store under a template.
            embeds: whether the run embeds the corpus.
        """
        questions, template = self.questions, retriever.passage_template
        labelled = [one for one in (self.labelled, self.evaluated_pool) if one is not None]
        texts = [*questions.training, *(one.text for one in questions.evaluation)]
        for some in (texts, *(one.questions for one in labelled)):
            yield from cut_questions(retriever.question_template, some)
        stores = [self.store] if self.store is not None and embeds else []
        for store in (*stores, *(one.contexts for one in labelled)):
            yield from cut_passages(template, tokens_of(store, template), store)

    def _trained_and_judged(self) -> Iterator[str]:
        """Yield how many of the questions that judge checkpoints train as well, where some do."""
        judged, given = self.qrels or {}, self.questions.evaluation
        asked = [one for one in given if is_labelled(one) or one.question_id in judged] or given
        if self.questions.held_out:  # they have left the training questions
            asked = []
        pooled = self.evaluated_pool.questions if self.evaluated_pool else ()
        judging = {comparable(text): text for text in (*(one.text for one in asked), *pooled)}
        labelled = self.labelled.questions if self.labelled else ()
        training = chain(self.questions.training, labelled) if judging else ()
        trained = judging.keys() & map(comparable, training)
        both = [text for one, text in judging.items() if one in trained]
        if both:
            yield (
                f"{len(both):,} of {len(judging):,} questions that checkpoints are judged on are "
                f"training questions too, such as {shown(both[0])}: their metrics show what was "
                "learned by heart"
            )


def _repeated(questions: Sequence[str], name: str, when: str) -> Iterator[str]:
    """Yield how many of the questions that train are distinct, where some stand several times.

    Args:
        questions: of one kind.
        name: of the kind.
        when: the others train several times.
    """
    counts = Counter(map(comparable, questions))
    if len(counts) < len(questions):
        example, _ = counts.most_common(1)[0]
        yield (
            f"{len(counts):,} of {len(questions):,} {name} are distinct; the others train several "
            f"times {when} (such as {shown(example)})"
        )


def _asked_and_generated(questions: RunQuestions) -> Iterator[str]:
    """Yield how many of the generated questions are real ones too, where some are."""
    real = set(map(comparable, questions.real))
    both = [text for text in questions.generated if comparable(text) in real]
    if both:
        yield (
            f"{len(both):,} of {questions.num_generated:,} generated questions are training "
            f"questions too, such as {shown(both[0])}: they train as both"
        )


def cache_folder(config: Config) -> Path | None:
    """Return where stores and token ids are kept; None is the user's cache folder."""
    return Path(config.data.cache_folder) if config.data.cache_folder else None


def read_questions_of(config: Config, judged_on: JudgedOn, *, train: bool) -> RunQuestions:
    """Read the questions of a run and hold some out if nothing is given to judge on.

    Args:
        config: the settings.
        judged_on: what checkpoints are judged on.
        train: whether the questions train.

    Raises:
        DataError: a file cannot be read as questions, or the teacher needs answers and some lack.
    """
    bad_rows = BadRows()
    collector = bad_rows if config.data.skip_bad_rows else None
    real = read_many_questions(config.data.questions if train else [], collector)
    generated = read_many_questions(config.data.generated if train else [], collector)
    files = [*config.data.questions, *config.data.generated]
    answers = _answers(config, [*real, *generated], files)
    if not judged_on.holds_out_questions:
        evaluation = read_many_questions(config.evaluation.questions, collector)
        if not (config.evaluation.qrels or any(map(is_labelled, evaluation))):
            answers = _answers(config, evaluation, config.evaluation.questions) | answers
        return RunQuestions(
            [question.text for question in (*real, *generated)],
            evaluation,
            held_out=False,
            bad_rows=bad_rows,
            answers=answers,
            num_generated=len(generated),
        )
    # Generated ones are unlike those that the retriever will be asked. One that stands in the file
    # twice must not train and be held out, nor count twice in a verdict.
    distinct: dict[str, Question] = {}
    for question in real or generated:
        distinct.setdefault(comparable(question.text), question)
    choosing = list(distinct.values())
    if len(choosing) < 2:
        raise DataError(
            "one training question cannot both train and choose",
            where=files[0],
            hint="give more, or evaluation.questions",
        )
    held_out = set(hold_out_questions(len(choosing), seed=config.training.seed).tolist())
    texts = {comparable(choosing[i].text) for i in held_out}
    kept, kept_generated = (
        [question.text for question in some if comparable(question.text) not in texts]
        for some in (real, generated)
    )
    return RunQuestions(
        kept + kept_generated,
        [
            Question(question.question_id, question.text)
            for i, question in enumerate(choosing)
            if i in held_out
        ],
        held_out=True,
        bad_rows=bad_rows,
        answers=answers,
        num_generated=len(kept_generated),
    )


def _answers(config: Config, questions: list[Question], files: list[str]) -> dict[str, str]:
    """Return the answers that the teacher needs to score these questions."""
    if config.teacher is None:
        return {}
    return answers_for(config.teacher.kind, questions, where=", ".join(files))


def read_judgements(config: Config, questions: RunQuestions) -> Qrels | None:
    """Read the relevance judgements of the evaluated questions, where there are some."""
    judged = config.evaluation.qrels
    skipped = questions.bad_rows if config.data.skip_bad_rows else None
    return read_qrels(judged, skipped) if judged else None


def open_labelled(config: Config, files: list[str], *, progress: bool) -> SupervisedStore | None:
    """Open labelled questions, None where there are no files."""
    if not files:
        return None
    return SupervisedStore.open_or_build(
        files,
        skip_bad_rows=config.data.skip_bad_rows,
        cache=cache_folder(config),
        progress=progress,
    )


def open_corpus(config: Config, *, progress: bool) -> PassageStore:
    """Open the corpus of a run that reads one."""
    assert config.data.passages is not None  # checked with the settings
    return PassageStore.open_or_build(
        config.data.passages,
        skip_bad_rows=config.data.skip_bad_rows,
        cache=cache_folder(config),
        progress=progress,
    )
