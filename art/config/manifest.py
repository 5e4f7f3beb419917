"""JSON documents that describe files of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError

from art.errors import ArtError, CorruptionError
from art.files import fingerprint, read_json, write_json

_SEAL = "checksum"

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
        return cls.of(read_json(path, names=True), where=path)

    @classmethod
    def of(cls, document: Any, *, where: str | Path) -> Self:
        """Check a document that was read from `where`.

        Raises:
            CorruptionError: a field is missing, unknown or of another type.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            fault = error.errors()[0]
            field = ".".join(str(part) for part in fault["loc"])
            raise CorruptionError(
                f"{field or 'the document'}: {fault['msg']}",
                where=where,
                hint="not what was written there: have it written again",
            ) from error

    def write(self, path: str | Path) -> None:
        """Write the manifest atomically."""
        write_json(path, self.model_dump(mode="json"))


class SealedManifest(Manifest):
    """A manifest whose file also says what its contents must be, so that no change goes unseen."""

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read and check a manifest.

        Raises:
            CorruptionError: the file is missing, or its contents are not what was written.
        """
        try:
            document = read_json(path, names=True)
        except ArtError as error:
            raise CorruptionError(error.what, where=path, hint=error.hint) from error
        seal = document.pop(_SEAL, None) if isinstance(document, dict) else None
        manifest = cls.of(document, where=path)
        if seal != _seal(document):
            raise CorruptionError("not what was written", where=path, hint="have it written again")
        return manifest

    def write(self, path: str | Path) -> None:
        """Write the manifest atomically, with its seal."""
        document = self.model_dump(mode="json")
        write_json(path, {**document, _SEAL: _seal(document)})


def _seal(document: Any) -> str:
    return fingerprint(json.dumps(document, sort_keys=True))
