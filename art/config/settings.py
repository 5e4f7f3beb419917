"""All settings of a run: their sections together, what differs and what contradicts itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self, get_args

import yaml
from pydantic import BeforeValidator

from art.config.index_kind import EXACT
from art.config.inputs import DataConfig, IndexConfig, RetrieverConfig, TeacherConfig
from art.config.section import Section
from art.config.training import EvaluationConfig, OutputConfig, TrainingConfig, WarmupConfig

# Within a run folder: the trained retriever, from which a later stage starts.
RETRIEVER_FOLDER = "retriever"


class Config(Section):
    """Everything `art train` needs to know."""

    data: DataConfig
    retriever: RetrieverConfig
    # An empty section is none, as it is for a file whose method needs no teacher.
    teacher: Annotated[TeacherConfig | None, BeforeValidator(lambda value: value or None)] = None
    index: IndexConfig = IndexConfig.model_validate({})
    training: TrainingConfig = TrainingConfig.model_validate({})
    warmup: WarmupConfig = WarmupConfig.model_validate({})
    evaluation: EvaluationConfig = EvaluationConfig.model_validate({})
    output: OutputConfig

    def with_retriever(self, values: Mapping[str, Any]) -> Self:
        """Return the settings with what the retriever took from its start in place of nulls.

        Args:
            values: the retriever's settings by name.
        """
        return self.model_copy(update={"retriever": self.retriever.with_taken(values)})

    def to_yaml(self) -> str:
        """Return the resolved settings as YAML that reads back to the same settings."""
        document = self.model_dump(mode="json")
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
    if retriever.tied and retriever.freeze:
        yield "retriever.freeze: one tower cannot be frozen when retriever.tied shares its weights"
    if retriever.tied and retriever.passage_model:
        yield "retriever.passage_model: cannot differ when retriever.tied shares the weights"
    if config.index.nprobe and config.index.kind == EXACT:
        yield f"index.nprobe: index.kind {EXACT} has no lists, and compares everything"
    if config.evaluation.qrels and not config.evaluation.questions:
        yield "evaluation.qrels: needs evaluation.questions, which it judges"
