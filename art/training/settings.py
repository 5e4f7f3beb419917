"""Settings read with all that their names can stand for: methods, losses, kinds of teachers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art import config
from art.config import Choices, Config, Stage, TeacherConfig
from art.teacher.registry import KINDS, setting_faults
from art.training.losses import LOSSES
from art.training.methods import METHODS


@dataclass(frozen=True)
class _Free:
    """A choice that no other setting depends on."""

    name: str
    description: str
    needs: tuple[str, ...] = ()

    def faults(self, config: Config) -> Iterator[str]:
        """Yield nothing."""
        yield from ()


@dataclass(frozen=True)
class _TrainingMethod(_Free):
    """A method of training, which needs what it trains."""

    def faults(self, config: Config) -> Iterator[str]:
        """Yield a line per setting that contradicts the method."""
        yield from METHODS[self.name].faults(config)


@dataclass(frozen=True)
class _TeacherKind(_Free):
    """A kind of teacher, with what it has against settings of its section."""

    def faults(self, config: Config) -> Iterator[str]:
        """Yield a line per setting that means nothing to the kind, or that it cannot use."""
        if config.teacher is not None:
            yield from teacher_faults(config.teacher)


def teacher_faults(teacher: TeacherConfig) -> Iterator[str]:
    """Yield a line per setting of a teacher that its kind has no use for, or cannot use as it is.

    Raises:
        ConfigError: there is no such kind.
    """
    fields = type(teacher).model_fields
    defaults = {name: field.default for name, field in fields.items()}
    yield from setting_faults(teacher.kind, teacher.model_dump(), defaults)


def choices() -> Choices:
    """Return every name that a setting can hold, as the registries have them now."""
    kinds = sorted(KINDS, key=lambda kind: kind.name)
    return Choices(
        {
            "training.method": {
                one.name: _TrainingMethod(one.name, one.description, (one.trains, *one.needs))
                for one in METHODS
            },
            "training.loss": {one.name: _Free(one.name, one.description) for one in LOSSES},
            "teacher.kind": {one.name: _TeacherKind(one.name, one.description) for one in kinds},
        }
    )


def read_config(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read the settings of a single run, see `art.config.read_config`."""
    return config.read_config(path, overrides, choices=choices())


def read_stages(path: str | Path, overrides: Sequence[str] = ()) -> list[Stage]:
    """Read the settings of one run or of several in a row, see `art.config.read_stages`."""
    return config.read_stages(path, overrides, choices=choices())


def check_config(document: dict[str, Any], *, source: str, faults: Sequence[str] = ()) -> Config:
    """Turn nested plain values into settings, see `art.config.check_config`."""
    return config.check_config(document, source=source, faults=faults, choices=choices())
