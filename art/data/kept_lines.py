"""What a job has computed so far, a line of JSON after another; a killed one goes on behind it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from art.config import Manifest
from art.errors import CorruptionError, MismatchError
from art.files import cannot_write

_PROGRESS = "progress.json"


class _JobState(Manifest):
    """What of a job's file counts.

    Attributes:
        fingerprint: of everything that its lines depend on.
        begun_with: texts that the job began with.
        num_blocks: that are done.
        num_bytes: of the file.
    """

    fingerprint: str
    begun_with: dict[str, str]
    num_blocks: int = 0
    num_bytes: int = 0


class KeptLines:
    """The lines of a job's whole blocks; what a kill left behind the last of them is cut off.

    Args:
        path: of the file, alone in its folder but for `progress.json`.
        fingerprint: of everything that the lines depend on.
        called: what the lines are, for messages.
        begins_with: texts that a job which goes on needs as they were, see `begun_with`.

    Raises:
        MismatchError: they were begun with something else.
        CorruptionError: the file is shorter than what was written.
        ArtError: it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        fingerprint: str,
        *,
        called: str,
        begins_with: Mapping[str, str] | None = None,
    ) -> None:
        self._path, self._progress = path, path.with_name(_PROGRESS)
        if not self._progress.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            state = _JobState(fingerprint=fingerprint, begun_with=dict(begins_with or {}))
            state.write(self._progress)
        self._state = _JobState.read(self._progress)
        if self._state.fingerprint != fingerprint:
            raise MismatchError(
                f"the {called} so far are of other settings or passages",
                where=path.parent,
                hint="give the settings it was begun with, delete it, or choose another --output",
            )
        try:
            with open(path, "ab") as file:
                size = os.fstat(file.fileno()).st_size
                if size < self._state.num_bytes:
                    raise CorruptionError(
                        f"{size} bytes, but {self._state.num_bytes} were written",
                        where=path,
                        hint="delete its folder to begin again",
                    )
                file.truncate(self._state.num_bytes)
        except OSError as error:
            raise cannot_write(error, path) from error

    @property
    def num_blocks(self) -> int:
        """How many blocks are done."""
        return self._state.num_blocks

    def append(self, lines: Iterable[Any], *, num_blocks: int) -> None:
        """Add the lines of some blocks, on the disk before they count.

        Args:
            lines: JSON values.
            num_blocks: whose lines these are.

        Raises:
            ArtError: they cannot be written.
        """
        written = b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in lines)
        try:
            with open(self._path, "ab") as file:
                file.write(written)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise cannot_write(error, self._path) from error
        after = _JobState(
            fingerprint=self._state.fingerprint,
            begun_with=self._state.begun_with,
            num_blocks=self._state.num_blocks + num_blocks,
            num_bytes=self._state.num_bytes + len(written),
        )
        after.write(self._progress)
        self._state = after

    def read(self) -> Iterator[Any]:
        """Yield all lines."""
        with open(self._path, encoding="utf-8", newline="\n") as file:
            for line in file:
                yield json.loads(line)


def begun_with(path: Path) -> dict[str, str]:
    """Return the texts that the job of a file began with, none where it has not begun.

    Raises:
        CorruptionError: what says so is damaged.
    """
    progress = path.with_name(_PROGRESS)
    return _JobState.read(progress).begun_with if progress.exists() else {}
