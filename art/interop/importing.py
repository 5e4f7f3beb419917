"""Checkpoints of other programs, made retriever folders of ours."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from art import files
from art.errors import ArtError
from art.interop.art_release import read_art_release
from art.interop.dpr_checkpoint import read_dpr
from art.interop.foreign_towers import ImportOptions
from art.interop.torch_checkpoint import Checkpoint, open_checkpoint
from art.registry import Registry
from art.retriever.encoders import Retriever
from art.retriever.loading import create_retriever
from art.retriever.settings import MANIFEST


@dataclass(frozen=True)
class ForeignFormat:
    """A kind of checkpoint that can be imported.

    Args:
        name: what chooses it.
        read: writes the two encoders of an open checkpoint into two folders, and returns what
            `create_retriever` must be told besides.
    """

    name: str
    read: Callable[[Checkpoint, ImportOptions, tuple[Path, Path]], dict[str, Any]]


FORMATS = Registry[ForeignFormat]("checkpoint format")
FORMATS.add(ForeignFormat("dpr-cp", read_dpr))
FORMATS.add(ForeignFormat("art-release", read_art_release))


def import_retriever(
    checkpoint: str | Path,
    output: str | Path,
    *,
    kind: str,
    tokenizer: str | None = None,
    num_heads: int | None = None,
) -> Retriever:
    """Write the two encoders of a foreign checkpoint as a retriever folder, and return them.

    Nothing in the checkpoint is executed.

    Args:
        checkpoint: the file.
        output: the folder; a retriever that is there is replaced.
        kind: `dpr-cp` or `art-release`.
        tokenizer: hub name or folder; default the one the checkpoint means.
        num_heads: of attention, where the checkpoint does not say.

    Raises:
        ArtError: it cannot be read, is not of this kind, or the folder holds something else.
    """
    output = Path(output)
    chosen = FORMATS[kind]
    if output.exists() and not (output / MANIFEST).is_file():
        raise ArtError(
            "something that is not a retriever is there", where=output, hint="choose another folder"
        )
    options = ImportOptions(tokenizer, num_heads)
    with open_checkpoint(checkpoint) as opened, _scratch_folder(output) as scratch:
        question, passage = scratch / "question", scratch / "passage"
        told = chosen.read(opened, options, (question, passage))
        retriever = create_retriever(
            str(question), passage_model=str(passage), pooling="cls", normalize=False, **told
        )
        provenance = {"imported_as": kind, "checkpoint": files.file_state(Path(checkpoint))}
        retriever.save(output, provenance=provenance)
    return retriever


@contextmanager
def _scratch_folder(output: Path) -> Iterator[Path]:
    # Beside the output: both towers have room there, or neither the retriever has.
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as folder:
            yield Path(folder)
    except OSError as error:
        raise files.cannot_write(error, output) from error
