"""What learns and what teaches, loaded at the step from which a run goes on."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from art.config import Config, IndexKind
from art.data.tokens import TokenStore
from art.distributed import is_local_main
from art.retriever.bm25 import BM25
from art.retriever.building import ApproximateSettings
from art.retriever.encoders import Retriever
from art.teacher.base import Teacher
from art.teacher.registry import load_teacher
from art.training.blend_sources import BlendModels
from art.training.corpus import RunCorpus
from art.training.methods import Method, method_of
from art.training.plan import check_index, needs_teacher
from art.training.run_data import RunData
from art.training.run_files import RunQuestions, cache_folder
from art.training.run_folder import RunFolder
from art.training.selection import needs_judge
from art.training.state import TrainState
from art.training.students import Student, as_retriever


@dataclass(frozen=True)
class RunModels:
    """What learns and what teaches.

    Attributes:
        student: on its device.
        teacher: None where nothing has to be scored.
        corpus: with the token ids that the passage tower reads; None where the run reads none.
        bm25: serves the steps; None where they have no use for it, or where words find nothing for
            most questions.
        judging_bm25: of the same words, where questions without labels are to be judged, or what it
            finds is told beside the retriever.
        blended: those that soft labels are blended of besides the teacher.
    """

    student: Student
    teacher: Teacher | None
    corpus: RunCorpus | None
    bm25: BM25 | None
    judging_bm25: BM25 | None
    blended: BlendModels

    @property
    def retriever(self) -> Retriever:
        """The student of a method that trains a retriever."""
        return as_retriever(self.student)


def load_models(
    config: Config,
    run: RunFolder,
    data: RunData,
    state: TrainState | None,
    device: torch.device,
) -> RunModels:
    """Load the models at the step from which the run goes on, and encode what they read.

    Args:
        config: the settings.
        run: its folder.
        data: what it learns from.
        state: at that step; None where the run begins.
        device: of the models.

    Raises:
        ArtError: a model cannot be loaded, or words find nothing where they are needed.
    """
    method, files = data.method, data.files
    student = student_at(config, run, state.step if state else None).to(device)
    if files.store is not None:  # now: a teacher and token ids take long
        size = as_retriever(student).embedding_size
        check_index(config, data.schedule, num_passages=len(files.store), embedding_size=size)
    teacher = None
    if needs_teacher(config, method, files.questions):
        teacher = _teacher(config, files.questions, state, device)
    if files.store is None:
        return RunModels(student, teacher, None, None, None, BlendModels())
    retriever = as_retriever(student)  # only a retriever reads a corpus
    tokens = bm25 = judging_bm25 = None
    if method.encodes_corpus or data.schedule.refresh_steps is not None:
        tokens = tokens_of(config)(files.store, retriever.passage_template)
    judges = needs_judge(config, files.questions.evaluation)
    blends, searches = "bm25" in method.blended, method.searches_words
    evaluates = judges or config.evaluation.fused
    if searches or blends or evaluates:
        language = config.data.language
        words = BM25.build(files.store, language=language, cache=cache_folder(config))
        judging_bm25 = words if evaluates else None
        needed = blends or not method.searches_index
        if (searches or blends) and words.check_use(files.questions.training, alone=needed):
            bm25 = words
    settings = config.index
    corpus = RunCorpus(
        files.store,
        tokens,
        shard_rows=settings.shard_rows,
        batch_tokens=settings.batch_tokens,
        dtype=settings.dtype,
        approximate=_approximate(config, files.questions.training),
    )
    blended = _blended(config, run, method, retriever if state is None else None, device)
    return RunModels(student, teacher, corpus, bm25, judging_bm25, blended)


def _approximate(config: Config, questions: Sequence[str]) -> ApproximateSettings | None:
    kind = IndexKind.named(config.index.kind)
    if kind is None:
        return None
    return ApproximateSettings(
        kind,
        effort=config.index.nprobe,
        min_recall=config.index.min_recall,
        top_k=config.training.top_k,
        questions=questions,
    )


def _blended(
    config: Config, run: RunFolder, method: Method, new: Retriever | None, device: torch.device
) -> BlendModels:
    """Return the models of a blend; the start as it was just created, where this run begins."""
    start = reranker = None
    if "start" in method.blended:
        start = as_retriever(student_at(config, run, None)) if new is None else copy.deepcopy(new)
        start = start.to(device).requires_grad_(False).eval()
    if "reranker" in method.blended:
        assert config.teacher is not None and config.teacher.reranker is not None  # checked
        shared = config.teacher.model_dump(include={"dtype", "max_length", "batch_tokens"})
        reranker = load_teacher(
            config.teacher.reranker,
            kind="cross-encoder",
            **shared,
            device=device,
            cache=cache_folder(config),
        )
    return BlendModels(start, reranker)


def tokens_of(config: Config) -> Callable[..., TokenStore]:
    """Return what opens the token ids of a store under a template."""
    return partial(TokenStore.open_or_build, cache=cache_folder(config), progress=is_local_main())


def student_at(config: Config, run: RunFolder, step: int | None) -> Student:
    """Return the student with the weights of a step's checkpoint; of the start where None."""
    weights = None if step is None else run.checkpoint_student(step)
    return method_of(config).student(config, weights)


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
