"""What every section of the settings is, and the kinds of values that several of them hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    field_validator,
)

from art.files import is_utf8


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Files = Annotated[list[str], BeforeValidator(_one_or_many)]
Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


def _from_the_beginning(intervals: dict[int, int]) -> dict[int, int]:
    if 0 not in intervals:
        raise ValueError("no interval for step 0; it goes first step: interval, as in {0: 100}")
    for begin, interval in intervals.items():
        if begin % interval:
            raise ValueError(
                f"step {begin} is not a multiple of {interval}, the interval that begins there"
            )
    return dict(sorted(intervals.items()))


# The tags keep one kind's faults from being told of the other.
StepIntervals = Annotated[
    Annotated[PositiveInt, Tag("one")]
    | Annotated[
        dict[NonNegativeInt, PositiveInt], AfterValidator(_from_the_beginning), Tag("several")
    ],
    Discriminator(lambda value: "several" if isinstance(value, Mapping) else "one"),
]
"""Steps from one time to the next: a number, or first step → number."""


class Section(BaseModel):
    """Settings that belong together; they do not change, and an unknown one is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    @field_validator("*")
    @classmethod
    def _is_utf8(cls, value: Any) -> Any:
        # A run writes its settings into a file, and could not read such a name back.
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str) and not is_utf8(one):
                raise ValueError(
                    "not UTF-8, as settings are; rename the file, or link to it under another name"
                )
        return value
