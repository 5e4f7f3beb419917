"""What every section of the settings is, and the kinds of values that several of them hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    field_validator,
)

from art.files import is_utf8


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Files = Annotated[list[str], BeforeValidator(_one_or_many)]
Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


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
