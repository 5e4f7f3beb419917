"""All settings of a run: their sections together, what differs and what contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import BeforeValidator

from art.config.index_kind import EXACT
from art.config.inputs import (
    DataConfig,
    IndexConfig,
    ReaderConfig,
    RetrieverConfig,
    TeacherConfig,
)
from art.config.section import Section
from art.config.training import EvaluationConfig, OutputConfig, TrainingConfig, WarmupConfig

# Within a run folder: the trained retriever, from which a later stage starts; the trained reader.
RETRIEVER_FOLDER = "retriever"
READER_FOLDER = "reader"

_EMPTY_IS_NONE = BeforeValidator(lambda value: value or None)


class Config(Section):
    """Everything `art train` needs to know."""

    data: DataConfig
    # Which of both is trained, the method says. An empty section is none, as it is for a file whose
    # method needs no teacher.
    retriever: Annotated[RetrieverConfig | None, _EMPTY_IS_NONE] = None
    reader: Annotated[ReaderConfig | None, _EMPTY_IS_NONE] = None
    teacher: Annotated[TeacherConfig | None, _EMPTY_IS_NONE] = None
    index: IndexConfig = IndexConfig.model_validate({})
    training: TrainingConfig = TrainingConfig.model_validate({})
    warmup: WarmupConfig = WarmupConfig.model_validate({})
    evaluation: EvaluationConfig = EvaluationConfig.model_validate({})
    output: OutputConfig

    @property
    def student(self) -> str:
        """Name of the section, and of the folder, of what is trained."""
        return READER_FOLDER if self.retriever is None else RETRIEVER_FOLDER

    @property
    def towers(self) -> RetrieverConfig:
        """The retriever's section; where a reader is trained, its one tower described as such."""
        if self.retriever is not None:
            return self.retriever
        assert self.reader is not None  # checked with the settings: the method needs one of both
        return RetrieverConfig.model_validate(
            {"model": self.reader.model, "tied": True, "passage_length": self.reader.max_length}
        )

    def with_retriever(self, values: Mapping[str, Any]) -> Self:
        """Return the settings with what the retriever took from its start in place of nulls.

        Args:
            values: the retriever's settings by name.
        """
        return self.model_copy(update={"retriever": self.towers.with_taken(values)})

    def to_yaml(self) -> str:
        """Return the resolved settings as YAML that reads back to the same settings."""
        document = self.model_dump()
        document = {name: section for name, section in document.items() if section is not None}
        return yaml.safe_dump(document, sort_keys=False, allow_unicode=True)


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Yield the name and the declaration of each section."""
    for name, declaration in Config.model_fields.items():
        kinds = (declaration.annotation, *get_args(declaration.annotation))
        yield name, next(k for k in kinds if isinstance(k, type) and issubclass(k, Section))


def fields() -> Iterator[tuple[str, str, Any]]:
    """Yield (dotted path, sentence, default) of every setting, in the order of the sections.

    A setting without a default yields `...`.
    """
    for section, kind in sections():
        for name, field in kind.model_fields.items():
            default = ... if field.is_required() else field.default
            yield f"{section}.{name}", field.description or "", default


def differences(old: Config, new: Config) -> list[str]:
    """Return a line per setting whose change would change the result of a resumed run."""
    lines = []
    for section, kind in sections():
        for name, field in kind.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and extra.get("harmless"):
                continue
            before = getattr(getattr(old, section), name, None)
            after = getattr(getattr(new, section), name, None)
            if before != after:
                lines.append(f"{section}.{name}: {before!r} → {after!r}")
    return lines


def contradictions(config: Config) -> Iterator[str]:
    """Yield a line per pair of settings that cannot both hold."""
    training = config.training
    if training.questions_per_step % training.questions_per_micro_batch:
        yield (
            f"training.questions_per_micro_batch: {training.questions_per_micro_batch} does not "
            f"divide training.questions_per_step ({training.questions_per_step})"
        )
    retriever = config.retriever
    if retriever is not None and retriever.tied:
        if retriever.freeze:
            yield (
                "retriever.freeze: one tower cannot be frozen when retriever.tied shares its "
                "weights"
            )
        if retriever.passage_model:
            yield "retriever.passage_model: cannot differ when retriever.tied shares the weights"
    yield from _generated(config)
    if config.index.nprobe and config.index.kind == EXACT:
        yield f"index.nprobe: index.kind {EXACT} has no lists, and compares everything"
    if config.evaluation.qrels and not config.evaluation.questions:
        yield "evaluation.qrels: needs evaluation.questions, which it judges"
    if config.evaluation.fused and not config.evaluation.questions:
        yield "evaluation.fused: needs evaluation.questions, which have labels"


def _generated(config: Config) -> Iterator[str]:
    """Yield what generated questions and their share have against each other."""
    data, share = config.data, config.training.generated_share
    if share is not None and not data.generated:
        yield "training.generated_share: needs data.generated, the questions whose share it is"
    elif share is not None and not data.questions:
        yield (
            "training.generated_share: needs data.questions beside data.generated, which alone are "
            "all that trains; give them, or leave it out"
        )
    elif share is None and data.generated and data.questions:
        yield (
            "training.generated_share: is required by data.generated beside data.questions; 0.5 "
            "for as many of either"
        )
