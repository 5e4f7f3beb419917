"""What of a run is on this machine: questions, passages, models; and the sizes of what is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch

from art.config import Config, TeacherConfig
from art.data.passages import PassageStore
from art.data.supervised_store import SupervisedStore
from art.errors import ArtError, ConfigError
from art.evaluation.labels import is_labelled
from art.planning import shapes
from art.planning.costs import TowerShape
from art.retriever.encoders import Retriever
from art.retriever.shards import VectorType, default_type
from art.teacher.base import Teacher
from art.teacher.costs import TeacherShape
from art.teacher.log_file import read_known
from art.teacher.models import automatic_dtype
from art.teacher.registry import KINDS, load_teacher
from art.training.methods import Method, method_of
from art.training.mixture import num_beside
from art.training.plan import judged_on, needs_teacher, read_run_questions, reads_corpus
from art.training.run_data import check_run_labels, divide, sizes
from art.training.run_files import RunFiles, RunQuestions, cache_folder, read_judgements
from art.training.selection import JudgedOn, num_held_out_questions
from art.training.sources import ASSUMED_POOL_PASSAGES, LABELLED, QUESTIONS, TrainingSet
from art.training.students import retriever_at

T = TypeVar("T")
Model = TypeVar("Model", Retriever, Teacher)

_ASSUMED_EVALUATED = 500


@dataclass(frozen=True)
class WhatIf:
    """What is planned with though it is not here; None for what is here.

    Attributes:
        num_passages: N.
        num_questions: training questions.
        num_gpus: GPUs, one process each.
    """

    num_passages: int | None = None
    num_questions: int | None = None
    num_gpus: int | None = None


@dataclass
class Inventory:
    """What of a run is here.

    Attributes:
        config: the run's settings.
        questions: None where their files are not here.
        files: what the run reads, as far as it is here.
        retriever: None where its model is not here, or a reader is trained.
        teacher: None where its model is not here, or the run needs none.
        teacher_settings: of the teacher; None where the run needs none.
        num_questions: to train on (labelled ones, or passages, where those do), planned with or
            counted.
        num_labelled: labelled questions beside those.
        num_generated: how many of `num_questions` are generated questions.
        num_passages: N, planned with or counted.
        basis: what the estimates rest on, a sentence each.
    """

    config: Config
    questions: RunQuestions | None
    files: RunFiles
    retriever: Retriever | None
    teacher: Teacher | None
    teacher_settings: TeacherConfig | None
    num_questions: int
    num_labelled: int
    num_generated: int
    num_passages: int
    basis: list[str] = field(default_factory=list)

    @cached_property
    def method(self) -> Method:
        """Of the run."""
        return method_of(self.config)

    @property
    def judged_on(self) -> JudgedOn:
        """What the run's checkpoints are judged on."""
        return judged_on(self.config, self.method)

    @cached_property
    def tower(self) -> TowerShape | None:
        """The passage tower's shape; None where nothing is known of it."""
        if self.retriever is not None:
            return shapes.retriever_shape(self.retriever)
        settings = self.config.towers
        if self.config.reader and Path(settings.model).is_dir():
            return shapes.saved_tower(settings.model)
        return shapes.published_tower(
            settings.model, num_layers=settings.num_layers, projection_size=settings.projection_size
        )

    @cached_property
    def teacher_shape(self) -> TeacherShape | None:
        """The teacher's shape; None where nothing is known of it."""
        if self.teacher is not None:
            return self.teacher.shape()
        if self.teacher_settings is None:
            return None
        return KINDS[self.teacher_settings.kind].published_shape(self.teacher_settings.model)

    @property
    def num_evaluated(self) -> int:
        """Questions that the run asks the corpus to choose on."""
        if not self.judged_on.corpus:
            return 0
        if self.questions is not None:
            return len(self.questions.evaluation)
        if self.config.evaluation.questions:
            return _ASSUMED_EVALUATED
        return num_held_out_questions(self.num_questions - self.num_generated)

    @property
    def pooled(self) -> tuple[int, int]:
        """Questions and passages of the pool that the run chooses on."""
        if (given := self.files.evaluated_pool) is not None:
            return len(given), len(given.contexts)
        if self.config.evaluation.supervised:
            return _ASSUMED_EVALUATED, _ASSUMED_EVALUATED * ASSUMED_POOL_PASSAGES
        if not self.judged_on.holds_out_items:
            return 0, 0
        return self.method.trains_on.planned_pool(
            num_items=self.num_questions,
            num_passages=self.num_passages,
            labelled=self.files.labelled,
        )

    @property
    def labelled_stores(self) -> list[SupervisedStore]:
        """Those that are here."""
        return [one for one in (self.files.labelled, self.files.evaluated_pool) if one is not None]

    @property
    def judged_by_teacher(self) -> bool:
        """Whether the teacher judges evaluations, because no question has a label."""
        if self.teacher_settings is None or not self.judged_on.corpus:
            return False
        if self.questions is None:
            return not self.config.evaluation.questions
        if self.config.evaluation.qrels:
            return False
        return not any(map(is_labelled, self.questions.evaluation))

    @property
    def num_parameters(self) -> tuple[int, int]:
        """The retriever's parameters, and how many of them learn."""
        if self.retriever is not None:
            parameters = list(self.retriever.parameters())
            learning = sum(one.numel() for one in parameters if one.requires_grad)
            return sum(one.numel() for one in parameters), learning
        settings, tower = self.config.towers, self.tower
        if tower is None:
            return 0, 0
        learning = tower.num_learning(settings.train_layers)
        num_towers, num_frozen = settings.num_towers, bool(settings.freeze)
        return num_towers * tower.num_parameters, (num_towers - num_frozen) * learning

    @property
    def vocab_sizes(self) -> tuple[int, int]:
        """Tokens that the retriever and the teacher know."""
        few = 1 << 16  # as most of those have that are not here
        return (
            self.retriever.passage_template.vocab_size if self.retriever else few,
            self.teacher.template.vocab_size if self.teacher else few,
        )

    def dtypes(self, *, on_gpu: bool) -> tuple[str, str]:
        """Return what the retriever and the teacher compute in."""
        automatic = "bfloat16" if on_gpu else automatic_dtype(torch.device("cpu"))
        wanted = self.config.teacher.dtype if self.config.teacher else "auto"
        return (
            self.config.towers.dtype or "float32",
            automatic if wanted == "auto" else wanted,
        )

    def index_dtype(self, *, on_gpu: bool) -> VectorType:
        """Return what the vectors of the passages are stored in."""
        return self.config.index.dtype or default_type(on_gpu=on_gpu)


def find(config: Config, asked: WhatIf) -> Inventory:
    """Read and load everything that a run would, as far as it is here; nothing is downloaded.

    Args:
        config: the run's settings.
        asked: numbers of what need not be here.

    Raises:
        ArtError: something cannot be read or does not fit together.
    """
    basis: list[str] = []
    cache = cache_folder(config)
    method = method_of(config)
    asks = method.trains_on is QUESTIONS
    training_questions = [*config.data.questions, *config.data.generated] if asks else []
    files = [*training_questions, *config.evaluation.questions]
    num_asked = asked.num_questions if asks else None
    questions = _unless_assumed(
        lambda: read_run_questions(config), files, num_asked, "questions", basis
    )
    skip = config.data.skip_bad_rows
    training_files = config.data.supervised if LABELLED in method.reads else []
    labelled, evaluated_pool = (
        _labelled(some, asked.num_questions, skip, cache, basis)
        for some in (training_files, config.evaluation.supervised)
    )
    qrels = read_judgements(config, questions) if questions is not None else None
    store = None
    if (passages := config.data.passages) is not None and reads_corpus(config, method):
        store = _unless_assumed(
            lambda: PassageStore.open_or_build(passages, skip_bad_rows=skip, cache=cache),
            [passages],
            asked.num_passages,
            "passages",
            basis,
        )
    read = (store, questions, labelled, evaluated_pool)
    basis += [one.bad_rows.report() for one in read if one and one.bad_rows.count]
    device = "cuda" if torch.cuda.is_available() and not config.training.cpu else "cpu"
    retriever = None
    if config.retriever is not None:
        retriever = _unless_elsewhere(
            lambda: retriever_at(config, None).to(device), config.retriever.model, basis
        )
    teacher_settings = config.teacher if needs_teacher(config, method, questions) else None
    teacher = None
    if teacher_settings is not None:
        teacher = _load_teacher(teacher_settings, questions, device, cache, basis)
    unknown = (
        questions is None and config.evaluation.questions,
        evaluated_pool is None and config.evaluation.supervised,
    )
    if any(unknown):
        basis.append(f"{_ASSUMED_EVALUATED} questions to choose on, assumed")
    opened = RunFiles(
        questions or RunQuestions.none(),
        qrels,
        labelled=labelled,
        evaluated_pool=evaluated_pool,
        store=store,
    )
    basis += opened.notes(*method.negatives)
    if store is not None:
        check_run_labels(config, opened, store)
    sets = divide(config, method, opened)
    basis += [note for one in sets for note in one.notes]
    return Inventory(
        config,
        questions,
        opened,
        retriever,
        teacher,
        teacher_settings,
        **_sizes(config, method, asked, sets),
        num_passages=asked.num_passages or len(store or ()) if reads_corpus(config, method) else 0,
        basis=list(dict.fromkeys(basis)),
    )


def _load_teacher(
    settings: TeacherConfig,
    questions: RunQuestions | None,
    device: str,
    cache: Path | None,
    basis: list[str],
) -> Teacher | None:
    teacher = _unless_elsewhere(
        lambda: load_teacher(
            **settings.model_dump(exclude={"temperature", "known_scores"}),
            answers=questions.answers if questions else None,
            device=device,
            cache=cache,
        ),
        settings.model,
        basis,
    )
    if teacher is not None and settings.known_scores:
        known = read_known(settings.known_scores, teacher.fingerprint)
        basis.append(f"{len(known):,} scores are known from other runs, which is not counted on")
    return teacher


def _labelled(
    files: Sequence[str], count: int | None, skip: bool, cache: Path | None, basis: list[str]
) -> SupervisedStore | None:
    if not files:
        return None
    return _unless_assumed(
        lambda: SupervisedStore.open_or_build(files, skip_bad_rows=skip, cache=cache),
        files,
        count,
        "questions",
        basis,
    )


def _sizes(
    config: Config, method: Method, asked: WhatIf, sets: list[TrainingSet]
) -> dict[str, int]:
    """Return the sizes of the training sets, as planned with where they are."""
    found = {"num_labelled": 0} | sizes(sets)
    assumed = method.trains_on.planned_size(
        num_passages=asked.num_passages,
        num_questions=asked.num_questions,
        hold_out=judged_on(config, method).holds_out_items,
    )
    if assumed is not None:
        found["num_questions"] = assumed
        share = config.training.generated_share
        if share is not None and method.trains_on is QUESTIONS:  # so many real ones
            enough = num_beside(assumed, share) if share < 1 else assumed
            found["num_generated"] = sets[0].num_generated or enough
            found["num_questions"] += found["num_generated"]
    if asked.num_questions is not None and len(sets) > 1 and sets[1].split is None:
        found["num_labelled"] = asked.num_questions
    return found


def _unless_assumed(
    read: Callable[[], T], sources: Sequence[str], count: int | None, what: str, basis: list[str]
) -> T | None:
    """Read what is there; what is not may be missing if its number is given."""
    if count is None:
        try:
            return read()
        except ArtError as error:
            if all(source.startswith("hf:") or Path(source).exists() for source in sources):
                raise
            hint = f"or plan for a number of them: --dry-run --{what} NUMBER"
            raise type(error)(error.what, where=error.where, hint=hint) from error
    if any(not Path(source).exists() for source in sources):
        basis.append(f"{count:,} {what} as given; the files are not all here")
        return None
    basis.append(f"{count:,} {what} as given, like those of the files")
    return read()


def _unless_elsewhere(load: Callable[[], Model], model: str, basis: list[str]) -> Model | None:
    """Load a model unless it is one of the hub's that is not on this machine."""
    try:
        return load()
    except ConfigError:
        raise
    except ArtError:
        if (
            Path(model).exists()
            or model.startswith(("pip:", "/", ".", "~"))
            or (model.lower().endswith(".gguf"))
        ):
            raise
    basis.append(f"{model} is not on this machine and was not downloaded")
    return None
