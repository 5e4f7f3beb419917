"""What every section of the settings is, and the kinds of values that several of them hold."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveFloat


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Files = Annotated[list[str], BeforeValidator(_one_or_many)]
Positive = Annotated[PositiveFloat, Field(allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """Settings that belong together; they do not change, and an unknown one is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
