"""JSON documents that describe files of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from art.errors import CorruptionError
from art.files import read_json, write_json

__all__ = ["Manifest", "PositiveInt"]


class Manifest(BaseModel):
    """A JSON document that describes files of ours; subclasses declare its fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read and check a manifest.

        Raises:
            ArtError: the file cannot be read or is not JSON.
            CorruptionError: a field is missing, unknown or of another type.
        """
        try:
            return cls.model_validate(read_json(path))
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(str(part) for part in fault["loc"])
            raise CorruptionError(
                f"{field or 'the document'}: {fault['msg']}",
                where=path,
                hint="not what was written there: have it written again",
            ) from error

    def write(self, path: str | Path) -> None:
        """Write the manifest atomically."""
        write_json(path, self.model_dump(mode="json"))
